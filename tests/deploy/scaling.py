#!/usr/bin/env python3
"""Calls per second through nginx with one, two and three replicas, each held to the same part of a core.

A measurement, for `./test --full` and by hand: on a machine that does something else it says little. Linear is what
the replicas would do, if nothing else were in the way: so the part of a core is the largest of a few with which three
replicas do no more than half of what nginx and the clients here can pass. All shares of a core are told beside it:

    ROOTHOLD_BIN=… tests/deploy/run scaling
"""

import os
import tempfile
import time
from pathlib import Path

from lib.balancer import nginx_image, settings
from lib.checks import Checks
from lib.engine import Engine, until
from lib.image import build_roothold
from lib.mcp import answers
from lib.rate import Rate
from lib.site import Site

REPLICAS = 3
# The parts of a core that are tried, and how much of what the machine can pass all replicas may do together.
PARTS = (0.5, 0.35, 0.25, 0.15, 0.1, 0.07, 0.05, 0.03)
PASSED = 0.5
# As many for each replica: enough that it always has calls waiting, and as many of them however many there are.
CLIENTS = 16
SECONDS = 6
TRY_SECONDS = 3
# Up and down again, so that what drifts falls on all alike.
ORDER = [1, 2, 3, 3, 2, 1]
NAME = ("127.0.0.1", 8443)


def start(engine, scratch):
    """Starts the replicas and nginx; returns the site and a TLS client."""
    site = Site(scratch / "site", REPLICAS * CLIENTS)
    # Without limits of their own the replicas do nothing but calls.
    placed = site.configure(more="[limits]\nrequests_per_second = 0\n")
    balancer = scratch / "balancer"
    tls = settings(balancer)
    image, nginx = build_roothold(engine), nginx_image(engine)
    engine.docker("network", "create", "front")
    for number in range(REPLICAS):
        engine.docker(
            *["run", "--detach", f"--name=replica-{number}", "--network=front", "--no-healthcheck"],
            *["--network-alias=roothold", f"--env=ROOTHOLD_CONFIG={placed}"],
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


def processor_seconds(engine, name):
    """Returns the processor time that a container took so far; none of one that does not run."""
    pid = engine.inspect(name)["State"]["Pid"]
    if not pid:
        return 0.0
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            stat = Path(f"/sys/fs/cgroup{path}/cpu.stat")
            if stat.exists():
                return int(stat.read_text().split()[1]) / 1e6
        if "cpuacct" in controllers.split(","):
            return int(Path(f"/sys/fs/cgroup/cpuacct{path}/cpuacct.usage").read_text()) / 1e9
    raise RuntimeError("this system does not say what a container takes")


def run_replicas(engine, wanted, part):
    """Starts so many replicas anew, each with its part of a core: a server makes as many threads as it may use."""
    names = [f"replica-{number}" for number in range(REPLICAS)]
    engine.docker("stop", *names)
    engine.docker("update", f"--cpus={part}", *names)
    engine.docker("start", *names[:wanted])
    time.sleep(3)


def measure(engine, site, tls, wanted, seconds):
    """Returns the calls per second of so many replicas, and what clients, nginx and replicas took of a core meanwhile."""
    names = [f"replica-{number}" for number in range(REPLICAS)]
    taken = lambda: (
        processor_seconds(engine, "nginx"),
        sum(processor_seconds(engine, name) for name in names),
    )
    with Rate(NAME, tls, site.keys[: wanted * CLIENTS]) as rate:
        time.sleep(2)
        calls, clients, before, began = rate.calls, rate.processor_seconds, taken(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        nginx, replicas = ((now - then) / took for now, then in zip(taken(), before))
        shares = {"clients": (rate.processor_seconds - clients) / took, "nginx": nginx, "replicas": replicas}
        return (rate.calls - calls) / took, shares


def shown(shares):
    return ", ".join(f"{name} {share:.2f}" for name, share in shares.items())


def largest_part(engine, site, tls):
    """Returns the largest part of a core with which all replicas use it up and the machine could pass on more."""
    cores = os.cpu_count()
    run_replicas(engine, REPLICAS, cores)
    most, shares = measure(engine, site, tls, REPLICAS, TRY_SECONDS)
    print(f"note  {REPLICAS} without a limit: {most:.0f} calls/s; {shown(shares)} of {cores} cores")
    for part in PARTS:
        run_replicas(engine, REPLICAS, part)
        rate, shares = measure(engine, site, tls, REPLICAS, TRY_SECONDS)
        print(f"note  {REPLICAS} × {part} cores, tried: {rate:.0f} calls/s; {shown(shares)} of {cores} cores")
        if is_used_up(shares, REPLICAS, part) and rate <= PASSED * most:
            return part
    raise RuntimeError("the machine has no room for this measurement")


def is_used_up(shares, wanted, part):
    """Whether the replicas took all that they may, so that nothing kept them from it."""
    return shares["replicas"] >= 0.95 * wanted * part


def main():
    checks = Checks("scaling")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        site, tls = start(engine, Path(scratch))
        part = largest_part(engine, site, tls)
        rates, shares = {}, {}
        for wanted in ORDER:
            run_replicas(engine, wanted, part)
            rate, shares[wanted] = measure(engine, site, tls, wanted, SECONDS)
            checks.true(
                f"{wanted} replicas use up their parts", is_used_up(shares[wanted], wanted, part), shares[wanted]
            )
            rates.setdefault(wanted, []).append(rate)
        mean = {wanted: sum(found) / len(found) for wanted, found in rates.items()}
        for wanted in sorted(mean):
            linear = mean[wanted] / (wanted * mean[1])
            print(
                f"note  {wanted} × {part} cores: {mean[wanted]:.0f} calls/s, {linear:.2f} of linear; "
                f"{shown(shares[wanted])} cores"
            )
            checks.true(f"{wanted} replicas: at least 0.9 of linear", linear >= 0.9, rates)
    checks.finish()


if __name__ == "__main__":
    main()
