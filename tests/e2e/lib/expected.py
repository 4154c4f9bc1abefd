"""Takes the listed differences from an answer, so that what is left must be equal.

Each function here belongs to a row of docs/differences.md. Nothing else may be taken away.
"""

import json
import re
from datetime import datetime
from pathlib import PurePath

from .tree import LINKS

LINK_NAMES = {PurePath(name).name for name in LINKS}
TEXT_READS = {"read_text_file", "read_file"}
UNSTRUCTURED = {"read_media_file", "read_multiple_files"}


def brief(arguments, root):
    """Returns arguments for a report, without the long path of the tree."""
    return json.dumps(arguments, ensure_ascii=False).replace(f"{root}/", "").replace(str(root), ".")


def shape(tool, answer):
    """Checks the form of an answer of Roothold.

    A text read carries its text once and then one line of facts; every other tool carries its
    answer as typed data too.
    """
    if tool in TEXT_READS:
        if "structuredContent" in answer:
            raise AssertionError("a text read has structured content")
        second_block(answer)
    elif tool not in UNSTRUCTURED and not isinstance(answer.get("structuredContent"), dict):
        raise AssertionError("the answer has no structured content")


def second_block(answer):
    """Returns the facts that follow the text of a read."""
    if len(answer["content"]) != 2:
        raise AssertionError(f"a text read has {len(answer['content'])} blocks")
    line = answer["content"][1]["text"]
    if "\n" in line:
        raise AssertionError("the facts take more than one line")
    return facts_of(line)


def facts_of(line):
    """Reads `{"hash": ..}` or `hash=.. next_cursor=..` into a dictionary."""
    try:
        return json.loads(line)
    except ValueError:
        return dict(re.findall(r"(\w+)[=:]\s*([^\s,;]+)", line))


def lines(block):
    """Row "order": the reference lists as the disk does, Roothold by the bytes of the name."""
    return sorted(block["text"].split("\n"))


def sized_lines(block):
    """Rows "order" and "sizes of links": a link is listed, but its size and its part of the sum
    are the reference's alone."""
    *entries, _, totals, combined = block["text"].split("\n")
    links = [line for line in entries if is_link(line)]
    rest = sorted(line for line in entries if not is_link(line))
    names = sorted(line.rpartition("  ")[0].rstrip() for line in links)
    return rest, names, totals, None if links else combined


def is_link(line):
    """Says whether a line with a size is about one of the tree's links."""
    return line.removeprefix("[FILE] ").rsplit(maxsplit=2)[0] in LINK_NAMES


def tree(block):
    """Rows "order", "layout of the tree" and "kind of links"."""

    def ordered(nodes):
        for node in nodes:
            if node["type"] == "symlink":
                node["type"] = "file"
            if "children" in node:
                node["children"] = ordered(node["children"])
        return sorted(nodes, key=lambda node: node["name"].encode())

    return ordered(json.loads(block["text"]))


def tail_arguments(arguments, content):
    """Row "last line": to the reference the nothing after a final newline is a line of its own."""
    if "tail" in arguments and content.endswith("\n"):
        return {**arguments, "tail": arguments["tail"] + 1}
    return arguments


def tail_text(content):
    """Rows "byte order mark", "last line" and "line ends": the reference keeps the mark and the
    newline, and drops CR."""

    def normal(block):
        text = unmarked(block).replace("\r\n", "\n").removesuffix("\r")
        return text.removesuffix("\n") if content.endswith("\n") else text

    return normal


def unmarked(block):
    """Row "byte order mark": to the reference it is the first character."""
    return block["text"].removeprefix("\ufeff")


def facts(block):
    """Rows "times" and "path of what was found"."""
    found = dict(line.split(": ", 1) for line in block["text"].split("\n"))
    found.pop("path", None)
    for key in ("created", "modified", "accessed"):
        found[key] = seconds(found[key])
    return found


def seconds(value):
    """Returns a time in whole seconds, from either server's form."""
    words = re.match(r"\w{3} (\w{3} \d\d \d{4} \d\d:\d\d:\d\d) GMT([+-]\d{4})", value)
    if words:
        return int(datetime.strptime(" ".join(words.groups()), "%b %d %Y %H:%M:%S %z").timestamp())
    return int(datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp())


def files(block):
    """Row "error texts": what follows `Error - ` is each server's own."""
    return re.sub(r": Error - [^\n]*", ": Error - ", block["text"])


def refused(server, tool, arguments):
    """Says whether a server refused a call, as a tool error or as a protocol error."""
    answer = server.request("tools/call", {"name": tool, "arguments": arguments})
    return "error" in answer or bool(answer["result"].get("isError"))
