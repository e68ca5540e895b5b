"""A tool of your own: the agent asks, your program answers, and no secret of yours comes near the sandbox."""

import os

from anthropic import Anthropic

client = Anthropic(base_url=os.environ.get("ROOST_URL", "http://127.0.0.1:8400"), api_key=os.environ["ROOST_API_KEY"])

STOCK = {"owl": 3, "hawk": 0}

agent = client.beta.agents.create(
    name="Shop assistant",
    model=os.environ.get("ROOST_MODEL", "claude-sonnet-5-5"),
    tools=[
        {
            "type": "custom",
            "name": "stock",
            "description": "How many of an article are in stock.",
            "input_schema": {"type": "object", "properties": {"article": {"type": "string"}}, "required": ["article"]},
        }
    ],
)
environment = client.beta.environments.create(name="custom-tool", config={"type": "cloud"})
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[{"type": "user.message", "content": [{"type": "text", "text": "Have we any owls left?"}]}],
    )
    for event in stream:
        if event.type == "agent.custom_tool_use":
            article = str(event.input.get("article", ""))
            print(f"asked for {article}")
            client.beta.sessions.events.send(
                session.id,
                events=[
                    {
                        "type": "user.custom_tool_result",
                        "custom_tool_use_id": event.id,
                        "content": [{"type": "text", "text": str(STOCK.get(article, "unknown article"))}],
                    }
                ],
            )
        elif event.type == "agent.message":
            print("".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "session.status_idle" and event.stop_reason.type != "requires_action":
            break
