"""The CronJob that moves closed files of the audit log away: its script, on logs of the built program."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import yaml

from lib import chart, manifests
from lib.alone import HERE, Server
from lib.mcp import call
from lib.setup import REPOSITORY

JOB = REPOSITORY / "deploy/kubernetes/optional/auditarchive/cronjob.yaml"


def moves_closed_files_alone(checks):
    pod = yaml.safe_load(JOB.read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    checks.equal("the CronJob keeps to `restricted`", manifests.restricted(pod), [])
    kubelet = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    chart_claim = chart.the("PersistentVolumeClaim", chart.template())["metadata"]["name"]
    checks.equal("it mounts the claim of the log", kubelet["data"], chart_claim)
    with tempfile.TemporaryDirectory() as scratch:
        server = Server(scratch, "server")
        log, archive = server.home / "audit", Path(scratch) / "archive"
        archive.mkdir()
        script = pod["containers"][0]["args"][0].replace("/var/lib/roothold/audit", str(log)).replace("/archive", str(archive))
        closed = began(server, signal.SIGTERM)
        killed = began(server, signal.SIGKILL)
        halfway = began(server, signal.SIGTERM)
        (archive / f"{halfway}.part").write_text("cut off")
        there = began(server, signal.SIGTERM)
        shutil.copy(log / there, archive)
        with server.running():
            (written,) = names(log) - {closed, killed, halfway, there}
            # As on a volume that tells nobody of locks: only what the file says is left to go by.
            shutil.copy(log / written, log / "audit-unlocked.jsonl")
            # A closed one that somebody has locked.
            shutil.copy(archive / there, log / "audit-locked.jsonl")
            with subprocess.Popen(["flock", log / "audit-locked.jsonl", "cat"], stdin=subprocess.PIPE) as holder:
                while subprocess.run(["flock", "-n", log / "audit-locked.jsonl", "true"]).returncode == 0:
                    pass
                done = move(script)
                checks.equal("it ends well", (done.returncode, done.stderr), (0, ""))
                checks.equal("what is closed is moved", sorted(names(archive)), sorted([closed, halfway, there]))
                stays = [killed, written, "audit-unlocked.jsonl", "audit-locked.jsonl"]
                checks.equal("what is written, or not closed, or locked stays", sorted(names(log)), sorted(stays))
                holder.stdin.close()
            status = call(HERE, None, "read_text_file", {"path": "/kept/file.md"})[0]
            checks.equal("the server goes on", status, 200)
            checks.true("and with its log", '"kind":"intent"' in (log / written).read_text())
        checks.equal("nothing is left of a move that was cut off", [path.name for path in archive.glob("*.part")], [])
        for name in ("audit-unlocked.jsonl", "audit-locked.jsonl"):
            (log / name).unlink()
        verify = [server.command[0], "audit", "verify", log, archive]
        done = subprocess.run(verify, env=server.env, capture_output=True, text=True)
        checks.true("both directories together are a whole log", done.returncode == 0, done.stdout + done.stderr)
        (archive / closed).write_text("another")
        began(server, signal.SIGTERM)
        shutil.copy(archive / there, log / closed)
        done = move(script)
        checks.true("what is there under the same name and differs fails, and nothing is lost", done.returncode != 0 and (log / closed).exists(), done)


def names(directory):
    return {path.name for path in directory.glob("audit-*.jsonl")}


def began(server, how):
    """Has the server run once and end by a signal; returns the name of the file that it began."""
    log = server.home / "audit"
    before = names(log)
    with server.running():
        server.child.send_signal(how)
        server.child.wait(40)
    (name,) = names(log) - before
    return name


def move(script):
    """Runs the script of the CronJob by busybox, as its image has it, but for `flock`, which Debian's lacks."""
    with tempfile.TemporaryDirectory() as programs:
        subprocess.run(["busybox", "--install", "-s", programs], check=True)
        path = {"PATH": f"{programs}:/usr/bin:/bin"}
        return subprocess.run(["busybox", "sh", "-euc", script], env=path, capture_output=True, text=True, timeout=60)
