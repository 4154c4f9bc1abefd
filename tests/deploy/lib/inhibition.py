"""Which alert keeps which back, as a real Alertmanager with the routes that are deployed says by amtool.

Each case is told in a cluster of its own, so that none keeps back what belongs to another.
"""

import json
import subprocess
import time
import urllib.request
from pathlib import Path

from lib.process import server
from lib.watching import ROUTES, wait

PORT = 9193
URL = f"http://127.0.0.1:{PORT}"
SECONDS = 20
PLACE = {"namespace": "n", "job": "roothold", "instance": "a:9464", "disk": "audit", "kind": "postgres"}

WHERE = ("cluster", "namespace", "job")
ONE = (*WHERE, "instance")
# What fires, what it keeps back, and by which labels both must be alike.
CASES = [
    ("RootholdGone critical", "RootholdReplicaDown critical", WHERE),
    ("RootholdGone critical", "RootholdReplicasMissing warning", WHERE),
    ("RootholdGone critical", "RootholdNotReady warning", WHERE),
    ("RootholdAuditFailing critical", "RootholdNotReady warning", ONE),
    ("RootholdAuditFailing critical", "RootholdDiskNearlyFull warning", ONE),
    ("RootholdAuditFailing critical", "RootholdAuditDiskFills warning", ONE),
    ("RootholdDiskFull critical", "RootholdDiskNearlyFull warning", (*ONE, "disk")),
    ("RootholdDiskFull critical", "RootholdAuditDiskFills warning", (*ONE, "disk")),
    ("RootholdDiskNearlyFull warning", "RootholdAuditDiskFills warning", (*ONE, "disk")),
    ("RootholdDatabaseDown critical", "RootholdDatabaseRoleDown warning", (*ONE, "kind")),
    ("RootholdErrorBudgetBurns critical", "RootholdErrorBudgetBurns warning", WHERE),
    ("RootholdCallsSlow critical", "RootholdCallsSlow warning", WHERE),
]
# What keeps nothing of the other back, though all labels are alike.
APART = [
    ("RootholdErrorBudgetBurns critical", "RootholdCallsSlow warning"),
    ("RootholdReplicaDown critical", "RootholdNotReady warning"),
    ("RootholdDatabaseDown critical", "RootholdDatabaseRoleDisabled warning"),
]


def labels(alert, **more):
    name, severity = alert.split()
    return {"alertname": name, "severity": severity, **more}


class Told:
    """Alerts to tell, and what is to become of those that may be kept back."""

    def __init__(self):
        self.alerts = []
        self.wanted = {}

    def pair(self, source, target, where, other, is_kept, what):
        """Tells of both; what is said of the second is found again by its `case`."""
        self.alerts.append(labels(source, **where))
        case = f"{len(self.wanted)}"
        self.alerts.append(labels(target, **other, case=case))
        self.wanted[case] = (is_kept, f"{source}, {target}, {what}")


def told():
    made = Told()
    for at, (source, target, equal) in enumerate(CASES):
        cluster = {"cluster": f"c{at}", **PLACE}
        # A name of its own: what one case tells there may be what another keeps back.
        another = f"another-{at}"
        made.pair(source, target, cluster, cluster, True, "of the same")
        for label in equal:
            made.pair(source, target, cluster, cluster | {label: another}, False, f"of another {label}")
        machines = {name: value for name, value in PLACE.items() if name != "namespace"} | {"job": f"vm-{at}"}
        made.pair(source, target, machines, machines, True, "on the same machines")
        made.pair(source, target, machines, machines | {"job": another}, False, "on other machines")
        made.pair(source, target, machines, machines | {"namespace": "n"}, False, "on machines and in a cluster")
    for at, (source, target) in enumerate(APART):
        cluster = {"cluster": f"apart{at}", **PLACE}
        made.pair(source, target, cluster, cluster, False, "which are not about the same")
    gone = ("RootholdGone critical", "RootholdReplicasMissing warning", {"cluster": "nothing"})
    made.pair(*gone, {"cluster": "nothing", **PLACE}, True, "where nothing is known")
    made.pair(*gone, {"cluster": "something", **PLACE}, False, "where nothing is known elsewhere")
    return made


def kept_back():
    """Returns the cases whose alert is kept back."""
    command = ["amtool", f"--alertmanager.url={URL}", "--output=json", "alert", "query", "--inhibited", 'case=~".+"']
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return {alert["labels"]["case"] for alert in json.loads(done.stdout) if alert["status"]["inhibitedBy"]}


def post(alerts):
    starts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = json.dumps([{"labels": alert, "startsAt": starts} for alert in alerts]).encode()
    request = urllib.request.Request(f"{URL}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def is_as_told(checks, home, env):
    """Each alert keeps back what follows from it, and nothing of another cluster, namespace or job."""
    home = Path(home)
    command = ["prometheus-alertmanager", f"--config.file={ROUTES}", f"--storage.path={home}/inhibition"]
    command += [f"--web.listen-address=127.0.0.1:{PORT}", "--cluster.listen-address="]
    made = told()
    wanted = {case for case, (is_kept, _) in made.wanted.items() if is_kept}
    with server(command, f"{URL}/-/ready", env, home / "inhibition.log"):
        post(made.alerts)
        wait(lambda: wanted <= kept_back(), SECONDS)
        found = kept_back()
    wrong = [what for case, (is_kept, what) in made.wanted.items() if is_kept != (case in found)]
    checks.equal(f"of {len(made.wanted)} alerts those are kept back that follow from another", wrong, [])
