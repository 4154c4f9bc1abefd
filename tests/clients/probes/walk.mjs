// The part that both TypeScript probes share: a plan is a JSON object in the first argument.
const steps = {
  version: (client) => ({ protocolVersion: client.getNegotiatedProtocolVersion() }),
  tools: (client) => client.listTools(),
  call: (client, step) => client.callTool({ name: step.name, arguments: step.arguments }),
  progress: async (client, step, { call }) => {
    const seen = [];
    const said = [];
    const onprogress = (update) => {
      seen.push(update.progress);
      said.push(update.message ?? "");
    };
    const result = await call(client, { name: step.name, arguments: step.arguments }, { onprogress });
    return { seen, said, result };
  },
  read: (client, step) => client.readResource({ uri: step.uri }),
  templates: (client) => client.listResourceTemplates(),
  complete: (client, step) =>
    client.complete({
      ref: { type: "ref/resource", uri: step.template },
      argument: { name: step.argument, value: step.value },
    }),
};

export async function walk({ connect, call }) {
  const plan = JSON.parse(process.argv[2]);
  const client = await connect(plan);
  const answers = [];
  for (const step of plan.steps) {
    try {
      answers.push(await steps[step.do](client, step, { call }));
    } catch (error) {
      answers.push({ failed: String(error) });
    }
  }
  await client.close();
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}
