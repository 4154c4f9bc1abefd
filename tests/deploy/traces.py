#!/usr/bin/env python3
"""One trace through nginx, Roothold and SQL, as a receiver of another project takes it, over both protocols."""

import os
import re
import socket
import sqlite3
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lib.balancer import settings
from lib.checks import Checks
from lib.engine import until
from lib.image import PROGRAMS, nginx
from lib.mcp import call, message
from lib.process import stop
from lib.setup import binary

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SENDER = "00f067aa0ba902b7"
SERVER = ("127.0.0.1", 8443)
SECRET = "CANARY-LITERAL"

CONFIGURATION = """
[server]
listen = "127.0.0.1:8000"
public_url = "https://localhost:8443/mcp"
landlock = "require"

[auth]
unauthenticated = "on-the-network"

[audit]
dir = "{home}/audit"

[telemetry]
listen = ""
otlp_endpoint = "{endpoint}"
otlp_protocol = "{protocol}"
{more}

[[databases]]
name = "shop"
kind = "sqlite"
path = "{home}/shop.sqlite3"
"""

UPSTREAM = "upstream roothold {{ server 127.0.0.1:8000; }}"
# In front of the receiver, since that speaks no TLS.
ENCRYPTED = """
server {{
    listen 4443 ssl;
    http2 on;
    ssl_certificate {home}/tls/server.crt;
    ssl_certificate_key {home}/tls/server.key;
    if ($http_authorization != "Bearer {token}") {{ return 401; }}
    location / {{ grpc_pass grpc://127.0.0.1:4317; }}
    location /v1/ {{ proxy_pass http://127.0.0.1:4318; }}
}}
"""
TOKEN = "CANARY-TOKEN"


@contextmanager
def running(home, name, command, port):
    """Runs a program until the block ends, once it listens; what it says goes to `NAME.log`."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_STATE_HOME": f"{home}/state"}
    env["OTLP_TOKEN"] = f"Bearer {TOKEN}"
    with open(home / f"{name}.log", "wb") as log:
        child = subprocess.Popen(
            [str(part) for part in command], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            said = (home / f"{name}.log").read_text
            until(lambda: listens(port), 30, f"{name} does not listen", lambda: said()[-2000:])
            yield child
        finally:
            stop(child)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def place_nginx(home):
    """Puts the settings of `deploy/nginx` below `home`, with the one replica that there is; returns a TLS client."""
    tls = settings(home)
    text = (UPSTREAM + ENCRYPTED).format(home=home, token=TOKEN)
    (home / "nginx" / "upstream.conf").write_text(text)
    text = (home / "nginx" / "nginx.conf").read_text()
    text = text.replace("/tmp/", f"{home}/").replace("/etc/nginx-certificates", str(home / "tls"))
    (home / "nginx" / "nginx.conf").write_text(text)
    return tls


def receiver(home):
    """Returns the command that runs Rotel so that it writes down each span it takes."""
    agent = next(PROGRAMS.glob("lib/python*/site-packages/rotel/rotel-agent"))
    agent.chmod(0o755)
    command = [agent, "start", "--exporter", "blackhole", "--debug-log", "traces"]
    command += ["--debug-log-verbosity", "detailed"]
    return command + ["--otlp-grpc-endpoint=127.0.0.1:4317", "--otlp-http-endpoint=127.0.0.1:4318"]


def spans(home):
    """Returns the spans that Rotel has written down, by name: each with its ids."""
    found = {}
    for part in re.split(r"^Span #\d+$", (home / "receiver.log").read_text(), flags=re.M)[1:]:
        line = dict(re.findall(r"^\s+(Trace ID|Parent ID|ID|Name)\s*: (.*)$", part, flags=re.M))
        found[line["Name"]] = line
    return found


def one_trace(checks, home, protocol, way):
    tls = place_nginx(home)
    what = f"{protocol}, {way}"
    port = 4317 if protocol == "grpc" else 4318
    endpoint, more = f"http://127.0.0.1:{port}", ""
    if way != "plain":
        # The name is looked up, the authority read and the port reached from behind the wall.
        endpoint = "https://localhost:4443"
        more = 'otlp_headers = {authorization = "${OTLP_TOKEN}"}'
    if way == "trusted":
        more += f'\notlp_ca_file = "{home}/tls/ca.crt"'
    with sqlite3.connect(home / "shop.sqlite3") as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    configuration = home / "roothold.toml"
    text = CONFIGURATION.format(home=home, endpoint=endpoint, protocol=protocol, more=more)
    configuration.write_text(text)
    serve = [binary("ROOTHOLD_BIN"), "serve", "--config", configuration]
    proxy = [nginx(), "-c", home / "nginx" / "nginx.conf", "-g", "daemon off;"]
    with ExitStack() as stack:
        for name, command, listening in (
            ("receiver", receiver(home), port),
            ("roothold", serve, 8000),
            ("nginx", proxy, SERVER[1]),
        ):
            stack.enter_context(running(home, name, command, listening))
        arguments = {"database": "shop", "sql": f"SELECT * FROM customers WHERE name = '{SECRET}'"}
        parent = f"traceparent: 00-{TRACE}-{SENDER}-01"
        status, headers, body = call(SERVER, tls, "query_database", arguments, headers=[parent])
        answered = message(headers, body)
        checks.true(f"{what}: the call is answered", status == 200 and "result" in answered, answered)
        said = (home / "receiver.log").read_text
        if way == "untrusted":
            log = (home / "roothold.log").read_text
            until(lambda: "does not take traces" in log(), 20, "no span is missed", log)
            checks.equal(f"{what}: nobody but the collector gets spans", spans(home), {})
            return
        until(lambda: "POST /mcp" in spans(home), 20, "no span came", lambda: said()[-2000:])
    check(checks, what, spans(home))
    logged = said() + (home / "roothold.log").read_text()
    checks.true(f"{what}: no literal and no token is in it", "CANARY" not in logged, logged)
    access = (home / "nginx.log").read_text()
    checks.true(f"{what}: nginx logs the same trace", f'"trace":"{TRACE}"' in access, access)


def check(checks, what, found):
    http, called = found["POST /mcp"], found["tools/call query_database"]
    ids = {line["Trace ID"] for line in found.values()}
    checks.equal(f"{what}: all spans have one trace id", sorted(ids), [TRACE])
    checks.equal(f"{what}: the request is below its sender", http["Parent ID"], SENDER)
    checks.equal(f"{what}: the call is below the request", called["Parent ID"], http["ID"])
    sql = found["query shop"]
    checks.equal(f"{what}: the SQL is below the call", sql["Parent ID"], called["ID"])


def main():
    checks = Checks("traces")
    for protocol in ("grpc", "http/protobuf"):
        for way in ("plain", "trusted", "untrusted"):
            with (
                checks.guard(f"{protocol}, {way}: one trace"),
                tempfile.TemporaryDirectory(prefix="rh-traces-") as scratch,
            ):
                Path(scratch).chmod(0o755)
                one_trace(checks, Path(scratch), protocol, way)
    checks.finish()


if __name__ == "__main__":
    main()
