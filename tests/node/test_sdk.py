"""The official TypeScript SDK, unmodified: what `smoke.mjs` sees of a server, an agent and a real sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.messages_server import ADAPTIVE, reply, text, tool_use
from tests.rig.chat import text_of
from tests.rig.grammar import broken_rules
from tests.rig.world import KEY, world

pytestmark = [pytest.mark.node, pytest.mark.sandbox, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"
INSTALLED = HERE / "node_modules/.package-lock.json"
"""npm's own note of what it installed; older than the lock, it is out of date."""
NODE_MAJOR_MIN = 20
"""The oldest Node.js that the SDK supports."""
INSTALL_TIMEOUT_S = 150
RUN_TIMEOUT_S = 60

ANSWERS = [
    reply(
        "I count.",
        tool_use("bash", {"command": "wc -l < /mnt/session/uploads/birds.csv | tee /mnt/session/outputs/lines.txt"}),
    ),
    reply("Three lines."),
    reply(tool_use("bash", {"command": "echo with leave"})),
    reply("Thank you."),
    reply(tool_use("bash", {"command": "sleep 300"})),
    reply(text("One", " two", " three")),
]

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Step of the script -> what it printed."""
    need_node()
    install()
    printed = asyncio.run(_run(tmp_path_factory.mktemp("node")))
    return {entry.pop("step"): entry for entry in map(json.loads, printed.splitlines())}


def need_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node.js and npm are not installed")
    version = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR_MIN:
        pytest.skip(f"the SDK needs Node.js {NODE_MAJOR_MIN} or later; this one is {version}")


def install() -> None:
    """Brings `node_modules` to what the lock says, where it is not."""
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr


async def _run(folder: Path) -> str:
    async with world(folder) as here:
        here.plays(*ANSWERS)
        await here.client.beta.environments.delete(here.environment_id)
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "ANTHROPIC_"))},
            "ROOST_URL": here.roost.url,
            "ROOST_API_KEY": KEY,
            "ROOST_MODEL": ADAPTIVE,
        }
        process = await asyncio.create_subprocess_exec(
            *("node", "smoke.mjs"), cwd=HERE, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            async with asyncio.timeout(RUN_TIMEOUT_S):
                printed, complaints = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert (process.returncode, complaints.decode()) == (0, "")
        return printed.decode()


def _logged(events: list[Seen]) -> list[Seen]:
    """Without the messages that the stream first shows while they still wait."""
    return [event for event in events if event["processed_at"]]


def _types(events: list[Seen]) -> list[str]:
    return [event["type"] for event in events]


def _only(events: list[Seen], type: str) -> Seen:
    (event,) = [event for event in events if event["type"] == type]
    return event


def test_an_agent_is_made_updated_retrieved_by_version_and_listed(seen: Seen) -> None:
    agents = seen["agents"]
    assert (agents["made"]["version"], agents["updated"]["version"]) == (1, 2)
    assert agents["updated"]["system"] == "You count birds."
    assert agents["retrieved"] == agents["updated"]
    assert agents["first"] == agents["made"]
    assert agents["listed"] == [agents["updated"]]


def test_a_turn_with_a_tool_call_streams_from_message_to_idle(seen: Seen) -> None:
    events = _logged(seen["files"]["seen"])
    assert broken_rules(events) == []
    assert _types(seen["files"]["seen"])[:2] == ["user.message", "session.status_running"]
    assert text_of(_only(events, "agent.tool_result")) == "3"
    spoken = [text_of(event) for event in events if event["type"] == "agent.message"]
    assert spoken == ["I count.", "Three lines."]
    assert events[-1]["stop_reason"] == {"type": "end_turn"}


def test_an_uploaded_file_keeps_its_name_and_is_mounted_as_a_copy(seen: Seen) -> None:
    uploaded, session = seen["files"]["uploaded"], seen["files"]["session"]
    assert (uploaded["filename"], uploaded["mime_type"]) == ("Vögel im Garten.csv", "text/csv")
    assert uploaded["size_bytes"] == len("bird,seen\nowl,3\nstork,4\n")
    (mounted,) = session["resources"]
    assert mounted["mount_path"] == "/mnt/session/uploads/birds.csv"
    assert mounted["file_id"] != uploaded["id"]
    assert (session["title"], session["metadata"]) == ("Birds", {"of": "Node"})


def test_what_the_agent_left_is_listed_by_scope_and_downloaded(seen: Seen) -> None:
    assert {"filename": "lines.txt", "text": "3\n"} in seen["files"]["outputs"]


def test_events_come_in_pages_by_type_and_newest_first(seen: Seen) -> None:
    pages, events = seen["pages"], _logged(seen["files"]["seen"])
    assert pages["paged"] == events
    assert pages["sizes"][:-1] == [4] * (len(pages["sizes"]) - 1)
    assert len(pages["sizes"]) > 1
    assert _types(pages["calls"]) == ["agent.tool_use", "agent.tool_result"]
    assert pages["newest"] == events[-1:]


def test_an_approved_call_runs(seen: Seen) -> None:
    events = _logged(seen["approval"]["seen"])
    assert broken_rules(events) == []
    call = _only(events, "agent.tool_use")
    idles = [event["stop_reason"] for event in events if event["type"] == "session.status_idle"]
    assert idles == [{"type": "requires_action", "event_ids": [call["id"]]}, {"type": "end_turn"}]
    assert text_of(_only(events, "agent.tool_result")) == "with leave"


def test_an_interrupted_call_is_answered_and_the_session_rests(seen: Seen) -> None:
    events = _logged(seen["interrupt"]["seen"])
    assert broken_rules(events) == []
    result = _only(events, "agent.tool_result")
    assert result["is_error"]
    assert "interrupted" in text_of(result)
    assert _types(events).count("span.model_request_start") == 1


def test_previews_accumulate_to_the_message(seen: Seen) -> None:
    texts = seen["previews"]["texts"]
    assert texts[0] == ""
    assert texts[-1] == "One two three"
    assert texts == sorted(texts, key=len)


@pytest.mark.parametrize(
    ("name", "status", "type"),
    [
        ("NotFoundError", 404, "not_found_error"),
        ("BadRequestError", 400, "invalid_request_error"),
        ("AuthenticationError", 401, "authentication_error"),
    ],
)
def test_a_failure_has_the_class_of_the_sdk_and_a_request_id(seen: Seen, name: str, status: int, type: str) -> None:
    failure = seen[name]
    assert (failure["ours"], failure["status"], failure["type"]) == (True, status, type)
    assert re.fullmatch(r"req_\w+", failure["requestID"])
    assert failure["body"]["request_id"] == failure["requestID"]


def test_what_is_archived_or_deleted_says_so_and_is_gone(seen: Seen) -> None:
    away = seen["away"]
    assert all(one["archived_at"] for one in away["archived"])
    assert _types(away["deleted"]) == ["session_deleted"] * 4 + ["environment_deleted"]
    assert away["missing"] == [True, True]


def test_the_lock_names_no_place_that_packages_come_from() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and not package["integrity"].startswith("sha512-")] == []
