"""Token by token: previews of a message while the model writes it, then the message itself."""

import os

from anthropic import Anthropic

client = Anthropic(base_url=os.environ.get("ROOST_URL", "http://127.0.0.1:8400"), api_key=os.environ["ROOST_API_KEY"])

agent = client.beta.agents.create(name="Writer", model=os.environ.get("ROOST_MODEL", "claude-sonnet-5-5"))
environment = client.beta.environments.create(name="streaming", config={"type": "cloud"})
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

with client.beta.sessions.events.stream(session.id, event_deltas=["agent.message"]) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[{"type": "user.message", "content": [{"type": "text", "text": "Write two lines about owls."}]}],
    )
    for event in stream:
        if event.type == "event_delta":
            print(event.delta.content.text, end="", flush=True)
        elif event.type == "agent.message":
            # The stored message has the id that the previews announced, and replaces them.
            print(f"\n[{event.id} is complete]")
        elif event.type == "session.status_idle":
            break

usage = client.beta.sessions.retrieve(session.id).usage
print(f"{usage.input_tokens} tokens in, {usage.output_tokens} out")
