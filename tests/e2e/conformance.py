#!/usr/bin/env python3
"""Runs the official MCP conformance suite against the fixture server behind our front.

Both requirement sets must pass completely, and no fewer checks may run than when this was
written: a suite that could not reach the server would otherwise look green in places.
"""

import json
import re
import tempfile
from pathlib import Path

from lib.checks import Checks
from lib.process import free_port, run, server
from lib.setup import CONFORMANCE, NODE, binary, environment

# Requirement set and the number of checks it ran when the suite was pinned. A server that answers
# with JSON is asked one check less of 2026-07-28 than one that streams every answer.
REQUIRED = [("2026-07-28", 196), ("2025-11-25", 83)]
SUITE_SECONDS = 90


def scenarios(output):
    """Yields (name, passed, failed) for each line of the suite's summary."""
    for name, passed, failed in re.findall(
        r"^[✓✗] (\S+): (\d+) passed, (\d+) failed", output, re.M
    ):
        yield name, int(passed), int(failed)


def check(checks, revision, least, url, scratch):
    results = Path(scratch) / f"results-{revision}"
    command = [NODE, CONFORMANCE, "server", "--url", url, "--requirements", revision, "-o", results]
    env = environment(scratch)
    code, out, err = run(command, env, SUITE_SECONDS, cwd=scratch)
    found = list(scenarios(out))
    for name, passed, failed in found:
        if passed + failed == 0:
            print(f"none  {revision} {name}: the suite itself makes no check here")
            continue
        checks.true(f"{revision} {name}: {passed} checks", failed == 0, details(results, name))
    total = sum(passed for _, passed, _ in found)
    bad = sum(failed for _, _, failed in found)
    print(f"{revision}: {total} checks passed, {bad} failed")
    checks.true(f"{revision} ran at least {least} checks", total >= least, err[-1000:])
    checks.equal(f"{revision} the suite itself is content", code, 0)


def details(results, name):
    """Returns what the suite wrote down about the failed checks of one scenario."""
    lines = []
    for file in sorted(results.glob(f"server-{name}-2*/checks.json")):
        for check in json.loads(file.read_text()):
            if check["status"] == "FAILURE":
                found = json.dumps(check.get("details"), ensure_ascii=False)
                lines.append(f"{check['id']}: {check.get('errorMessage')} {found}")
    return "\n".join(lines)


def main():
    checks = Checks("conformance")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the suite runs"),
    ):
        program = binary("CONFORMANCE_BIN")
        port = free_port()
        command = [program, "--listen", f"127.0.0.1:{port}", "--sessions"]
        url = f"http://127.0.0.1:{port}/mcp"
        with server(command, url, environment(scratch), Path(scratch) / "server.log") as child:
            for revision, least in REQUIRED:
                check(checks, revision, least, url, scratch)
        checks.equal("the server ends cleanly on SIGTERM", child.returncode, 0)
    checks.finish()


if __name__ == "__main__":
    main()
