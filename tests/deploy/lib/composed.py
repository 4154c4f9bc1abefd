"""What compose.yaml mounts into the collector and into Grafana, neither of which can be run here: read, not tried.

Both are held against schemas that were written from their references for what is used, so that a word that they do not
know is noticed, and against compose.yaml: who is reached by which name, on which port and network, and where files lie.
"""

import json
import re
import tomllib

import jsonschema
import yaml

from lib.manifests import DURATION, TEXT, closed, listed
from lib.setup import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
NAMES = listed(TEXT)
WHOLE = {"type": "integer", "minimum": 1}
LEVEL = {"enum": ["none", "basic", "normal", "detailed"]}
# Of the collector's own image, which has fewer parts than the one `contrib`: those that are used.
COLLECTOR = closed(
    ["receivers", "processors", "exporters", "service"],
    receivers=closed(
        [],
        otlp=closed(
            ["protocols"],
            protocols=closed([], **{name: closed(["endpoint"], endpoint=TEXT) for name in ("grpc", "http")}),
        ),
    ),
    processors=closed(
        [],
        memory_limiter=closed(
            ["check_interval", "limit_mib"], check_interval=DURATION, limit_mib=WHOLE, spike_limit_mib=WHOLE
        ),
        batch=closed([], timeout=DURATION, send_batch_size=WHOLE, send_batch_max_size=WHOLE),
    ),
    exporters=closed([], debug=closed([], verbosity={"enum": ["basic", "normal", "detailed"]})),
    service=closed(
        ["pipelines"],
        telemetry=closed([], metrics=closed(["level"], level=LEVEL), logs=closed([], level=TEXT)),
        pipelines=closed(
            ["traces"], traces=closed(["receivers", "exporters"], receivers=NAMES, processors=NAMES, exporters=NAMES)
        ),
    ),
)
FLAG = {"type": "boolean"}
SOURCES = closed(
    ["apiVersion", "datasources"],
    apiVersion={"const": 1},
    datasources=listed(
        closed(
            ["name", "type", "url"],
            name=TEXT,
            uid=TEXT,
            type={"const": "prometheus"},
            access={"enum": ["proxy", "direct"]},
            url=TEXT,
            isDefault=FLAG,
            jsonData=closed([], timeInterval=DURATION),
        )
    ),
)
PROVIDERS = closed(
    ["apiVersion", "providers"],
    apiVersion={"const": 1},
    providers=listed(
        closed(
            ["name", "type", "options"],
            name=TEXT,
            folder={"type": "string"},
            type={"const": "file"},
            disableDeletion=FLAG,
            allowUiUpdates=FLAG,
            options=closed(["path"], path=TEXT),
        )
    ),
)


def read(path):
    return yaml.safe_load((DEPLOY / path).read_text())


def problems(schema, found):
    return [f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(found)]


def mounts(service):
    """Returns what a service of compose.yaml has mounted from `deploy`: its place in there by the path here."""
    pairs = (text.split(":") for text in service["volumes"])
    return {one[0].removeprefix("./"): one[1] for one in pairs if one[0].startswith("./")}


def mebibytes(service):
    return int(re.fullmatch(r"(\d+)M", service["deploy"]["resources"]["limits"]["memory"])[1])


def misnamed(settings):
    """Returns which parts the pipelines name that are not there, and which are there that none of them names."""
    found = []
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in settings["service"]["pipelines"].values() for name in pipeline.get(kind, [])}
        found += sorted(used ^ set(settings[kind]))
    return found


def collector_fits(checks):
    settings, services = read("collector/config.yaml"), read("compose.yaml")["services"]
    checks.equal("the collector's settings are as its reference says", problems(COLLECTOR, settings), [])
    checks.equal("its pipelines name all of its parts, and no others", misnamed(settings), [])
    wrong = settings | {"exporters": {"debug": {}, "nothing": {}}, "processors": {"batch": {}}}
    checks.equal("a part too many or too few would be noticed", misnamed(wrong), ["memory_limiter", "nothing"])
    checks.true("a word that it does not know would be, too", problems(COLLECTOR, settings | {"extension": {}}))
    service = services["collector"]
    checks.equal(
        "it reads the file that is mounted",
        service["command"],
        [f"--config={mounts(service)['collector']}/config.yaml"],
    )
    protocols = settings["receivers"]["otlp"]["protocols"]
    ports = {name: one["endpoint"] for name, one in protocols.items()}
    checks.equal("it listens where everyone looks for it", ports, {"grpc": "0.0.0.0:4317", "http": "0.0.0.0:4318"})
    told = tomllib.loads((DEPLOY / "config/roothold.toml").read_text())["telemetry"]["otlp_endpoint"]
    scheme, host, port = re.fullmatch(r"(\w+)://([\w-]+):(\d+)", told).groups()
    checks.equal(
        "which is where replicas send their traces",
        (scheme, host, f"0.0.0.0:{port}"),
        ("http", "collector", ports["grpc"]),
    )
    checks.true("on a network of theirs", set(service["networks"]) & set(services["roothold"]["networks"]))
    order = settings["service"]["pipelines"]["traces"]["processors"]
    checks.equal("it limits its memory before anything else", order[0], "memory_limiter")
    limiter = settings["processors"]["memory_limiter"]
    checks.true(
        "to less than its container has",
        limiter["spike_limit_mib"] < limiter["limit_mib"] < mebibytes(service),
        limiter,
    )


def grafana_fits(checks):
    services = read("compose.yaml")["services"]
    grafana, prometheus = services["grafana"], services["prometheus"]
    sources, providers = (
        read(f"grafana/provisioning/{name}.yaml") for name in ("datasources/prometheus", "dashboards/roothold")
    )
    checks.equal("Grafana's source is as its reference says", problems(SOURCES, sources), [])
    checks.equal("and so are its dashboards", problems(PROVIDERS, providers), [])
    checks.true("a word that it does not know would be noticed", problems(SOURCES, sources | {"datasource": []}))
    place = mounts(grafana)
    checks.equal("it finds both where it looks for them", place["grafana/provisioning"], "/etc/grafana/provisioning")
    (provider,), (source,) = providers["providers"], sources["datasources"]
    checks.equal("the dashboards are where they are mounted", provider["options"]["path"], place["grafana/dashboards"])
    # By its health check and by what is published of it.
    asked = re.search(r"127\.0\.0\.1:(\d+)/-/ready", " ".join(prometheus["healthcheck"]["test"]))[1]
    published = prometheus["ports"][0].rpartition(":")[2]
    checks.equal(
        "the source is compose's Prometheus, on its port",
        (source["url"], published),
        (f"http://prometheus:{asked}", asked),
    )
    checks.true("on a network of its own", set(grafana["networks"]) & set(prometheus["networks"]))
    interval = read("prometheus/prometheus.yml")["global"]["scrape_interval"]
    checks.equal("which scrapes as often as Grafana thinks", source["jsonData"]["timeInterval"], interval)
    boards = [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))]
    kinds = {one["query"] for board in boards for one in board["templating"]["list"] if one["type"] == "datasource"}
    checks.equal("dashboards choose among sources of its kind", kinds, {source["type"]})
    checks.equal("each dashboard has a name of its own", len({board["uid"] for board in boards}), len(boards))
