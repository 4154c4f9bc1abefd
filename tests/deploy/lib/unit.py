"""The unit of systemd: whether systemd takes it, and lets the server do what it does."""

import json
import re
import tempfile
from pathlib import Path

from lib.chart import run
from lib.setup import REPOSITORY, binary

UNIT = REPOSITORY / "deploy/systemd/roothold.service"
PROGRAM = "/usr/local/bin/roothold"
# From 0 to 10 in systemd's own judgement; what it counts here is that the network is used.
EXPOSURE_MAX = 2.0


def verify(text):
    """Returns what systemd says of a unit's text, and its exit code. The server need not be installed."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "roothold.service"
        path.write_text(text.replace(PROGRAM, binary("ROOTHOLD_BIN")))
        code, out, err = run(["systemd-analyze", "verify", "--man=no", path])
    return code, out + err


def is_sound(checks):
    text = UNIT.read_text()
    checks.equal("systemd takes the unit without a word", verify(text), (0, ""))
    for right, wrong in [("ProtectClock", "ProtectClok"), ("Type=notify", "Type=notfy")]:
        _, said = verify(text.replace(right, wrong))
        checks.true(f"{wrong} would be noticed", wrong.split("=")[-1] in said, said)
    for line in ("Type=notify", "WatchdogSec=60"):
        checks.true(f"the manager is told by the server: {line}", f"\n{line}\n" in text)
    # 2 is a wrong configuration, 75 what may pass, however long it takes.
    for line in ("Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitIntervalSec=0"):
        checks.true(f"an outage does not keep it down: {line}", f"\n{line}\n" in text)
    code, out, err = run(["systemd-analyze", "security", "--offline=true", UNIT])
    level = re.search(r"Overall exposure level for roothold.service: ([0-9.]+)", out)
    found = float(level[1]) if code == 0 and level else 10.0
    checks.true(f"systemd finds it hardly exposed ({found})", found <= EXPOSURE_MAX, out[-500:] + err)


def members(group, seen):
    """Returns the system calls of one of systemd's sets."""
    code, out, err = run(["systemd-analyze", "syscall-filter", group])
    if code:
        raise RuntimeError(err)
    for line in out.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@") and name not in seen:
            seen.add(name)
            members(name, seen)
        elif name and not name.startswith("#"):
            seen.add(name)
    return seen


def lets_the_server_work(checks):
    allowed = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), flags=re.MULTILINE):
        for word in words.split():
            members(word, allowed) if word.startswith("@") else allowed.add(word)
    profile = json.loads((REPOSITORY / "deploy/seccomp.json").read_text())
    rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    used = {name for rule in rules for name in rule["names"]}
    checks.true("the server's system calls are known", len(used) > 100)
    checks.equal("the unit lets all of them through", sorted(used - allowed), [])
