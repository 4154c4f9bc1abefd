#!/usr/bin/env python3
"""The settings of nginx, HAProxy and Envoy: each program takes them, and replicas restart behind them unnoticed."""

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from lib import flood
from lib.balancer import certificates, nginx_image, settings
from lib.checks import Checks
from lib.engine import Engine, until
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
    commands = {
        "nginx:test": [
            *["--network=front", "--read-only", "--tmpfs=/tmp:mode=1777"],
            f"--volume={front.scratch}/nginx-settings/nginx:/etc/nginx:ro",
            f"--volume={front.scratch}/tls:/etc/nginx-certificates:ro",
            *["nginx:test", "-t"],
        ],
        "haproxy:test": [
            *[*front.options("haproxy"), "haproxy:test"],
            *["/bin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"],
        ],
        "envoy:test": [
            *[*front.options("envoy"), "envoy:test"],
            *["/bin/envoy", "--mode", "validate", "-c", "/etc/envoy/envoy.yaml"],
        ],
    }
    for name, command in commands.items():
        with checks.guard(f"{name} takes its settings"):
            said = front.engine.docker("run", "--rm", *command)
            checks.true(f"{name} takes its settings", "warn" not in said.lower(), said)


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
