#!/usr/bin/env python3
"""A machine that systemd has booted, set up with what deploy/README.md says to type: the unit, Debian's nginx, a second unit."""

import http.client
import json
import shutil
import sqlite3
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from lib import keys
from lib.balancer import client
from lib.checks import Checks
from lib.engine import until
from lib.image import nginx
from lib.load import Load
from lib.machine import Machine
from lib.mcp import call, message
from lib.readme import blocks
from lib.setup import REPOSITORY, binary

SERVER = ("127.0.0.1", 443)
NAME = "mcp.example.com"
CONFIGURATION = f"""
[server]
public_url = "https://{NAME}/mcp"

[[roots]]
uri = "file:///notes"
path = "/srv/notes"

[auth]
keys_file = "keys.jsonl"

[handles]
keys = ["k1:${{HANDLE_KEY}}"]
"""
DATABASES = ("shop", "ledger")
DATABASE = """
[[databases]]
name = "{name}"
kind = "sqlite"
path = "/srv/db/{name}.sqlite3"
"""
# What the journal says of a configuration that was read again.
TAKEN = "the configuration was read again"
REFUSED = "the configuration was not taken"
EDITOR = """#!/bin/sh
# Writes what somebody would write.
test ! -e "/src/edited/${1##*/}" || cp "/src/edited/${1##*/}" "$1"
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
START_SECONDS = 20


def files(directory):
    """Lays out what somebody has when they begin: the program, `deploy`, and what they would write."""
    directory.mkdir()
    shutil.copytree(REPOSITORY / "deploy", directory / "deploy", ignore=shutil.ignore_patterns("secrets", ".env"))
    subprocess.run(["strip", "-o", directory / "roothold", binary("ROOTHOLD_BIN")], check=True)
    shutil.copy(nginx(), directory / "newer-nginx")
    (directory / "edited").mkdir()
    (directory / "edited" / "roothold.toml").write_text(CONFIGURATION + DATABASE.format(name="shop"))
    (directory / "edited" / "roothold.env").write_text(f"HANDLE_KEY={'A' * 43}\n")
    (directory / "editor").write_text(EDITOR)
    (directory / "editor").chmod(0o755)
    return directory


def has(machine):
    """Puts there what a machine has before: files to serve, a certificate, the name in its own list of hosts."""
    (machine.root / "srv/notes").mkdir()
    (machine.root / "srv/notes/a.md").write_text("a note\n")
    (machine.root / "srv/db").mkdir()
    for name in DATABASES:
        with sqlite3.connect(machine.root / f"srv/db/{name}.sqlite3") as database:
            database.execute("CREATE TABLE orders (id INTEGER)")
    (machine.root / "etc/hosts").write_text(f"127.0.0.1 localhost {NAME}\n::1 localhost\n")
    place = machine.root / "etc/letsencrypt/live" / NAME
    subprocess.run([REPOSITORY / "deploy/certificates", place, NAME], check=True, capture_output=True)
    (place / "server.crt").rename(place / "fullchain.pem")
    (place / "server.key").rename(place / "privkey.pem")
    return client(place / "ca.crt")


def typed(machine, heading, number=0):
    """Runs a block of the README as it stands, in one shell."""
    return machine.says(blocks(heading)[number], EDITOR="/src/editor")


def starts_the_unit(checks, machine):
    said = typed(machine, "One machine, with systemd")
    checks.true("what is to be typed works, `systemd-run` included", "listen" in said, said)
    checks.equal("the unit runs", machine.says("systemctl is-active roothold").strip(), "active")
    who = machine.says("stat -c %U /proc/$(systemctl show -P MainPID roothold)").strip()
    checks.equal("as its own user", who, "roothold")
    status = machine.says("systemctl status --no-pager roothold")
    checks.true("and says so", "Status:" in status, status)
    with checks.guard("a reload"):
        reloads(checks, machine)
    path = machine.root / "etc/roothold/roothold.toml"
    right = path.read_text()
    path.write_text(right + "[limits]\ncalls_max = 0\n")
    code, said = machine.run("systemctl restart roothold")
    checks.true("a wrong configuration is told when it is started", code != 0, said)
    until(lambda: machine.run("systemctl is-failed roothold")[0] == 0, START_SECONDS, "it is started again and again")
    path.write_text(right)
    machine.says("systemctl reset-failed roothold; systemctl start roothold")


def reloads(checks, machine):
    """A configuration is read again when systemd is asked for it; one that is wrong is refused, and both are told."""
    path = machine.root / "etc/roothold/roothold.toml"
    right = path.read_text()

    def journal():
        return machine.says("journalctl --no-pager --output=cat --unit=roothold").splitlines()

    def told(words):
        return [line for line in journal() if words in line]

    def databases():
        with urllib.request.urlopen("http://127.0.0.1:9464/status", timeout=10) as answer:
            return sorted(one["name"] for one in json.load(answer)["databases"])

    def status():
        return machine.says("systemctl show --property=StatusText roothold")

    def reload(comes_about, otherwise):
        machine.says("systemctl reload roothold")
        until(comes_about, START_SECONDS, otherwise, lambda: "\n".join(journal()[-5:]))

    checks.equal("before a reload nothing is read again", told(TAKEN), [])
    # The file is as it was, so that nothing else gives reason to read it.
    reload(lambda: told(TAKEN) and "read again" in status(), "a reload is not told")
    checks.ok("a reload is told in the journal and by `systemctl status`")
    path.write_text(right + DATABASE.format(name="ledger"))
    reload(lambda: databases() == sorted(DATABASES), "what was added is not there")
    checks.ok("what was added to the configuration is there then")
    path.write_text(right + "[limits]\ncalls_max = 0\n")
    reload(lambda: told(REFUSED) and "was not taken" in status(), "a refusal is not told")
    checks.true("a wrong one is refused, and the journal says why", "calls_max" in told(REFUSED)[-1], told(REFUSED))
    checks.equal("and changes nothing", databases(), sorted(DATABASES))
    checks.equal("the unit runs on", machine.says("systemctl is-active roothold").strip(), "active")
    path.write_text(right)
    reload(lambda: databases() == ["shop"] and "read again" in status(), "the right one is not taken again")
    checks.ok("the right one is taken again")


def serves_through_nginx(checks, machine, tls):
    typed(machine, "With nginx before it")
    code, said = machine.run("nginx -t")
    checks.true("Debian's nginx takes the site without a word", code == 0 and "warn" not in said, said)
    code, said = machine.run("./newer-nginx -t -c /etc/nginx/nginx.conf")
    checks.true("a newer one does, too", code == 0 and "warn" not in said, said)
    ask = f"SSL_CERT_FILE=/etc/letsencrypt/live/{NAME}/ca.crt " + blocks("With nginx before it")[1]
    checks.true("a call as the README has it is answered", "file:///notes" in machine.says(ask), ask)

    def asked(**more):
        return call(SERVER, tls, "read_text_file", {"path": "/notes/a.md"}, host=NAME, **more)

    status, headers, _ = asked()
    checks.equal("without a token: 401", (status, "www-authenticate" in headers), (401, True))
    key = (machine.files / "agents.key").read_text().strip()
    parent = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
    status, headers, body = asked(key=key, headers=[parent])
    checks.true("with one: 200", status == 200 and "a note" in json.dumps(message(headers, body)), body)
    logged = (machine.root / "var/log/nginx/roothold.access.log").read_text()
    lines = [json.loads(line) for line in logged.splitlines()]
    found = [(line["status"], line["path"], line["request_id"]) for line in lines if line["trace"] == TRACE]
    checks.equal("nginx logs it to a file", found, [(200, "/mcp", headers["x-request-id"])])
    checks.true("without a credential", key not in logged and "Bearer" not in logged)
    other = call(SERVER, tls, "listRoots", {}, host="other.example", key=key)[0]
    checks.equal("by another name: refused", other, 403)
    outside = http.client.HTTPSConnection(*SERVER, context=tls, timeout=10)
    outside.request("GET", "/health")
    checks.equal("the unit's health is for nobody outside", outside.getresponse().status, 404)
    return key


def status(tls, key):
    return call(SERVER, tls, "listRoots", {}, host=NAME, key=key)[0]


def has_two_units(checks, machine, tls, key):
    """One unit after the other is started anew, and no call fails."""
    typed(machine, "With nginx before it", 2)
    # Of this nginx, connections to the workers before a reload break; none of those is to be left.
    machine.says("systemctl restart nginx")
    # Less than nginx lets one caller ask for.
    with Load(SERVER, [key] * 4, tls=tls, pause=0.09, writes=False) as load:
        load.wait_for(100, 60)
        meanwhile = []
        for unit in ("roothold", "roothold-2"):
            before = load.tally.calls
            machine.says(f"systemctl restart {unit}")
            meanwhile.append(load.tally.calls - before)
            load.wait_for(load.tally.calls + 100, 60)
    calls = load.tally.calls
    failed = load.tally.failures
    print(f"note  two units, started anew in turn: {calls} calls, {meanwhile} of them meanwhile, {len(failed)} failed")
    checks.equal("two units: started anew, no call fails", failed[:5], [])
    many = calls >= 300 and all(meanwhile)
    checks.true("two units: there were hundreds of calls, also while one was away", many, (calls, meanwhile))
    boots = {json.loads(file.read_text().splitlines()[0])["replica"] for file in (machine.root / "var/lib/roothold/audit").glob("*.jsonl")}
    checks.equal("two units: each has a name in the audit log", len(boots), 2)


def main():
    checks = Checks("machine")
    with (
        checks.guard("the machine boots"),
        tempfile.TemporaryDirectory(prefix="rh-machine-") as scratch,
        Machine(scratch, files(Path(scratch) / "src")) as machine,
    ):
        tls = has(machine)
        with checks.guard("the unit"):
            starts_the_unit(checks, machine)
        with checks.guard("nginx"):
            key = serves_through_nginx(checks, machine, tls)
            has_two_units(checks, machine, tls, key)
        with checks.guard("keys"):
            keys.are_revoked_on_a_machine(checks, machine, lambda key: status(tls, key))
    checks.finish()


if __name__ == "__main__":
    main()
