"""Which addresses traffic out of a sandbox may go to: public ones, and ranges the operator trusts.

The table follows the IANA special-purpose address registries (RFC 6890 and its updates) rather than
`ipaddress.is_global`, whose answer differs between Python versions.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


METADATA = _networks(
    "169.254.0.0/16",  # link-local, and the metadata service of most clouds
    "168.63.129.16/32",  # Azure's, on an address that looks public
    "100.100.100.200/32",  # Alibaba's, inside the shared range
    "192.0.0.192/32",  # Oracle's
    "fd00:ec2::/32",  # AWS's
    "fd20:ce::/32",  # Google's
    "fd00:42::/32",  # Scaleway's
)
NEVER = METADATA + _networks(
    "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/96", "fe80::/10", "ff00::/8"
)
"""Refused even inside a trusted range: this machine, this link, groups, and the metadata services of clouds."""

NOT_PUBLIC = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
    "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)  # fmt: skip
GLOBAL_UNICAST_V6 = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def refusal(text: str, trusted: Sequence[IPNetwork] = ()) -> str:
    """Why the address may not be dialled, as a phrase that fits after "is", or empty when it may."""
    if "%" in text:
        return "an address with a zone"
    address = _unwrapped(ipaddress.ip_address(text))
    if _within(address, NEVER):
        return "a local or metadata address"
    if _within(address, trusted) or _public(address):
        return "an address of this machine" if _own(address) else ""
    return "a private or reserved address"


def _unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one leads to, as IPv4-mapped (RFC 4291) or through NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _within(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    return any(address in network for network in networks)


def _public(address: IPAddress) -> bool:
    if address.version == 6 and address not in GLOBAL_UNICAST_V6:
        return False
    return not _within(address, NOT_PUBLIC)


def _own(address: IPAddress) -> bool:
    """Whether the address belongs to this machine, where a firewall in front of it would not be passed.

    The kernel answers from its routing table: towards an own address it takes that address as the source. Connecting a
    datagram socket sends nothing.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return bool(probe.getsockname()[0] == str(address))
