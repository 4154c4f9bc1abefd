#!/usr/bin/env python3
"""Long work with a client that declares the tasks extension: an official SDK, both transports.

The same call without the extension is answered in place, which `clients` shows for every SDK.
"""

import json
import tempfile
from pathlib import Path

from lib.checks import Checks
from lib.process import free_port, run_json, server
from lib.setup import PROBES, PYTHON, binary, environment

ROWS = 600_000
# From how many bytes on a call is a task, so that these tables are long work.
TASK_BYTES_MIN = 1_000_000
CLIENT_SECONDS = 60

CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"

[jobs]
task_bytes_min = {task_bytes_min}

[[roots]]
uri = "file://{root}"
name = "tree"
path = "{root}"
read = ["**"]
"""


def check(checks, transport, target, root, env):
    plan = {
        **target,
        "tool": "process_large_dataset",
        "arguments": {"data_source": f"{root}/rows.csv", "operation": "profile"},
        # The pattern costs a while on each line, so that there is something to cancel.
        "long": {
            "data_source": f"{root}/rows.csv",
            "operation": "search",
            "pattern": "(?:[a-z0-9 ,.]{1,40}){1,10}!",
            "regex": True,
        },
    }
    met = run_json([PYTHON, PROBES / "python_tasks.py", json.dumps(plan)], env, CLIENT_SECONDS)
    (statuses,) = met["statuses"]
    checks.equal(f"{transport}: the call is a task at first", statuses[0], "working")
    checks.equal(f"{transport}: the task is completed", statuses[-1], "completed")
    result = met["result"]["structuredContent"]["result"]
    checks.equal(f"{transport}: the task's result is the call's", result["rows"], ROWS)
    checks.equal(f"{transport}: a task is cancelled", met["cancelled"][-1], "cancelled")
    refused = met["unknown"].get("refused", "")
    told = json.dumps(met["unknown"])
    checks.true(f"{transport}: an unknown task is refused", "not_found" in refused, told)


def main():
    checks = Checks("tasks")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the client runs"),
    ):
        scratch = Path(scratch).resolve()
        root = scratch / "tree"
        root.mkdir()
        rows = (f"{row},Oslo,{row % 97}.5,some words for row {row}\n" for row in range(ROWS))
        (root / "rows.csv").write_text("id,city,amount,note\n" + "".join(rows))
        port = free_port()
        configuration = scratch / "roothold.toml"
        configuration.write_text(
            CONFIGURATION.format(port=port, root=root, task_bytes_min=TASK_BYTES_MIN)
        )
        program = binary("ROOTHOLD_BIN")
        env = environment(scratch)
        command = [program, "serve", "--config", str(configuration)]
        url = f"http://127.0.0.1:{port}"
        with server(command, f"{url}/health", env, scratch / "server.log") as child:
            check(checks, "http", {"url": f"{url}/mcp"}, root, env)
        checks.equal("the server ends cleanly on SIGTERM", child.returncode, 0)
        alone = environment(scratch / "stdio", ROOTHOLD_JOBS__TASK_BYTES_MIN=TASK_BYTES_MIN)
        target = {"command": [program, "stdio", str(root)]}
        check(checks, "stdio", target, root, alone)
    checks.finish()


if __name__ == "__main__":
    main()
