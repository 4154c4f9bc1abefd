#!/usr/bin/env python3
"""Calls per second through nginx with one, two and three replicas, each held to the same part of a core.

A measurement, for `./test --full` and by hand: on a machine that does something else it says little.
"""

import tempfile
import time
from pathlib import Path

from lib.balancer import nginx_image, settings
from lib.checks import Checks
from lib.engine import Engine, until
from lib.image import build_roothold
from lib.load import Load
from lib.mcp import answers
from lib.site import Site

REPLICAS = 3
# So little that three of them, nginx and the clients leave two cores idle.
CPUS = "0.03"
# Enough that each replica always has calls waiting.
CLIENTS = 48
SECONDS = 6
# Up and down again, so that what drifts falls on all alike.
ORDER = [1, 2, 3, 3, 2, 1]
NAME = ("127.0.0.1", 8443)


def start(engine, scratch):
    """Starts the replicas and nginx; returns the site and a TLS client."""
    site = Site(scratch / "site", CLIENTS)
    # Without limits of their own the replicas do nothing but calls.
    placed = site.configure(more="[limits]\nrequests_per_second = 0\n")
    balancer = scratch / "balancer"
    tls = settings(balancer)
    image, nginx = build_roothold(engine), nginx_image(engine)
    engine.docker("network", "create", "front")
    for number in range(REPLICAS):
        engine.docker(
            *["run", "--detach", f"--name=replica-{number}", "--network=front", "--no-healthcheck"],
            *["--network-alias=roothold", f"--cpus={CPUS}", f"--env=ROOTHOLD_CONFIG={placed}"],
            *[*site.options(), image],
        )
    engine.docker(
        *["run", "--detach", "--name=nginx", "--network=front", "--publish=127.0.0.1:8443:8443"],
        *["--tmpfs=/tmp:mode=1777", "--ulimit=nofile=16384:16384"],
        f"--volume={balancer}/nginx:/etc/nginx:ro",
        *[f"--volume={balancer}/tls:/etc/nginx-certificates:ro", nginx],
    )
    until(lambda: answers(NAME, tls), 30, "nginx passes no call on")
    return site, tls


def measure(engine, site, tls, wanted):
    """Returns the calls per second of so many replicas."""
    for number in range(REPLICAS):
        engine.docker("start" if number < wanted else "stop", f"replica-{number}")
    time.sleep(3)
    with Load(NAME, site.keys, tls=tls, writes=False) as load:
        time.sleep(2)
        before, began = load.tally.calls, time.monotonic()
        time.sleep(SECONDS)
        rate = (load.tally.calls - before) / (time.monotonic() - began)
    if load.tally.failures:
        raise RuntimeError(f"calls failed: {load.tally.failures[:3]}")
    return rate


def main():
    checks = Checks("scaling")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        site, tls = start(engine, Path(scratch))
        rates = {}
        for wanted in ORDER:
            rates.setdefault(wanted, []).append(measure(engine, site, tls, wanted))
        mean = {wanted: sum(found) / len(found) for wanted, found in rates.items()}
        for wanted in sorted(mean):
            linear = mean[wanted] / (wanted * mean[1])
            print(
                f"note  {wanted} × {CPUS} cores: {mean[wanted]:.0f} calls/s, {linear:.2f} of linear"
            )
            checks.true(f"{wanted} replicas: at least 0.9 of linear", linear >= 0.9, rates)
    checks.finish()


if __name__ == "__main__":
    main()
