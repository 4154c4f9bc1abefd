#!/usr/bin/env python3
"""What goes wrong around a server: it is ended while it starts, has no file descriptors left, its directories are
taken away, its clients vanish. Each server is a process in this script's own namespaces.
"""

import os
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from lib.checks import Checks
from lib.engine import until
from lib.mcp import Broken, call, message, request
from lib.process import wait_until_it_answers
from lib.setup import binary, environment

HERE = ("127.0.0.1", 8000)
CONFIGURATION = """
[server]
listen = "127.0.0.1:8000"
[[roots]]
uri = "file:///kept"
path = "{home}/kept"
[[roots]]
uri = "file:///taken"
path = "{home}/taken"
[limits]
connections_max = 10000
header_timeout_seconds = 2
body_timeout_seconds = 2
"""
STARTS = 24
DESCRIPTORS = 64


class Server:
    """A server with two roots."""

    def __init__(self, scratch, name):
        self.home = Path(scratch) / name
        for root in ("kept", "taken"):
            (self.home / root).mkdir(parents=True)
            (self.home / root / "file.md").write_text(f"of {root}\n")
        (self.home / "roothold.toml").write_text(CONFIGURATION.format(home=self.home))
        self.env = environment(self.home, ROOTHOLD_TELEMETRY__LISTEN="")
        self.command = [binary("ROOTHOLD_BIN"), "serve", "--config", self.home / "roothold.toml"]
        self.child = None

    def begin(self, **more):
        with open(self.home / "log", "ab") as log:
            self.child = subprocess.Popen(
                self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more
            )
        return self.child

    @contextmanager
    def running(self, **more):
        self.begin(**more)
        try:
            wait_until_it_answers(self.child, "http://127.0.0.1:8000/health", self.home / "log")
            yield self
        finally:
            self.end()

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(40)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()

    def read(self, root):
        """Returns what a file holds, or the error's text."""
        status, headers, body = call(HERE, None, "read_text_file", {"path": f"/{root}/file.md"})
        if status != 200:
            return f"status {status}"
        return message(headers, body)["result"]["content"][0]["text"]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def processor_seconds(self):
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended_while_it_starts(checks, scratch):
    """SIGTERM at any moment of the start: it ends, at once, and leaves a chain that is whole."""
    server = Server(scratch, "starts")
    codes = []
    for attempt in range(STARTS):
        child = server.begin()
        time.sleep(attempt * 0.01)
        child.send_signal(signal.SIGTERM)
        codes.append(child.wait(20))
    # Before it listens for signals the kernel ends it.
    wanted = {0, -signal.SIGTERM}
    checks.equal("ended while it starts: cleanly, or before it began", set(codes) - wanted, set())
    checks.true("ended while it starts: some had begun", 0 in codes, codes)
    # One that is ended between making its log and the log's first line leaves an empty file.
    logs = [log for log in (server.home / "audit").glob("*.jsonl") if log.stat().st_size]
    verify = [server.command[0], "audit", "verify", *logs]
    done = subprocess.run(verify, env=server.env, capture_output=True, text=True)
    said = done.stdout + done.stderr
    checks.true("ended while it starts: its logs are whole", done.returncode == 0, said)
    with server.running():
        checks.equal("ended while it starts: the next one serves", server.read("kept"), "of kept\n")


def no_descriptors(checks, scratch):
    """More connections than file descriptors: nothing spins, and calls are answered again afterwards."""
    server = Server(scratch, "descriptors")
    limits = (DESCRIPTORS, DESCRIPTORS)
    few = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)}
    with server.running(**few):
        flood = [socket.create_connection(HERE, timeout=5) for _ in range(500)]
        time.sleep(0.5)
        before, began = server.processor_seconds(), time.monotonic()
        time.sleep(1.5)
        used = (server.processor_seconds() - before) / (time.monotonic() - began)
        checks.true("no descriptors left: it waits, and does not spin", used < 0.5, used)
        checks.equal("no descriptors left: it lives", server.child.poll(), None)
        for connection in flood:
            connection.close()
        answered = until(lambda: heard(server), 20, "no call is answered again")
        checks.equal("no descriptors left: then calls are answered", answered, "of kept\n")
    checks.equal("no descriptors left: it ends with 0", server.child.returncode, 0)


def heard(server):
    try:
        text = server.read("kept")
    except (OSError, Broken):
        return None
    return text if text == "of kept\n" else None


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


def main():
    checks = Checks("faults")
    with (
        checks.guard("the servers run"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
    ):
        for case in (ended_while_it_starts, no_descriptors, taken_away, clients_vanish):
            with checks.guard(case.__name__):
                case(checks, scratch)
    checks.finish()


if __name__ == "__main__":
    main()
