#!/usr/bin/env python3
"""The chart, the manifests that are rendered from it, and the unit of systemd.

No cluster is started here: what a scheduler, a kubelet or a controller does with the manifests is not
shown. That the server runs as a Pod of the chart says it should is.
"""

import re
import tomllib

import yaml

from lib import chart, manifests, pod, unit
from lib.checks import Checks
from lib.setup import REPOSITORY

MEMORY = {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}}

# What cannot work, and what helm must say of it.
REFUSED = [
    ("several replicas without shared state", {"state": "sqlite"}, "/state"),
    ("several replicas without keys", {"handles": []}, "/handles"),
    ("several replicas without a word on keys", {"handles": None}, "handles"),
    (
        "one replica that may become several, without shared state",
        {"replicaCount": 1, "state": "sqlite", "autoscaling": {"enabled": True}},
        "/state",
    ),
    ("several replicas on a volume for one", {"data": {"accessModes": ["ReadWriteOnce"]}}, "/data"),
    ("shared state without keys", {"replicaCount": 1, "handles": []}, "/handles"),
    ("a misspelt value", {"replicas": 3}, "replicas"),
    ("a misspelt section of the configuration", {"config": {"limit": {}}}, "limit"),
    ("text for a number", {"replicaCount": "3"}, "/replicaCount"),
    ("a negative time", {"shutdown": {"drainSeconds": -1}}, "/shutdown/drainSeconds"),
    ("callers who prove nothing", {"config": {"auth": {"keys_file": None}}}, "/config/auth"),
    ("nothing to serve", {"config": {"roots": []}}, "/config"),
    ("another address", {"config": {"server": {"listen": "0.0.0.0:9"}}}, "/config/server/listen"),
    (
        "a password in the configuration",
        {"config": {"databases": [{"name": "a", "kind": "postgres", "dsn": "postgresql://a:b@c/d"}]}},
        "/config/databases/0/dsn",
    ),
    (
        "a role's password in the configuration",
        {
            "config": {
                "databases": [
                    {
                        "name": "a",
                        "kind": "postgres",
                        "roles": [{"principal": "b", "dsn": "postgresql://a:b@c/d"}],
                    }
                ]
            }
        },
        "/config/databases/0/roles/0/dsn",
    ),
    ("a variable of the server's own", {"secret": {"env": {"ROOTHOLD_X": "x"}}}, "ROOTHOLD_X"),
    ("no limit on memory", {"resources": {"limits": {"memory": None}}}, "/resources/limits"),
    ("an unconfined profile", {"seccompProfile": {"type": "Unconfined"}}, "/seccompProfile"),
    (
        "calls that are sent twice",
        {"ingress": {"annotations": {"x": "error non_idempotent"}}},
        "/ingress/annotations",
    ),
    ("a route from nowhere", {"gateway": {"enabled": True}}, "/gateway/parentRefs"),
    ("an image by tag and by digest", {"image": {"tag": "1", "digest": f"sha256:{64 * 'a'}"}}, "leave the tag empty"),
    (
        "more replicas at least than at most",
        {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}},
        "autoscaling.minReplicas (5) is more than",
    ),
    (
        "more memory asked for than there may be",
        {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1000M"}}},
        "resources.requests.memory (1Gi) is more than",
    ),
    (
        "more processors asked for than there may be",
        {"resources": {"requests": {"cpu": 1}, "limits": {"cpu": "999m"}}},
        "resources.requests.cpu (1) is more than",
    ),
    ("a misspelt resource", {"resources": {"limits": {"memroy": "1Gi"}}}, "memroy"),
    ("memory that is no quantity", {"resources": {"limits": {"memory": "1 GB"}}}, "/resources/limits/memory"),
    (
        "more spilled than the volume holds",
        {"config": {"dataset_engine": {"spill_bytes_max": 10 * 2**30}}},
        "spill_bytes_max is more than spill.sizeLimit",
    ),
    (
        "queries with more memory than the Pod",
        {"config": {"dataset_engine": {"memory_bytes_max": 2**30}}},
        "memory_bytes_max is more than resources.limits.memory",
    ),
    ("a runbook at no address", {"prometheusRule": {"runbookUrl": "docs/runbook.md"}}, "/prometheusRule/runbookUrl"),
    (
        "a collector's token in the configuration",
        {"config": {"telemetry": {"otlp_headers": {"authorization": "Bearer abc"}}}},
        "/config/telemetry/otlp_headers/authorization",
    ),
    (
        "a collector's password in the configuration",
        {"config": {"telemetry": {"otlp_endpoint": "https://a:b@c"}}},
        "/config/telemetry/otlp_endpoint",
    ),
    (
        "a store's secret in the configuration",
        {"config": {"stores": [{"url": "s3://a", "credentials": "key:secret"}]}},
        "/config/stores/0/credentials",
    ),
    *(
        (f"a misspelt key of {where}", {"config": values}, wrong)
        for where, values, wrong in [
            ("server", {"server": {"alowed_hosts": []}}, "alowed_hosts"),
            ("sessions", {"server": {"legacy_sessions": {"max": 1}}}, "max"),
            ("a root", {"roots": [{"path": "/a", "acces": "ro"}]}, "acces"),
            ("policy", {"policy": {"excludes": []}}, "excludes"),
            ("a principal", {"principals": [{"name": "a", "scope": []}]}, "scope"),
            ("tokens", {"auth": {"jwt": {"issuer": "a", "jwks_file": "b", "aud": "c"}}}, "aud"),
            ("limits", {"limits": {"call_max": 1}}, "call_max"),
            ("telemetry", {"telemetry": {"otlp_endpoin": "http://c"}}, "otlp_endpoin"),
            ("a database", {"databases": [{"name": "a", "kind": "postgres", "dsnfile": "/d"}]}, "dsnfile"),
            (
                "a role",
                {"databases": [{"name": "a", "kind": "mysql", "roles": [{"principal": "b", "dns": "c"}]}]},
                "dns",
            ),
            (
                "a parameter",
                {
                    "tools": [
                        {
                            "name": "t",
                            "database": "a",
                            "sql": "s",
                            "parameters": [{"name": "x", "type": "text", "max": 1}],
                        }
                    ]
                },
                "max",
            ),
        ]
    ),
    *(
        (
            f"a password in the configuration, as {how}",
            {"config": {"databases": [{"name": "a", "kind": "postgres", "dsn": dsn}]}},
            "/config/databases/0/dsn",
        )
        for how, dsn in [
            ("a URL in capitals", "POSTGRES://u:p@h/d"),
            ("a URL with a slash in it", "postgresql://u:p/w@h/d"),
            ("a URL of several hosts", "postgresql://h:1,u:p@h/d"),
            ("key and value", "host=h user=u password=p"),
            ("key and value in quotes", "host=h PASSWORD = 'p q'"),
            ("a query", "postgresql://u@h/d?password=p"),
            ("a query that is encoded", "postgresql://u@h/d?p%61ssw%6Frd=p"),
            ("a file of them", "host=h passfile=/p"),
            ("a variable within", "postgresql://u:${P}@h/d"),
        ]
    ),
]

# What is right, and looks a little like the above.
TAKEN = [
    {"image": {"digest": f"sha256:{64 * 'a'}"}},
    {"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 4}},
    {"resources": {"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1024Mi"}}},
    {"config": {"telemetry": {"otlp_endpoint": "https://c:4317", "otlp_headers": {"authorization": "${TOKEN}"}}}},
    {"config": {"roots": [], "stores": [{"url": "https://a.example/@b", "credentials": "${KEY}"}]}},
    *(
        {"config": {"databases": [{"name": "a", "kind": "postgres", "dsn": dsn}]}}
        for dsn in ["${DSN}", "postgresql://u@h:5432/d", "host=h user=u dbname=passage", "postgresql://h/d?user=u"]
    ),
]


def renders(checks):
    for file in chart.values_files():
        name = file.stem if file else "the defaults"
        with checks.guard(f"{name} render"):
            command = [chart.program("helm"), "lint", "--strict", chart.CHART]
            code, out, err = chart.run(command + chart.options(file))
            checks.true(f"helm lint --strict finds nothing in {name}", code == 0, out + err)
            objects = chart.template(file)
            found = [
                f"{one['kind']} {one['metadata']['name']}: {problem}"
                for one in objects
                for problem in manifests.problems(one)
            ]
            checks.true(f"{name}: {len(objects)} objects are as their schemas say", not found, "\n".join(found))
            spec = chart.the("Deployment", objects)["spec"]["template"]["spec"]
            checks.equal(f"{name}: a Pod keeps to `restricted`", manifests.restricted(spec), [])


def refuses(checks):
    for what, values, where in REFUSED:
        try:
            chart.template(values=values)
            checks.fail(f"refused: {what}", "it was rendered")
        except RuntimeError as error:
            checks.true(f"refused: {what}", where in str(error), error)


def takes(checks):
    for values in TAKEN:
        try:
            chart.template(values=values)
            checks.true(f"taken: {values}", True)
        except RuntimeError as error:
            checks.fail(f"taken: {values}", error)


def knows_the_keys(checks):
    """The chart knows the keys of the configuration that the server does, by the page that is made of its code."""
    checks.equal("the chart knows the keys of the configuration", chart.known_keys(), chart.documented_keys())


def schemas_refuse(checks):
    """The checks above would pass if schemas took anything."""
    for kind, objects in {one["kind"]: one for one in chart.template(chart.CHART / "values/kubernetes.yaml")}.items():
        wrong = {**objects, "specs": {}}
        checks.true(f"a {kind} with a field too many is noticed", manifests.problems(wrong))


def is_committed(checks):
    render = chart.kubernetes()
    checks.equal(
        "deploy/kubernetes is what the chart renders",
        render.committed(),
        render.rendered(chart.program("helm")),
    )
    code, out, err = chart.run([chart.program("kubectl"), "kustomize", render.HERE])
    checks.equal("kubectl kustomize takes it", (code, err), (0, ""))
    objects = list(yaml.safe_load_all(out))
    wanted = {path for path in render.committed() if "/" not in path}
    checks.equal("it has all but what is optional", len(objects), len(wanted) + 1)
    found = [problem for one in objects for problem in manifests.problems(one)]
    checks.equal("its objects are as their schemas say", found, [])
    spaces = {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"}
    checks.equal("they are in one namespace", spaces, {"roothold"})


def keeps_promises(checks):
    objects = chart.template()
    deployment = chart.the("Deployment", objects)["spec"]
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    checks.equal("there are three replicas", deployment["replicas"], 3)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    checks.equal("none is missing during an update", deployment["strategy"], rolling)
    checks.equal("they have the resources that they were made for", container["resources"], MEMORY)
    probes = {name: container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    wanted = {"livenessProbe": {"path": "/health", "port": "http"}, "readinessProbe": {"path": "/ready", "port": "http"}}
    checks.equal("they are asked on /health and /ready", probes, wanted)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    checks.equal("on port 8000, with the private one apart", ports, {"http": 8000, "private": 9464})
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    server = configuration(objects)["server"]
    needed = sleep + server["pre_stop_delay_seconds"] + server["drain_timeout_seconds"]
    grace = spec["terminationGracePeriodSeconds"]
    checks.true("the grace is longer than the end may take", grace > needed, f"{grace} of {needed}")
    values = {"shutdown": {"drainSeconds": 900}}
    longer = chart.the("Deployment", chart.template(values=values))["spec"]["template"]["spec"]
    checks.true("and grows with it", longer["terminationGracePeriodSeconds"] > 900)
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in objects if one["kind"] == "Service"}
    checks.equal("clients' Service has no private port", [port["name"] for port in services["roothold"]], ["http"])
    policy = chart.the("NetworkPolicy", objects)["spec"]
    private = [rule for rule in policy["ingress"] if {"port": "private"} in rule["ports"]]
    checks.true("metrics are for monitoring alone", len(private) == 1 and private[0]["from"])
    scaled = chart.template(chart.CHART / "values/kubernetes.yaml")
    documented = re.search(r"`body_bytes_max` \| integer \| `(\d+)`", (REPOSITORY / "docs/configuration.md").read_text())
    wanted = f"{int(documented[1]) // 2**20}m"
    ingress = chart.the("Ingress", scaled)["metadata"]["annotations"]
    checks.equal("ingress-nginx takes bodies as large as the server", ingress["nginx.ingress.kubernetes.io/proxy-body-size"], wanted)
    nginx = (REPOSITORY / "deploy/nginx/nginx.conf").read_text()
    checks.true("and nginx does", f"client_max_body_size {wanted};" in nginx)
    checks.true("what scales sets the replicas", "replicas" not in chart.the("Deployment", scaled)["spec"])
    single = chart.the("Deployment", chart.template(chart.CHART / "values/single.yaml"))["spec"]
    checks.equal("one replica on its own volume is replaced, not rolled", single["strategy"], {"type": "Recreate"})


def configuration(objects):
    return tomllib.loads(chart.the("ConfigMap", objects)["data"]["roothold.toml"])


def writes_toml(checks):
    """The values of a chart know no whole numbers; TOML does."""
    more = {
        "limits": {"calls_max": 17, "requests_per_second": 0.5, "body_bytes_max": 104857600},
        "principals": [{"name": "Ü \"q\" \\ 'a'\n[x]", "roots": ["Files"]}],
        "databases": [{"name": "a", "kind": "sqlite", "path": "/db/a", "rows_max": 7, "cost_max": 1.5}],
        "tools": [
            {
                "name": "t",
                "database": "a",
                "description": "d",
                "sql": "SELECT :x\nFROM t",
                "parameters": [
                    {"name": "x", "type": "integer", "description": "d", "enum": [1, 2], "default": 0}
                ],
            }
        ],
    }
    found = configuration(chart.template(values={"config": more}))
    checks.equal("the configuration is the values' own", {key: found[key] for key in more}, more)
    numbers = [found["limits"]["calls_max"], *found["tools"][0]["parameters"][0]["enum"]]
    checks.true("whole numbers are whole", all(type(number) is int for number in numbers), numbers)
    rules = chart.the("PrometheusRule", chart.template(values={"prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example/r"}}))
    urls = {rule["annotations"]["runbook_url"] for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
    checks.true("alerts name the runbook that is given", urls and all(url.startswith("https://wiki.example/r#") for url in urls), urls)
    text = yaml.safe_dump_all(chart.template(values={"secret": {"create": True, "values": {"a": "CANARY"}}}))
    maps = [one for one in text.split("---") if "kind: ConfigMap" in one]
    checks.true("no secret is in the configuration", maps and "CANARY" not in maps[0])


def rolls(checks):
    def checksum(**values):
        template = chart.the("Deployment", chart.template(values=values))["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    databases = {"databases": [{"name": "a", "kind": "sqlite", "path": "/db/a"}]}
    limits = {"limits": {"calls_max": 17}}
    checks.true("another configuration rolls", checksum() != checksum(config=databases))
    live = {"rollOnEveryChange": False}
    checks.equal("databases do not, if so wanted", checksum(**live), checksum(config=databases, **live))
    checks.true("what needs a restart does", checksum(**live) != checksum(config=limits, **live))


def main():
    checks = Checks("kube")
    parts = [renders, refuses, takes, knows_the_keys, schemas_refuse, is_committed, keeps_promises, writes_toml, rolls]
    for part in [*parts, unit.is_sound, unit.lets_the_server_work, pod.is_accepted, pod.serves]:
        with checks.guard(part.__name__):
            part(checks)
    checks.finish()


if __name__ == "__main__":
    main()
