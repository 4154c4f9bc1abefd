#!/usr/bin/env python3
"""Uses Roothold with the clients that people have: every client, both transports, every era.

The same plan runs everywhere and must give the same values. It proves wiring, so it asks little
of each tool; what a tool answers in detail is asked by the tests of the crates.
"""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from lib.checks import Checks
from lib.clients import INSPECTOR_ERAS, LIBRARIES, inspect, walk
from lib.process import free_port, server
from lib.setup import binary, environment
from lib.tree import TEXTS, plant

HINTS = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
TOOLS = {
    "listRoots",
    "list_allowed_directories",
    "list_directory",
    "list_directory_with_sizes",
    "directory_tree",
    "search_files",
    "search_content",
    "get_file_info",
    "read_text_file",
    "read_file",
    "read_media_file",
    "read_multiple_files",
    "process_large_dataset",
}
TEMPLATE = "file:///{+path}"

CONFIGURATION = """
[server]
listen = "127.0.0.1:{port}"

[[roots]]
uri = "file://{root}"
name = "tree"
path = "{root}"
read = ["**"]
"""


# The revision that each way of connecting must end up with.
REVISIONS = {"legacy": "2025-11-25", "auto": "2026-07-28", "modern": "2026-07-28"}
# What the Inspector's command line cannot do or tell.
NOT_IN_INSPECTOR = {"version", "complete", "progress"}
# Rows of a table that takes several chunks.
ROWS = 600_000


def plan(root, era):
    """Returns the steps, each with the check of its answer."""

    def read(name):
        return {"do": "read", "uri": "file://" + quote(f"{root}/{name}")}

    return [
        ({"do": "version"}, revision(REVISIONS[era])),
        ({"do": "tools"}, tools_are_described),
        (
            call("list_directory", path=f"{root}/nested"),
            both_forms("[DIR] a\n[FILE] one.txt\n[FILE] up.txt"),
        ),
        (call("read_text_file", path=f"{root}/a.txt"), text_once(TEXTS["a.txt"])),
        (
            call("read_text_file", path=f"{root}/ünïcödé.txt", head=1),
            text_once(TEXTS["ünïcödé.txt"].strip()),
        ),
        (call("read_text_file", path=f"{root}/missing.txt"), tool_error),
        (call("listRoots"), roots_of(root)),
        (read("with space/100% #1?.txt"), contents("signs\n")),
        (read("日本/東京.txt"), contents("東京\n")),
        ({"do": "templates"}, templates),
        (complete(f"{root}/nes"[1:]), completes(f"{root}/nested/"[1:])),
        (processing(f"{root}/rows.csv"), processed),
    ]


def call(tool, **arguments):
    return {"do": "call", "name": tool, "arguments": arguments}


def processing(source):
    arguments = {"data_source": source, "operation": "profile"}
    return {"do": "progress", "name": "process_large_dataset", "arguments": arguments}


def processed(answer):
    seen = answer["seen"]
    # One SDK drops what arrives together with the answer, which the last chunks do on a fast machine.
    assert len(seen) >= 2 and seen == sorted(set(seen)), seen
    assert all(message.startswith("Processed: ") for message in answer["said"]), answer["said"]
    result = answer["result"]["structuredContent"]["result"]
    assert result["rows"] == ROWS and result["bad_rows"] == 0, result


def complete(value):
    return {"do": "complete", "template": TEMPLATE, "argument": "path", "value": value}


def revision(version):
    def check(answer):
        assert answer["protocolVersion"] == version, answer

    return check


def tools_are_described(answer):
    tools = {tool["name"]: tool for tool in answer["tools"]}
    missing = TOOLS - set(tools)
    assert not missing, f"missing tools: {sorted(missing)}"
    for name, tool in tools.items():
        assert tool["inputSchema"]["type"] == "object", f"{name} has no schema"
        assert HINTS <= set(tool["annotations"]), f"{name} lacks a hint"


def both_forms(text):
    def check(answer):
        assert not answer.get("isError"), answer
        assert answer["content"][0]["text"] == text, answer
        assert isinstance(answer["structuredContent"], dict), answer

    return check


def text_once(text):
    def check(answer):
        assert not answer.get("isError"), answer
        assert answer["content"][0]["text"] == text, answer
        assert not answer.get("structuredContent"), answer

    return check


def tool_error(answer):
    assert answer["isError"] is True, answer
    assert answer["content"][0]["text"], answer


def roots_of(root):
    def check(answer):
        found = answer["structuredContent"]
        assert [entry["uri"] for entry in found["roots"]] == [f"file://{root}"], found
        assert json.loads(answer["content"][0]["text"]) == found, answer

    return check


def contents(text):
    def check(answer):
        assert [part["text"] for part in answer["contents"]] == [text], answer

    return check


def templates(answer):
    found = [template["uriTemplate"] for template in answer["resourceTemplates"]]
    assert TEMPLATE in found, found


def completes(value):
    def check(answer):
        assert value in answer["completion"]["values"], answer

    return check


def verify(step, check, answer):
    """Returns why an answer is wrong, or nothing."""
    if "failed" in answer:
        return answer["failed"]
    try:
        check(answer)
    except (AssertionError, KeyError, IndexError, TypeError, ValueError) as problem:
        return (
            f"{type(problem).__name__}: {problem}\n{json.dumps(answer, ensure_ascii=False)[:400]}"
        )
    return None


def label(step):
    parts = [step["do"], step.get("name"), step.get("uri", "").rpartition("/")[2]]
    return " ".join(part for part in parts if part)


def walk_library(client, era, target, root, env):
    steps = plan(root, era)
    answers = walk(client, era, target, [step for step, _ in steps], env)
    return [
        (step, verify(step, check, answer))
        for (step, check), answer in zip(steps, answers, strict=True)
    ]


def walk_inspector(era, target, root, env):
    """The Inspector takes one step a run, and neither completes nor tells the revision."""
    found = []
    for step, check in plan(root, era):
        if step["do"] in NOT_IN_INSPECTOR:
            continue
        try:
            found.append((step, verify(step, check, inspect(era, target, step, env))))
        except RuntimeError as problem:
            found.append((step, str(problem)))
    return found


def main():
    checks = Checks("clients")
    with (
        tempfile.TemporaryDirectory(prefix="roothold-e2e-") as scratch,
        checks.guard("the clients run"),
    ):
        scratch = Path(scratch).resolve()
        root = plant(scratch / "tree")
        rows = (f"{row},Oslo,{row % 97}.5,some words for row {row}\n" for row in range(ROWS))
        (root / "rows.csv").write_text("id,city,amount,note\n" + "".join(rows))
        program = binary("ROOTHOLD_BIN")
        port = free_port()
        configuration = scratch / "roothold.toml"
        configuration.write_text(CONFIGURATION.format(port=port, root=root))
        targets = {
            "http": {"url": f"http://127.0.0.1:{port}/mcp"},
            "stdio": {"command": [program, "stdio", str(root)]},
        }
        env = environment(scratch)
        command = [program, "serve", "--config", str(configuration)]
        with server(
            command, f"http://127.0.0.1:{port}/health", env, scratch / "server.log"
        ) as child:
            run_matrix(checks, targets, root, scratch)
        checks.equal("the server ends cleanly on SIGTERM", child.returncode, 0)
    checks.finish()


def run_matrix(checks, targets, root, scratch):
    """Runs two clients at a time: each is a process that mostly waits."""
    jobs = {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        for transport, target in targets.items():
            for client, (_, _, eras) in LIBRARIES.items():
                for era in eras:
                    name = f"{client} {transport} {era}"
                    env = environment(scratch / name.replace(" ", "-"))
                    jobs[name] = pool.submit(walk_library, client, era, target, root, env)
            for era in INSPECTOR_ERAS:
                name = f"inspector {transport} {era}"
                env = environment(scratch / name.replace(" ", "-"))
                jobs[name] = pool.submit(walk_inspector, era, target, root, env)
        for name, job in jobs.items():
            with checks.guard(name):
                for step, problem in job.result():
                    checks.true(f"{name}: {label(step)}", problem is None, problem or "")


if __name__ == "__main__":
    main()
