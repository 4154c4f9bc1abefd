#!/usr/bin/env python3
"""Replicas are updated, rolled back, ended and killed behind nginx while clients call, and no call fails.

The updates are a swarm's: a new replica is started and healthy before an old one is asked to end. Where replicas are ended
one by one, it is the other way round: there are two until it has started another.
"""

import time

from lib.checks import Checks
from lib.cluster import REPLICAS, STREAMS, check_load, run
from lib.engine import until
from lib.load import check_writes

# At least so many calls while replicas are replaced; the whole of a change is under load, whatever it takes.
CALLS = 10_000


def rolls(checks, cluster):
    """From one version to the next and back again."""
    with cluster.load() as load, cluster.streams() as streams:
        load.wait_for(500, 30)
        at = [time.time()]
        load.wait_for(2500, 60)
        at.append(time.time())
        cluster.update("v2")
        at.append(time.time())
        load.wait_for(load.tally.calls + 500, 30)
        seen = dict(load.tally.names)
        cluster.update("v1")
        load.wait_for(CALLS, 120)
    tally = load.tally
    before, during = tally.slow(at[0], at[1]), tally.slow(at[1], at[2])
    print(f"note  rolling update: {tally.calls} calls, slowest {tally.slowest:.2f} s")
    print(
        f"note  rolling update: p99 {before * 1000:.0f} ms before it, {during * 1000:.0f} ms meanwhile, "
        f"{during / before:.1f} times, beside {STREAMS} subscriptions"
    )
    check_load(checks, "rolling update", load, streams)
    checks.true("rolling update: there were enough calls", tally.calls >= CALLS, tally.calls)
    checks.equal("rolling update: both versions answered", sorted(seen), ["v1", "v2"])
    # None that lasts as long as this update does, twice.
    checks.true("rolling update: replicas that end say so to subscribers", streams.ended >= REPLICAS, streams.ended)
    check_writes(checks, "rolling update", cluster.site, tally)


def takes_back(checks, cluster):
    """A version that does not start is taken back by itself."""
    with cluster.load() as load, cluster.streams() as streams:
        load.wait_for(400, 30)
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
    check_load(checks, "bad version", load, streams)
    checks.equal("bad version: the old one answers", sorted(tally.names), ["v1"])


def restarts(checks, cluster):
    """Replicas are ended with SIGTERM, one after the other and again and again; each time there are two for a while."""
    codes = []
    with cluster.load() as load, cluster.streams() as streams:
        load.wait_for(500, 30)
        while load.tally.calls < CALLS:
            for replica in cluster.replicas():
                cluster.engine.docker("stop", "--time=30", replica)
                codes.append(cluster.engine.inspect(replica)["State"]["ExitCode"])
                cluster.wait_for_replicas()
        load.wait_for(load.tally.calls + 500, 30)
    tally = load.tally
    print(f"note  rolling SIGTERM behind nginx: {len(codes)} replicas ended under {tally.calls} calls")
    check_load(checks, "rolling SIGTERM", load, streams)
    checks.equal("rolling SIGTERM: each replica ended with 0", codes, [0] * len(codes))
    checks.true("rolling SIGTERM: each of them at least", len(codes) >= REPLICAS, codes)
    check_writes(checks, "rolling SIGTERM", cluster.site, tally)


def dies(checks, cluster):
    """A replica that is killed takes with it what it was doing, and nothing else."""
    with cluster.load() as load, cluster.streams() as streams:
        load.wait_for(500, 30)
        victim = cluster.replicas()[0]
        address = f"{cluster.engine.address(victim, 'front')}:8000"
        cluster.engine.kill(victim)
        at = time.time()
        load.wait_for(load.tally.calls + 500, 30)
        cluster.wait_for_replicas()
        load.wait_for(load.tally.calls + 500, 30)
    tally, went_to = load.tally, cluster.went_to()
    print(
        f"note  kill -9: {len(tally.failures)} of {tally.calls} calls failed, "
        f"{len(streams.failures)} of {STREAMS} subscriptions"
    )
    # It was running there when the replica was killed: it had begun before, and was sent to it, and to it alone.
    failed = [*tally.failures, *streams.failures]
    others = [
        (one.began - at, one.what, one.problem, went_to.get(one.trace))
        for one in failed
        if one.began > at or went_to.get(one.trace) != [address]
    ]
    checks.true("kill -9: nothing failed but what ran on that replica", not others, (address, others[:5]))
    checks.true("kill -9: that some was sent to it is known", any(address in tried for tried in went_to.values()))
    checks.true("kill -9: streams of progress among the calls", tally.streams > 0, tally.streams)
    check_writes(checks, "kill -9", cluster.site, tally)


def main():
    run(Checks("rolling"), (rolls, takes_back, restarts, dies))


if __name__ == "__main__":
    main()
