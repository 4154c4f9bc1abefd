"""Walks through a plan with the `fastmcp` client and prints the answers as one JSON array."""

import asyncio
import json
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from mcp.types import ResourceTemplateReference

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


def dump(answer):
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def take(client, step):
    match step["do"]:
        case "version":
            return {"protocolVersion": client.protocol_version}
        case "tools":
            return {"tools": [dump(tool) for tool in await client.list_tools()]}
        case "call":
            return dump(await client.call_tool_mcp(step["name"], step["arguments"]))
        case "progress":
            seen, said = [], []

            async def note(progress, total, message):
                seen.append(progress)
                said.append(message or "")

            result = await client.call_tool_mcp(
                step["name"], step["arguments"], progress_handler=note
            )
            return {"seen": seen, "said": said, "result": dump(result)}
        case "read":
            return {"contents": [dump(part) for part in await client.read_resource(step["uri"])]}
        case "templates":
            templates = await client.list_resource_templates()
            return {"resourceTemplates": [dump(template) for template in templates]}
        case "complete":
            template = ResourceTemplateReference(type="ref/resource", uri=step["template"])
            argument = {"name": step["argument"], "value": step["value"]}
            return {"completion": dump(await client.complete(template, argument))}


async def main():
    plan = json.loads(sys.argv[1])
    target = plan.get("url") or StdioTransport(
        plan["command"][0], plan["command"][1:], env=dict(os.environ), keep_alive=False
    )
    answers = []
    async with Client(target, mode=MODES[plan["era"]], timeout=20) as client:
        for step in plan["steps"]:
            try:
                answers.append(await take(client, step))
            except Exception as error:
                answers.append({"failed": f"{type(error).__name__}: {error}"})
    print(json.dumps(answers))


asyncio.run(main())
