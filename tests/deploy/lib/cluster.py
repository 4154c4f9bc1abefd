"""Replicas in a swarm of one machine, nginx before them, and clients that call."""

import json
import os
import shutil
import ssl
import tempfile
from pathlib import Path

from lib.balancer import certificates, nginx_image, settings
from lib.engine import Engine, until
from lib.image import build_roothold
from lib.load import Load, Subscriptions, plant
from lib.mcp import answers
from lib.site import Site

CLIENTS = 12
# Of these, how many have a stream that lasts.
STREAMS = 6
REPLICAS = 3


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
        self.balance(balancer)

    def balance(self, image, *options, arguments=()):
        """Runs nginx, until it passes calls on."""
        self.engine.docker(
            *["run", "--detach", "--name=nginx", "--network=front", "--read-only"],
            *["--tmpfs=/tmp:mode=1777", "--publish=127.0.0.1:8443:8443"],
            *["--ulimit=nofile=16384:16384"],
            f"--volume={self.balancer}/nginx:/etc/nginx:ro",
            *[f"--volume={self.balancer}/tls:/etc/nginx-certificates:ro", *options, image, *arguments],
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

    def load(self):
        return Load(("127.0.0.1", 8443), self.site.keys, tls=self.tls, traces=True)

    def streams(self, lasts=30.0):
        keys = self.site.keys[:STREAMS]
        return Subscriptions(("127.0.0.1", 8443), keys, tls=self.tls, lasts=lasts, traces=True)

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
        """Returns the ids of the replicas that run and are healthy."""
        options = ["--quiet", "--no-trunc", "--filter=label=com.docker.swarm.service.name=roothold"]
        return self.engine.docker("ps", *options, "--filter=health=healthy").split()

    def wait_for_replicas(self):
        until(lambda: len(self.replicas()) == REPLICAS, 30, "there are not as many replicas as before")

    def went_to(self):
        """Returns the replicas' addresses that nginx tried for each call, by its trace, as its log has them."""
        lines = self.engine.logs("nginx").splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return {entry["trace"]: entry["upstream"].split(", ") for entry in entries}

    def masters(self):
        """Returns the processes that are a master of nginx."""
        lines = self.engine.docker("top", "nginx", "-eo", "pid,args").splitlines()
        return {int(line.split()[0]) for line in lines if "nginx: master process" in line}


def check_load(checks, what, load, streams):
    """No call failed and no stream was cut; and there were some."""
    checks.equal(f"{what}: no call failed", load.tally.failures[:5], [])
    checks.true(f"{what}: streams of progress among them", load.tally.streams > 0, load.tally.streams)
    checks.equal(f"{what}: no subscription was cut", streams.failures[:5], [])
    checks.true(f"{what}: they were told of changes", any(stream.times for stream in streams.streams))


def run(checks, cases):
    """Runs cases on a cluster that they share, each with files of its own."""
    with (
        checks.guard("the engine runs"),
        tempfile.TemporaryDirectory(prefix="rh-", dir="/tmp") as scratch,
        Engine() as engine,
    ):
        Path(scratch).chmod(0o755)
        (Path(scratch) / "site").mkdir()
        cluster = Cluster(engine, scratch)
        for case in cases:
            plant(cluster.site, CLIENTS)
            with checks.guard(case.__name__):
                case(checks, cluster)
    checks.finish()
