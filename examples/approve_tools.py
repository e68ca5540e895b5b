"""Ask before every command: the agent waits, for days if need be, until somebody allows or denies the call."""

import os

from anthropic import Anthropic

client = Anthropic(base_url=os.environ.get("ROOST_URL", "http://127.0.0.1:8400"), api_key=os.environ["ROOST_API_KEY"])

agent = client.beta.agents.create(
    name="Careful",
    model=os.environ.get("ROOST_MODEL", "claude-sonnet-5-5"),
    tools=[
        {
            "type": "agent_toolset_20260401",
            "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
        }
    ],
)
environment = client.beta.environments.create(name="approvals", config={"type": "cloud"})
session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)

calls = {}
with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[
            {"type": "user.message", "content": [{"type": "text", "text": "Show the date, then delete /workspace."}]}
        ],
    )
    for event in stream:
        if event.type == "agent.tool_use":
            calls[event.id] = event
        elif event.type == "agent.message":
            print("".join(block.text for block in event.content if block.type == "text"))
        elif event.type == "session.status_idle":
            if event.stop_reason.type != "requires_action":
                break
            for event_id in event.stop_reason.event_ids:
                command = str(calls[event_id].input.get("command", ""))
                allowed = not command.startswith("rm ")
                print(f"{'allowed' if allowed else 'denied'}: {command}")
                client.beta.sessions.events.send(
                    session.id,
                    events=[
                        {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": "allow"}
                        if allowed
                        else {
                            "type": "user.tool_confirmation",
                            "tool_use_id": event_id,
                            "result": "deny",
                            "deny_message": "Nothing is deleted here.",
                        }
                    ],
                )
