"""Public addresses pass; everything else is refused, in whatever form it is written."""

from __future__ import annotations

import ipaddress

import pytest

from roost.proxy.addresses import refusal

PUBLIC = ["8.8.8.8", "1.1.1.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
LOCAL = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254",
]  # fmt: skip
PRIVATE = [
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.0.1", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "fc00::1", "fd12:3456::1", "fec0::1", "2001::1",
    "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1", "64:ff9b:1::1", "100::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_out(address: str) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("address", LOCAL + PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refusal(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_trusted_range_opens_its_private_addresses_in_every_form(address: str) -> None:
    assert refusal(address, [ipaddress.ip_network("10.1.0.0/16")]) == ""
    assert refusal(address, [ipaddress.ip_network("10.2.0.0/16")])


@pytest.mark.parametrize("address", LOCAL)
def test_no_trusted_range_opens_this_machine_or_a_metadata_service(address: str) -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    assert refusal(address, everything) == "a local or metadata address"


def test_an_address_with_a_zone_is_refused() -> None:
    assert refusal("fe80::1%eth0")
    assert refusal("2606:4700::1111%1")
