// The SDK's own worker with its own tools, serving a self-hosted environment until it is ended.

import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({ baseURL: process.env.ROOST_URL, apiKey: 'unused' });
const worker = client.beta.environments.work.worker({
  environmentId: process.env.ENVIRONMENT_ID,
  environmentKey: process.env.ENVIRONMENT_KEY,
  workdir: process.env.WORKDIR,
  maxIdleMs: 50,
});
await worker.run();
