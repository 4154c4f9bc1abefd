#!/usr/bin/env python3
"""The settings of nginx, HAProxy and Envoy: what they must say, that each program takes them, also with what their
comments offer for warm caches, and that replicas restart behind the latter two unnoticed.
"""

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lib import balancing, flood
from lib.balancer import certificates, nginx_image, settings
from lib.checks import Checks
from lib.engine import CommandFailed, Engine, until
from lib.image import build_roothold, envoy, program, stand_in
from lib.load import Load, check_writes, plant
from lib.mcp import answers
from lib.setup import REPOSITORY
from lib.site import Site

CLIENTS = 6
PORTS = {"haproxy": 8444, "envoy": 8445}
# A key may ask for 100 calls a second.
PAUSE = 0.02


class Front:
    """Three replicas under one name, and the balancers before them."""

    def __init__(self, engine, scratch):
        self.engine, self.scratch = engine, Path(scratch)
        self.site = Site(self.scratch / "site", 2 * CLIENTS)
        plant(self.site, 2 * CLIENTS)
        self.tls = certificates(self.scratch / "tls")
        pair = [(self.scratch / "tls" / name).read_text() for name in ("server.crt", "server.key")]
        (self.scratch / "tls" / "server.pem").write_text("".join(pair))
        for file in (self.scratch / "tls").iterdir():
            file.chmod(0o644)
        haproxy = shutil.which("haproxy", path=engine.env["PATH"])
        stand_in(engine, "haproxy:test", {"/bin/haproxy": haproxy}, user="99:99")
        stand_in(engine, "envoy:test", {"/bin/envoy": envoy()}, user="101:101")
        engine.docker("network", "create", "front")

    @staticmethod
    def settings(name):
        """Returns the directory with the settings of a balancer."""
        return REPOSITORY / "deploy" / name

    def options(self, name, place=None):
        """Returns the options to run a balancer with its settings, or with those of another place."""
        return [
            *["--network=front", "--read-only", "--tmpfs=/tmp:mode=1777"],
            f"--volume={place or self.settings(name)}:/etc/{name}:ro",
            f"--volume={self.scratch}/tls:/etc/{name}-certificates:ro",
        ]

    def start(self):
        placed = self.site.configure(pre_stop=3)
        for number in range(3):
            self.engine.docker(
                *["run", "--detach", f"--name=replica-{number}", "--network=front"],
                *["--network-alias=roothold", "--health-interval=1s", "--read-only"],
                *[f"--env=ROOTHOLD_CONFIG={placed}", *self.site.options(), "roothold:test"],
            )
        for number in range(3):
            self.engine.wait_for(f"replica-{number}", "healthy")
        for name, port in PORTS.items():
            self.run(name, name, port)
        for name, port in PORTS.items():
            until(
                lambda: answers(("127.0.0.1", port), self.tls),
                20,
                f"{name} passes no call on",
                lambda: self.engine.logs(name)[-2000:],
            )

    def run(self, name, container, port, place=None):
        """Starts a balancer as a container that is reached at a port."""
        commands = {
            "haproxy": ["/bin/haproxy", "-f", "/etc/haproxy/haproxy.cfg"],
            "envoy": ["/bin/envoy", "-c", "/etc/envoy/envoy.yaml", "--concurrency", "1"],
        }
        self.engine.docker(
            *["run", "--detach", f"--name={container}", *self.options(name, place)],
            *[f"--publish=127.0.0.1:{port}:8443", f"{name}:test", *commands[name]],
        )

    def load(self, name):
        number = list(PORTS).index(name)
        keys = self.site.keys[number * CLIENTS : (number + 1) * CLIENTS]
        return Load(
            *[("127.0.0.1", PORTS[name]), keys], tls=self.tls, pause=PAUSE, first=number * CLIENTS
        )


def are_taken(checks, front):
    """Each program checks its settings, and the linter the Dockerfile."""
    done = subprocess.run(
        [program("hadolint"), REPOSITORY / "deploy" / "Dockerfile"], capture_output=True, text=True
    )
    checks.equal("hadolint finds nothing", (done.returncode, done.stdout), (0, ""))
    settings(front.scratch / "nginx-settings", limits=None)
    nginx_image(front.engine)
    checked(checks, front, "its settings", {"nginx": front.scratch / "nginx-settings/nginx"})
    hashed = {name: balancing.hashed(name, front.scratch / f"{name}-hashed") for name in CHECK}
    checked(checks, front, "calls of one tool to one replica", hashed)
    broken = front.scratch / "nginx-hashed/upstream.conf"
    broken.write_text(broken.read_text().replace("consistent;", "constant;"))
    try:
        check(front, "nginx", hashed["nginx"])
        checks.fail("a word that nginx does not know would be noticed", "it was taken")
    except CommandFailed as problem:
        checks.true("a word that nginx does not know would be noticed", "constant" in str(problem), problem)


# How each program checks its settings.
CHECK = {
    "nginx": ["-t"],
    "haproxy": ["/bin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"],
    "envoy": ["/bin/envoy", "--mode", "validate", "-c", "/etc/envoy/envoy.yaml"],
}


def check(front, name, settings):
    """Has a program check settings, and returns what it says. Raises CommandFailed where it does not take them."""
    return front.engine.docker("run", "--rm", *front.options(name, settings), f"{name}:test", *CHECK[name])


def checked(checks, front, what, settings):
    """Has each program check what is in the directories of `settings`, or else what it has in `deploy`."""
    for name in CHECK:
        with checks.guard(f"{name} takes {what}"):
            said = check(front, name, settings.get(name))
            checks.true(f"{name} takes {what}", "warn" not in said.lower(), said)


def restart_unnoticed(checks, front):
    """Each replica is ended with SIGTERM and started again, under load through both."""
    front.start()
    with ExitStack() as stack:
        loads = {name: stack.enter_context(front.load(name)) for name in PORTS}
        for load in loads.values():
            load.wait_for(100, 30)
        for number in range(3):
            front.engine.docker("stop", "--time=30", f"replica-{number}")
            front.engine.docker("start", f"replica-{number}")
            front.engine.wait_for(f"replica-{number}", "healthy")
        for load in loads.values():
            load.wait_for(load.tally.calls + 100, 30)
    for name, load in loads.items():
        print(f"note  rolling SIGTERM behind {name}: {load.tally.calls} calls")
        checks.equal(f"{name}: no call failed", load.tally.failures[:5], [])
    both = [load.tally for load in loads.values()]
    check_writes(checks, "both", front.site, *both)


def main():
    checks = Checks("balancers")
    for rule in (balancing.repeat_nothing, balancing.end_idle_connections_first, balancing.wait_for_the_longest_call):
        with checks.guard(rule.__name__):
            rule(checks)
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        (Path(scratch) / "site").mkdir()
        build_roothold(engine)
        front = Front(engine, scratch)
        for case in (are_taken, restart_unnoticed, flood.is_refused):
            with checks.guard(case.__name__):
                case(checks, front)
    checks.finish()


if __name__ == "__main__":
    main()
