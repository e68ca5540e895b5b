"""Settings are read once, strictly, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.core.settings import RateLimits, Settings, SettingsError, read_settings


def refuse_warning(text: str) -> None:
    raise AssertionError(text)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({}, refuse_warning) == Settings()
    assert read_settings({"ROOST_PORT": " ", "HOME": "/x", "ROOST_URL": "http://x"}, refuse_warning) == Settings()


def test_every_kind_of_value_is_read_from_its_variable() -> None:
    environ = {
        "ROOST_PORT": "0",
        "ROOST_DATA_DIR": "/srv/roost",
        "ROOST_RATE_LIMITS": "create=5",
        "ROOST_RETRY_JITTER": "0.5",
        "ROOST_REQUIRE_ISOLATION": "Yes",
        "ROOST_LOG_LEVEL": "debug",
        "ROOST_TRUSTED_CIDRS": "10.1.0.0/16, fd12::/32",
        "ANTHROPIC_API_KEY": "k",
    }
    assert read_settings(environ, refuse_warning) == Settings(
        port=0,
        data_dir=Path("/srv/roost"),
        rate_limits=RateLimits(create=5),
        retry_jitter=0.5,
        require_isolation=True,
        log_level="debug",
        trusted_cidrs=("10.1.0.0/16", "fd12::/32"),
        anthropic_api_key="k",
    )
    assert read_settings({"ROOST_RATE_LIMITS": "off"}, refuse_warning).rate_limits is None


def test_an_option_that_was_given_wins_over_the_environment() -> None:
    settings = read_settings({"ROOST_PORT": "nonsense", "ROOST_HOST": "::1"}, refuse_warning, port=9, host=None)
    assert (settings.port, settings.host) == (9, "::1")


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    warnings: list[str] = []
    read_settings({"ROOST_PROT": "1", "ROOST_QQQQQQQQQ": "1"}, warnings.append)
    assert warnings == [
        "ROOST_PROT is not a setting and was ignored; did you mean ROOST_PORT?",
        "ROOST_QQQQQQQQQ is not a setting and was ignored",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROOST_PORT", "http"),
        ("ROOST_PORT", "65536"),
        ("ROOST_RATE_LIMITS", "on"),
        ("ROOST_RATE_LIMITS", "create=0"),
        ("ROOST_RATE_LIMITS", "write=5"),
        ("ROOST_LOG_LEVEL", "loud"),
        ("ROOST_REQUIRE_ISOLATION", "perhaps"),
        ("ROOST_RETRY_JITTER", "-0.1"),
        ("ROOST_MODEL_STALL_S", "nan"),
        ("ROOST_LEASE_TTL_S", "inf"),
        ("ROOST_TRUSTED_CIDRS", "10.1.2.3/8"),
        ("ANTHROPIC_BASE_URL", "http://localhost:8400"),
        ("ANTHROPIC_BASE_URL", "foo"),
        ("ANTHROPIC_BASE_URL", "ftp://x"),
        ("ANTHROPIC_BASE_URL", "https://"),
        ("ANTHROPIC_BASE_URL", "https://x:port"),
        ("ANTHROPIC_BASE_URL", "https://a b"),
        ("ANTHROPIC_BASE_URL", "https://[::1"),
        ("ROOST_UPSTREAM_PROXY", "foo"),
        ("ROOST_UPSTREAM_PROXY", "http://proxy"),
        ("ROOST_UPSTREAM_PROXY", "https://proxy:3128"),
        ("ROOST_UPSTREAM_PROXY", "http://proxy:3128/path"),
        ("ROOST_PACKAGE_HOSTS", "http://bad/"),
        ("ROOST_PACKAGE_HOSTS", "good.test,*.test"),
        ("ROOST_PACKAGE_HOSTS", "good.test:443"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value}, refuse_warning)


def test_a_lease_must_outlive_two_renewals() -> None:
    with pytest.raises(SettingsError, match="ROOST_LEASE_RENEW_S"):
        Settings(lease_ttl_s=15, lease_renew_s=10)


def test_addresses_and_hosts_that_can_be_used_are_kept() -> None:
    environ = {
        "ANTHROPIC_BASE_URL": "https://gateway.test/v1",
        "ROOST_UPSTREAM_PROXY": "http://me:pass@[::1]:3128/",
        "ROOST_PACKAGE_HOSTS": "Mirror.test, 10.0.0.1, fd00::1, my_mirror",
    }
    settings = read_settings(environ, refuse_warning)
    assert settings.anthropic_base_url == environ["ANTHROPIC_BASE_URL"]
    assert settings.upstream_proxy == environ["ROOST_UPSTREAM_PROXY"]
    assert settings.package_hosts == ("mirror.test", "10.0.0.1", "fd00::1", "my_mirror")


def test_keys_and_passwords_do_not_show_when_settings_are_printed_or_refused() -> None:
    proxy = "http://me:hush@proxy.test:1"
    assert "hush" not in repr(Settings(api_key="hush", anthropic_api_key="hush", upstream_proxy=proxy))
    for name in ("ROOST_UPSTREAM_PROXY", "ANTHROPIC_BASE_URL", "ROOST_PACKAGE_HOSTS"):
        with pytest.raises(SettingsError, match=name) as refused:
            read_settings({name: "socks://me:hush@proxy.test:1"}, refuse_warning)
        assert "hush" not in str(refused.value)
