#!/usr/bin/env python3
"""The chart, the manifests that are rendered from it, and the unit of systemd.

No cluster is started here: what a scheduler, a kubelet or a controller does with the manifests is not
shown. That the server runs as a Pod of the chart says it should is.
"""

import tomllib

import yaml

from lib import chart, manifests, pod, unit
from lib.checks import Checks

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
    parts = [renders, refuses, schemas_refuse, is_committed, keeps_promises, writes_toml, rolls]
    for part in [*parts, unit.is_sound, unit.lets_the_server_work, pod.is_accepted, pod.serves]:
        with checks.guard(part.__name__):
            part(checks)
    checks.finish()


if __name__ == "__main__":
    main()
