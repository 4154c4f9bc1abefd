"""A small file server on FastMCP, as one would write it: what Roothold is measured beside.

fastmcp_files.py DIR         over standard input and output
fastmcp_files.py DIR PORT    over HTTP on loopback, one JSON answer a request
"""

import json
import os
import sys
from pathlib import Path

from fastmcp import FastMCP

ROOT = Path(sys.argv[1]).resolve()
server = FastMCP("files")


def inside(path: str) -> Path:
    real = Path(path).resolve()
    if not real.is_relative_to(ROOT):
        raise ValueError("outside of the root")
    return real


@server.tool
async def list_directory(path: str) -> str:
    entries = os.scandir(inside(path))
    return "\n".join(("[DIR] " if entry.is_dir() else "[FILE] ") + entry.name for entry in entries)


@server.tool
async def list_directory_with_sizes(path: str) -> str:
    entries = os.scandir(inside(path))
    return "\n".join(
        f"[DIR] {entry.name}" if entry.is_dir() else f"[FILE] {entry.name} {entry.stat().st_size}"
        for entry in entries
    )


def below(path: str | Path) -> list:
    return [
        {"name": entry.name, "type": "directory", "children": below(entry.path)}
        if entry.is_dir(follow_symlinks=False)
        else {"name": entry.name, "type": "file"}
        for entry in os.scandir(path)
    ]


@server.tool
async def directory_tree(path: str) -> str:
    return json.dumps(below(inside(path)))


@server.tool
async def search_files(path: str, pattern: str) -> str:
    return "\n".join(map(str, inside(path).glob(pattern)))


@server.tool
async def read_file(path: str) -> str:
    return inside(path).read_text()


@server.tool
async def read_lines(path: str, start: int, count: int) -> str:
    with open(inside(path)) as file:
        lines = zip(range(1, start + count), file)
        return "".join(line for number, line in lines if number >= start)


@server.tool
async def read_multiple_files(paths: list[str]) -> str:
    return "\n---\n".join(f"{path}:\n{inside(path).read_text()}" for path in paths)


if len(sys.argv) > 2:
    server.run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[2]),
        stateless_http=True,
        json_response=True,
        show_banner=False,
        log_level="ERROR",
    )
else:
    server.run(transport="stdio", show_banner=False, log_level="ERROR")
