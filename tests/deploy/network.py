#!/usr/bin/env python3
"""A network that loses, delays and breaks off: calls are answered or cut, and nothing of those that were cut stays.

Packets are lost by the kernel, in this script's own namespace. Long ways, broken answers and peers that are gone
without a word are made by a way between clients and the server.
"""

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

from lib.alone import FULL, HERE, Server, metrics
from lib.checks import Checks
from lib.engine import until
from lib.mcp import META, REVISION, Broken, answer, message, request

WAY = ("127.0.0.1", 8100)
CLIENTS = 24
# How many times as long as in the short form the clients call.
TIMES = 4 if FULL else 1
LOSS = "0.3"
# Half of 500 ms there and back.
DELAY = 0.25
# As much is passed on at a time at most.
PIECE = 1 << 20
LINE = "a line of text that is sent over a bad network\n"
LINES = 6_000
# In the table of limits, with which the configuration ends.
CONFIGURATION = "peer_timeout_seconds = 4\n"
PEERS = 64
PORTS = 30_000


@contextlib.contextmanager
def way(delay=0.0, reset_after=0):
    """Passes connections on to the server, badly, while the block runs; by a process of its own, which leaves nothing.

    `delay` is how long each piece takes each way, in seconds; `reset_after` after how many bytes of an answer both ends
    are reset, if any.
    """
    child = subprocess.Popen([sys.executable, "-B", __file__, str(delay), str(reset_after)])
    try:
        until(lambda: connects(WAY), 20, "the way is not there")
        yield
    finally:
        child.kill()
        child.wait()


def connects(address):
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True


async def serve_way(delay, reset_after):
    async def copy(reader, writer, other, bytes_max):
        passed = 0
        with contextlib.suppress(OSError):
            while piece := await reader.read(PIECE):
                await asyncio.sleep(delay)
                passed += len(piece)
                if bytes_max and passed > bytes_max:
                    for one in (writer, other):
                        reset(one.get_extra_info("socket"))
                        one.transport.abort()
                    return
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def take(near_reader, near):
        far_reader, far = await asyncio.open_connection(*HERE, limit=PIECE)
        there = copy(near_reader, far, near, 0)
        await asyncio.gather(there, copy(far_reader, near, far, reset_after))

    server = await asyncio.start_server(take, *WAY, limit=PIECE)
    await server.serve_forever()


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Clients:
    """Clients that read, list and subscribe for some seconds; what each call came to."""

    def __init__(self, address, seconds, patience=10):
        self.address = address
        self.seconds = seconds
        self.patience = patience
        self.answered = 0
        self.cut = 0
        self.wrong = []

    def run(self):
        async def all_of_them():
            # A call that was given up leaves its connection, and how that ends is nobody's concern.
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

        asyncio.run(all_of_them())
        return self

    async def _client(self, number):
        until = time.monotonic() + self.seconds
        turn = number
        while time.monotonic() < until:
            turn += 1
            try:
                await asyncio.wait_for(self._calls(turn, until), self.patience)
            except (Broken, OSError, EOFError, TimeoutError):
                self.cut += 1

    async def _calls(self, turn, until):
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            while time.monotonic() < until:
                turn += 1
                if turn % 7 == 0:
                    # A subscription, for a while; its client then goes without a word.
                    writer.write(listen())
                    await reader.readuntil(b"acknowledged")
                    self.answered += 1
                    return
                large = {"path": "/kept/large.md", "max_bytes": 1 << 20}
                small = {"path": "/kept/file.md"}
                writer.write(b"".join(request("read_text_file", large if turn % 3 else small)))
                status, headers, body = await answer(reader)
                self._judge(status, headers, body, small if turn % 3 == 0 else large)
        finally:
            writer.transport.abort()

    def _judge(self, status, headers, body, asked):
        result = message(headers, body).get("result", {})
        text = result.get("content", [{}])[0].get("text", "")
        wanted = LINE * LINES if asked["path"].endswith("large.md") else "of kept\n"
        if status == 200 and text == wanted:
            self.answered += 1
        else:
            self.wrong.append((status, body[:200]))


def listen():
    """Returns a request for notifications."""
    uris = {"resourceSubscriptions": ["file:///kept/file.md"]}
    params = {"notifications": uris, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params})
    lines = [
        "POST /mcp HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {REVISION}",
        "Mcp-Method: subscriptions/listen",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def dropped(action, ports, *when):
    """Has the kernel drop packets from and to these ports, all or some."""
    rule = ["INPUT", "-i", "lo", "-p", "tcp", "-m", "multiport", "--ports", ports, *when]
    # Debian keeps it outside of a user's PATH.
    program = shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin") or "iptables"
    subprocess.run([program, action, *rule, "-j", "DROP"], check=True, capture_output=True)


FIGURES = (
    "roothold_runtime_tasks",
    "roothold_http_connections",
    "roothold_subscriptions",
    "roothold_calls_in_flight",
)


def figures(server):
    """Returns what a client costs the server, by name."""
    found = metrics(*FIGURES)
    return found | {"descriptors": server.descriptors(), "threads": server.threads()}


def nothing_stays(checks, what, server, before):
    """Waits until everything is as before, at the latest once every limit of time has passed."""
    # Threads for files come and go, and one descriptor is the question's own.
    allowed = {"descriptors": 2, "threads": 3, "roothold_runtime_tasks": 2}
    deadline = time.monotonic() + 60
    while True:
        # Asking keeps threads for files alive, which end after a second without work.
        time.sleep(1.5)
        now = figures(server)
        if all(now[name] - before[name] <= allowed.get(name, 0) for name in now):
            return checks.ok(f"{what}: no task, thread, descriptor, subscription or call stays")
        if time.monotonic() > deadline:
            return checks.fail(f"{what}: something stays", f"{before}\n{now}")


def main():
    checks = Checks("network")
    with (
        checks.guard("the server runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
    ):
        server = Server(scratch, "network", more=CONFIGURATION, private=True)
        (server.home / "kept" / "large.md").write_text(LINE * LINES)
        with server.running():
            server.read("kept")
            for one in (packets_are_lost, the_way_is_long, answers_break_off, peers_are_gone):
                what = one.__name__.replace("_", " ")
                with checks.guard(what):
                    time.sleep(1.5)
                    before = figures(server)
                    one(checks)
                    nothing_stays(checks, what, server, before)
                    checks.equal(f"{what}: calls are answered then", server.heard(), "of kept\n")
        checks.equal("it ends with 0", server.child.returncode, 0)
        whole, said = server.verified()
        checks.true("the audit log is whole", whole, said)
        counts = server.audited("intent"), server.audited("outcome")
        checks.equal("each call that began has its end on record", counts[0], counts[1])
    checks.finish()


def told(checks, what, clients, cut=None):
    cut_off = f"{clients.cut} cut or given up after {clients.patience} s"
    print(f"note  {what}: {CLIENTS} clients, {clients.seconds} s: {clients.answered} calls answered, {cut_off}")
    checks.equal(f"{what}: what is answered is whole", clients.wrong[:2], [])
    checks.true(f"{what}: calls are answered", clients.answered > CLIENTS, clients.answered)
    if cut:
        checks.true(f"{what}: and others cut off", clients.cut > 0, clients.cut)


def packets_are_lost(checks):
    """Three in ten packets, each way."""
    some = ["-m", "statistic", "--mode", "random", "--probability", LOSS]
    dropped("-A", "8000", *some)
    try:
        clients = Clients(HERE, 5 * TIMES).run()
    finally:
        dropped("-D", "8000", *some)
    told(checks, "packets are lost", clients)


def the_way_is_long(checks):
    """A quarter of a second each way."""
    with way(delay=DELAY):
        clients = Clients(WAY, 3 * TIMES).run()
    told(checks, "the way is long", clients)


def answers_break_off(checks):
    """Both ends are reset in the middle of larger answers."""
    with way(reset_after=200_000):
        clients = Clients(WAY, 2 * TIMES).run()
    told(checks, "answers break off", clients, cut=True)


def peers_are_gone(checks):
    """Machines of clients that vanish: not a packet of theirs comes any more, and none to them arrives."""
    large = b"".join(request("read_text_file", {"path": "/kept/large.md", "max_bytes": 1 << 20}))
    # A subscription, an answer that is not read, half a call, and nothing at all.
    kinds = [listen(), large, large[: len(large) // 2], b""]
    gone = []
    for number in range(PEERS):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("127.0.0.1", PORTS + number))
        client.connect(HERE)
        client.sendall(kinds[number % len(kinds)])
        if number % len(kinds) < 2:
            client.recv(100)
        gone.append(client)
    ports = f"{PORTS}:{PORTS + PEERS - 1}"
    dropped("-A", ports)
    try:
        for client in gone:
            client.close()
        began = time.monotonic()
        left = lambda: metrics("roothold_http_connections", "roothold_subscriptions").values()
        until(lambda: not any(left()), 60, "connections stay")
    finally:
        dropped("-D", ports)
    took = time.monotonic() - began
    print(f"note  peers are gone: {PEERS} connections are given up after {took:.0f} s")
    checks.true("peers are gone: their connections are given up, not ended by them", took > 1, took)


if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(serve_way(float(sys.argv[1]), int(sys.argv[2])))
    main()
