"""Clients that call all the time, each on a connection of its own, while servers are updated and killed.

Reads, streams of progress and writes are mixed. A write appends a line that no other write has, so that one which was applied
twice, or was lost, is seen in the files afterwards. Beside them, subscriptions are streams that last.
"""

import asyncio
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from lib.mcp import Broken, answer, asking, message, request

CALL_SECONDS = 30
END = "end of file"
ROWS = 50_000
# How often it is looked whether a stream is to be closed.
LOOK_SECONDS = 0.2


class Failure(NamedTuple):
    """A call that failed: when, what, why, when it had begun, and its trace, if it was one."""

    at: float
    what: str
    problem: str
    began: float
    trace: str


@dataclass
class Tally:
    """What the clients have seen."""

    calls: int = 0
    streams: int = 0
    failures: list = field(default_factory=list)
    names: Counter = field(default_factory=Counter)
    written: list = field(default_factory=list)
    uncertain: list = field(default_factory=list)
    # When each call was answered, and after how many seconds.
    answered: list = field(default_factory=list)

    @property
    def slowest(self):
        return max((seconds for _, seconds in self.answered), default=0.0)

    def slow(self, begin, end):
        """Returns the seconds after which 99 of 100 calls between two moments were answered."""
        found = sorted(seconds for at, seconds in self.answered if begin <= at <= end)
        return found[len(found) * 99 // 100]


class Clients:
    """A context manager: the clients work while its block runs, each with one of `keys`.

    With `traces` each call is a trace of its own, by which the log of what stands before the servers tells where it went.
    The servers are told to record none of them.
    """

    def __init__(self, address, keys, tls, traces):
        self.address = address
        self.keys = keys
        self.tls = tls
        self.traces = traces
        self._mark = os.urandom(8).hex()
        self._stop = threading.Event()
        self._problem = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(CALL_SECONDS + 10)
        if self._thread.is_alive():
            raise RuntimeError("clients of the load do not end")
        if self._problem:
            raise RuntimeError("a client broke off") from self._problem

    def _work(self):
        try:
            asyncio.run(self._run())
        except Exception as problem:
            self._problem = problem

    async def _run(self):
        await asyncio.gather(*(self._client(number) for number in range(len(self.keys))))

    async def _connect(self):
        opened = asyncio.open_connection(*self.address, ssl=self.tls)
        return await asyncio.wait_for(opened, CALL_SECONDS)

    def _trace(self, number, turn):
        """Returns the id of a trace that nothing else is, and the headers that say so."""
        trace = f"{self._mark}{number:08x}{turn:08x}"
        return trace, [f"traceparent: 00-{trace}-00f067aa0ba902b7-00"] if self.traces else []


class Load(Clients):
    """Clients that call again as soon as they are answered.

    `pause` is how long a client waits between two calls, in seconds. Without `writes` they only ask for the roots; with, they
    read and write the files that `plant` makes, from number `first`.
    """

    def __init__(self, address, keys, tls=None, pause=0.0, writes=True, first=0, traces=False):
        super().__init__(address, keys, tls, traces)
        self.pause = pause
        self.writes = writes
        self.first = first
        self.tally = Tally()

    def wait_for(self, calls, seconds):
        """Waits until so many calls are answered; raises RuntimeError if they never are."""
        deadline = time.monotonic() + seconds
        while self.tally.calls < calls:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.tally.calls} of {calls} calls within {seconds} s")
            time.sleep(0.05)

    async def _client(self, number):
        turn = 0
        connection = None
        key = self.keys[number]
        number += self.first
        while not self._stop.is_set():
            turn += 1
            token = f"{number}-{turn}"
            trace, headers = self._trace(number, turn)
            what, call = self._call(key, number, turn, token, headers)
            began = time.time()
            try:
                connection = connection or await self._connect()
                problem, kept = await self._exchange(connection, what, call)
            except (Broken, OSError, TimeoutError) as broken:
                problem, kept = f"{type(broken).__name__}: {broken}", False
            if connection and not kept:
                connection[1].close()
                connection = None
            self._count(what, token, problem, began, trace)
            if self.pause:
                await asyncio.sleep(self.pause)
        if connection:
            connection[1].close()

    async def _exchange(self, connection, what, call):
        """Makes one call; returns what is wrong with its answer, and whether the connection is kept."""
        reader, writer = connection
        writer.write(b"".join(call))
        status, headers, body = await asyncio.wait_for(answer(reader), CALL_SECONDS)
        problem = self._judge(what, status, headers, body)
        return problem, not problem and headers.get("connection") != "close"

    def _count(self, what, token, problem, began, trace):
        now = time.time()
        self.tally.calls += 1
        self.tally.answered.append((now, now - began))
        if problem:
            self.tally.failures.append(Failure(now, what, problem, began, trace))
        elif what == "stream":
            self.tally.streams += 1
        if what == "write":
            (self.tally.uncertain if problem else self.tally.written).append(token)

    def _call(self, key, number, turn, token, headers):
        path = f"/work/client-{number}.txt"
        if self.writes and turn % 10 == 0:
            edits = [{"oldText": END, "newText": f"{token}\n{END}"}]
            return "write", request("edit_file", {"path": path, "edits": edits}, key, headers=headers)
        if self.writes and turn % 50 == 25:
            arguments = {"data_source": "/work/rows.csv", "operation": "profile"}
            return "stream", request("process_large_dataset", arguments, key, token, headers)
        if self.writes and turn % 10 == 5:
            # That may be made again without harm, which nginx is not to do either.
            arguments = {"path": f"/work/same-{number}.txt", "content": f"of {number}\n"}
            return "same", request("write_file", arguments, key, headers=headers)
        if self.writes and turn % 2 == 0:
            return "read", request("read_text_file", {"path": path, "tail": 1}, key, headers=headers)
        return "roots", request("listRoots", {}, key, headers=headers)

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
            return None if told and rows == ROWS else f"{rows} rows, progress {told}"
        if what == "roots":
            self.tally.names[result["structuredContent"]["roots"][0]["name"]] += 1
        return None


@dataclass
class Stream:
    """A subscription: when it was acknowledged, when it last told of a change, and how often."""

    opened: float
    told: float = 0.0
    times: int = 0


class Subscriptions(Clients):
    """Clients that are told of changes of the files of a `Load` beside them, one each, on streams of `lasts` seconds.

    A stream that its server ends with a result, as one does that drains, is `ended`; one that lasted is `closed` here.
    """

    def __init__(self, address, keys, tls=None, lasts=30.0, traces=False):
        super().__init__(address, keys, tls, traces)
        self.lasts = lasts
        self.streams, self.failures = [], []
        self.ended = self.closed = 0

    def span(self, begin, end):
        """Says whether a stream that was open at `begin` has told of a change after `end`."""
        return any(0 < stream.opened < begin and stream.told > end for stream in self.streams)

    async def _client(self, number):
        turn = 0
        while not self._stop.is_set():
            turn += 1
            trace, headers = self._trace(number, turn)
            wanted = {"resourceSubscriptions": [f"file:///work/client-{number}.txt"]}
            call = asking("subscriptions/listen", {"notifications": wanted}, self.keys[number], headers=headers)
            began = time.time()
            writer = None
            try:
                reader, writer = await self._connect()
                writer.write(b"".join(call))
                problem = await self._follow(reader)
            except (Broken, OSError) as broken:
                problem = f"{type(broken).__name__}: {broken}"
            if writer:
                writer.close()
            if problem:
                self.failures.append(Failure(time.time(), "subscription", problem, began, trace))
            # The replica that ended it may be the one that is asked again.
            await asyncio.sleep(LOOK_SECONDS)

    async def _follow(self, reader):
        """Reads one stream to its end, or for as long as it is to last; returns what is wrong with it."""
        stream, said = Stream(0.0), bytearray()
        self.streams.append(stream)

        def heard(part):
            said.extend(part)
            times = said.count(b"notifications/resources/updated")
            if not stream.opened and b"notifications/subscriptions/acknowledged" in said:
                stream.opened = time.time()
            if times > stream.times:
                stream.times, stream.told = times, time.time()

        reading = asyncio.create_task(answer(reader, heard))
        until = time.monotonic() + self.lasts
        while not reading.done() and time.monotonic() < until and not self._stop.is_set():
            await asyncio.wait({reading}, timeout=LOOK_SECONDS)
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
            self.closed += 1
            return None if stream.opened or self._stop.is_set() else "it was never acknowledged"
        status, headers, body = reading.result()
        if status != 200 or "result" not in message(headers, body):
            return f"{status} {body[-300:].decode(errors='replace')}"
        self.ended += 1
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
