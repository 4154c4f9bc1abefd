#!/usr/bin/env python3
"""nginx takes other settings and certificates, and another nginx its place, while clients call, and no call fails."""

import os
import signal
import time

from lib.checks import Checks
from lib.cluster import check_load, run
from lib.engine import until
from lib.load import check_writes


def reloads(checks, cluster):
    """nginx takes its settings and another certificate, again and again."""
    shown = {cluster.shown_certificate()}
    # Less than an old worker is given for what it still has.
    with cluster.load() as load, cluster.streams(lasts=55) as streams:
        load.wait_for(400, 30)
        began = time.time()
        for _ in range(5):
            cluster.renew_certificate()
            cluster.engine.docker("kill", "--signal=HUP", "nginx")
            until(lambda: cluster.shown_certificate() not in shown, 20, "no new certificate is shown")
            shown.add(cluster.shown_certificate())
            load.wait_for(load.tally.calls + 300, 30)
        ended = time.time()
        until(lambda: streams.span(began, ended), 20, "no subscription from before goes on")
    checks.ok("nginx reloads: a subscription from before the first is told of a change after the last")
    print(f"note  nginx reloads: {load.tally.calls} calls")
    check_load(checks, "nginx reloads", load, streams)
    check_writes(checks, "nginx reloads", cluster.site, load.tally)


def is_replaced(checks, cluster):
    """Another nginx takes the place of the one that runs, as its manual has it: USR2, WINCH, QUIT."""
    cluster.engine.docker("rm", "--force", "nginx")
    # Below another process, as on a machine: with the first process of a container all others would end.
    script = "/usr/sbin/nginx -c /etc/nginx/nginx.conf && read -r _"
    cluster.balance("nginx:test", "--interactive", "--entrypoint=/bin/sh", arguments=["-c", script])
    with cluster.load() as load, cluster.streams(lasts=20) as streams:
        for _ in range(2):
            load.wait_for(load.tally.calls + 200, 30)
            (old,) = cluster.masters()
            began = time.time()
            os.kill(old, signal.SIGUSR2)
            until(lambda: len(cluster.masters()) == 2, 20, "no other nginx starts")
            for number in (signal.SIGWINCH, signal.SIGQUIT):
                load.wait_for(load.tally.calls + 100, 30)
                os.kill(old, number)
            asked = time.time()
            until(lambda: streams.span(began, asked), 20, "no subscription from before goes on")
            # It waits for the streams that it still has.
            until(lambda: old not in cluster.masters(), 60, "the old nginx does not end")
        load.wait_for(load.tally.calls + 400, 30)
    checks.ok("nginx replaced: a subscription from before is told of a change by the nginx that ends")
    print(f"note  nginx replaced twice: {load.tally.calls} calls")
    check_load(checks, "nginx replaced", load, streams)
    check_writes(checks, "nginx replaced", cluster.site, load.tally)


def main():
    run(Checks("nginx"), (reloads, is_replaced))


if __name__ == "__main__":
    main()
