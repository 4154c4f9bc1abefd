#!/usr/bin/env python3
"""The chart, the manifests that are rendered from it, and the unit of systemd.

No cluster is started here: what a scheduler, a kubelet or a controller does with the manifests is not
shown. That the server runs as a Pod of the chart says it should is.
"""

import re
import shutil
import tempfile
from pathlib import Path

import yaml

from lib import archive, chart, keys, kubeapi, kustomize, manifests, naming, pod, promises, refusals, unit
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
    *(
        (f"resources by plain numbers and units: {wanted}, at most {most}", {"resources": {"requests": wanted, "limits": most}}, said)
        for wanted, most, said in [
            ({"memory": 1073741824}, {"memory": "512Mi"}, "resources.requests.memory"),
            ({"memory": "1Gi"}, {"memory": 536870912}, "resources.requests.memory"),
            ({"cpu": 2}, {"cpu": "1500m"}, "resources.requests.cpu"),
            ({"memory": 1}, {"memory": "512m"}, "/resources/limits/memory"),
            ({"cpu": "250Mi"}, {}, "/resources/requests/cpu"),
            ({"memory": 1}, {"memory": 512}, "resources.limits.memory (512) is less than"),
            ({"memory": "1Q"}, {}, "/resources/requests/memory"),
            ({"cpu": "250n"}, {}, "/resources/requests/cpu"),
        ]
    ),
    ("a volume of nothing", {"data": {"size": "0"}}, "/data/size"),
    ("a volume of thousandths", {"data": {"size": "10m"}}, "/data/size"),
    ("nothing to spill to", {"spill": {"sizeLimit": "0Gi"}}, "/spill/sizeLimit"),
    ("a variable twice", {"secret": {"env": {"STATE_POSTGRES": "a"}}}, "secret.env.STATE_POSTGRES"),
    ("a key's variable twice", {"secret": {"env": {"HANDLE_K1": "a"}}}, "secret.env.HANDLE_K1"),
    *(
        (f"a Secret that is made without {key}", {"secret": {"create": True, "values": values, "env": {"A": "a-dsn"}}}, f'"{key}"')
        for key, values in [
            ("a-dsn", {"state-postgres": "x", "handle-k1": "x", "keys.jsonl": "x"}),
            ("handle-k1", {"state-postgres": "x", "keys.jsonl": "x", "a-dsn": "x"}),
            ("keys.jsonl", {"state-postgres": "x", "handle-k1": "x", "a-dsn": "x"}),
            ("state-postgres", {"handle-k1": "x", "keys.jsonl": "x", "a-dsn": "x"}),
        ]
    ),
    *(
        (f"a name that is no label: {key}={name}", {key: name}, f"/{key}")
        for key in ("nameOverride", "fullnameOverride")
        for name in ("Roothold", "a.b", "-a", "a-", "a_b", "9a")
    ),
    *(
        (f"{kind} that the chart sets: {key}", {kind: {key: "x"}}, f"/{kind}")
        for kind, key in [
            ("podLabels", "app.kubernetes.io/name"),
            ("podLabels", "app.kubernetes.io/instance"),
            ("podAnnotations", "checksum/config"),
            ("podAnnotations", "checksum/secret"),
        ]
    ),
    *(
        (f"a secret in {what}", {"config": values}, where)
        for what, where, values in [
            ("a store's query", "/config/stores/0/url", {"stores": [{"url": "https://a.example/b?sig=x"}]}),
            ("a store's fragment", "/config/stores/0/url", {"stores": [{"url": "https://a.example/b#x"}]}),
            ("a store's endpoint", "/config/stores/0/endpoint", {"stores": [{"url": "s3://a", "endpoint": "https://h/?k=x"}]}),
            *(
                ("a dataset's file", "/config/datasets/0/files/0", {"datasets": [{"name": "a", "files": [file]}]})
                for file in ("https://h/a.csv?sig=x", "HTTPS://h/a.csv?x", "https://u:p@h/a.csv", "az://c/a.csv?sv=1&sig=x/y")
            ),
            *(
                ("a collector's address", "/config/telemetry/otlp_endpoint", {"telemetry": {"otlp_endpoint": url}})
                for url in ("https://c/v1/traces?api-key=x", "u:p@c:4317", "https://c#x", "https://u@c")
            ),
            *(
                ("the public address", "/config/server/public_url", {"server": {"public_url": url}})
                for url in ("https://u:p@h/mcp", "https://h/mcp?key=x", "u:p@h")
            ),
        ]
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
    *(
        (f"a value of the configuration that the server would not take: {values}", {"config": values}, where)
        for where, values in [
            ("/config/limits/calls_max", {"limits": {"calls_max": "256"}}),
            ("/config/limits/calls_max", {"limits": {"calls_max": 2.5}}),
            ("/config/limits/calls_max", {"limits": {"calls_max": -1}}),
            ("/config/server/landlock", {"server": {"landlock": "requrie"}}),
            ("/config/server/landlock", {"server": {"landlock": False}}),
            ("/config/server/allowed_hosts", {"server": {"allowed_hosts": "a.example"}}),
            ("/config/databases/0/kind", {"databases": [{"name": "a", "kind": "oracle"}]}),
            ("/config/roots/0/access", {"roots": [{"path": "/a", "access": "wr"}]}),
        ]
    ),
    *((f"a volume that the chart has: {name}", {"volumes": [{"name": name, "emptyDir": {}}]}, "/volumes/0/name") for name in ("config", "secrets", "data", "spill")),
    *(
        (f"a mount where the chart has its own: {path}", {"volumeMounts": [{"name": "files", "mountPath": path}]}, said)
        for path, said in [
            ("/etc/roothold", "/volumeMounts/0/mountPath"),
            ("/var/lib/roothold/", "/volumeMounts/0/mountPath"),
            ("/var/cache/roothold", "/volumeMounts/0/mountPath"),
            ("/run/roothold/secrets", "where the chart mounts secret.files"),
        ]
    ),
    ("a file of the Secret that is not mounted", {"secret": {"files": ["jwks.json"]}}, 'secret.files has no "keys.jsonl"'),
    (
        "another",
        {"config": {"databases": [{"name": "a", "kind": "postgres", "dsn_file": "/run/roothold/secrets/a-dsn"}]}},
        'secret.files has no "a-dsn"',
    ),
    *(
        (f"everybody outside of the cluster as {kind}, {policy or 'by default'}", {"service": {"type": kind}, "networkPolicy": policy}, "networkPolicy.clients")
        for kind in ("LoadBalancer", "NodePort")
        for policy in ({}, {"enabled": False, "clients": [{"podSelector": {}}]})
    ),
    *((f"metrics each {interval}", {"serviceMonitor": {"interval": interval}}, "/serviceMonitor/interval") for interval in ("5m", "61s", "2m", "1s")),
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
            ("a URL without slashes", "postgresql:u:p@h"),
            ("no URL", "u:p@h/d"),
            ("an older name", "mysql://u@h/d?pwd=p"),
            ("an older name, encoded", "mysql://u@h/d?p%77d=p"),
            ("another older name", "host=h passwd = p"),
            ("a URL over two lines", "postgresql://u\n:p@h/d"),
            ("a URL with a tab", "postgresql://u:\tp@h/d"),
            ("another line", "host=h\nuser=u"),
            ("a variable within", "postgresql://u:${P}@h/d"),
        ]
    ),
]

# What is right, and looks a little like the above.
TAKEN = [
    {"image": {"digest": f"sha256:{64 * 'a'}"}},
    {"autoscaling": {"enabled": True, "minReplicas": 4, "maxReplicas": 4}},
    {"resources": {"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"cpu": "500m", "memory": "1024Mi"}}},
    {"config": {"telemetry": {"otlp_endpoint": "https://c:4317", "otlp_headers": {"authorization": "${TOKEN}"}}}, "secret": {"env": {"TOKEN": "t"}}},
    {"config": {"roots": [], "stores": [{"url": "https://a.example/@b", "credentials": "${KEY}"}]}, "secret": {"env": {"KEY": "k"}}},
    {"resources": {"requests": {"memory": "256Mi"}, "limits": {"memory": 536870912}}},
    {"resources": {"requests": {"memory": 268435456, "cpu": 1}, "limits": {"memory": "0.5Gi", "cpu": 1.5}}},
    {"resources": {"limits": {"example.com/device": 1}}},
    {"spill": {"sizeLimit": "1Gi"}, "config": {"dataset_engine": {"spill_bytes_max": 0}}},
    {"secret": {"env": {"STATE_POSTGRES_": "a"}}, "podLabels": {"team": "a"}, "podAnnotations": {"checksum/x": "a"}},
    {"nameOverride": "agents", "fullnameOverride": "a-9"},
    {"nameOverride": "true"},
    {"config": {"datasets": [{"name": "a", "files": ["/files/20??/*.csv", "s3://lake/year=20??/month=1/*.parquet"]}]}},
    {"config": {"server": {"public_url": "https://h:8443/mcp"}}},
    {"service": {"type": "LoadBalancer"}, "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    {"secret": {"files": []}, "volumes": [{"name": "csi", "emptyDir": {}}], "volumeMounts": [{"name": "csi", "mountPath": "/run/roothold/secrets"}]},
    {"config": {"databases": [{"name": "a", "kind": "sqlite", "path": "/a", "description": "not /run/roothold/secrets/a"}]}},
    *({"serviceMonitor": {"interval": interval}} for interval in ("5s", "30s", "60s", "1m")),
    *(
        {"config": {"databases": [{"name": "a", "kind": "postgres", "dsn": dsn}]}, "secret": {"env": {"DSN": "a-dsn"}}}
        for dsn in ["postgresql://u@h1:1,h2:2/pwd", "mysql://u@[::1]:3306/d", "${DSN}", "postgresql://u@h:5432/d", "host=h user=u dbname=passage", "postgresql://h/d?user=u"]
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
    for what, values, where in [*REFUSED, *refusals.REFUSED]:
        try:
            chart.template(values=values)
            checks.fail(f"refused: {what}", "it was rendered")
        except RuntimeError as error:
            checks.true(f"refused: {what}", where in str(error), error)


def takes(checks):
    for values in [*TAKEN, *refusals.TAKEN]:
        try:
            chart.template(values=values)
            checks.true(f"taken: {values}", True)
        except RuntimeError as error:
            checks.fail(f"taken: {values}", error)


def keeps_secrets_out(checks):
    """What git leaves out because it is secret must not get into an image's context either."""
    listed = {name: set((REPOSITORY / name).read_text().split()) for name in (".gitignore", ".dockerignore")}
    secret = {path for path in listed[".gitignore"] if path.startswith("deploy/")}
    checks.true("there are secrets that git leaves out", {"deploy/.env", "deploy/secrets"} <= secret, secret)
    checks.equal("the build context leaves them out, too", sorted(secret - listed[".dockerignore"]), [])


def measures(checks):
    """What is compared, derived and let in, by what is rendered."""
    try:
        chart.template(values={"resources": {"limits": {"memory": "1Q"}}}, more=["--skip-schema-validation"])
        checks.fail("an unknown unit is refused without the schema", "it was rendered")
    except RuntimeError as error:
        checks.true("an unknown unit is refused without the schema", '"1Q" is no quantity' in str(error), error)
    for size, wanted in [("9Gi", 8697308774), ("100Gi", 96636764160), ("1Gi", 966367641), ("1000M", 900000000)]:
        engine = chart.configuration(chart.template(values={"spill": {"sizeLimit": size}}))["dataset_engine"]
        checks.equal(f"on a volume of {size} is spilled", engine.get("spill_bytes_max"), wanted)
    none = {"spill": {"sizeLimit": "1Gi"}, "config": {"dataset_engine": {"spill_bytes_max": 0}}}
    checks.equal("or nothing", chart.configuration(chart.template(values=none))["dataset_engine"]["spill_bytes_max"], 0)
    public = {
        "ingress": {"enabled": True, "host": "a.example"},
        "gateway": {"enabled": True, "hostnames": ["b.example", "c.example", "a.example"], "parentRefs": [{"name": "g"}]},
    }
    hosts = chart.configuration(chart.template(values=public))["server"]["allowed_hosts"]
    checks.equal("every public host may be named", hosts[:3], ["a.example", "b.example", "c.example"])
    checks.true("each once, beside those of the cluster", hosts.count("a.example") == 1 and "roothold.roothold.svc" in hosts, hosts)


def knows_the_keys(checks):
    """The chart knows the keys of the configuration that the server does, by the page that is made of its code."""
    checks.equal("the chart knows the keys of the configuration", chart.known_keys(), chart.documented_keys())
    checks.equal("and their types", chart.wrong_types(), [])


def schemas_refuse(checks):
    """The checks above would pass if schemas took anything."""
    for kind, objects in {one["kind"]: one for one in chart.template(chart.CHART / "values/kubernetes.yaml")}.items():
        wrong = {**objects, "specs": {}}
        checks.true(f"a {kind} with a field too many is noticed", manifests.problems(wrong))


def keeps_promises(checks):
    objects = chart.template()
    deployment = chart.the("Deployment", objects)["spec"]
    spec = deployment["template"]["spec"]
    (container,) = spec["containers"]
    checks.equal("there are three replicas", deployment["replicas"], 3)
    checks.equal("they have the resources that they were made for", container["resources"], MEMORY)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    checks.equal("on port 8000, with the private one apart", ports, {"http": 8000, "private": 9464})
    values = {"shutdown": {"drainSeconds": 900}}
    longer = chart.the("Deployment", chart.template(values=values))["spec"]["template"]["spec"]
    checks.true("the grace grows with the time that it takes to end", longer["terminationGracePeriodSeconds"] > 900)
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in objects if one["kind"] == "Service"}
    checks.equal("clients' Service has no private port", [port["name"] for port in services["roothold"]], ["http"])
    scaled = chart.template(chart.CHART / "values/kubernetes.yaml")
    documented = re.search(r"`body_bytes_max` \| integer \| `(\d+)`", (REPOSITORY / "docs/configuration.md").read_text())
    wanted = f"{int(documented[1]) // 2**20}m"
    ingress = chart.the("Ingress", scaled)["metadata"]["annotations"]
    checks.equal("ingress-nginx takes bodies as large as the server", ingress["nginx.ingress.kubernetes.io/proxy-body-size"], wanted)
    nginx = (REPOSITORY / "deploy/nginx/roothold/calls.conf").read_text()
    checks.true("and nginx does", f"client_max_body_size {wanted};" in nginx)
    again = ingress["nginx.ingress.kubernetes.io/proxy-next-upstream"]
    checks.equal("ingress-nginx sends nothing again that was sent", again, "error timeout")
    single = chart.the("Deployment", chart.template(chart.CHART / "values/single.yaml"))["spec"]
    checks.equal("one replica on its own volume is replaced, not rolled", single["strategy"], {"type": "Recreate"})


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
    found = chart.configuration(chart.template(values={"config": more}))
    checks.equal("the configuration is the values' own", {key: found[key] for key in more}, more)
    numbers = [found["limits"]["calls_max"], *found["tools"][0]["parameters"][0]["enum"]]
    checks.true("whole numbers are whole", all(type(number) is int for number in numbers), numbers)
    rules = chart.the("PrometheusRule", chart.template(values={"prometheusRule": {"enabled": True, "runbookUrl": "https://wiki.example/r"}}))
    urls = {rule["annotations"]["runbook_url"] for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
    checks.true("alerts name the runbook that is given", urls and all(url.startswith("https://wiki.example/r#") for url in urls), urls)
    text = yaml.safe_dump_all(chart.template(values={"secret": {"create": True, "values": {"state-postgres": "CANARY", "handle-k1": "a", "keys.jsonl": "b"}}}))
    maps = [one for one in text.split("---") if "kind: ConfigMap" in one]
    checks.true("no secret is in the configuration", maps and "CANARY" not in maps[0])


def limits_the_network(checks):
    """Who may be reached is everybody at some ports, or as said."""

    def egress(**values):
        return chart.the("NetworkPolicy", chart.template(values={"networkPolicy": values}))["spec"]["egress"]

    dns = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    postgres = [{"port": 5432, "protocol": "TCP"}]
    checks.equal("DNS and PostgreSQL are reached anywhere", egress(), [{"ports": dns}, {"ports": postgres}])
    servers = [{"podSelector": {"matchLabels": {"app": "dns"}}}]
    database = {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": postgres}
    narrow = egress(dns=servers, egressPorts=[], egress=[database])
    checks.equal("or where it is said that they are, and nothing else", narrow, [{"ports": dns, "to": servers}, database])


def has_its_rules(checks):
    """They are a link out of the chart, which a package follows."""
    on = ["--set", "prometheusRule.enabled=true"]
    groups = len(chart.the("PrometheusRule", chart.template(more=on))["spec"]["groups"])
    with tempfile.TemporaryDirectory() as scratch:
        code, _, err = chart.run([chart.program("helm"), "package", chart.CHART, "--destination", scratch])
        (package,) = Path(scratch).glob("*.tgz")
        code, out, err = chart.run([chart.program("helm"), "template", "roothold", package, *on])
        found = [one["spec"]["groups"] for one in yaml.safe_load_all(out) if one and one["kind"] == "PrometheusRule"]
        checks.equal("a package of the chart has the rules", [len(one) for one in found], [groups])
        copy = Path(scratch) / "roothold"
        shutil.copytree(chart.CHART, copy, symlinks=True)
        for what, text in [("no rules", None), ("what a link becomes elsewhere", "../../../prometheus/roothold.rules.yaml"), ("an empty file", "")]:
            (copy / "files/rules.yaml").unlink(missing_ok=True)
            if text is not None:
                (copy / "files/rules.yaml").write_text(text)
            code, out, err = chart.run([chart.program("helm"), "template", "roothold", copy, *on])
            checks.true(f"a chart with {what} is refused", code != 0 and "files/rules.yaml of the chart has no rules" in err, (out + err)[-500:])


def rolls(checks):
    def checksum(**values):
        template = chart.the("Deployment", chart.template(values=values))["spec"]["template"]
        return template["metadata"]["annotations"]["checksum/config"]

    databases = {"databases": [{"name": "a", "kind": "sqlite", "path": "/db/a"}]}
    limits = {"limits": {"calls_max": 17}}
    checks.true("another configuration rolls", checksum() != checksum(config=databases))
    live = {"rollOnEveryChange": False}
    anna, two = ({"principals": [{"name": name} for name in names]} for names in (["anna"], ["anna", "ben"]))
    checks.equal("databases do not, if so wanted", checksum(**live), checksum(config=databases, **live))
    checks.equal("nor does policy", checksum(**live), checksum(config={"policy": {"write": ["out/**"]}}, **live))
    checks.equal("nor do principals", checksum(config=anna, **live), checksum(config=two, **live))
    checks.true("but the first one does, and the last one", checksum(**live) != checksum(config=anna, **live))
    checks.true("what needs a restart does", checksum(**live) != checksum(config=limits, **live))
    maps = [chart.the("ConfigMap", chart.template(values=values)) for values in ({}, {"config": databases}, live, {**live, "config": databases})]
    first, other, *in_place = [(one["metadata"]["name"], one.get("immutable", False)) for one in maps]
    checks.true("each configuration is a ConfigMap of its own that never changes", first[0] != other[0] and first[1] and other[1], (first, other))
    checks.equal("and one that changes where servers take changes from it", in_place, 2 * [("roothold", False)])


def main():
    checks = Checks("kube")
    parts = [renders, refuses, refusals.show_no_secret, takes, measures, limits_the_network, has_its_rules, keeps_secrets_out, knows_the_keys]
    parts += [schemas_refuse, keeps_promises, promises.keep, writes_toml, rolls]
    parts += [kubeapi.keeps_what_replicas_have, kustomize.is_committed, kustomize.can_be_begun_with, kustomize.takes_parts]
    parts += [kustomize.keeps_the_log, archive.moves_closed_files_alone, keys.are_revoked_in_a_secret]
    parts += [naming.rules_know_every_release, naming.dashboards_know_every_release]
    for part in [*parts, unit.is_sound, unit.lets_the_server_work, pod.is_accepted, pod.serves]:
        with checks.guard(part.__name__):
            part(checks)
    checks.finish()


if __name__ == "__main__":
    main()
