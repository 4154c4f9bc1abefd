#!/usr/bin/env python3
"""deploy/compose.yaml as its first lines say: prepared, started by one command, called over TLS, and broken.

Only the images are others: those of this machine's programs, since none is pulled.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from lib import upkeep
from lib.balancer import client, nginx_image
from lib.checks import Checks
from lib.engine import Engine, until
from lib.image import (
    build_roothold,
    collector_image,
    postgres_image,
    program,
    watcher_image,
)
from lib.load import Load
from lib.mcp import answer, call, message, request
from lib.setup import REPOSITORY, binary

# Health is asked for more often, a lease is shorter, chunks are smaller: the same things happen sooner.
CHUNK = 1 << 20
LEASE_SECONDS = 3
# After the end of a lease: a replica asks for work every two seconds.
TAKEN_UP_SECONDS = 5
SOONER = f"""
services:
  nginx:
    healthcheck: &often
      interval: 1s
  postgres:
    healthcheck: *often
  prometheus:
    healthcheck: *often
  alertmanager:
    healthcheck: *often
  roothold:
    healthcheck: *often
    environment:
      ROOTHOLD_JOBS__LEASE_SECONDS: "{LEASE_SECONDS}"
      ROOTHOLD_DATASET_ENGINE__CHUNK_BYTES: "{CHUNK}"
      ROOTHOLD_DATASET_ENGINE__THREADS: "1"
"""
START_SECONDS = 120
BLOCK = "".join(f"{row},Oslo,{row % 97}\n" for row in range(10_000))
BLOCKS = 600
ROWS = 10_000 * BLOCKS
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVER = ("127.0.0.1", 8443)
# By which it is to be reached, besides localhost.
NAME = "agents.example"
CHANGE_SECONDS = 30


class Stack:
    """The services of the compose file."""

    def __init__(self, engine, scratch):
        self.engine = engine
        self.home = Path(scratch) / "deploy"
        shutil.copytree(REPOSITORY / "deploy", self.home)
        (self.home / "sooner.yaml").write_text(SOONER)
        documents = Path(scratch) / "documents"
        documents.mkdir()
        (documents / "rows.csv").write_text("id,city,amount\n" + BLOCK * BLOCKS)
        self.compose = program("docker-compose")
        self.env = engine.env | {
            "COMPOSE": self.compose,
            "ROOTHOLD_IMAGE": build_roothold(engine),
            "NGINX_IMAGE": nginx_image(engine),
            "POSTGRES_IMAGE": postgres_image(engine),
            "COLLECTOR_IMAGE": collector_image(engine),
            "PROMETHEUS_IMAGE": watcher_image(engine, "prometheus", 9090),
            "ALERTMANAGER_IMAGE": watcher_image(engine, "alertmanager", 9093),
            "DOCUMENTS": str(documents),
            "PATH": f"{engine.env['PATH']}:{os.path.dirname(self.compose)}",
        }

    def run(self, *command, timeout=START_SECONDS):
        done = subprocess.run(
            command, cwd=self.home, env=self.env, capture_output=True, text=True, timeout=timeout
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"{command}: {done.returncode}\n{(done.stderr + done.stdout)[-3000:]}"
            )
        return done.stdout

    def up(self, *more):
        """Has Compose make what is asked for, and waits until it is healthy."""
        files = ["--file=compose.yaml", "--file=sooner.yaml"]
        try:
            self.run(self.compose, *files, "up", "--detach", "--wait", "--quiet-pull", *more)
        except RuntimeError as problem:
            said = self.run(self.compose, *files, "logs", "--no-color", "--tail=5")
            raise RuntimeError(f"{said}\n{problem}") from None

    def start(self):
        self.run("./prepare", NAME)
        # All but Grafana, of which there is no program to be had here.
        services = ["nginx", "roothold", "postgres", "collector"]
        services += ["prometheus", "alertmanager"]
        self.up(*services)
        self.key = (self.home / "secrets" / "demo.key").read_text().strip()
        self.tls = client(self.home / "secrets" / "tls" / "ca.crt")

    def containers(self, service="roothold"):
        """Returns the ids of a service's containers that run."""
        label = f"--filter=label=com.docker.compose.service={service}"
        return sorted(self.engine.docker("ps", "--quiet", "--no-trunc", label).split())

    def private(self, container, path):
        """Returns what a replica's private port says."""
        address = self.engine.address(container, "roothold_front")
        with urllib.request.urlopen(f"http://{address}:9464{path}", timeout=5) as answered:
            return answered.read().decode()

    def runs(self, job):
        """Returns who has begun to work on a job and when, as the audit logs of all replicas have it."""
        place = self.engine.inspect("roothold_kept", "volume")["Mountpoint"]
        found = []
        for file in Path(place).glob("audit/*.jsonl"):
            # The last line may be written just now.
            boot, *lines = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
            mine = [line for line in lines if line["kind"] == "intent" and line["request_id"] == job]
            found += [(boot["replica"], datetime.fromisoformat(line["ts"]).timestamp()) for line in mine]
        return found

    def call(self, tool, arguments, **more):
        """Makes one call through nginx; returns status, headers, body."""
        more.setdefault("key", self.key)
        return call(SERVER, self.tls, tool, arguments, **more)

    def result(self, tool, arguments):
        status, headers, body = self.call(tool, arguments)
        if status != 200:
            raise RuntimeError(f"{tool}: {status} {body[:500]}")
        return message(headers, body)["result"]["structuredContent"]


def starts(checks, stack):
    """Who may call, and what runs."""
    status, headers, body = stack.call("listRoots", {}, key=None)
    checks.equal("without a token: 401", status, 401)
    checks.true("and how to get one", "www-authenticate" in headers, headers)
    status, _, _ = stack.call("listRoots", {}, key="rhk_aaaaaaaaaaaa_no-such-key")
    checks.equal("with a wrong one: 401", status, 401)
    status, headers, body = stack.call("listRoots", {})
    roots = message(headers, body)["result"]["structuredContent"]["roots"]
    wanted = ["file:///work", "file:///documents"]
    checks.equal("with a token: 200", (status, [root["uri"] for root in roots]), (200, wanted))
    command = [
        binary("ROOTHOLD_BIN"),
        "call",
        "--url",
        "https://localhost:8443/mcp",
        "--token-file",
    ]
    trust = stack.env | {"SSL_CERT_FILE": str(stack.home / "secrets/tls/ca.crt")}
    done = subprocess.run(
        [*command, stack.home / "secrets/demo.key", "listRoots"],
        env=trust,
        capture_output=True,
        text=True,
        timeout=60,
    )
    checks.true("and as deploy/README.md says", "file:///work" in done.stdout, done.stderr)
    written = stack.result("write_file", {"path": "/work/first.md", "content": "first\n"})
    checks.equal("a file is written", written["created"], True)
    checks.equal("three replicas run", len(stack.containers()), 3)
    for container in stack.containers():
        host = stack.engine.inspect(container)["HostConfig"]
        limits = (host["NanoCpus"], host["Memory"], host["MemoryReservation"])
        checks.equal("with limits and a reservation", limits, (2 * 10**9, 1 << 30, 256 << 20))
        checks.true("on a read-only root", host["ReadonlyRootfs"])
    mounted = "".join(stack.engine.logs(container) for container in stack.containers())
    checks.true("jobs are kept in PostgreSQL", "PostgreSQL" in mounted, mounted[:500])


def is_reached_by_name(checks, stack):
    """The name that `prepare` was given is the certificate's, nginx's and the replicas'."""
    by_name = stack.call("listRoots", {}, host=NAME)
    checks.equal("by the name that it was prepared for: 200", by_name[0], 200)
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-checkhost", NAME, "-in", stack.home / "secrets/tls/server.crt"],
        capture_output=True,
        text=True,
    )
    checks.true("which is in the certificate", "does match" in shown.stdout, shown)
    for container in stack.containers():
        variables = stack.engine.inspect(container)["Config"]["Env"]
        url = f"ROOTHOLD_SERVER__PUBLIC_URL=https://{NAME}:8443/mcp"
        checks.true("and in the public URL", url in variables, [one for one in variables if "URL" in one])
    checks.equal("by another name: refused", stack.call("listRoots", {}, host="other.example")[0], 403)


def takes_changes(checks, stack):
    """A configuration and keys that take the place of others, as editors have them do, are seen by all replicas."""
    path = stack.home / "config" / "roothold.toml"
    before = path.read_text()

    def replaced(text, shown):
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)
        until(
            lambda: all(shown in stack.private(one, "/metrics") for one in stack.containers()),
            CHANGE_SECONDS,
            f"not every replica shows {shown}",
            lambda: stack.engine.logs(stack.containers()[0])[-1000:],
        )

    replaced(before + "# Read.\n", 'roothold_config_reads_total{outcome="taken"} 1\n')
    replaced(before + "[limits]\ncalls_max = 17\n", "roothold_config_refused 1\n")
    replaced(before, "roothold_config_refused 0\n")
    checks.ok("each replica reads a configuration that took the place of another, and tells one that it cannot take")

    key = stack.run("./key", "new", "demo", "--scopes", "files:read").strip()

    def statuses():
        return {stack.call("listRoots", {}, key=key)[0] for _ in range(6)}

    until(lambda: statuses() == {200}, CHANGE_SECONDS, "the new key is not taken up")
    checks.ok("a new key is taken up by each replica")


def is_prepared_again(checks, stack):
    """`prepare` once more: what is there stays, but for names that are new."""
    secrets = stack.home / "secrets"
    kept = [secrets / "demo.key", secrets / "roothold/keys.jsonl", secrets / "tls/server.crt", stack.home / ".env"]
    texts = [file.read_text() for file in kept]
    stack.run("./prepare")
    stack.run("./prepare", NAME)
    checks.equal("prepared again, it is as it was", [file.read_text() for file in kept], texts)
    stack.run("./prepare", "b.example", "192.0.2.7")
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", kept[2]], capture_output=True, text=True
    ).stdout
    wanted = ("DNS:localhost", "DNS:b.example", "IP Address:192.0.2.7")
    checks.true("another name is in another certificate", all(name in shown for name in wanted), shown)
    env = kept[3].read_text()
    names = "ROOTHOLD_SERVER__ALLOWED_HOSTS='[\"b.example\", \"192.0.2.7\"]'\n"
    checks.true("and in the variables", env.count("ROOTHOLD_") == 2 and names in env, env)
    secret = [line for line in texts[3].splitlines() if not line.startswith("ROOTHOLD_")]
    checks.true("whose secrets are as before", all(line in env.splitlines() for line in secret))
    for wrong in ('a"b', "a b", "-a", "", "a/b", "$(id)"):
        try:
            stack.run("./prepare", wrong)
            checks.fail(f"a name that is none is refused: {wrong!r}", "it was taken")
        except RuntimeError as error:
            checks.true(f"a name that is none is refused: {wrong!r}", "is no host name" in str(error), error)
    checks.equal("which changes nothing", kept[3].read_text(), env)


def streams(checks, stack):
    """Progress passes nginx as it is made."""

    async def one():
        reader, writer = await asyncio.open_connection(*SERVER, ssl=stack.tls)
        arguments = {"data_source": "/documents/rows.csv", "operation": "profile"}
        call = request("process_large_dataset", arguments, stack.key, progress="p")
        writer.write(b"".join(call))
        began = time.monotonic()
        arrived = []
        status, headers, body = await asyncio.wait_for(
            answer(reader, lambda part: arrived.append(time.monotonic() - began)), 60
        )
        return status, headers, body, arrived

    status, headers, body, arrived = asyncio.run(one())
    checks.equal("a stream is answered", status, 200)
    checks.equal("as a stream", headers["content-type"].split(";")[0], "text/event-stream")
    told = body.count(b"Processed: ")
    checks.true("progress is told", told >= 10, told)
    # What waits in a buffer comes in one piece, at the end.
    checks.true("while it is made", arrived[-1] - arrived[0] > arrived[-1] / 2, arrived)
    rows = message(headers, body)["result"]["structuredContent"]["result"]["rows"]
    checks.equal("and the result is whole", rows, ROWS)


def traces(checks, stack):
    """The id of a caller's trace is in nginx's log, passes to the replica, and comes out at the collector."""
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    status, headers, _ = stack.call("listRoots", {}, headers=[f"traceparent: {parent}"])
    checks.equal("a call with a trace is answered", status, 200)

    def logged():
        lines = stack.engine.logs(stack.containers("nginx")[0]).splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if entry["trace"] == TRACE]

    entries = until(logged, 5, "nginx does not log the trace")
    checks.equal("nginx logs it once", len(entries), 1)
    checks.equal("with the replica's own id", entries[0]["request_id"], headers["x-request-id"])
    collector = stack.containers("collector")[0]
    until(
        lambda: TRACE in stack.engine.logs(collector),
        20,
        "the trace does not reach the collector",
        lambda: stack.engine.logs(collector)[-1000:],
    )
    spans = stack.engine.logs(collector)
    checks.true("the collector has the call's span", "tools/call listRoots" in spans, spans[-500:])
    secrets = [word for word in (stack.key, "Bearer") if word in json.dumps(entries) + spans]
    checks.equal("and no credential", secrets, [])


def watches(checks, stack):
    """Prometheus finds every replica, has the rules, and reaches Alertmanager; one replica more is found by it and by nginx."""

    def asked(path):
        with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{path}", timeout=5) as answered:
            return json.load(answered)["data"]

    def scraped():
        targets = asked("targets?state=active")["activeTargets"]
        mine = [target for target in targets if target["labels"]["job"] == "roothold"]
        return sorted(target["labels"]["instance"] for target in mine if target["health"] == "up")

    def there():
        addresses = [stack.engine.address(one, "roothold_front") for one in stack.containers()]
        return sorted(f"{address}:9464" for address in addresses)

    def all_scraped(what):
        until(
            lambda: scraped() == there(), 60, "not every replica is scraped", lambda: json.dumps(asked("targets"))[:2000]
        )
        checks.ok(what)

    all_scraped("Prometheus scrapes the three replicas")
    rules = [rule for group in asked("rules")["groups"] for rule in group["rules"]]
    checks.true("it has the rules", len(rules) > 10, len(rules))
    inside = [stack.compose, "--file=compose.yaml", "exec", "-T", "nginx", "wget", "-qO-"]
    said = json.loads(stack.run(*inside, "http://roothold:9464/status"))
    checks.true("the private port is reached as the runbook says", "walls" in said, said)
    wrong = [rule["name"] for rule in rules if rule["health"] == "err"]
    checks.equal("and can evaluate them", wrong, [])
    managers = asked("alertmanagers")["activeAlertmanagers"]
    checks.equal("it knows Alertmanager", len(managers), 1)

    before = stack.containers()
    stack.up("--no-recreate", "--scale=roothold=4", "roothold")
    (new,) = set(stack.containers()) - set(before)
    checks.true("a fourth replica leaves the others alone", set(before) < set(stack.containers()))
    called = 'mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call",gen_ai_tool_name="listRoots"'

    def answers():
        stack.call("listRoots", {})
        return called in stack.private(new, "/metrics")

    until(answers, 30, "nginx sends the fourth replica no call", lambda: stack.private(new, "/metrics")[:3000])
    checks.ok("nginx finds it by itself")
    all_scraped("and so does Prometheus")
    stack.up("--no-recreate", "--scale=roothold=3", "roothold")
    checks.equal("and there are three again", len(stack.containers()), 3)


def limits(checks, stack):
    """More calls than a caller may make are refused at once, and served again soon."""

    async def many():
        async def few():
            reader, writer = await asyncio.open_connection(*SERVER, ssl=stack.tls)
            found = []
            for _ in range(40):
                writer.write(b"".join(request("listRoots", {}, stack.key)))
                found.append(await asyncio.wait_for(answer(reader), 30))
            writer.close()
            return found

        return [found for one in await asyncio.gather(*(few() for _ in range(8))) for found in one]

    found = asyncio.run(many())
    refused = [(headers, body) for status, headers, body in found if status == 429]
    others = {status for status, _, _ in found} - {429}
    checks.true("past the limit: 429", len(refused) > 50, len(refused))
    checks.equal("within it: 200", others, {200})
    checks.equal(
        "it says when to try again", {headers.get("retry-after") for headers, _ in refused}, {"1"}
    )
    checks.true("in the form of the protocol", json.loads(refused[0][1])["error"]["message"])
    until(lambda: stack.call("listRoots", {})[0] == 200, 10, "no call is served again")
    checks.ok("and then calls are served again")


def rolls(checks, stack):
    """Each replica is ended with SIGTERM and started again, while clients call."""
    with Load(SERVER, [stack.key] * 4, tls=stack.tls, pause=0.12, writes=False) as load:
        load.wait_for(40, 30)
        codes = []
        for container in stack.containers():
            stack.engine.docker("stop", "--time=45", container)
            codes.append(stack.engine.inspect(container)["State"]["ExitCode"])
            stack.engine.docker("start", container)
            stack.engine.wait_for(container, "healthy")
        load.wait_for(load.tally.calls + 40, 30)
    print(f"note  rolling SIGTERM behind compose: {load.tally.calls} calls")
    said = [
        line
        for line in stack.engine.logs(stack.containers("nginx")[0]).splitlines()
        if "[error]" in line
    ]
    failed = load.tally.failures
    checks.true(
        "rolling SIGTERM: no call failed", not failed, f"{failed[:3]}\n" + "\n".join(said[-20:])
    )
    checks.equal("rolling SIGTERM: each ended with 0", codes, [0, 0, 0])


def goes_on(checks, stack):
    """A job's replica is killed: another one finishes it, and each chunk counts once."""
    arguments = {"data_source": "/documents/rows.csv", "operation": "profile"}
    alone = stack.result("process_large_dataset", arguments)["result"]
    background = arguments | {"background": True}
    job = stack.result("process_large_dataset", background)["job"]["job_id"]
    victim = until(lambda: who_works(stack), 30, "no replica works on the job")
    # It is not to go on with the job itself.
    stack.engine.docker("update", "--restart=no", victim)
    name = stack.engine.inspect(victim)["Config"]["Hostname"]
    stack.engine.kill(victim)
    killed = time.time()
    found = until(lambda: ended(stack, job), 60, "the job does not end")
    checks.equal("a job of a killed replica completes", found["job"]["status"], "completed")
    result = found["result"]
    exact = [key for key in alone if key != "report"]
    checks.equal("each chunk counted once", [result[k] for k in exact], [alone[k] for k in exact])
    chunks = found["job"]["progress"]["chunks"]
    checks.equal("and there are as many as the file has", chunks, -(-alone["bytes"] // CHUNK))
    checks.equal("in every column", exactly(result), exactly(alone))
    runs = stack.runs(job)
    checks.true("it had been at work", any(replica == name for replica, _ in runs), (name, runs))
    others = [at for replica, at in runs if replica != name]
    checks.true("another one has taken it up", others, (name, runs))
    waited = min(others) - killed
    print(f"note  a killed replica's job: taken up by another after {waited:.1f} s, with a lease of {LEASE_SECONDS} s")
    checks.true("and in time", waited <= LEASE_SECONDS + TAKEN_UP_SECONDS, waited)
    stack.engine.docker("update", "--restart=unless-stopped", victim)
    stack.engine.docker("start", victim)
    stack.engine.wait_for(victim, "healthy")


def exactly(result):
    """Returns what is exact in a profile, column by column: what is estimated depends on who went on where."""
    estimates = {"quantiles", "distinct", "mean"}
    columns = result["report"]["columns"]
    return [{key: column[key] for key in column if key not in estimates} for column in columns]


def who_works(stack):
    """Returns the replica that works on a job, by its metrics."""
    for container in stack.containers():
        if "roothold_jobs_running 1" in stack.private(container, "/metrics"):
            return container
    return None


def ended(stack, job):
    try:
        found = stack.result("get_job", {"job_id": job})
    except RuntimeError:
        # This call, too, may have gone to the replica that was killed.
        return None
    return found if found["job"]["status"] not in ("queued", "running", "working") else None


def main():
    checks = Checks("compose")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        stack = Stack(engine, scratch)
        began = time.monotonic()
        stack.start()
        print(f"note  compose: prepared and up in {time.monotonic() - began:.1f} s")
        cases = (starts, is_reached_by_name, takes_changes, traces, streams, watches, goes_on, upkeep.keeps_figures, rolls)
        kept = (upkeep.bounds_bodies, upkeep.revokes_a_key, upkeep.goes_back)
        for case in (*cases, *kept, limits, is_prepared_again, upkeep.renews_certificates):
            with checks.guard(case.__name__):
                case(checks, stack)
    checks.finish()


if __name__ == "__main__":
    main()
