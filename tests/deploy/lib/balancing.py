"""What the settings of the balancers must say, whichever it is: read from deploy/nginx, haproxy and envoy."""

import re
import shutil

import yaml

from lib.setup import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
# Where a setting in a comment stands for another one: what is there, what the comment has.
HASHED = re.compile(r"For warm caches instead:(.*)$", re.MULTILINE)
# HAProxy knows no such time: it ends half of those that are not needed each time. Of 256 the last was gone after
# ten times; this is enough for a hundred thousand.
PURGES = 20
QUOTED = re.compile(r"`([^`]+)`")


def limit(name):
    """Returns the server's default of a limit, in seconds, by the page that is made of its code."""
    text = (REPOSITORY / "docs/configuration.md").read_text()
    return int(re.search(rf"^\| `{name}` \| integer \| `(\d+)`", text, re.MULTILINE)[1])


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def nginx_files():
    return sorted((DEPLOY / "nginx").rglob("*.conf"))


def plain(path):
    """Returns settings without their comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", path.read_text())


def directives(path, name):
    """Returns what follows a word, each time that it begins a line of settings."""
    return re.findall(rf"(?m)^\s*{name} +([^;\n]+)", plain(path))


def envoy():
    return yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())


def found_in(value, key):
    """Returns the values of a key, at any depth."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value[key]] if isinstance(value, dict) and key in value else []
    return own + [one for below in inner for one in found_in(below, key)]


def repeat_nothing(checks):
    """A call that was sent is never sent again, since it may have been made."""
    passing = [path for path in nginx_files() if directives(path, "proxy_pass")]
    for path in passing:
        how = directives(path, "proxy_next_upstream")
        checks.equal(f"nginx, {path.name}: another replica gets only what was not sent", how, ["error timeout"])
    checks.true("nginx passes calls on", passing)
    elsewhere = [path.name for path in nginx_files() if path not in passing and "proxy_next_upstream" in plain(path)]
    checks.equal("nginx has it in no other place", elsewhere, [])
    repeated = [path.name for path in nginx_files() if "non_idempotent" in plain(path)]
    checks.equal("nginx repeats nothing that changes something", repeated, [])
    haproxy = DEPLOY / "haproxy/haproxy.cfg"
    checks.equal("HAProxy tries elsewhere only what reached nobody", directives(haproxy, "retry-on"), ["conn-failure"])
    settings = envoy()
    checks.equal("and so does Envoy", found_in(settings, "retry_on"), ["connect-failure,refused-stream"])
    more = [
        key
        for key in ("retriable_status_codes", "retriable_headers", "hedge_policy", "per_try_timeout")
        if found_in(settings, key)
    ]
    checks.equal("for no other reason", more, [])


def idle():
    """Returns after how many seconds at most each balancer ends an idle connection, by where it is said."""
    found = {}
    for path in nginx_files():
        for block in re.findall(r"upstream roothold \{([^}]*)\}", plain(path)):
            found[f"nginx, {path.name}"] = re.findall(r"(?m)^\s*keepalive_timeout (\w+);", block)
    found["HAProxy"] = re.findall(r"pool-purge-delay (\w+)", plain(DEPLOY / "haproxy/haproxy.cfg"))
    (cluster,) = envoy()["static_resources"]["clusters"]
    found["Envoy"] = found_in(cluster, "idle_timeout")
    times = {name: [seconds(one) for one in each] for name, each in found.items()}
    return times | {"HAProxy": [PURGES * one for one in times["HAProxy"]]}


def end_idle_connections_first(checks):
    """Before a replica does: a call that comes just then would meet a connection that closes."""
    kept = limit("keep_alive_timeout_seconds")
    times = idle()
    checks.equal(
        "each balancer is looked at", sorted(times), ["Envoy", "HAProxy", "nginx, upstream.conf", "nginx, vm.conf"]
    )
    for name, found in times.items():
        checks.true(f"{name}: idle connections end before {kept} s", len(found) == 1 and found[0] < kept, found)


def wait_for_the_longest_call(checks):
    longest = limit("long_call_timeout_seconds")
    (proxy,) = directives(DEPLOY / "nginx/roothold/proxy.conf", "proxy_read_timeout")
    (server,) = directives(DEPLOY / "haproxy/haproxy.cfg", "timeout server")
    (route,) = [one["route"] for one in found_in(envoy(), "routes")[0] if one["match"] == {"path": "/mcp"}]
    times = {"nginx": seconds(proxy), "HAProxy": seconds(server), "Envoy": seconds(route["timeout"])}
    for name, found in times.items():
        checks.true(f"{name} waits for the longest call, {longest} s", found > longest, found)


def hashed(name, target):
    """Copies settings to `target` with what their comment has for warm caches in the place of what stands there."""
    shutil.copytree(DEPLOY / name, target)
    path = target / {"nginx": "upstream.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml"}[name]
    text = path.read_text()
    (words,) = HASHED.findall(text)
    instead = QUOTED.findall(words)
    if name == "envoy":
        policy, choice = instead
        swaps = [
            ("610s, idle_timeout: 60s}", f"610s, idle_timeout: 60s, {policy}}}"),
            ("lb_policy: LEAST_REQUEST", choice),
        ]
    else:
        swaps = [({"nginx": "least_conn;", "haproxy": "balance leastconn"}[name], "\n    ".join(instead))]
    for old, new in swaps:
        before, after = text.split(old)
        text = before + new + after
    path.write_text(text)
    for one in [target, *target.rglob("*")]:
        one.chmod(0o755 if one.is_dir() else 0o644)
    return target
