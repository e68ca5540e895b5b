"""A target has one accepted spelling, and an allowed host is matched exactly or as a subdomain."""

from __future__ import annotations

import pytest

from roost.proxy.rules import BadTarget, Rules, Target, parse_authority, parse_url
from roost.sandbox.interface import Networking


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.test:443", "example.test", 443),
        ("EXAMPLE.test.:443", "example.test", 443),
        ("a_b.example.test:1", "a_b.example.test", 1),
        ("8.8.8.8:53", "8.8.8.8", 53),
        ("[2606:4700:0:0::1111]:443", "2606:4700::1111", 443),
        ("xn--bcher-kva.test:65535", "xn--bcher-kva.test", 65535),
    ],
)
def test_a_target_is_read_into_its_canonical_form(text: str, host: str, port: int) -> None:
    assert parse_authority(text) == Target(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "example.test", "example.test:", "example.test:0", "example.test:65536", "example.test:+80",
        "example.test:８０", ":443", ".:443", "..:443", "a..b:443", "-a.test:443", "a b.test:443",
        "example.test/:443", "bücher.test:443", "user@example.test:443", "user:pw@example.test:443",
        "example.test:80@evil.test:443", "evil.test#@ok.test:443", "2130706433:443", "0x7f000001:443",
        "0x7f.1:443", "017700000001:443", "0177.0.0.1:443", "127.1:443", "127.0.1:443", "1.2.3.4.5:443",
        "256.1.1.1:443", "foo.1:443", "foo.0x:443", "::1:443", "[::1:443", "::1]:443", "[fe80::1%eth0]:443",
        "[fe80::1%25eth0]:443", "[127.0.0.1]:443", "[::ffff:127.0.0.1%0]:443", "exa\tmple.test:443",
        "a" * 64 + ".test:443", "a." * 127 + "test:443", "*.example.test:443",
    ],
)  # fmt: skip
def test_every_other_spelling_of_a_target_is_refused(text: str) -> None:
    with pytest.raises(BadTarget):
        parse_authority(text)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://example.test", "example.test", 80, "/"),
        ("HTTP://example.test:8080/a/b?c=d#e", "example.test", 8080, "/a/b?c=d"),
        ("http://example.test?q=1", "example.test", 80, "/?q=1"),
        ("http://example.test//evil.test/x", "example.test", 80, "//evil.test/x"),
        ("http://[2606:4700::1111]/", "2606:4700::1111", 80, "/"),
    ],
)
def test_a_url_is_split_into_target_and_path(url: str, host: str, port: int, path: str) -> None:
    assert parse_url(url) == (Target(host, port), path)


@pytest.mark.parametrize(
    "url",
    ["/path", "*", "example.test/", "https://example.test/", "ftp://example.test/", "http:///x", "http://a@b.test/",
     "http://ok.test\\@evil.test/", "http://example.test/a\x00", "http://example.test/é", "http:example.test/"],
)  # fmt: skip
def test_a_url_that_is_not_plain_absolute_http_is_refused(url: str) -> None:
    with pytest.raises(BadTarget):
        parse_url(url)


LIMITED = Networking(type="limited", allowed_hosts=("ok.test", "*.wild.test", "8.8.8.8"))


@pytest.mark.parametrize("host", ["ok.test", "a.wild.test", "a.b.wild.test", "8.8.8.8"])
def test_an_allowed_host_is_matched_exactly_or_as_a_subdomain(host: str) -> None:
    assert Rules(LIMITED).allow(host)


@pytest.mark.parametrize(
    "host",
    ["wild.test", "xok.test", "a.ok.test", "ok.test.evil.test", "xwild.test", "wild.test.evil.test", "1.1.1.1", ""],
)
def test_a_host_that_only_looks_like_an_allowed_one_is_refused(host: str) -> None:
    assert not Rules(LIMITED).allow(host)


def test_limited_without_hosts_lets_nothing_out_and_unrestricted_everything() -> None:
    assert not Rules(Networking(type="limited")).allow("ok.test")
    assert Rules(Networking()).allow("ok.test")


def test_package_hosts_are_open_only_where_the_environment_allows_package_managers() -> None:
    mirror = ["mirror.test"]
    assert Rules(Networking(type="limited", allow_package_managers=True), mirror).allow("mirror.test")
    assert not Rules(Networking(type="limited"), mirror).allow("mirror.test")
