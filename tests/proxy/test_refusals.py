"""Where a sandbox may not go: by name, by address, by a name that leads to an address, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from roost.sandbox.interface import Networking
from tests.proxy.conftest import Open, World
from tests.proxy.test_forwarding import Site

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize("request_line", ["CONNECT no.test:443 HTTP/1.1", "GET http://no.test/ HTTP/1.1"])
async def test_a_refused_host_gets_a_403_that_names_it_and_the_setting(
    world: World, sandbox: Open, request_line: str
) -> None:
    answer = await (await sandbox(Networking(type="limited", allowed_hosts=("ok.test",)))).ask(request_line)
    status_line = answer.splitlines()[0]
    assert status_line.startswith("HTTP/1.1 403 no.test ")
    assert "networking.allowed_hosts" in status_line
    assert world.resolved == []
    passage = await world.passage()
    assert (passage.host, passage.decision) == ("no.test", "refused")


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["10.0.0.1"], ["100.64.0.1"], ["169.254.169.254"], ["0.0.0.0"], ["fd00::1"], ["::ffff:127.0.0.1"],
     ["64:ff9b::7f00:1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["fe80::1%lo", PUBLIC]],
)  # fmt: skip
@pytest.mark.parametrize("networking", [Networking(), Networking(type="limited", allowed_hosts=("ok.test",))])
async def test_a_name_with_any_forbidden_answer_is_refused_in_every_mode(
    world: World, sandbox: Open, networking: Networking, answers: Sequence[str]
) -> None:
    world.names["ok.test"] = answers
    answer = await (await sandbox(networking)).ask("CONNECT ok.test:443 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 403 ok.test is ")
    assert world.dialled == []


@pytest.mark.parametrize(
    "authority", ["127.0.0.1:80", "[::1]:80", "10.0.0.1:80", "169.254.169.254:80", "[::ffff:7f00:1]:80", "[fd00::1]:80"]
)
async def test_a_forbidden_address_is_refused_when_written_out(world: World, sandbox: Open, authority: str) -> None:
    door = await sandbox()
    assert (await door.ask(f"CONNECT {authority} HTTP/1.1")).startswith("HTTP/1.1 403 ")
    assert (await door.ask(f"GET http://{authority}/ HTTP/1.1")).startswith("HTTP/1.1 403 ")
    assert world.dialled == []


async def test_a_name_is_resolved_once_and_the_checked_address_is_dialled(world: World, sandbox: Open) -> None:
    """A second look-up would let a name change its answer between the check and the connection."""
    world.names["rebind.test"] = [PUBLIC]
    async with world.server(PUBLIC, 80, Site()):
        await (await sandbox()).ask("GET http://rebind.test/ HTTP/1.1", "Connection: close")
    assert world.resolved == ["rebind.test"]
    assert world.dialled == [(PUBLIC, 80)]


async def test_the_next_address_is_tried_when_one_does_not_answer(world: World, sandbox: Open) -> None:
    world.names["ok.test"] = ["1.1.1.1", PUBLIC]
    async with world.server(PUBLIC, 80, Site()):
        answer = await (await sandbox()).ask("GET http://ok.test/ HTTP/1.1", "Connection: close")
    assert answer.startswith("HTTP/1.1 200 ")
    assert world.dialled == [("1.1.1.1", 80), (PUBLIC, 80)]


@pytest.mark.parametrize("names", [{}, {"ok.test": [PUBLIC]}])
async def test_a_target_that_cannot_be_reached_is_a_bad_gateway(
    world: World, sandbox: Open, names: dict[str, Sequence[str]]
) -> None:
    world.names |= names
    answer = await (await sandbox()).ask("CONNECT ok.test:443 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 502 ok.test:443 could not be reached: ")
    assert (await world.passage()).decision == "failed"


async def test_a_private_range_is_reached_only_when_the_operator_trusts_it(world: World, sandbox: Open) -> None:
    world.names["mirror.test"] = ["10.1.2.3"]
    lines = ("GET http://mirror.test/ HTTP/1.1", "Connection: close")
    async with world.server("10.1.2.3", 80, Site()):
        refused = await (await sandbox()).ask(*lines)
        reached = await (await sandbox(route={"trusted_cidrs": ["10.1.0.0/16"]})).ask(*lines)
    assert "ROOST_TRUSTED_CIDRS" in refused.splitlines()[0]
    assert reached.startswith("HTTP/1.1 200 ")


async def test_an_address_of_this_machine_is_refused_even_when_it_is_trusted(
    world: World, sandbox: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.proxy.addresses._own", lambda address: str(address) == PUBLIC)
    world.names["me.test"] = [PUBLIC]
    answer = await (await sandbox()).ask("CONNECT me.test:443 HTTP/1.1")
    assert answer.startswith("HTTP/1.1 403 me.test is an address of this machine")


def test_the_kernel_tells_an_own_address_from_a_foreign_one() -> None:
    import ipaddress

    from roost.proxy.addresses import _own

    assert _own(ipaddress.ip_address("127.0.0.1"))
    assert not _own(ipaddress.ip_address("192.0.2.1"))
