// What a TypeScript program does with a Roost server: the SDK as it comes, with another address and key.
// Each step prints one JSON line, {"step": ..., ...what was seen}; test_sdk.py says what must have been seen.

import Anthropic, { toFile } from '@anthropic-ai/sdk';
import { accumulateManagedAgentsEvent } from '@anthropic-ai/sdk/lib/sessions/accumulate';

const client = new Anthropic({ baseURL: process.env.ROOST_URL, apiKey: process.env.ROOST_API_KEY, maxRetries: 0 });
const { agents, environments, sessions, files } = client.beta;

const tell = (step, seen) => console.log(JSON.stringify({ step, ...seen }));
const says = (text) => ({ type: 'user.message', content: [{ type: 'text', text }] });

async function collect(pages) {
  const found = [];
  for await (const item of pages) found.push(item);
  return found;
}

/** Sends a message and gives back what the stream brings until the session is idle; `react` may answer events. */
async function turn(session, text, react = async () => {}, params = {}) {
  const stream = await sessions.events.stream(session.id, params);
  await sessions.events.send(session.id, { events: [says(text)] });
  const seen = [];
  for await (const event of stream) {
    seen.push(event);
    await react(event);
    if (event.type === 'session.status_idle' && event.stop_reason.type !== 'requires_action') return seen;
  }
  throw new Error('the stream ended before the session was idle');
}

async function agentsAreKept() {
  const made = await agents.create({
    name: 'Ada',
    model: process.env.ROOST_MODEL,
    tools: [{ type: 'agent_toolset_20260401' }],
  });
  const updated = await agents.update(made.id, { version: made.version, system: 'You count birds.' });
  const retrieved = await agents.retrieve(made.id);
  const first = await agents.retrieve(made.id, { version: 1 });
  tell('agents', { made, updated, retrieved, first, listed: await collect(agents.list({ limit: 1 })) });
  return updated;
}

async function aFileGoesInAndOneComesOut(agent, environment) {
  const birds = Buffer.from('bird,seen\nowl,3\nstork,4\n');
  const uploaded = await files.upload({ file: await toFile(birds, 'Vögel im Garten.csv', { type: 'text/csv' }) });
  const session = await sessions.create({
    agent: agent.id,
    environment_id: environment.id,
    title: 'Birds',
    metadata: { of: 'Node' },
    resources: [{ type: 'file', file_id: uploaded.id, mount_path: '/birds.csv' }],
  });
  const seen = await turn(session, 'How many birds?');
  const outputs = [];
  for await (const file of files.list({ scope_id: session.id })) {
    outputs.push({ filename: file.filename, text: await (await files.download(file.id)).text() });
  }
  tell('files', { uploaded, session, seen, outputs });
  return session;
}

async function eventsArePaged(session) {
  const sizes = [];
  const paged = [];
  for await (const page of (await sessions.events.list(session.id, { limit: 4 })).iterPages()) {
    sizes.push(page.data.length);
    paged.push(...page.data);
  }
  const calls = await collect(sessions.events.list(session.id, { types: ['agent.tool_use', 'agent.tool_result'] }));
  const newest = await sessions.events.list(session.id, { order: 'desc', limit: 1 });
  tell('pages', { sizes, paged, calls, newest: newest.data });
}

async function aCallIsApproved(environment) {
  const asking = { type: 'agent_toolset_20260401', default_config: { permission_policy: { type: 'always_ask' } } };
  const agent = await agents.create({ name: 'Bea', model: process.env.ROOST_MODEL, tools: [asking] });
  const session = await sessions.create({ agent: agent.id, environment_id: environment.id });
  const seen = await turn(session, 'Go', async (event) => {
    if (event.type !== 'session.status_idle' || event.stop_reason.type !== 'requires_action') return;
    const allow = (id) => ({ type: 'user.tool_confirmation', tool_use_id: id, result: 'allow' });
    await sessions.events.send(session.id, { events: event.stop_reason.event_ids.map(allow) });
  });
  tell('approval', { seen });
}

async function aTurnIsInterrupted(agent, environment) {
  const session = await sessions.create({ agent: agent.id, environment_id: environment.id });
  const seen = await turn(session, 'Wait', async (event) => {
    if (event.type !== 'agent.tool_use') return;
    await sessions.events.send(session.id, { events: [{ type: 'user.interrupt' }] });
  });
  tell('interrupt', { seen });
}

async function aMessageIsPreviewed(agent, environment) {
  const session = await sessions.create({ agent: agent.id, environment_id: environment.id });
  const texts = [];
  let message = null;
  const react = async (event) => {
    if (!['event_start', 'event_delta', 'agent.message'].includes(event.type)) return;
    message = accumulateManagedAgentsEvent(message, event);
    texts.push(message.content.map((block) => block.text).join(''));
  };
  await turn(session, 'Count', react, { event_deltas: ['agent.message'] });
  tell('previews', { texts });
}

async function failuresHaveTheirClass() {
  const refused = {
    NotFoundError: () => sessions.retrieve('sesn_none'),
    BadRequestError: () => agents.create({ name: 'Nobody' }),
    AuthenticationError: () => client.withOptions({ apiKey: 'wrong' }).beta.agents.list(),
  };
  for (const [expected, call] of Object.entries(refused)) {
    const error = await call().then(() => null, (failure) => failure);
    const ours = error instanceof Anthropic[expected];
    tell(expected, { ours, status: error.status, type: error.type, requestID: error.requestID, body: error.error });
  }
}

async function allIsPutAway(agent, environment) {
  const gone = (call) => call.then(() => false, (error) => error instanceof Anthropic.NotFoundError);
  const open = await collect(sessions.list({ limit: 2 }));
  const archived = [await sessions.archive(open[0].id), await agents.archive(agent.id)];
  const deleted = [];
  for (const session of open) deleted.push(await sessions.delete(session.id));
  deleted.push(await environments.delete(environment.id));
  const missing = [await gone(sessions.retrieve(open[0].id)), await gone(environments.retrieve(environment.id))];
  tell('away', { archived, deleted, missing });
}

const agent = await agentsAreKept();
const environment = await environments.create({
  name: 'node',
  config: { type: 'cloud', networking: { type: 'unrestricted' } },
});
const session = await aFileGoesInAndOneComesOut(agent, environment);
await eventsArePaged(session);
await aCallIsApproved(environment);
await aTurnIsInterrupted(agent, environment);
await aMessageIsPreviewed(agent, environment);
await failuresHaveTheirClass();
await allIsPutAway(agent, environment);
