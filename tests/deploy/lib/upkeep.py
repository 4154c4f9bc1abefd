"""What whoever runs deploy/compose.yaml does with it over time, and what one caller cannot do to it."""

import asyncio
import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

from lib.engine import until
from lib.mcp import message
from lib.readme import blocks

SERVER = ("127.0.0.1", 8443)
CHANGE_SECONDS = 30
BODY_BYTES = 4 << 20
# More than nginx's container has memory for; as many as one address may begin at once.
BODIES = 90
NAME = "agents.example"
AUTHORITY = "Roothold try-out CA"


def revokes_a_key(checks, stack):
    """A key that is revoked is refused by every replica, without a restart, and no other one is."""
    key = stack.run("./key", "new", "demo", "--scopes", "files:read").strip()

    def statuses(key):
        return {stack.call("listRoots", {}, key=key)[0] for _ in range(6)}

    until(lambda: statuses(key) == {200}, CHANGE_SECONDS, "the new key is not taken up")
    entries = [json.loads(line) for line in stack.run("./key", "list", "--json").splitlines()]
    stack.run("./key", "revoke", entries[-1]["id"])
    until(lambda: statuses(key) == {401}, CHANGE_SECONDS, "the revoked key is not refused")
    checks.ok("a revoked key is refused by each replica")
    checks.equal("and no other one", sorted(statuses(stack.key)), [200])


def bounds_bodies(checks, stack):
    """Large bodies that never end, of nobody: nginx keeps its memory, and small calls are answered meanwhile."""
    nginx = stack.containers("nginx")[0]

    def said(*words):
        return [line for line in stack.engine.logs(nginx).splitlines() if any(word in line for word in words)]

    async def one():
        _, writer = await asyncio.open_connection(*SERVER, ssl=stack.tls)
        head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        writer.write(head.encode() + bytes(BODY_BYTES - 1))
        try:
            await asyncio.wait_for(writer.drain(), 30)
        except OSError:
            # Refused, as those beyond the bound are to be.
            pass
        return writer

    async def many():
        writers = await asyncio.gather(*(one() for _ in range(BODIES)))
        # Until the bound is reached, or the memory of the container.
        await asyncio.to_thread(until, lambda: said("No space left", "exited on signal"), 60, "nginx has room for all bodies")
        found = await asyncio.to_thread(stack.call, "listRoots", {})
        for writer in writers:
            writer.close()
        return found[0]

    status = asyncio.run(many())
    checks.equal("while large bodies wait, a small call is answered", status, 200)
    checks.equal("and nginx has not run out of memory", said("exited on signal"), [])


def keeps_figures(checks, stack):
    """Prometheus keeps what the objectives look back at, and datasets spill no more than is shipped."""
    with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/status/flags", timeout=5) as answered:
        kept = json.load(answered)["data"]["storage.tsdb.retention.time"]
    days = {"d": 1, "w": 7}
    checks.true("Prometheus keeps more than 30 days", int(kept[:-1]) * days.get(kept[-1], 0) > 30, kept)
    name = "roothold_dataset_spill_max_bytes "
    lines = [line for one in stack.containers() for line in stack.private(one, "/metrics").splitlines()]
    most = {float(line.removeprefix(name)) for line in lines if line.startswith(name)}
    # Before its first call over datasets a replica has not begun to count.
    checks.equal("a replica with datasets spills 1 GiB at most", sorted(most - {0.0}), [float(1 << 30)])


def renews_certificates(checks, stack):
    """`prepare` makes another certificate for trying out a day before the old one ends; of others it says so."""
    place = stack.home / "secrets" / "tls"
    spare = Path(shutil.copytree(place, stack.home / "spare"))

    def ending(authority):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-addext", f"subjectAltName=DNS:localhost,DNS:{NAME},IP:192.0.2.7"]
        command += ["-days", "1", "-subj", f"/CN={authority}", "-keyout", spare / "server.key"]
        subprocess.run([*command, "-out", spare / "server.crt"], check=True, capture_output=True)

    def is_good():
        command = ["openssl", "x509", "-noout", "-checkend", "86400", "-in", spare / "server.crt"]
        return subprocess.run(command, capture_output=True).returncode == 0

    ending(AUTHORITY)
    # A second later it is less than a day.
    until(lambda: not is_good(), 10, "the certificate is good for more than a day")
    stack.run("./certificates", spare)
    checks.true("a certificate for trying out that ends is made anew", is_good())
    shown = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", spare / "server.crt"]
    names = subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    checks.true("for the names that it had", NAME in names and "192.0.2.7" in names, names)
    ending("Another CA")
    until(lambda: not is_good(), 10, "the certificate is good for more than a day")
    try:
        stack.run("./certificates", spare)
        checks.fail("one of another authority that ends is told", "nothing was said")
    except RuntimeError as error:
        checks.true("one of another authority that ends is told", "ends within a day" in str(error), error)


def goes_back(checks, stack):
    """Back to the state of a backup, with the commands of the README: what it holds is there, what came later is not."""
    address = stack.engine.address(stack.containers("postgres")[0], "roothold_state")
    lines = (stack.home / ".env").read_text().splitlines()
    (password,) = [line.partition("=")[2] for line in lines if line.startswith("POSTGRES_PASSWORD=")]
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    database = f"postgresql://roothold:{password}@{address}/roothold"
    env = stack.env | {"PATH": f"{programs}:{stack.env['PATH']}"}

    def typed(line):
        done = subprocess.run(["bash", "-ec", line], cwd=stack.home, env=env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{line}: {done.stderr}{done.stdout}".replace(password, "…"))

    def asked(job):
        _, headers, body = stack.call("get_job", {"job_id": job})
        return message(headers, body)["result"]

    def status(job):
        return asked(job).get("structuredContent", {}).get("job", {}).get("status")

    def done():
        arguments = {"data_source": "/work/few.csv", "operation": "sample", "background": True}
        job = stack.result("process_large_dataset", arguments)["job"]["job_id"]
        until(lambda: status(job) == "completed", 60, "the job does not end", lambda: json.dumps(asked(job))[:1000])
        return job

    stack.result("write_file", {"path": "/work/few.csv", "content": "id,city\n1,Oslo\n"})
    before = done()
    (backup,) = set(re.findall(r"`(pg_dump [^`]+)`", (stack.home / "README.md").read_text()))
    typed(f"{backup} --dbname={database}")
    after = done()
    replicas = stack.containers()
    stack.engine.docker("stop", "--time=45", *replicas)
    (block,) = [block for block in blocks("Backup") if "pg_restore" in block]
    commands = [line for line in block.splitlines() if line.startswith(("psql", "pg_restore"))]
    checks.equal("the README has how to go back to a backup", len(commands), 2)
    for line in commands:
        typed(line.replace("DATABASE", database))
    stack.engine.docker("start", *replicas)
    for container in replicas:
        stack.engine.wait_for(container, "healthy")
    until(lambda: status(before) == "completed", 30, "the job of the backup is not there")
    checks.equal("back to a backup: its jobs are there, later ones are not", (status(before), status(after)), ("completed", None))
