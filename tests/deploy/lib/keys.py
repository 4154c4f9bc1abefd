"""Keys that are revoked as docs/runbook.md says: on a machine with the unit, and in a Secret of Kubernetes."""

import base64
import json
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from lib import chart
from lib.engine import until
from lib.readme import blocks
from lib.setup import binary

RUNBOOK = "docs/runbook.md"
CHANGE_SECONDS = 30
# Letters that mean something to a shell, and nothing to systemd.
SECRET = "a$HOME;b c&d"
# Does to a file what the API does to an object: `get` and `patch` are kubectl's own.
KUBECTL = """#!/bin/sh
shift 2
verb=$1
shift 3
case $verb in
  get) exec {kubectl} patch --local -f secret.yaml --patch '{{}}' "$@" ;;
  patch) {kubectl} patch --local -f secret.yaml "$@" -o yaml > secret.new && mv secret.new secret.yaml ;;
esac
"""


def are_revoked_on_a_machine(checks, machine, status):
    """`status` says how a call with a key is answered: by one unit or the other, which nobody restarts."""
    environment = machine.root / "etc/roothold/roothold.env"
    before = environment.read_text()
    environment.write_text(f"{before}SECRET={SECRET}\n")
    (function,) = blocks("Where to ask", RUNBOOK)
    shown = machine.says(function.replace("/usr/local/bin/roothold", "/usr/bin/env") + "\nroothold")
    checks.true("the runbook's command has the unit's secrets as they are", f"SECRET={SECRET}\n" in shown, shown)
    environment.write_text(before)
    file = "--config /etc/roothold/roothold.toml"
    key = machine.says(f"{function}\nroothold keys new agents {file} 2>/dev/null").strip()

    def statuses():
        return {status(key) for _ in range(6)}

    until(lambda: statuses() == {200}, CHANGE_SECONDS, "the new key is not taken up")
    entries = machine.says(f"{function}\nroothold keys list --json {file}").splitlines()
    machine.says(f"{function}\nroothold keys revoke {json.loads(entries[-1])['id']} {file}")
    until(lambda: statuses() == {401}, CHANGE_SECONDS, "the revoked key is not refused")
    checks.ok("a revoked key is refused by each unit")


def are_revoked_in_a_secret(checks):
    """The commands of the runbook as they stand, with a file in place of the cluster's object."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        (home / "kubectl").write_text(KUBECTL.format(kubectl=chart.program("kubectl")))
        (home / "kubectl").chmod(0o755)
        (home / "roothold").symlink_to(binary("ROOTHOLD_BIN"))
        env = os.environ | {"PATH": f"{home}:{os.environ['PATH']}"}

        def typed(text):
            done = subprocess.run(["bash", "-ec", text], cwd=home, env=env, capture_output=True, text=True, timeout=60)
            if done.returncode:
                raise RuntimeError(f"{done.returncode}: {done.stderr}{done.stdout}")
            return done.stdout

        for name in ("a", "b"):
            typed(f"roothold keys new {name} --file made.jsonl")
        keys = home / "made.jsonl"
        data = {"handle-k1": "eA==", "keys.jsonl": base64.b64encode(keys.read_bytes()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "roothold"}, "data": data}
        (home / "secret.yaml").write_text(yaml.safe_dump(secret))
        first = json.loads(typed("roothold keys list --json --file made.jsonl").splitlines()[0])["id"]
        (block,) = blocks("Revoking a key", RUNBOOK)
        typed(block.replace("revoke ID", f"revoke {first}"))
        after = yaml.safe_load((home / "secret.yaml").read_text())["data"]
        keys.write_bytes(base64.b64decode(after.pop("keys.jsonl")))
        listed = typed("roothold keys list --file made.jsonl").splitlines()
        revoked = [line.split()[1] for line in listed if " revoked " in line]
        checks.equal("a key is revoked in the Secret, and no other one", (revoked, len(listed)), (["a"], 2))
        checks.equal("where all else is as before", after, {"handle-k1": "eA=="})
        left = sorted(path.name for path in home.iterdir())
        checks.equal("and no copy is left", left, ["kubectl", "made.jsonl", "roothold", "secret.yaml"])
