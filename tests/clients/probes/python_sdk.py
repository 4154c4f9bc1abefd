"""Walks through a plan with the Python SDK `mcp` and prints the answers as one JSON array."""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.types import ResourceTemplateReference

MODES = {"legacy": "legacy", "auto": "auto", "modern": "2026-07-28"}


def dump(answer):
    return answer.model_dump(mode="json", by_alias=True, exclude_none=True)


async def take(client, step):
    match step["do"]:
        case "version":
            return {"protocolVersion": client.protocol_version}
        case "tools":
            return dump(await client.list_tools())
        case "call":
            return dump(await client.call_tool(step["name"], step["arguments"]))
        case "progress":
            seen, said = [], []

            async def note(progress, total, message):
                seen.append(progress)
                said.append(message or "")

            result = await client.call_tool(step["name"], step["arguments"], progress_callback=note)
            return {"seen": seen, "said": said, "result": dump(result)}
        case "read":
            return dump(await client.read_resource(step["uri"]))
        case "templates":
            return dump(await client.list_resource_templates())
        case "complete":
            template = ResourceTemplateReference(type="ref/resource", uri=step["template"])
            argument = {"name": step["argument"], "value": step["value"]}
            return dump(await client.complete(template, argument))


async def main():
    plan = json.loads(sys.argv[1])
    target = plan.get("url") or StdioServerParameters(
        command=plan["command"][0], args=plan["command"][1:], env=dict(os.environ)
    )
    answers = []
    async with Client(target, mode=MODES[plan["era"]], read_timeout_seconds=20) as client:
        for step in plan["steps"]:
            try:
                answers.append(await take(client, step))
            except Exception as error:
                answers.append({"failed": f"{type(error).__name__}: {error}"})
    print(json.dumps(answers))


asyncio.run(main())
