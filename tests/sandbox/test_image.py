"""What sandboxes share: the certificates that the server's machine trusts, and a resolver of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.sandbox.image import CA_BUNDLE, PYTHON, shared_image

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"{PYTHON} is missing: no sandbox can be made")


def test_the_servers_own_certificates_are_trusted_inside_and_another_choice_makes_another_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "company.pem"
    own.write_text("-----BEGIN CERTIFICATE-----\n")
    before = shared_image(tmp_path / "images")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    after = shared_image(tmp_path / "images")
    inside = CA_BUNDLE.removeprefix("/")
    assert (after / inside).read_bytes() == own.read_bytes()
    assert after != before
    assert shared_image(tmp_path / "images") == after


def test_names_are_asked_of_the_sandboxs_own_resolver(tmp_path: Path) -> None:
    assert (shared_image(tmp_path) / "etc/resolv.conf").read_text() == "nameserver 127.0.0.1\n"
