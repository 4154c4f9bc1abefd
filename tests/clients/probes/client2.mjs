// Walks through a plan with the TypeScript client 2.x and prints the answers as one JSON array.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { walk } from "./walk.mjs";

const MODES = { legacy: "legacy", auto: "auto", modern: { pin: "2026-07-28" } };

await walk({
  connect: async (plan) => {
    const options = { versionNegotiation: { mode: MODES[plan.era] } };
    const client = new Client({ name: "client2", version: "1" }, options);
    const transport = plan.url
      ? new StreamableHTTPClientTransport(new URL(plan.url))
      : new StdioClientTransport({ command: plan.command[0], args: plan.command.slice(1), env: process.env });
    await client.connect(transport);
    return client;
  },
  call: (client, request, options) => client.callTool(request, options),
});
