"""A container engine that belongs to one test: it is started, used and gone with the test.

It runs in the namespaces that `tests/deploy/run` makes, so its networks exist nowhere else, and
the addresses of its containers are reached from the test alone.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

START_SECONDS = 30
STOP_SECONDS = 30
COMMAND_SECONDS = 120
# Debian keeps the daemon outside of a user's PATH.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class CommandFailed(RuntimeError):
    """A command of the engine ended with an error."""


class Engine:
    """A running engine; a context manager."""

    def __init__(self):
        # Short, since the path of a socket may have 107 characters only.
        self.home = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
        self.env = {
            "PATH": PATH,
            "HOME": str(self.home),
            "DOCKER_HOST": f"unix://{self.home}/sock",
            # The one in every engine: no plugin is needed for it.
            "DOCKER_BUILDKIT": "0",
        }

    def __enter__(self):
        daemon = shutil.which("dockerd", path=PATH)
        if not daemon:
            raise RuntimeError("dockerd is missing: install Debian's docker.io")
        command = [
            daemon,
            f"--data-root={self.home}/data",
            f"--exec-root={self.home}/exec",
            f"--pidfile={self.home}/pid",
            f"--host=unix://{self.home}/sock",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--bip=10.91.0.1/24",
            "--default-address-pool=base=10.92.0.0/16,size=24",
        ]
        with open(self.home / "log", "wb") as log:
            self._daemon = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                tail = (self.home / "log").read_text(errors="replace")[-2000:]
                self.__exit__(None, None, None)
                raise RuntimeError(f"the container engine did not start: {tail}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        if self._daemon.poll() is None:
            self._quietly("rm", "--force", "--volumes", *self._quietly("ps", "-aq").split())
            self._daemon.send_signal(signal.SIGTERM)
            try:
                self._daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def _is_up(self):
        return self._run(["version"], 5).returncode == 0

    def _quietly(self, *arguments):
        return self._run(arguments, COMMAND_SECONDS).stdout.decode(errors="replace")

    def _run(self, arguments, timeout, stdin=None):
        # The engine's own client, not another that may come first in PATH.
        client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        return subprocess.run(
            [client, *arguments], env=self.env, timeout=timeout, capture_output=True, input=stdin
        )

    def docker(self, *arguments, stdin=None, timeout=COMMAND_SECONDS):
        """Runs `docker ARGUMENTS` and returns its output, without the line end.

        Raises CommandFailed with what it said where it ends with another code than 0.
        """
        arguments = [str(argument) for argument in arguments]
        done = self._run(arguments, timeout, stdin)
        if done.returncode != 0:
            said = (done.stderr + done.stdout).decode(errors="replace")[-3000:]
            raise CommandFailed(f"docker {' '.join(arguments)[:300]}: {done.returncode}\n{said}")
        return done.stdout.decode(errors="replace").rstrip("\n")

    def inspect(self, name, kind="container"):
        """Returns what the engine knows of a container, image, service, …"""
        return json.loads(self.docker("inspect", "--type", kind, name))[0]

    def kill(self, name):
        """Kills a container's process, which the engine has not been asked for, so that it starts it again.

        Returns when it is gone, and what it had open is closed.
        """
        process = self.inspect(name)["State"]["Pid"]
        os.kill(process, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{process}"), COMMAND_SECONDS, f"{name} does not die")

    def logs(self, name):
        """Returns what a container has written, both streams."""
        done = self._run(["logs", name], COMMAND_SECONDS)
        return (done.stdout + done.stderr).decode(errors="replace")

    def address(self, name, network=None):
        """Returns the address of a running container in its network."""
        networks = self.inspect(name)["NetworkSettings"]["Networks"]
        chosen = networks[network] if network else next(iter(networks.values()))
        return chosen["IPAddress"]

    def wait_for(self, name, health, seconds=30):
        """Waits until a container's health is `health`; raises RuntimeError if it never is."""
        until(
            lambda: self.inspect(name)["State"].get("Health", {}).get("Status") == health,
            seconds,
            f"{name} is never {health}",
            lambda: self.logs(name)[-2000:],
        )


def until(claim, seconds, otherwise, explain=lambda: ""):
    """Waits until `claim()` holds and returns its value; raises RuntimeError if it never does."""
    deadline = time.monotonic() + seconds
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline:
            raise RuntimeError(f"{otherwise} within {seconds} s\n{explain()}")
        time.sleep(0.1)
