#!/usr/bin/env python3
"""What goes wrong around a server: it is ended while it starts, has no file descriptors left, its directories are
taken away, its clients vanish. Each server is a process in this script's own namespaces.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import tempfile
import time

from lib import tokens
from lib.alone import FULL, HERE, Server, limited
from lib.checks import Checks
from lib.engine import until
from lib.load import Load
from lib.mcp import Broken, answer, call, message, request
from lib.watched import POSTGRES, ROLE, Postgres

STARTS = 24
RELOADS = 10 if FULL else 4
DESCRIPTORS = 64


def ended_while_it_starts(checks, scratch):
    """SIGTERM at any moment of the start: it ends, at once, and leaves a chain that is whole."""
    server = Server(scratch, "starts")
    began = time.monotonic()
    with server.running():
        took = time.monotonic() - began
    codes = []
    for attempt in range(STARTS):
        child = server.begin()
        # Up to half again as long as a start takes on this machine.
        time.sleep(1.5 * took * attempt / STARTS)
        child.send_signal(signal.SIGTERM)
        codes.append(child.wait(20))
    # Before it listens for signals the kernel ends it.
    wanted = {0, -signal.SIGTERM}
    checks.equal("ended while it starts: cleanly, or before it began", set(codes) - wanted, set())
    checks.true("ended while it starts: some had begun", 0 in codes, codes)
    whole, said = server.verified()
    checks.true("ended while it starts: its logs are whole", whole, said)
    with server.running():
        checks.equal("ended while it starts: the next one serves", server.read("kept"), "of kept\n")


def ended_while_it_reloads(checks, scratch):
    """SIGTERM at any moment of a reload, of a good configuration and of a bad one: it ends with 0 and a whole log."""
    server = Server(scratch, "reloads")
    file = server.home / "roothold.toml"
    good = file.read_text()
    codes = []
    for attempt in range(RELOADS):
        with server.running():
            file.write_text(good if attempt % 2 else good + "[nothing]\n")
            server.child.send_signal(signal.SIGHUP)
            time.sleep(attempt * 0.002)
            server.child.send_signal(signal.SIGTERM)
            codes.append(server.child.wait(20))
        file.write_text(good)
    checks.equal("ended while it reloads: with 0 each time", set(codes), {0})
    whole, said = server.verified()
    checks.true("ended while it reloads: its logs are whole", whole, said)
    stopped = said.count("stopped in order")
    checks.equal("ended while it reloads: each ended its log", stopped, RELOADS)


class Kept:
    """Connections that are kept, on which calls go on while no other connection is accepted."""

    def __init__(self, count):
        self.runner = asyncio.Runner()
        self.streams = [self.runner.run(asyncio.open_connection(*HERE)) for _ in range(count)]
        self.turn = 0
        self.done = 0
        self.refused = 0
        self.odd = []
        self.recorded = set()

    def call(self, tool, arguments):
        """Makes a call, and counts what became of it: done, refused as one to be made again, or neither."""
        reader, writer = self.streams[self.turn % len(self.streams)]
        self.turn += 1

        async def exchange():
            writer.write(b"".join(request(tool, arguments)))
            return await asyncio.wait_for(answer(reader), 20)

        try:
            status, headers, body = self.runner.run(exchange())
        except (Broken, OSError, TimeoutError) as broken:
            self.odd.append(f"{type(broken).__name__}: {broken}")
            return
        if status in (429, 503):
            self.refused += 1
            return
        result = message(headers, body).get("result", {})
        kind = result.get("_meta", {}).get("io.roothold/error", {}).get("kind")
        if status == 200 and result.get("content") and kind in (None, "busy"):
            self.recorded.add(headers["x-request-id"])
            self.refused += kind == "busy"
            self.done += kind is None
        elif kind == "unavailable":
            self.refused += 1
        else:
            self.odd.append(f"{status} {body[:300]}")

    def close(self):
        for _, writer in self.streams:
            writer.close()
        self.runner.close()


def no_descriptors(checks, scratch):
    """More connections than file descriptors, while the audit log is to go on in another file.

    Nothing spins; calls on connections that were there are answered or refused, and none is lost; then all goes on.
    """
    server = Server(scratch, "descriptors", more="[audit]\nfile_bytes_max = 1048576\n")
    # So that nobody of the flood is closed in between.
    server.env["ROOTHOLD_LIMITS__HEADER_TIMEOUT_SECONDS"] = "120"
    # Names that make a long line, so that the file grows soon.
    long = {"paths": [f"/kept/{at}/{'n' * 200}" for at in range(40)]}
    with server.running(**limited(DESCRIPTORS)):
        kept = Kept(4)
        for _ in kept.streams:
            kept.call("listRoots", {})
        flood = [socket.create_connection(HERE, timeout=5) for _ in range(500)]
        time.sleep(0.5)
        before, began = server.processor_seconds(), time.monotonic()
        time.sleep(1.5)
        used = (server.processor_seconds() - before) / (time.monotonic() - began)
        checks.true("no descriptors left: it waits, and does not spin", used < 0.5, used)
        checks.equal("no descriptors left: it lives", server.child.poll(), None)
        until(lambda: no_file_is_begun(server, kept, long), 60, "no other file of the log is tried")
        for _ in range(20):
            kept.call("read_text_file", {"path": "/kept/file.md"})
            kept.call("read_multiple_files", long)
        checks.equal("no descriptors left: the log goes on in the file that there is", len(server.logs()), 1)
        during = f"{kept.done} done, {kept.refused} refused"
        print(f"note without file descriptors, on connections that were there: {during}, {len(kept.odd)} neither")
        checks.equal("no descriptors left: each call is answered, or to be made again", kept.odd[:3], [])
        checks.true("no descriptors left: some are answered", kept.done > 20, during)
        checks.true("no descriptors left: some are to be made again", kept.refused, during)
        for connection in flood:
            connection.close()
        answered = until(server.heard, 20, "no call is answered again")
        checks.equal("no descriptors left: then calls are answered", answered, "of kept\n")
        until(lambda: len(server.logs()) > 1, 20, "the log does not go on in another file")
        kept.call("read_text_file", {"path": "/kept/file.md"})
        checks.equal("no descriptors left: then the log goes on in another file", kept.odd[:3], [])
        kept.close()
    checks.equal("no descriptors left: it ends with 0", server.child.returncode, 0)
    checks.equal("no descriptors left: each call is on record", kept.recorded - server.recorded(), set())
    checks.true("no descriptors left: no file of the log is empty", all(log.stat().st_size for log in server.logs()))
    whole, said = server.verified()
    checks.true("no descriptors left: its logs are whole", whole, said)


def no_file_is_begun(server, kept, arguments):
    """Makes some calls, and says whether the log has grown by now and could not go on in another file."""
    for _ in range(10):
        kept.call("read_multiple_files", arguments)
    return "no new file of the audit log can be begun" in (server.home / "log").read_text()


def keys_are_rotated(checks, scratch):
    """The keys that sign tokens are replaced as issuers do it, under load; then their file is broken, and gone."""
    more = f"""
[auth.jwt]
issuer = "{tokens.ISSUER}"
audience = "{tokens.AUDIENCE}"
jwks_file = "{{home}}/keys/jwks.json"
"""
    server = Server(scratch, "rotated", more=more)
    file = server.home / "keys" / "jwks.json"
    file.parent.mkdir()
    old, new = (tokens.Signer(scratch, name) for name in ("old", "new"))
    by_old, by_new = (signer.token("files:read") for signer in (old, new))
    tokens.publish(file, old)

    def status(token):
        return call(HERE, None, "listRoots", {}, key=token)[0]

    def comes_to(token, wanted):
        until(lambda: status(token) == wanted, 10, f"a token is never answered {wanted}")

    with server.running():
        comes_to(by_old, 200)
        checks.equal("keys are rotated: the next one is not known yet", status(by_new), 401)
        # Less than one principal may ask for.
        some = {"pause": 0.05, "writes": False}
        with Load(HERE, [by_old] * 4, **some) as first:
            first.wait_for(60, 30)
            tokens.publish(file, old, new)
            comes_to(by_new, 200)
            first.wait_for(first.tally.calls + 60, 30)
        with Load(HERE, [by_new] * 4, **some) as second:
            second.wait_for(60, 30)
            tokens.publish(file, new)
            comes_to(by_old, 401)
            second.wait_for(second.tally.calls + 60, 30)
            for what in ("broken", "empty", "gone"):
                if what == "gone":
                    file.unlink()
                else:
                    file.write_text("" if what == "empty" else '{"keys": [{"kty"')
                # Longer than until it is looked at.
                time.sleep(1.6)
                checks.equal(f"keys are rotated, {what}: what was read last is in force", status(by_new), 200)
                checks.equal(f"keys are rotated, {what}: and nothing else", status(by_old), 401)
            second.wait_for(second.tally.calls + 60, 30)
            tokens.publish(file, new, old)
            comes_to(by_old, 200)
        failures = first.tally.failures + second.tally.failures
        checks.equal("keys are rotated: no call with a good token failed", failures[:3], [])
    said = (server.home / "log").read_text()
    checks.true("keys are rotated: the log says what was not taken", "keys read before stay in force" in said)


def a_database_moves(checks, scratch):
    """The name of a database leads to another machine, which is the new primary: it is found without a restart."""
    hosts = f"{scratch}/hosts"
    known = open("/etc/hosts", encoding="utf-8").read()

    def name_leads_to(address):
        with open(hosts, "w", encoding="utf-8") as file:
            file.write(f"{known}\n{address} database.test\n")

    name_leads_to("127.0.0.1")
    subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
    database = Postgres(f"{scratch}/moving")
    dsn = f"postgresql://shop@database.test:{POSTGRES}/shop?sslmode=disable"
    more = f'[[databases]]\nname = "shop"\nkind = "postgres"\nplaintext = true\ndsn = "{dsn}"\n'
    server = Server(scratch, "moves", more=more)

    def asked():
        sql = {"database": "shop", "sql": "SELECT count(*) FROM orders"}
        status, headers, body = call(HERE, None, "query_database", sql)
        result = message(headers, body)["result"]
        return status == 200 and not result.get("isError") and result["structuredContent"]["rows"] == [[100]]

    try:
        database.start()
        database.say("postgres", "CREATE DATABASE shop")
        database.say("shop", ROLE)
        with server.running():
            until(asked, 20, "it is never asked")
            database.stop()
            checks.true("a database moves: without it there is no answer", not asked())
            database.start("127.0.0.2")
            checks.true("a database moves: nor where it was", not asked())
            name_leads_to("127.0.0.2")
            until(asked, 60, "it is not found where it is now")
            checks.ok("a database moves: it is found where its name leads now")
            checks.equal("a database moves: files are read", server.heard(), "of kept\n")
    finally:
        database.stop()
        subprocess.run(["umount", "/etc/hosts"], check=True)


def taken_away(checks, scratch):
    """A root that is moved, replaced, unmounted or removed: what stands at its place instead is never shown."""
    server = Server(scratch, "roots")
    taken = server.home / "taken"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", taken], check=True)
    (taken / "file.md").write_text("of taken\n")
    with server.running():
        checks.equal("taken away: first it is there", server.read("taken"), "of taken\n")
        subprocess.run(["umount", "--lazy", taken], check=True)
        (taken / "file.md").write_text("of somebody else\n")
        for moment in ("unmounted", "replaced", "removed"):
            if moment == "replaced":
                taken.rename(server.home / "elsewhere")
                taken.mkdir()
                (taken / "file.md").write_text("of somebody else\n")
            if moment == "removed":
                (taken / "file.md").unlink()
                taken.rmdir()
            said = server.read("taken")
            checks.true(f"taken away, {moment}: nobody else's file", "somebody" not in said, said)
            checks.true(f"taken away, {moment}: no host path", str(server.home) not in said, said)
            checks.equal(f"taken away, {moment}: the other root", server.read("kept"), "of kept\n")
    server.begin()
    checks.true("taken away: without it there is no start", server.child.wait(20) != 0)
    said = (server.home / "log").read_text().splitlines()[-1]
    checks.true("taken away: and it says which", "taken" in said, said)


def clients_vanish(checks, scratch):
    """Clients that reset, send half of a call or nothing, or go while they are answered: nothing of them stays."""
    server = Server(scratch, "vanish")
    (server.home / "kept" / "large.md").write_text("a line of text\n" * 60_000)
    with server.running():
        server.read("kept")
        before = server.descriptors()
        large = request("read_text_file", {"path": "/kept/large.md", "max_bytes": 1 << 20})
        pieces = [b"", large[0][:50], large[0], large[0] + large[1][:-1], b"".join(large)]
        left = []
        for turn in range(300):
            client = socket.create_connection(HERE, timeout=5)
            client.sendall(pieces[turn % len(pieces)])
            if turn % 3 == 0:
                # Those who never say anything again, and never close.
                left.append(client)
                continue
            if turn % len(pieces) == 4:
                client.recv(100)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        until(
            lambda: server.descriptors() <= before + len(left) // len(pieces) + 2,
            20,
            f"descriptors stay: {server.descriptors()} after {before}",
        )
        checks.ok("clients vanish: who is overdue is closed")
        for client in left:
            client.close()
        until(lambda: server.descriptors() <= before + 2, 20, "descriptors of the others stay")
        checks.equal("clients vanish: calls are answered", server.read("kept"), "of kept\n")
    checks.equal("clients vanish: it ends with 0", server.child.returncode, 0)


CASES = (
    ended_while_it_starts,
    ended_while_it_reloads,
    no_descriptors,
    keys_are_rotated,
    taken_away,
    clients_vanish,
)
CASES_FULL = (*CASES, a_database_moves)


def main():
    checks = Checks("faults")
    with (
        checks.guard("the servers run"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
    ):
        # A database runs as somebody else.
        os.chmod(scratch, 0o755)
        for case in CASES_FULL if FULL else CASES:
            with checks.guard(case.__name__):
                case(checks, scratch)
    checks.finish()


if __name__ == "__main__":
    main()
