"""The documents say what is so: links lead somewhere, every setting and command is described."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roost.cli import main
from tests.tidy.settings_page import page
from tests.tidy.tree import ROOT, files

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ADR_WORDS_MAX = 500


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_reference_of_settings_is_what_the_code_says() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == page(), "run `make docs`"


def test_every_command_is_described_with_its_options() -> None:
    text = (ROOT / "docs/reference/command-line.md").read_text()
    context = main.make_context("roost", [], resilient_parsing=True)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        assert f"`roost {name}" in text, name
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or option in text, f"{name} {option}"


def test_every_target_of_the_makefile_exists_that_a_document_names() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for document in DOCUMENTS for name in re.findall(r"`make ([a-z]+)`", document.read_text())}
    assert named
    assert named <= targets


def test_decisions_are_numbered_without_a_gap_and_fit_on_a_page() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    assert decisions
    for path in decisions:
        text = path.read_text()
        assert len(text.split()) <= ADR_WORDS_MAX, path.name
        assert re.match(rf"# {int(path.name[:4])}\. ", text), path.name
        assert re.search(r"^Status: (accepted|superseded by \[\d+\])", text, re.MULTILINE), path.name


def test_the_changelog_has_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
