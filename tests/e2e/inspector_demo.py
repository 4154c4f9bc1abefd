#!/usr/bin/env python3
"""Asks the demo for its roots with the Inspector, as a newcomer would, and compares every value."""

import json
import tempfile
from pathlib import Path

from lib.checks import Checks
from lib.clients import INSPECTOR_ERAS, inspect
from lib.process import free_port, server
from lib.setup import binary, environment

ROOTS = {
    "roots": [
        {
            "uri": "file:///workspace/mcp-demo",
            "name": "MCP Demo Project",
            "description": "Demo project files and resources",
        },
        {
            "uri": "file:///shared/templates",
            "name": "Shared Templates",
            "description": "Read-only template library",
        },
    ],
    "access_policy": {
        "read": ["*.md", "*.json", "*.yaml"],
        "write": ["workspace/**/*"],
        "exclude": [".env", "credentials.*", "*.key"],
    },
}

README = {"path": "/workspace/mcp-demo/README.md"}


def main():
    checks = Checks("inspector_demo")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the demo runs"),
    ):
        port = free_port()
        command = [binary("ROOTHOLD_BIN"), "demo", "--listen", f"127.0.0.1:{port}"]
        env = environment(scratch)
        url = f"http://127.0.0.1:{port}"
        with server(command, f"{url}/health", env, Path(scratch) / "server.log") as child:
            for era in INSPECTOR_ERAS:
                with checks.guard(f"{era} listRoots"):
                    look(checks, era, {"url": f"{url}/mcp"}, env)
        checks.equal("the demo ends cleanly on SIGTERM", child.returncode, 0)
    checks.finish()


def look(checks, era, target, env):
    answer = inspect(era, target, {"do": "call", "name": "listRoots"}, env)
    checks.equal(f"{era} listRoots, structured", answer.get("structuredContent"), ROOTS)
    checks.equal(f"{era} listRoots, as text", json.loads(answer["content"][0]["text"]), ROOTS)
    checks.true(f"{era} listRoots is no error", not answer.get("isError"))
    answer = inspect(
        era, target, {"do": "call", "name": "read_text_file", "arguments": README}, env
    )
    checks.true(f"{era} README.md is read", not answer.get("isError"), json.dumps(answer)[:400])


if __name__ == "__main__":
    main()
