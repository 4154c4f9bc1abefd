"""One server, as a process in the script's own namespaces, on fixed ports."""

import http.client
import json
import os
import resource
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

from lib.mcp import Broken, call, message
from lib.process import wait_until_it_answers
from lib.setup import binary, environment

# Whether the long forms run.
FULL = os.environ.get("ROOTHOLD_TEST_FULL") == "1"
HERE = ("127.0.0.1", 8000)
PRIVATE = ("127.0.0.1", 9464)
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


class Server:
    """A server with two roots, and what `more` adds to its configuration."""

    def __init__(self, scratch, name, more="", private=False):
        self.home = Path(scratch) / name
        for root in ("kept", "taken"):
            (self.home / root).mkdir(parents=True)
            (self.home / root / "file.md").write_text(f"of {root}\n")
        (self.home / "roothold.toml").write_text(
            CONFIGURATION.format(home=self.home) + more.format(home=self.home)
        )
        listen = "127.0.0.1:9464" if private else ""
        self.env = environment(self.home, ROOTHOLD_TELEMETRY__LISTEN=listen)
        self.command = [binary("ROOTHOLD_BIN"), "serve", "--config", self.home / "roothold.toml"]
        self.child = None

    def begin(self, **more):
        with open(self.home / "log", "ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | more
            self.child = subprocess.Popen(self.command, env=self.env, **streams)
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

    def heard(self):
        """Returns what a file holds, or nothing where no answer comes."""
        try:
            text = self.read("kept")
        except (OSError, Broken):
            return None
        return text if text == "of kept\n" else None

    def verified(self):
        """Has the audit log checked; returns whether it is whole, and what is said of it."""
        verify = [self.command[0], "audit", "verify", self.home / "audit"]
        done = subprocess.run(verify, env=self.env, capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr

    def logs(self):
        """Returns the files of the audit log."""
        return list((self.home / "audit").glob("*.jsonl"))

    def audited(self, kind):
        """Returns how many lines of a kind are in the audit log."""
        return sum(log.read_text().count(f'"kind":"{kind}"') for log in self.logs())

    def recorded(self):
        """Returns the ids of the requests that have an intent and its outcome in one file of the audit log."""
        found = set()
        for log in self.logs():
            begun = {}
            for line in map(json.loads, log.read_text().splitlines()):
                if line["kind"] == "intent":
                    begun[line["call"]] = line["request_id"]
                if line["kind"] == "outcome":
                    found.add(begun.pop(line["call"]))
        return found

    def threads(self):
        return len(os.listdir(f"/proc/{self.child.pid}/task"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def processor_seconds(self):
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limited(descriptors):
    """Returns what has a process begin with so many file descriptors at most."""
    limits = (descriptors, descriptors)
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)}


def metrics(*series, seconds=10):
    """Returns the numbers of series by their names. Raises OSError where no answer comes in time."""
    connection = http.client.HTTPConnection(*PRIVATE, timeout=seconds)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(found[name]) for name in series}
