"""Many wrong credentials from one address, each another one, before HAProxy and Envoy."""

from lib.engine import until
from lib.mcp import answers, call

PORTS = {"haproxy": 8446, "envoy": 8447}
# The settings as they stand, but for how much an address may ask for: a slow machine sends as many as are too many here.
FEW = 60
FEWER = {
    "haproxy": {
        "sc_http_req_rate(1) gt 1000": f"sc_http_req_rate(1) gt {FEW}",
        "type ipv6 size 100k expire 10s store http_req_rate(2s)": "type ipv6 size 100k expire 5m store http_req_rate(5m)",
    },
    "envoy": {"max_tokens: 1000, tokens_per_fill: 500, fill_interval: 1s": f"max_tokens: {FEW}, tokens_per_fill: 1, fill_interval: 300s"},
}


def settings(front, name):
    """Writes the settings of a balancer with fewer calls for each address; returns their directory."""
    place = front.scratch / f"few-{name}"
    place.mkdir()
    (source,) = front.settings(name).iterdir()
    text = source.read_text()
    for usual, few in FEWER[name].items():
        if text.count(usual) != 1:
            raise RuntimeError(f"{source.name} does not have {usual!r}")
        text = text.replace(usual, few)
    (place / source.name).write_text(text)
    return place


def guessed(front, port):
    """Shows one wrong credential after the other; returns the answers' statuses and headers."""
    keys = [f"rhk_aaaaaaaaaaaa_guess-{number}" for number in range(2 * FEW)]
    return [call(("127.0.0.1", port), front.tls, "listRoots", {}, key=key)[:2] for key in keys]


def is_refused(checks, front):
    """Past what an address may ask for, a wrong credential does not reach a replica, whichever it is."""
    for name, port in PORTS.items():
        with checks.guard(f"{name} counts addresses"):
            front.run(name, f"few-{name}", port, settings(front, name))
            until(lambda: answers(("127.0.0.1", port), front.tls), 20, f"{name} passes no call on")
            found = guessed(front, port)
            statuses = [status for status, _ in found]
            checks.equal(f"{name}: wrong credentials are refused by a replica", statuses[0], 401)
            checks.equal(f"{name}: many of one address before it", sorted(set(statuses[FEW:])), [429])
            checks.equal(f"{name}: it says when to try again", found[-1][1].get("retry-after"), "1")
