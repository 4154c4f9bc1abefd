#!/usr/bin/env python3
"""Whoever takes logs, metrics and traces stops taking them: calls go on, what is lost is counted, the audit log loses nothing."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

from lib.alone import HERE, PRIVATE, Server, metrics
from lib.checks import Checks
from lib.engine import until
from lib.load import Load

CLIENTS = 8
# Each has a line of the log, of some 300 bytes, so that a pipe of one MiB is full many times over.
CALLS = 8000
# Longer than a line may wait for room, and than a busy machine takes for a call.
SLOWEST = 5.0
SCRAPERS = 40
COLLECTOR = """
import http.server
class Takes(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", 4318), Takes).serve_forever()
"""


@contextmanager
def process(command, **more):
    """Runs something of the test's own, and ends it with the block whatever state it is in."""
    child = subprocess.Popen(command, **more)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def load(calls):
    """Makes so many calls and returns their tally."""
    with Load(HERE, [None] * CLIENTS, writes=False) as clients:
        clients.wait_for(calls, 120)
    return clients.tally


def check_load(checks, what, tally):
    checks.equal(f"{what}: every call is answered", tally.failures[:3], [])
    checks.true(f"{what}: none waited long ({tally.slowest:.2f} s)", tally.slowest < SLOWEST)


def nobody_reads_the_log(checks, scratch):
    """The reader at the other end of the pipe is stopped, as a container's may be."""
    server = Server(scratch, "log", private=True)
    server.env["ROOTHOLD_TELEMETRY__LOG"] = "debug"
    read_to = server.home / "read"
    ours, theirs = os.pipe()
    with open(read_to, "wb") as kept, process(["cat"], stdin=ours, stdout=kept) as reader:
        os.close(ours)
        with server.running(stdout=theirs, stderr=theirs):
            os.close(theirs)
            reader.send_signal(signal.SIGSTOP)
            tally = load(CALLS)
            check_load(checks, "nobody reads the log", tally)
            lost = metrics("roothold_log_lines_lost_total")["roothold_log_lines_lost_total"]
            checks.true(f"nobody reads the log: what is lost is counted ({lost:.0f} lines)", lost > 0)
            print(f"note  log unread: {tally.calls} calls, slowest {tally.slowest:.2f} s, {lost:.0f} lines lost")
            before = read_to.stat().st_size
            reader.send_signal(signal.SIGCONT)
            told = lambda: b"log lines were lost" in read_to.read_bytes()
            until(told, 30, "nobody is told of the lost lines")
            checks.ok("nobody reads the log: whoever reads again is told")
            checks.true("nobody reads the log: and has what was kept", read_to.stat().st_size > before)
            whole = read_to.read_text().splitlines()
            torn = [line for line in whole if not (line.startswith("{") and line.endswith("}"))]
            checks.equal("nobody reads the log: no line is torn", torn[:2], [])
            reader.send_signal(signal.SIGSTOP)
            load(2000)
        checks.equal("nobody reads the log: it ends with 0", server.child.returncode, 0)
    audited(checks, "nobody reads the log", server)


def audited(checks, what, server):
    whole, said = server.verified()
    checks.true(f"{what}: the audit log is whole", whole, said)
    counts = server.audited("intent"), server.audited("outcome")
    checks.true(f"{what}: and has every call twice {counts}", counts[0] == counts[1] > 0, counts)


def scrapers_do_not_read(checks, scratch):
    """More than may connect at once ask for metrics and read nothing."""
    server = Server(scratch, "scrapers", private=True)
    with server.running():
        before = server.descriptors()
        stuck = []
        for _ in range(SCRAPERS):
            scraper = socket.socket()
            scraper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            scraper.settimeout(5)
            scraper.connect(PRIVATE)
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stuck.append(scraper)
        tally = load(1000)
        check_load(checks, "scrapers do not read", tally)
        began = time.monotonic()
        until(scraped, 100, "no other scraper is answered")
        took = time.monotonic() - began
        checks.ok(f"scrapers do not read: others are answered after {took:.0f} s")
        for scraper in stuck:
            scraper.close()
        until(lambda: server.descriptors() <= before + 2, 60, "descriptors of theirs stay")
        checks.ok("scrapers do not read: nothing of them stays")
    checks.equal("scrapers do not read: it ends with 0", server.child.returncode, 0)


def scraped():
    try:
        return metrics("roothold_ready", seconds=30)["roothold_ready"] == 1
    except OSError:
        return False


def spans(outcome):
    series = 'roothold_trace_spans_total{outcome="%s"}' % outcome
    return metrics(series)[series]


def the_collector_is_stopped(checks, scratch):
    """A collector that listens and does nothing, and then goes on."""
    more = '[telemetry]\notlp_endpoint = "http://127.0.0.1:4318"\notlp_protocol = "http/protobuf"\ntrace_queue_max = 256\n'
    server = Server(scratch, "collector", more=more, private=True)
    with process([sys.executable, "-c", COLLECTOR]) as collector, server.running():
        until(lambda: load(50) and spans("exported") > 0, 30, "nothing arrives at the collector")
        collector.send_signal(signal.SIGSTOP)
        tally = load(3000)
        check_load(checks, "the collector is stopped", tally)
        checks.true("the collector is stopped: what has no room is counted", spans("dropped") > 0)
        collector.send_signal(signal.SIGCONT)
        before = spans("exported")
        until(lambda: load(50) and spans("exported") > before, 40, "it is sent nothing any more")
        checks.ok("the collector is stopped: it is sent what comes later")
    checks.equal("the collector is stopped: it ends with 0", server.child.returncode, 0)
    audited(checks, "the collector is stopped", server)


def main():
    checks = Checks("sinks")
    with (
        checks.guard("the servers run"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
    ):
        for case in (nobody_reads_the_log, scrapers_do_not_read, the_collector_is_stopped):
            with checks.guard(case.__name__):
                case(checks, scratch)
    checks.finish()


if __name__ == "__main__":
    main()
