"""That rules and dashboards know a release by the labels that it is scraped with, whatever it is called."""

import json
import re

from lib import chart
from lib.setup import REPOSITORY

MONITORED = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
# Names of a release, and values of the chart that make others of them.
NAMES = [
    ("roothold", {}),
    ("tools", {}),
    ("tools", {"nameOverride": "agents"}),
    ("tools", {"fullnameOverride": "a-9"}),
    ("agents", {"nameOverride": "agents"}),
    ("roothold", {"nameOverride": "files", "fullnameOverride": "files"}),
    ("a-release-whose-name-leaves-hardly-room-for-another", {"nameOverride": "b"}),
]
SELECTOR = re.compile(r'\b(job|deployment)(=~|=)"([^"]*)"')


def scraped(objects):
    """Returns the label `job` of the targets of a ServiceMonitor, by the Services that it selects, as the operator of
    Prometheus makes it: the Service's name, else the value of its label that `jobLabel` names; then `relabelings`."""
    monitor = chart.the("ServiceMonitor", objects)["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    (endpoint,) = monitor["endpoints"]
    jobs = {}
    for service in (one for one in objects if one["kind"] == "Service"):
        meta, ports = service["metadata"], [port["name"] for port in service["spec"]["ports"]]
        if wanted <= meta["labels"].items() and endpoint["port"] in ports:
            labels = {"job": meta["labels"].get(monitor.get("jobLabel"), meta["name"])}
            for rule in endpoint.get("relabelings", []):
                # Without source labels everything matches, and the whole is replaced.
                labels[rule["targetLabel"]] = rule["replacement"]
            jobs[meta["name"]] = labels["job"]
    return jobs


def selects(selector, value):
    _, how, wanted = selector
    return value == wanted if how == "=" else re.fullmatch(wanted, value) is not None


def rules_know_every_release(checks):
    for release, values in NAMES:
        objects = chart.template(values={**MONITORED, **values}, release=release)
        deployment = chart.the("Deployment", objects)["metadata"]["name"]
        jobs = scraped(objects)
        what = f"{release} {values or ''}".strip()
        checks.equal(f"{what}: the private Service alone is scraped, as a job of a fixed name", list(jobs.values()), ["roothold"])
        rules = [rule for group in chart.the("PrometheusRule", objects)["spec"]["groups"] for rule in group["rules"]]
        found = {match.groups() for rule in rules for match in SELECTOR.finditer(rule["expr"])}
        for name, value in [("job", jobs.popitem()[1] if jobs else ""), ("deployment", deployment)]:
            of_name = [one for one in found if one[0] == name]
            missed = [one for one in of_name if not selects(one, value)]
            checks.true(f"{what}: every rule's {name} is that of {value}", of_name and not missed, missed)
    checks.true("another job or Deployment is none of these", not any(selects(one, "prometheus") for one in found), found)


def dashboards_know_every_release(checks):
    """A dashboard selects the jobs that its variable offers, which are all that there are."""
    for path in sorted((REPOSITORY / "deploy/grafana/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        asked += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
        found = {match.groups() for query in asked for match in SELECTOR.finditer(query)}
        checks.equal(f"{path.stem}: jobs are chosen, not known by name", found, {("job", "=~", "$job")})
        (job,) = [one["query"]["query"] for one in board["templating"]["list"] if one["name"] == "job"]
        checks.equal(f"{path.stem}: every job can be chosen", job, "label_values(roothold_build_info, job)")
