"""Metrics, dashboards and alerts, with the real Prometheus and Alertmanager.

First what can be told by looking: the rules' own cases, routes, a section of the runbook for each alert, names that
the server knows, what compose mounts of the collector and Grafana. Then three loaded replicas are scraped: every query
of every dashboard and of its variables finds something. Then a replica is killed, a database stopped, the disk of an
audit log filled and a flood of denied calls begun: each is told at a webhook, and told to be over once it is mended.
"""

import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from lib import composed, inhibition
from lib.checks import Checks
from lib.setup import REPOSITORY, environment
from lib.watched import Load, Postgres, ROLE, Replica
from lib.watching import DEPLOY, NAMESPACE, ROUTES, RULES, Hook, Watching, label_values, query, wait

FIRE_SECONDS = 60
MEND_SECONDS = 100
LOAD_SECONDS = 60
PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
# What may be true of the machine that runs this, and says nothing of the server.
OF_THE_MACHINE = re.compile("RootholdCallsSlow|RootholdAuditLags|RootholdThrottled|RootholdMemory.*|RootholdDisk.*|RootholdAuditDiskFills")
UNSEEN = re.compile("RootholdGone|RootholdReplicaDown")
CHOSEN = {"$__rate_interval": "20s", "$job": ".*", "$namespace": ".*", "$instance": ".*"}
# What asks for the values of a variable, `label_values(SERIES, LABEL)`.
OFFERED = re.compile(r"label_values\((.+), (\w+)\)")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    return done.returncode, done.stdout, done.stderr


def alerts():
    """Returns the names of the alerts and their severities."""
    return re.findall(r"- alert: (\w+)[\s\S]*?severity: (\w+)", RULES.read_text())


def expressions():
    """Returns every query of the dashboards, with the panel it belongs to."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in CHOSEN.items():
                    expression = expression.replace(name, value)
                yield f"{path.stem}: {panel['title']}", expression


def check_rules(checks):
    """The rules fire when they should, and when not they do not."""
    home = RULES.parent
    jobs = [
        (["promtool", "check", "config", home / "prometheus.yml"], "the configuration of Prometheus is valid"),
        (["promtool", "test", "rules", home / "roothold.tests.yaml"], "each alert fires in its cases and only there"),
        (["promtool", "test", "rules", home / "roothold.replicas.tests.yaml"], "what is said of replicas is as its cases say"),
        (["promtool", "test", "rules", home / "roothold.objectives.tests.yaml"], "burn rates are as their cases say"),
        (["promtool", "test", "rules", home / "roothold.hours.tests.yaml"], "what shows after hours is as its cases say"),
        (["amtool", "check-config", ROUTES], "the configuration of Alertmanager is valid"),
    ]
    done = {}

    def work(command, what):
        done[what] = run(*command)

    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for severity, receiver in (("critical", "pager"), ("warning", "tickets"), ("info", "notes"), ("else", "tickets")):
        code, said, _ = run("amtool", "config", "routes", "test", f"--config.file={ROUTES}", f"severity={severity}")
        checks.equal(f"what is {severity} goes to {receiver}", (code, said.strip()), (0, receiver))
    for thread in threads:
        thread.join()
    for _, what in jobs:
        code, said, more = done.get(what, (1, "", "it did not end"))
        checks.true(what, code == 0, (said + more)[-3000:])


def check_texts(checks):
    """What belongs together is together."""
    names = sorted({name for name, _ in alerts()})
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text()
    sections = sorted(re.findall(r"^## (Roothold\w+)$", runbook, re.M))
    checks.equal("every alert has a section in the runbook, and every section an alert", sections, names)
    links = sorted(set(re.findall(r"runbook_url: https://[^\s#]+/docs/runbook\.md#(\w+)", RULES.read_text())))
    checks.equal("every alert names its section", links, sorted(name.lower() for name in names))
    cases = "".join(path.read_text() for path in RULES.parent.glob("*.tests.yaml"))
    tested = sorted(set(re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing"\}\n', cases)))
    checks.equal("every alert has a case", tested, names)
    quiet = [name for name in names if not re.search(rf'alertname="{name}"[^\n]*\n[^\n]*\n *exp_samples: \[\]', cases)]
    checks.equal("every alert has a case in which it keeps quiet", quiet, [])
    known = set(re.findall(r"^\| `(\w+)`", (REPOSITORY / "docs" / "metrics.md").read_text(), re.M))
    written = RULES.read_text() + "".join(expression for _, expression in expressions())
    used = set(re.findall(r"\b(?:mcp_server|process|roothold)_\w+(?![:\w])", written))
    used -= set(re.findall(r"name: (roothold_\w+)", written))
    histograms = {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    checks.equal("rules and dashboards use metrics that are described", sorted(used - known - histograms), [])
    spec = importlib.util.spec_from_file_location("dashboards", DEPLOY / "grafana" / "dashboards.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    kept = {path.name: path.read_text() for path in DASHBOARDS}
    checks.true("the dashboards are those that their script makes", maker.made() == kept, "run deploy/grafana/dashboards.py")


def check_layout(checks):
    """Grafana shows what is placed in its grid, once each, from the chosen source."""
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            whole = not cells & taken and place["x"] + place["w"] <= 24
            if not whole or panel["datasource"]["uid"] != "${datasource}" or not panel["targets"]:
                checks.fail(f"{path.stem}: {panel['title']} is placed")
            taken |= cells
        ids = [panel["id"] for panel in panels]
        checks.equal(f"{path.stem}: every panel has an id of its own", len(set(ids)), len(panels))


def check_dashboards(checks):
    """Every query finds something, and what it finds is a number."""
    empty = {}

    def all_found():
        empty.clear()
        for panel, expression in expressions():
            found = query(expression)
            if not any(not math.isnan(number) for _, number in found):
                empty[f"{panel}: {expression}"] = found
        return not empty

    wait(all_found, LOAD_SECONDS)
    count = len(list(expressions()))
    checks.true(f"all {count} queries of {len(DASHBOARDS)} dashboards find something", not empty, "\n".join(empty))


def check_variables(checks, replicas):
    """Each variable of each dashboard offers what there is, whatever was chosen before it: all, or one."""
    wanted = {
        "job": ["roothold"],
        "namespace": [NAMESPACE],
        "instance": sorted(f"127.0.0.1:{one.private}" for one in replicas),
    }
    for path in DASHBOARDS:
        chosen = {"all": {}, "the first": {}}
        variables = [one for one in json.loads(path.read_text())["templating"]["list"] if one["type"] == "query"]
        checks.equal(f"{path.stem}: its variables", [one["name"] for one in variables], list(wanted))
        for one in variables:
            name = one["name"]
            for how, values in chosen.items():
                text = one["query"]["query"]
                for before, value in values.items():
                    text = text.replace(f"${before}", value)
                asked = OFFERED.fullmatch(text)
                found = sorted(label_values(*asked.groups())) if asked and "$" not in text else text
                checks.equal(f"{path.stem}: ${name} offers what there is, behind {how}", found, wanted[name])
                values[name] = one["allValue"] if how == "all" else wanted[name][0]


class Flood:
    """A client that asks again and again for what it may not have."""

    def __init__(self, replica):
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=[replica], daemon=True)
        self._thread.start()

    def _run(self, replica):
        while not self._stop.is_set():
            replica.call("read_text_file", path="/work/.env")
            self._stop.wait(0.02)

    def end(self):
        self._stop.set()
        self._thread.join(30)


def fill_disk(directory):
    with open(directory / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass


def check_alerts(checks, hook, replicas, postgres):
    """Each fault is told, and that it is over."""
    killed, full, other = replicas
    at = {one: f"127.0.0.1:{one.private}" for one in replicas}
    cases = [
        ("a replica is killed", "pager", "RootholdReplicaDown", {"instance": at[killed]}),
        ("a database is stopped", "pager", "RootholdDatabaseDown", {"instance": at[other], "kind": "postgres"}),
        ("the audit log's disk is full", "pager", "RootholdAuditFailing", {"instance": at[full]}),
        ("denied calls come in a flood", "tickets", "RootholdDenialSpike", {"job": "roothold"}),
    ]
    killed.kill()
    postgres.stop()
    fill_disk(full.home / "audit")
    flood = Flood(other)

    def provoke():
        # A log has room in the block that it ends in, and nobody looks at a database that nobody asks.
        full.call("read_text_file", path="/work/note.txt")
        other.call("query_database", database="shop", sql="SELECT 1")

    def all_told(status):
        provoke()
        return all(hook.has(to, status, name, **labels) for _, to, name, labels in cases)

    wait(lambda: all_told("firing"), FIRE_SECONDS)
    for what, to, name, labels in cases:
        checks.true(f"{what}: {name} fires at the {to}", hook.has(to, "firing", name, **labels), hook.names())
    checks.equal("a replica whose audit log fails takes no traffic", full.get("/ready"), 503)
    keeps_back(checks, hook, at[full])
    flood.end()
    (full.home / "audit" / "filler").unlink()
    postgres.start()
    killed.start()
    wait(lambda: all_told("resolved"), MEND_SECONDS)
    for what, to, name, labels in cases:
        checks.true(f"{what} no more: {name} is resolved", hook.has(to, "resolved", name, **labels), hook.names())
    checks.equal("the replica takes traffic again without a restart", full.get("/ready"), 200)


def keeps_back(checks, hook, instance):
    """What follows from a broken audit log fires, too, and is not told besides."""
    series = f'ALERTS{{alertname="RootholdNotReady", alertstate="firing", instance="{instance}"}}'
    checks.true("what follows from a broken audit log fires", wait(lambda: query(series), FIRE_SECONDS))
    # Longer than Alertmanager waits for more of a group, which is a second here.
    time.sleep(3)
    told = hook.has("tickets", "firing", "RootholdNotReady", instance=instance)
    checks.true("and is not told besides", not told, hook.names())


def all_are_seen():
    up = [number for _, number in query('up{job="roothold"}')]
    return up == [1, 1, 1] and not query('ALERTS{alertstate="firing"}')


def nothing_fires(checks, hook):
    """On servers that are well. One that a busy machine keeps from answering within a second is down to Prometheus here."""
    late = [labels["instance"] for labels, number in query('min_over_time(up{job="roothold"}[10m])') if number == 0]
    if late:
        print(f"note  replicas that were not scraped within a second: {late}")
    excused = [OF_THE_MACHINE] + [UNSEEN] * bool(late)
    told = {name for name, status in hook.names() if status == "firing"}
    told = sorted(name for name in told if not any(one.fullmatch(name) for one in excused))
    checks.equal("nothing fires on servers that are well", told, [])


def check_live(checks, home):
    env = environment(home)
    for name in ("ROOTHOLD_AUDIT__DIR", "ROOTHOLD_TELEMETRY__LISTEN"):
        env.pop(name, None)
    postgres = Postgres(home / "postgres")
    replicas = [Replica(number, home / f"replica-{number}", env) for number in (1, 2, 3)]
    disk = replicas[1].home / "audit"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    try:
        postgres.start()
        postgres.say("postgres", "CREATE DATABASE shop")
        postgres.say("shop", ROLE)
        for replica in replicas:
            replica.start()
        datasets = "tools" in replicas[0].ask("tools/list") and any(
            tool["name"] == "query_dataset" for tool in replicas[0].ask("tools/list")["tools"]
        )
        with Hook() as hook, Watching(home / "watching", [one.private for one in replicas], env):
            wait(all_are_seen, LOAD_SECONDS)
            # Until then nobody could be seen.
            hook.forget()
            with Load(replicas, datasets):
                check_dashboards(checks)
                check_variables(checks, replicas)
                nothing_fires(checks, hook)
            check_alerts(checks, hook, replicas, postgres)
    finally:
        for replica in replicas:
            replica.stop()
        postgres.stop()
        subprocess.run(["umount", "--lazy", disk], check=False)


def main():
    checks = Checks("monitor")
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        checks.fail("Prometheus and Alertmanager are installed", f"missing: {missing}")
        checks.finish()
    home = Path(tempfile.mkdtemp(prefix="rh-monitor-"))
    home.chmod(0o755)
    static = threading.Thread(target=check_still, args=[checks, home], daemon=True)
    static.start()
    guarded(checks, "texts", check_texts)
    guarded(checks, "layout", check_layout)
    with checks.guard("replicas are watched"):
        check_live(checks, home)
    static.join(180)
    shutil.rmtree(home, ignore_errors=True)
    checks.finish()


def check_still(checks, home):
    """What needs no server."""
    guarded(checks, "rules", check_rules)
    guarded(checks, "the collector's settings", composed.collector_fits)
    guarded(checks, "Grafana's settings", composed.grafana_fits)
    with checks.guard("inhibition can be looked at"):
        inhibition.is_as_told(checks, home, environment(home / "still"))


def guarded(checks, what, check):
    with checks.guard(f"{what} can be looked at"):
        check(checks)


if __name__ == "__main__":
    sys.exit(main())
