#!/usr/bin/env python3
"""What the image promises whoever runs it, on a real container engine."""

import asyncio
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from lib import context
from lib.chart import memory_least
from lib.checks import Checks
from lib.engine import CommandFailed, Engine, until
from lib.image import build_roothold
from lib.mcp import Broken, answer, message, request
from lib.setup import REPOSITORY
from lib.site import Site

# As an operator would write it.
HARDENED = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--security-opt=seccomp={REPOSITORY}/deploy/seccomp.json",
    "--health-interval=1s",
    "--memory=1g",
    "--cpus=1.5",
]
IN_FLIGHT = 200
# An engine for datasets that may use more than the container has.
GREEDY = """
[dataset_engine]
memory_bytes_max = 4294967296
spill_bytes_max = 0
"""
ROWS = 400_000
BY_TEXT = {
    "operation": "aggregate",
    "group_by": ["text"],
    "aggregates": [{"function": "count"}],
}
# What `roothold audit verify` says of a log, and of one that a kill has left within a line.
WHOLE, CUT = ": whole; ", "the last line is cut off"
NO_MEMORY = "the memory for datasets is used up"


class Container:
    """One container of the image, hardened, with a site of its own."""

    def __init__(self, engine, site, name, *options, **configuration):
        self.engine, self.site, self.name = engine, site, name
        placed = site.configure(name, **configuration)
        engine.docker(
            *["run", "--detach", "--name", name, *HARDENED, *options],
            *[f"--env=ROOTHOLD_CONFIG={placed}", *site.options(), "roothold:test"],
        )
        engine.wait_for(name, "healthy")

    def state(self):
        return self.engine.inspect(self.name)["State"]

    def connect(self):
        return asyncio.open_connection(self.engine.address(self.name), 8000)

    def ended_after_term(self):
        """Has it end as a container engine does, and returns its exit code."""
        self.engine.docker("stop", "--time=30", self.name)
        return self.ended()

    def ended(self, seconds=30):
        """Waits until it has ended and returns its exit code."""
        until(lambda: not self.state()["Running"], seconds, f"{self.name} does not end")
        return self.state()["ExitCode"]


def describes_itself(checks, engine, site):
    """What the image says without being run."""
    image = engine.inspect("roothold:test", "image")
    settings = image["Config"]
    checks.equal("it runs as uid 1000", settings["User"], "1000:1000")
    checks.equal("it stops on SIGTERM", settings["StopSignal"], "SIGTERM")
    wanted = ["CMD", "/usr/local/bin/roothold", "healthcheck"]
    checks.equal("its health check needs no shell", settings["Healthcheck"]["Test"], wanted)
    checks.equal("it begins the server itself", settings["Entrypoint"], [wanted[1]])
    labels = settings["Labels"]
    checks.equal("its version is told", labels["org.opencontainers.image.version"], "1.2.3")
    checks.true("its server has a name", labels["io.modelcontextprotocol.server.name"])
    for shell in ("/bin/sh", "/bin/bash", "sh"):
        try:
            said = engine.docker(
                "run", "--rm", f"--entrypoint={shell}", "roothold:test", "-c", "true"
            )
        except CommandFailed as problem:
            said = str(problem)
        absent = any(words in said for words in ("no such file", "not found in $PATH"))
        checks.true(f"there is no {shell}", absent, said)


def lists_its_parts(checks, engine, site):
    """What `deploy/sbom` lists of this source, with datasets and without; `release.py` looks for it in the image."""
    bills = {}
    for kind, flags in enumerate(([], ["--no-default-features"])):
        command = [REPOSITORY / "deploy" / "sbom", "--offline", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        checks.true(f"parts {flags}: they are listed", done.returncode == 0, done.stderr)
        bills[kind] = json.loads(done.stdout)
        check_parts(checks, f"parts {flags}", bills[kind], datasets=not flags)


def has_its_source(checks, engine, site):
    """The first stage of the Dockerfile is run by `release.py`; that it is given all of the source is seen here."""
    context.is_complete(checks)


def check_parts(checks, what, bill, datasets):
    """Holds a bill of materials to what the program is built of, and nothing else."""
    parts = bill["components"]
    names = {part["name"] for part in parts}
    checks.equal(f"{what}: it is of the server", bill["metadata"]["component"]["name"], "roothold")
    checks.true(f"{what}: there are many", {"tokio", "roothold-core"} <= names, sorted(names))
    checks.equal(f"{what}: datasets only where they are", "datafusion" in names, datasets)
    checks.true(f"{what}: no tool of developers", "xtask" not in names, sorted(names))
    bare = [
        part["name"]
        for part in parts
        if "licenses" not in part
        or ("hashes" not in part and not part["name"].startswith("roothold"))
    ]
    checks.equal(f"{what}: each with its licence and checksum", bare, [])


def refuses_the_open(checks, engine, site):
    """Without a configuration the image does not serve strangers, and says what to do."""
    site.put("etc/open.toml", '[[roots]]\npath = "/srv/work"\n')
    engine.docker(
        *["run", "--detach", "--name=open", "--env=ROOTHOLD_CONFIG=/etc/roothold/open.toml"],
        *[*site.options(), "roothold:test"],
    )
    code = until(lambda: engine.inspect("open")["State"]["ExitCode"], 20, "it serves")
    checks.true("without authentication it does not start", code in (1, 2), code)
    said = engine.logs("open")
    checks.true("and says what it wants", "unauthenticated" in said, said)


def is_confined(checks, engine, site):
    """What the kernel holds the running process to."""
    container = Container(engine, site, "confined")
    process = Path("/proc") / str(container.state()["Pid"])
    status = dict(
        line.split(":\t", 1)
        for line in (process / "status").read_text().splitlines()
        if "\t" in line
    )
    checks.equal("uid 1000 in every way", status["Uid"].split(), ["1000"] * 4)
    checks.equal("gid 1000 in every way", status["Gid"].split(), ["1000"] * 4)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        checks.equal(f"no capabilities: {kind}", int(status[kind], 16), 0)
    checks.equal("no new privileges", status["NoNewPrivs"], "1")
    checks.equal("a filter of system calls", status["Seccomp"], "2")
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    root = next(mount for mount in mounts if mount[4] == "/")
    checks.true("the root file system is only read", "ro" in root[5].split(","), root)
    said = engine.logs("confined")
    checks.true("Landlock stands in a container", r"\"state\":\"stands\"" in said, said)
    checks.equal("a quota of CPU time is set", cpu_quota(process), 1.5)
    checks.true("its log waits for nobody who reads it", writes_without_waiting(process))
    changed = engine.docker("diff", "confined").splitlines()
    # What is mounted shows as made; nothing else may.
    places = ("/srv", "/etc", "/var")
    checks.equal("it changed nothing", [c for c in changed if not c[2:].startswith(places)], [])


def writes_without_waiting(process):
    """Says whether a process has a handle on the pipe of its stderr that says when there is no room."""
    stderr = os.readlink(process / "fd/2")

    def does_not_wait(handle):
        # Others come and go while they are looked at.
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(process / "fd" / handle) == stderr:
                flags = (process / "fdinfo" / handle).read_text().split()[3]
                return bool(int(flags, 8) & os.O_NONBLOCK)
        return False

    return stderr.startswith("pipe:") and any(map(does_not_wait, os.listdir(process / "fd")))


def cpu_quota(process):
    """Returns how many CPUs a process may use, by what its control group says."""
    groups = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
    for _, controllers, path in groups:
        if "cpu" in controllers.split(","):
            group = Path("/sys/fs/cgroup/cpu") / path.lstrip("/")
            quota, period = (
                int((group / f"cpu.cfs_{n}_us").read_text()) for n in ("quota", "period")
            )
            return quota / period
    quota, period = (
        (Path("/sys/fs/cgroup") / groups[0][2].lstrip("/") / "cpu.max").read_text().split()
    )
    return int(quota) / int(period)


def answers_what_runs(checks, engine, site):
    """SIGTERM with calls that are half sent: each is answered, then it ends with 0."""
    container = Container(engine, site, "drained", pre_stop=1)
    statuses, code = asyncio.run(term_while_sent(container))
    checks.equal("SIGTERM: what was half sent is answered", statuses, ["ok"] * IN_FLIGHT)
    checks.equal("SIGTERM: it ends with 0", code, 0)
    lines = site.audit_lines()
    for kind in ("intent", "outcome"):
        found = sum(f'"kind":"{kind}"' in line for line in lines)
        checks.equal(f"SIGTERM: an {kind} of each call is in the audit log", found, IN_FLIGHT)
    (said,) = verdicts(engine, site)
    checks.true("SIGTERM: its chain is whole", WHOLE in said and said.count("stopped in order") == 1, said)


def verdicts(engine, site):
    """Returns what `roothold audit verify` says of each log, by the logs' names, so the oldest first."""
    command = ["run", "--rm", *site.options(), "roothold:test", "audit", "verify", "/var/lib/roothold/audit"]
    try:
        said = engine.docker(*command)
    except CommandFailed as problem:
        said = str(problem)
    return sorted(line for line in said.splitlines() if ".jsonl: " in line)


async def term_while_sent(container):
    """Sends all but the last byte of many requests, SIGTERM, and the rest; returns the answers and the exit code."""
    path = "/work/half-sent.md"
    container.site.put("work/half-sent.md", "text\n")
    connections = []
    for number in range(IN_FLIGHT):
        reader, writer = await container.connect()
        key = container.site.keys[number % len(container.site.keys)]
        head, body = request("read_text_file", {"path": path}, key)
        writer.write(head + body[:-1])
        await writer.drain()
        connections.append((reader, writer, body[-1:]))
    # So that the server has begun to read them all.
    await asyncio.sleep(0.5)
    container.engine.docker("kill", "--signal=TERM", container.name)
    await asyncio.sleep(1.5)

    async def finish(reader, writer, rest):
        writer.write(rest)
        status, headers, body = await asyncio.wait_for(answer(reader), 20)
        answered = status == 200 and not message(headers, body)["result"].get("isError")
        return "ok" if answered else f"{status} {body[:100]}"

    found = await asyncio.gather(*(finish(*one) for one in connections), return_exceptions=True)
    return [str(one) for one in found], await asyncio.to_thread(container.ended)


def is_killed_in_the_end(checks, engine, site):
    """A call that outlasts the grace of whoever stops the container: it is killed, and that is seen."""
    container = Container(engine, site, "overrun", drain=20)

    async def overrun():
        _, writer = await container.connect()
        head, body = request("listRoots", {}, site.keys[0])
        writer.write(head + body[:-1])
        await writer.drain()
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await asyncio.to_thread(engine.docker, "stop", "--time=2", container.name)
        return time.monotonic() - began

    took = asyncio.run(overrun())
    checks.equal("grace overrun: the exit code is that of a kill", container.ended(), 137)
    checks.true("grace overrun: not before the grace is over", took >= 2, took)


def withstands(checks, engine, site):
    """Large answers and datasets at once, in the memory of the chart: answered or refused, and nothing is killed."""
    container = Container(engine, site, "small", "--memory=512m", "--memory-swap=512m")
    site.put("work/large.md", "a line of text\n" * 200_000)
    with open(site.home / "work" / "rows.csv", "w") as rows:
        rows.write("id,text\n")
        rows.writelines(
            f"{row},{row:032x} and some more words in this row\n" for row in range(ROWS)
        )
    large = ("read_text_file", {"path": "/work/large.md", "max_bytes": 1 << 20})
    table = {"data_source": "/work/rows.csv"}
    groups = "SELECT text, count(*) FROM data GROUP BY text ORDER BY 2 LIMIT 5"
    calls = [large] * 40
    calls += [("process_large_dataset", table | {"operation": "profile"})] * 4
    calls += [("query_dataset", table | {"sql": groups})] * 4
    # Each has a group for each row.
    calls += [("process_large_dataset", table | BY_TEXT)] * 4

    async def ask(number, tool, arguments):
        key = site.keys[number % len(site.keys)]
        reader, writer = await container.connect()
        writer.write(b"".join(request(tool, arguments, key)))
        status, headers, body = await asyncio.wait_for(answer(reader), 120)
        writer.close()
        if status != 200:
            return "refused" if status == 503 else f"{status}"
        return grouped(message(headers, body)) if arguments.get("group_by") else "answered"

    async def all_at_once(calls):
        asked = (ask(number, *one) for number, one in enumerate(calls))
        return await asyncio.gather(*asked, return_exceptions=True)

    found = Counter(str(one) for one in asyncio.run(all_at_once(calls)))
    print(f"note  {len(calls)} large calls at once in 512 MiB: {dict(found)}")
    others = sorted(set(found) - {"answered", "refused", str(ROWS), NO_MEMORY})
    checks.equal("little memory: each is answered or refused", others, [])
    checks.equal("little memory: it still runs", container.state()["Running"], True)
    alone = asyncio.run(all_at_once(calls[-1:]))
    checks.equal("little memory: what it took is given back", alone, [ROWS])
    checks.equal("little memory: nothing was killed", container.state()["OOMKilled"], False)


def starts_in_the_least(checks, engine, site):
    """The least memory that the chart takes is enough to start, be healthy and answer small calls."""
    least = memory_least()
    container = Container(engine, site, "least", f"--memory={least}", f"--memory-swap={least}")
    site.put("work/a.md", "text\n")
    calls = [("listRoots", {}), ("list_directory", {"path": "/work"}), ("read_text_file", {"path": "/work/a.md"})]

    async def ask(number):
        reader, writer = await container.connect()
        found = []
        for tool, arguments in calls:
            writer.write(b"".join(request(tool, arguments, site.keys[number % len(site.keys)])))
            status, headers, body = await asyncio.wait_for(answer(reader), 60)
            found.append(status == 200 and "error" not in message(headers, body))
        writer.close()
        return found

    async def several():
        return [one for found in await asyncio.gather(*map(ask, range(8))) for one in found]

    checks.equal("least memory: small calls are answered", asyncio.run(several()), [True] * 24)
    state = container.state()
    checks.equal("least memory: nothing was killed", (state["Running"], state["OOMKilled"]), (True, False))
    checks.equal("least memory: it ends well", container.ended_after_term(), 0)


def grouped(answered):
    """Returns how many groups there are in an answer, or why there are none."""
    result = answered["result"]
    if result.get("isError"):
        said = result["content"][0]["text"]
        return NO_MEMORY if NO_MEMORY in said else said
    return result["structuredContent"]["result"]["report"]["groups"]


def comes_back(checks, engine, site):
    """Out of memory: the kernel kills the container, the engine starts it again, it is healthy."""
    container = Container(
        *[engine, site, "greedy", "--memory=192m", "--memory-swap=192m", "--restart=on-failure"],
        more=GREEDY,
    )
    with open(site.home / "work" / "rows.csv", "w") as rows:
        rows.write("id,text\n")
        rows.writelines(
            f"{row},{row:032x} and some more words in this row\n" for row in range(ROWS)
        )
    pairs = "data a JOIN data b ON a.id / 8 = b.id / 8"
    ordered = f"SELECT row_number() OVER (ORDER BY a.text, b.text) AS at FROM {pairs}"
    arguments = {"data_source": "/work/rows.csv", "sql": f"SELECT max(at) FROM ({ordered})"}

    async def ask():
        reader, writer = await container.connect()
        writer.write(b"".join(request("query_dataset", arguments, site.keys[0])))
        try:
            return await asyncio.wait_for(answer(reader), 60)
        except Broken:
            return "no answer"

    since = time.time() - 1
    said = asyncio.run(ask())
    until(
        lambda: engine.inspect("greedy")["RestartCount"] >= 1,
        20,
        "it is not started again",
        lambda: f"{said}"[:500],
    )
    checks.equal("out of memory: the call has no answer", said, "no answer")
    happened = engine.docker(
        *["events", f"--since={since:.0f}", f"--until={time.time() + 1:.0f}"],
        *["--filter=container=greedy", "--format={{.Action}} {{.Actor.Attributes.exitCode}}"],
    ).splitlines()
    checks.true(
        "out of memory: the engine was told", any("oom" in line for line in happened), happened
    )
    checks.true(
        "out of memory: it was killed", any("die 137" in line for line in happened), happened
    )
    engine.wait_for("greedy", "healthy")
    checks.ok("out of memory: it is started again, and healthy")
    checks.equal("out of memory: and ends well", container.ended_after_term(), 0)
    killed, last = verdicts(engine, site)
    allowed = WHOLE in killed or killed.endswith(CUT)
    checks.true("out of memory: the log of the one that was killed is whole, or ends within a line", allowed, killed)
    checks.true("out of memory: that of the next one is whole", WHOLE in last and "stopped in order" in last, last)
    log = sorted((site.home / "var/audit").glob("*.jsonl"))[0].read_text()
    counts = [log.count(f'"kind":"{kind}"') for kind in ("intent", "outcome")]
    checks.equal("out of memory: the call that it died of began on record, and has no end there", counts, [1, 0])


def main():
    checks = Checks("container")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        build_roothold(engine, VERSION="1.2.3")
        cases = [describes_itself, lists_its_parts, has_its_source, refuses_the_open, is_confined]
        cases += [answers_what_runs, is_killed_in_the_end, starts_in_the_least, withstands, comes_back]
        for case in cases:
            home = Path(scratch) / case.__name__
            home.mkdir()
            with checks.guard(case.__name__):
                case(checks, engine, Site(home, principals=4))
    checks.finish()


if __name__ == "__main__":
    main()
