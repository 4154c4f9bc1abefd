// Walks through a plan with the TypeScript SDK 1.x and prints the answers as one JSON array.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { walk } from "./walk.mjs";

await walk({
  connect: async (plan) => {
    const client = new Client({ name: "sdk1", version: "1" });
    const transport = plan.url
      ? new StreamableHTTPClientTransport(new URL(plan.url))
      : new StdioClientTransport({ command: plan.command[0], args: plan.command.slice(1), env: process.env });
    // This client keeps the negotiated revision to itself, but tells its transport.
    const told = transport.setProtocolVersion?.bind(transport);
    transport.setProtocolVersion = (version) => {
      client.getNegotiatedProtocolVersion = () => version;
      told?.(version);
    };
    await client.connect(transport);
    return client;
  },
  call: (client, request, options) => client.callTool(request, undefined, options),
});
