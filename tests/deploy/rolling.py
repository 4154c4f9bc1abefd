#!/usr/bin/env python3
"""Replicas are updated, rolled back and killed behind nginx while clients call, and no call fails.

The updates are a swarm's: a new replica is started and healthy before an old one is asked to end.
"""

import os
import shutil
import ssl
import tempfile
import time
from pathlib import Path

from lib.balancer import certificates, nginx_image, settings
from lib.checks import Checks
from lib.engine import Engine, until
from lib.image import build_roothold
from lib.load import Load, check_writes, plant
from lib.mcp import answers
from lib.site import Site

CLIENTS = 12
REPLICAS = 3
# At least so many calls while versions change; the whole of a change is under load, whatever it takes.
CALLS = 10_000


class Cluster:
    """Three replicas in a swarm of one machine, and nginx before them."""

    def __init__(self, engine, scratch):
        self.engine = engine
        self.site = Site(Path(scratch) / "site", CLIENTS)
        plant(self.site, CLIENTS)
        for version in ("v1", "v2"):
            self.site.configure(version, pre_stop=2)
        self.balancer = Path(scratch) / "balancer"
        self.tls = settings(self.balancer)
        self._start(build_roothold(engine), nginx_image(engine))

    def _start(self, image, balancer):
        docker = self.engine.docker
        docker("swarm", "init", "--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377")
        docker(
            *["network", "create", "--driver=overlay", "--attachable"],
            *["--subnet=10.93.0.0/24", "front"],
        )
        docker(
            *["service", "create", "--quiet", "--detach=false", "--no-resolve-image"],
            *["--name=roothold", "--network=front", "--endpoint-mode=dnsrr"],
            *[f"--replicas={REPLICAS}", "--read-only", "--limit-memory=1G"],
            *["--env=ROOTHOLD_CONFIG=/etc/roothold/v1.toml", "--stop-grace-period=30s"],
            *["--health-interval=1s", "--health-start-period=1s", "--update-order=start-first"],
            *["--update-parallelism=1", "--update-monitor=3s", "--update-failure-action=rollback"],
            *["--rollback-order=start-first", "--restart-delay=100ms", *self.site.options(), image],
        )
        docker(
            *["run", "--detach", "--name=nginx", "--network=front", "--read-only"],
            *["--tmpfs=/tmp:mode=1777", "--publish=127.0.0.1:8443:8443"],
            *["--ulimit=nofile=16384:16384"],
            f"--volume={self.balancer}/nginx:/etc/nginx:ro",
            *[f"--volume={self.balancer}/tls:/etc/nginx-certificates:ro", balancer],
        )
        until(lambda: answers(("127.0.0.1", 8443), self.tls), 20, "nginx passes no call on")

    def renew_certificate(self):
        """Gives nginx a certificate of another authority, which clients trust by then, and another key."""
        made = self.balancer / "next"
        shutil.rmtree(made, ignore_errors=True)
        certificates(made)
        self.tls.load_verify_locations(cafile=made / "ca.crt")
        for name in ("server.key", "server.crt"):
            os.chown(made / name, 101, 101)
            (made / name).rename(self.balancer / "tls" / name)

    @staticmethod
    def shown_certificate():
        return ssl.get_server_certificate(("127.0.0.1", 8443))

    def load(self, **more):
        return Load(("127.0.0.1", 8443), self.site.keys, tls=self.tls, **more)

    def update(self, configuration):
        """Gives the replicas another configuration, one by one; whether they took it is told by `update_state`."""
        self.engine.docker(
            *["service", "update", "--quiet", "--detach=false", "--no-resolve-image"],
            f"--env-add=ROOTHOLD_CONFIG=/etc/roothold/{configuration}.toml",
            "roothold",
            timeout=180,
        )

    def update_state(self):
        return self.engine.inspect("roothold", "service")["UpdateStatus"]["State"]

    def replicas(self):
        """Returns the ids of the replicas that run."""
        options = ["--quiet", "--no-trunc", "--filter=label=com.docker.swarm.service.name=roothold"]
        return self.engine.docker("ps", *options).split()


def rolls(checks, cluster):
    """From one version to the next and back again."""
    with cluster.load() as load:
        load.wait_for(500, 30)
        cluster.update("v2")
        load.wait_for(load.tally.calls + 500, 30)
        seen = dict(load.tally.names)
        cluster.update("v1")
        load.wait_for(CALLS, 120)
    tally = load.tally
    print(f"note  rolling update: {tally.calls} calls, slowest {tally.slowest:.2f} s")
    checks.equal("rolling update: no call failed", tally.failures[:5], [])
    checks.true("rolling update: there were enough calls", tally.calls >= CALLS, tally.calls)
    checks.true("rolling update: streams among them", tally.streams >= 50, tally.streams)
    checks.equal("rolling update: both versions answered", sorted(seen), ["v1", "v2"])
    check_writes(checks, "rolling update", cluster.site, tally)


def takes_back(checks, cluster):
    """A version that does not start is taken back by itself."""
    with cluster.load() as load:
        load.wait_for(300, 30)
        cluster.update("missing")
        until(
            lambda: cluster.update_state() == "rollback_completed",
            60,
            "the update is not taken back",
        )
        load.wait_for(load.tally.calls + 300, 30)
    tally = load.tally
    print(f"note  bad version: taken back under {tally.calls} calls")
    checks.ok("bad version: the update is taken back by itself")
    checks.equal("bad version: no call failed", tally.failures[:5], [])
    checks.equal("bad version: the old one answers", sorted(tally.names), ["v1"])


def reloads(checks, cluster):
    """nginx takes its settings and another certificate, again and again."""
    shown = {cluster.shown_certificate()}
    with cluster.load() as load:
        load.wait_for(300, 30)
        for _ in range(5):
            cluster.renew_certificate()
            cluster.engine.docker("kill", "--signal=HUP", "nginx")
            until(lambda: cluster.shown_certificate() not in shown, 20, "no new certificate is shown")
            shown.add(cluster.shown_certificate())
            load.wait_for(load.tally.calls + 300, 30)
    tally = load.tally
    print(f"note  nginx reloads: {tally.calls} calls")
    checks.equal("nginx reloads: no call failed", tally.failures[:5], [])
    begun = cluster.engine.docker("top", "nginx").count("worker process")
    checks.true("nginx reloads: it has", begun >= 1, begun)
    check_writes(checks, "nginx reloads", cluster.site, tally)


def dies(checks, cluster):
    """A replica that is killed takes with it what it was doing, and nothing else."""
    with cluster.load() as load:
        load.wait_for(500, 30)
        victim = cluster.replicas()[0]
        cluster.engine.kill(victim)
        at = time.time()
        load.wait_for(load.tally.calls + 500, 30)
        until(
            lambda: len(set(cluster.replicas()) - {victim}) == REPLICAS, 20, "no new replica runs"
        )
        load.wait_for(load.tally.calls + 500, 30)
    tally = load.tally
    late = [failure for failure in tally.failures if failure[0] > at + 3]
    print(f"note  kill -9: {len(tally.failures)} of {tally.calls} calls failed")
    # Each client has one call in flight, and one replica has at most all of them.
    checks.true(
        "kill -9: what was in flight at most", len(tally.failures) <= CLIENTS, tally.failures
    )
    checks.equal("kill -9: and nothing later", late, [])
    check_writes(checks, "kill -9", cluster.site, tally)


def main():
    checks = Checks("rolling")
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        (Path(scratch) / "site").mkdir()
        cluster = Cluster(engine, scratch)
        for case in (rolls, takes_back, reloads, dies):
            plant(cluster.site, CLIENTS)
            with checks.guard(case.__name__):
                case(checks, cluster)
    checks.finish()


if __name__ == "__main__":
    main()
