"""A log record is one line, and no key is in it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from roost.core.telemetry import configure_logging, redact


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hush-hush-hush",
        "authorization: Basic aHVzaDpodXNo",
        "x-api-key: hush1234",
        "{'api_key': 'hush1234', 'a': 1}",
        '{"access_token":"hush1234"}',
        "ROOST_API_KEY=hush1234",
        "called with sk-ant-hush1234",
        "password=hush1234&x=1",
        "http://user:hush1234@proxy.test:3128",
        "https://hush1234@gateway.test/v1",
        "http://user:p@hush1234@proxy.test",
        "token eyJhbGciOiJI.eyJodXNo.hush1234",
    ],
)
def test_a_secret_is_taken_out_of_a_line(text: str) -> None:
    line = redact(text)
    assert "[redacted]" in line
    assert not {"hush", "aHVzaDpodXNo", "eyJodXNo"} & set(line.replace("-", " ").replace('"', " ").split())
    assert "hush1234" not in line


@pytest.mark.parametrize(
    "text", ["the key is missing", "GET /v1/sessions 200", "bearer of news", "key_01AbC was revoked"]
)
def test_a_line_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_record_is_one_line_even_with_a_traceback_and_foreign_line_breaks(stream: io.StringIO) -> None:
    try:
        raise ValueError("Bearer hush1234hush")
    except ValueError:
        logging.getLogger("roost.x").exception("it said %r and\nERROR forged", "a")
    logging.getLogger("roost.x").debug("not at this level")
    (line,) = stream.getvalue().splitlines()
    assert "ERROR roost.x it said 'a' and\\nERROR forged\\nTraceback" in line
    assert "hush1234" not in line


def test_what_uvicorn_says_of_its_start_is_left_out_and_what_went_wrong_is_not(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").error("the port is taken")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("ERROR uvicorn.error the port is taken")
