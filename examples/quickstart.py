"""The quickstart of the API's documentation. Only `base_url` and `api_key` make it run on your own server.

export ROOST_API_KEY=...        # shown by `roost serve` on its first start
python examples/quickstart.py
"""

import os

from anthropic import Anthropic

client = Anthropic(base_url=os.environ.get("ROOST_URL", "http://127.0.0.1:8400"), api_key=os.environ["ROOST_API_KEY"])

agent = client.beta.agents.create(
    name="Coding Assistant",
    model=os.environ.get("ROOST_MODEL", "claude-sonnet-5-5"),
    system="You are a helpful coding assistant. Write clean, well-documented code.",
    tools=[{"type": "agent_toolset_20260401"}],
)
print(f"Agent {agent.id}, version {agent.version}")

environment = client.beta.environments.create(
    name="quickstart-env", config={"type": "cloud", "networking": {"type": "unrestricted"}}
)
print(f"Environment {environment.id}")

session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title="Quickstart session")
print(f"Session {session.id}")

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[
            {
                "type": "user.message",
                "content": [
                    {
                        "type": "text",
                        "text": "Create a Python script that generates the first 20 Fibonacci numbers and saves them "
                        "to fibonacci.txt",
                    }
                ],
            }
        ],
    )
    for event in stream:
        match event.type:
            case "agent.message":
                for block in event.content:
                    if block.type == "text":
                        print(block.text)
            case "agent.tool_use":
                print(f"[{event.name}]")
            case "session.status_idle":
                print("Agent finished.")
                break
