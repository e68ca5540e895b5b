"""Files in and out: an upload appears read-only in the sandbox, and what the agent leaves in its outputs comes back."""

import os
import tempfile
from pathlib import Path

from anthropic import Anthropic

client = Anthropic(base_url=os.environ.get("ROOST_URL", "http://127.0.0.1:8400"), api_key=os.environ["ROOST_API_KEY"])

upload = client.beta.files.upload(file=("birds.csv", b"name,count\nowl,3\nhawk,4\n", "text/csv"))

agent = client.beta.agents.create(
    name="Analyst",
    model=os.environ.get("ROOST_MODEL", "claude-sonnet-5-5"),
    tools=[{"type": "agent_toolset_20260401"}],
)
environment = client.beta.environments.create(name="files", config={"type": "cloud"})
session = client.beta.sessions.create(
    agent=agent.id,
    environment_id=environment.id,
    resources=[{"type": "file", "file_id": upload.id, "mount_path": "birds.csv"}],
)

with client.beta.sessions.events.stream(session.id) as stream:
    client.beta.sessions.events.send(
        session.id,
        events=[
            {
                "type": "user.message",
                "content": [
                    {
                        "type": "text",
                        "text": "Add up the counts in /mnt/session/uploads/birds.csv and write the sum to "
                        "/mnt/session/outputs/sum.txt.",
                    }
                ],
            }
        ],
    )
    for event in stream:
        if event.type == "session.status_idle":
            break

# What is listed once the session is idle is complete.
folder = Path(tempfile.mkdtemp())
for file in client.beta.files.list(scope_id=session.id):
    if file.downloadable:
        client.beta.files.download(file.id).write_to_file(folder / file.filename)
        print(f"{file.filename}: {(folder / file.filename).read_text().strip()}")
