"""Clients that call all the time, each on a connection of its own, while servers are updated and killed.

Reads, streams of progress and writes are mixed. A write appends a line that no other write has, so that one which was applied
twice, or was lost, is seen in the files afterwards.
"""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from lib.mcp import Broken, answer, message, request

CALL_SECONDS = 30
END = "end of file"
ROWS = 50_000


@dataclass
class Tally:
    """What the clients have seen."""

    calls: int = 0
    streams: int = 0
    failures: list = field(default_factory=list)
    names: Counter = field(default_factory=Counter)
    written: list = field(default_factory=list)
    uncertain: list = field(default_factory=list)
    slowest: float = 0.0


class Load:
    """A context manager: the clients call while its block runs.

    Each of `keys` is one client. `pause` is how long a client waits between two calls, in seconds. Without
    `writes` they only ask for the roots; with, they read and write the files that `plant` makes, from number `first`.
    """

    def __init__(self, address, keys, tls=None, pause=0.0, writes=True, first=0):
        self.address = address
        self.keys = keys
        self.tls = tls
        self.pause = pause
        self.writes = writes
        self.first = first
        self.tally = Tally()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(CALL_SECONDS + 10)
        if self._thread.is_alive():
            raise RuntimeError("clients of the load do not end")

    def wait_for(self, calls, seconds):
        """Waits until so many calls are answered; raises RuntimeError if they never are."""
        deadline = time.monotonic() + seconds
        while self.tally.calls < calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.tally.calls} of {calls} calls within {seconds} s")
            time.sleep(0.05)

    async def _run(self):
        await asyncio.gather(*(self._client(number) for number in range(len(self.keys))))

    async def _client(self, number):
        turn = 0
        connection = None
        key = self.keys[number]
        number += self.first
        while not self._stop.is_set():
            turn += 1
            token = f"{number}-{turn}"
            what, call = self._call(key, number, turn, token)
            began = time.monotonic()
            try:
                connection = connection or await self._connect()
                problem, kept = await self._exchange(connection, what, call)
            except (Broken, OSError, TimeoutError) as broken:
                problem, kept = f"{type(broken).__name__}: {broken}", False
            if connection and not kept:
                connection[1].close()
                connection = None
            self._count(what, token, problem, time.monotonic() - began)
            if self.pause:
                await asyncio.sleep(self.pause)
        if connection:
            connection[1].close()

    async def _connect(self):
        opened = asyncio.open_connection(*self.address, ssl=self.tls)
        return await asyncio.wait_for(opened, CALL_SECONDS)

    async def _exchange(self, connection, what, call):
        """Makes one call; returns what is wrong with its answer, and whether the connection is kept."""
        reader, writer = connection
        writer.write(b"".join(call))
        status, headers, body = await asyncio.wait_for(answer(reader), CALL_SECONDS)
        problem = self._judge(what, status, headers, body)
        return problem, not problem and headers.get("connection") != "close"

    def _count(self, what, token, problem, seconds):
        self.tally.calls += 1
        self.tally.slowest = max(self.tally.slowest, seconds)
        if problem:
            self.tally.failures.append((time.time(), what, problem))
        if what == "write":
            (self.tally.uncertain if problem else self.tally.written).append(token)

    def _call(self, key, number, turn, token):
        path = f"/work/client-{number}.txt"
        if self.writes and turn % 10 == 0:
            edits = [{"oldText": END, "newText": f"{token}\n{END}"}]
            return "write", request("edit_file", {"path": path, "edits": edits}, key)
        if self.writes and turn % 50 == 25:
            arguments = {"data_source": "/work/rows.csv", "operation": "profile"}
            return "stream", request("process_large_dataset", arguments, key, progress=token)
        if self.writes and turn % 2 == 0:
            return "read", request("read_text_file", {"path": path, "tail": 1}, key)
        return "roots", request("listRoots", {}, key)

    def _judge(self, what, status, headers, body):
        """Returns what is wrong with an answer, or nothing."""
        if status != 200:
            return f"{status} {body[:200].decode(errors='replace')}"
        result = message(headers, body).get("result")
        if not result or result.get("isError"):
            return body[:300].decode(errors="replace")
        if what == "stream":
            rows = result["structuredContent"]["result"]["rows"]
            told = b"notifications/progress" in body
            self.tally.streams += 1
            return None if told and rows == ROWS else f"{rows} rows, progress {told}"
        if what == "roots":
            self.tally.names[result["structuredContent"]["roots"][0]["name"]] += 1
        return None


def plant(site, clients):
    """Writes the files that the clients read and change."""
    for number in range(clients):
        site.put(f"work/client-{number}.txt", f"{END}\n")
    site.put("work/rows.csv", "id,city\n" + "".join(f"{row},Oslo\n" for row in range(ROWS)))


def check_writes(checks, what, site, *tallies):
    """Checks the files: each write is there once, and one without an answer at most once."""
    written = {token for tally in tallies for token in tally.written}
    uncertain = {token for tally in tallies for token in tally.uncertain}
    lines = Counter()
    for file in (site.home / "work").glob("client-*.txt"):
        lines.update(line for line in file.read_text().splitlines() if line != END)
    lost = [token for token in written if lines[token] == 0]
    checks.equal(f"{what}: no write that was answered is lost", lost, [])
    twice = [token for token, count in lines.items() if count > 1]
    checks.equal(f"{what}: no write is applied twice", twice, [])
    checks.equal(f"{what}: nothing else was written", sorted(set(lines) - written - uncertain), [])
    checks.true(f"{what}: there were writes", written)
