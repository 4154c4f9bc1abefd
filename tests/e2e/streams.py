#!/usr/bin/env python3
"""Calls a tool that reports progress, with every client library, through the front.

An answer that streams takes another way through the front than a plain one, so that it arrives
in order and complete is a matter of its own.
"""

import tempfile
from pathlib import Path

from lib.checks import Checks
from lib.clients import LIBRARIES, walk
from lib.process import free_port, server
from lib.setup import binary, environment

STEPS = [
    {"do": "progress", "name": "test_tool_with_progress", "arguments": {}},
    {"do": "call", "name": "test_tool_with_logging", "arguments": {}},
    {"do": "call", "name": "test_error_handling", "arguments": {}},
]


def check(checks, name, answers):
    progress, logging, failing = answers
    checks.equal(f"{name}: progress arrives in order", progress.get("seen"), [0, 50, 100])
    texts = [answer["content"][0]["text"] for answer in (progress["result"], logging)]
    wanted = ["Progress test completed", "Logging test completed"]
    checks.equal(f"{name}: the results follow", texts, wanted)
    checks.true(f"{name}: a failing tool is told as such", failing.get("isError"), str(failing))


def main():
    checks = Checks("streams")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the clients run"),
    ):
        for mode in ([], ["--sessions"]):
            port = free_port()
            command = [binary("CONFORMANCE_BIN"), "--listen", f"127.0.0.1:{port}", *mode]
            url = f"http://127.0.0.1:{port}"
            env = environment(scratch)
            with server(command, f"{url}/health", env, Path(scratch) / "server.log"):
                for client, (_, _, eras) in LIBRARIES.items():
                    for era in eras:
                        # Revision 2026-07-28 has no sessions, so one pass over it is enough.
                        if mode and era != "legacy":
                            continue
                        name = " ".join([client, era, *mode])
                        with checks.guard(name):
                            check(
                                checks, name, walk(client, era, {"url": f"{url}/mcp"}, STEPS, env)
                            )
    checks.finish()


if __name__ == "__main__":
    main()
