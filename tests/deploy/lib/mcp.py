"""Calls of tools as bytes of HTTP, for tests that look at connections."""

import asyncio
import json

CALL_SECONDS = 60
REVISION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "deploy", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def request(tool, arguments, key=None, progress=None, headers=(), host="localhost"):
    """Returns one call, headers and body apart."""
    params = {"name": tool, "arguments": arguments}
    return asking("tools/call", params, key, progress, [f"Mcp-Name: {tool}", *headers], host)


def asking(method, params, key=None, progress=None, headers=(), host="localhost"):
    """Returns one request of any method, headers and body apart."""
    meta = META | ({"progressToken": progress} if progress else {})
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": meta}})
    lines = [
        "POST /mcp HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"MCP-Protocol-Version: {REVISION}",
        f"Mcp-Method: {method}",
        f"Content-Length: {len(body.encode())}",
        *headers,
    ]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), body.encode()


class Broken(Exception):
    """The connection ended before the answer did."""


async def answer(reader, on_part=None):
    """Reads one answer and returns its status, its headers and its body.

    `on_part` is given each piece of a chunked body as it arrives. Raises Broken.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") != "chunked":
            return status, headers, await reader.readexactly(int(headers.get("content-length", 0)))
        parts = []
        while size := int(await reader.readline() or b"", 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
            if on_part:
                on_part(parts[-1])
        await reader.readexactly(2)
        return status, headers, b"".join(parts)
    except (OSError, EOFError, ValueError, IndexError) as problem:
        raise Broken(f"{type(problem).__name__}: {problem}") from None


def message(headers, body):
    """Returns the last message of an answer, be it plain or a stream."""
    if headers.get("content-type", "").startswith("text/event-stream"):
        lines = [line[5:] for line in body.decode().splitlines() if line.startswith("data:")]
        body = lines[-1]
    return json.loads(body)


def call(address, tls, tool, arguments, **more):
    """Makes one call on a connection of its own; returns status, headers, body. Raises Broken or OSError."""

    async def one():
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
        writer.write(b"".join(request(tool, arguments, **more)))
        found = await asyncio.wait_for(answer(reader), CALL_SECONDS)
        writer.close()
        return found

    return asyncio.run(one())


def answers(address, tls):
    """Says whether a call gets as far as to a replica, which refuses it for want of a credential."""
    try:
        return call(address, tls, "listRoots", {})[0] == 401
    except (Broken, OSError):
        return False
