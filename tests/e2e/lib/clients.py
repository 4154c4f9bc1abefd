"""Drives the real clients through one plan, each in its own process.

A plan is a list of steps (`version`, `tools`, `call`, `progress`, `read`, `templates`,
`complete`) against one server, reached by URL or started as a command. Every client answers with
one result per step, in the form of the wire; a step that failed answers `{"failed": why}`.
"""

import json

from .process import run_json
from .setup import MCP_INSPECTOR, NODE, PROBES, PYTHON

CLIENT_SECONDS = 60

# Name: (program, probe, eras it can speak).
LIBRARIES = {
    "typescript-sdk-1": (NODE, "sdk1.mjs", ["legacy"]),
    "typescript-client-2": (NODE, "client2.mjs", ["legacy", "auto", "modern"]),
    "python-mcp-2": (PYTHON, "python_sdk.py", ["legacy", "auto", "modern"]),
    "fastmcp-4": (PYTHON, "fastmcp_client.py", ["legacy", "auto", "modern"]),
}

INSPECTOR_ERAS = ["legacy", "auto", "modern"]
# The exit code by which the Inspector says that the tool answered `isError`.
INSPECTOR_TOOL_ERROR = 5


def walk(client, era, target, steps, env):
    """Returns one answer per step from a client library; raises RuntimeError if it broke off."""
    program, probe, _ = LIBRARIES[client]
    plan = {**target, "era": era, "steps": steps}
    # Node finds packages from where the script is, so the probe runs beside its node_modules.
    return run_json([program, PROBES / probe, json.dumps(plan)], env, CLIENT_SECONDS)


def inspect(era, target, step, env):
    """Returns the answer to one step from the Inspector's command line."""
    method = {
        "tools": ["--method", "tools/list"],
        "call": [
            "--method",
            "tools/call",
            "--tool-name",
            step.get("name", ""),
            "--tool-args-json",
            json.dumps(step.get("arguments", {})),
        ],
        "read": ["--method", "resources/read", "--uri", step.get("uri", "")],
        "templates": ["--method", "resources/templates/list"],
    }[step["do"]]
    if "url" in target:
        where = [target["url"], "--transport", "http"]
    else:
        where = [*target["command"], "--transport", "stdio"]
    command = [
        MCP_INSPECTOR,
        "--cli",
        *where,
        "--protocol-era",
        era,
        *method,
        "--format",
        "json",
        "-q",
    ]
    answer = run_json(command, env, CLIENT_SECONDS, codes=(0, INSPECTOR_TOOL_ERROR))
    return answer.get("result", answer)
