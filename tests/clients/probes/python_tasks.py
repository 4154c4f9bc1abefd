"""Uses the tasks extension with the Python SDK `mcp` and prints what it met as one JSON object.

The SDK brings the seam (an extension claims a result type and resolves it), this file the extension:
what it knows of tasks is the specification's, nothing of the server's.
"""

import asyncio
import json
import os
import sys
from typing import Any, ClassVar, Literal

from mcp import Client, StdioServerParameters
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict, Field

ENDED = {"completed", "failed", "cancelled"}


class TaskParams(RequestParams):
    task_id: str = Field(alias="taskId")


class TaskRequest(Request[TaskParams, str]):
    name_param: ClassVar[str] = "taskId"
    method: str
    params: TaskParams


class Answer(Result):
    """Whatever a method of the extension answers with."""

    model_config = ConfigDict(extra="allow")


class Created(Result):
    model_config = ConfigDict(extra="allow")

    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str
    poll_interval_ms: int | None = Field(default=None, alias="pollIntervalMs")


async def ask(session, method, task_id):
    request = TaskRequest(method=method, params=TaskParams(taskId=task_id))
    return (await session.send_request(request, Answer)).model_dump(mode="json", by_alias=True)


async def end_of(session, created, statuses):
    """Asks until the task has ended, as often as the server proposes."""
    while True:
        task = await ask(session, "tasks/get", created.task_id)
        statuses.append(task["status"])
        if task["status"] in ENDED:
            return task
        await asyncio.sleep((task.get("pollIntervalMs") or 500) / 1000)


class Tasks(ClientExtension):
    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.resolved: list[list[str]] = []

    def claims(self):
        return [ResultClaim(result_type="task", model=Created, resolve=self.resolve)]

    async def resolve(self, created: Created, context: Any) -> CallToolResult:
        statuses = [created.status]
        self.resolved.append(statuses)
        task = await end_of(context.session, created, statuses)
        return CallToolResult.model_validate(task["result"])


async def refused(wait):
    try:
        return {"answer": await wait}
    except Exception as error:
        return {"refused": str(error)}


async def walk(client, tasks, plan):
    call = (plan["tool"], plan["arguments"])
    result = await client.call_tool(*call)
    met = {"statuses": tasks.resolved, "result": result.model_dump(mode="json", by_alias=True)}

    created = await client.session.call_tool(plan["tool"], plan["long"], allow_claimed=True)
    met["cancelled"] = statuses = [created.status]
    await ask(client.session, "tasks/cancel", created.task_id)
    await end_of(client.session, created, statuses)
    met["unknown"] = await refused(ask(client.session, "tasks/get", created.task_id + "x"))
    return met


async def main():
    plan = json.loads(sys.argv[1])
    target = plan.get("url") or StdioServerParameters(
        command=plan["command"][0], args=plan["command"][1:], env=dict(os.environ)
    )
    tasks = Tasks()
    async with Client(
        target, mode="2026-07-28", read_timeout_seconds=20, extensions=[tasks]
    ) as client:
        print(json.dumps(await walk(client, tasks, plan)))


asyncio.run(main())
