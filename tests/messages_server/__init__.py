"""A strict Messages server on loopback, for every test that needs a Claude model.

In process: `async with MessagesServer([reply("Hello")]) as server: server.url, server.requests`.
In its own process: `with MessagesProcess([reply("Hello")]) as server: server.url, server.bodies`.
"""

from tests.messages_server.models import ADAPTIVE, BUDGETED, MODELS
from tests.messages_server.process import MessagesProcess
from tests.messages_server.refusal import Refusal
from tests.messages_server.replies import (
    Answer,
    Broken,
    Delay,
    Ended,
    Hold,
    Ping,
    Reply,
    ServerToolUse,
    Stall,
    StreamError,
    dump_answers,
    error,
    load_answers,
    redacted_thinking,
    reply,
    signature_of,
    text,
    thinking,
    tool_use,
)
from tests.messages_server.server import MessagesServer, Request, Script, by_turn, in_order

__all__ = [
    "ADAPTIVE",
    "BUDGETED",
    "MODELS",
    "Answer",
    "Broken",
    "Delay",
    "Ended",
    "Hold",
    "MessagesProcess",
    "MessagesServer",
    "Ping",
    "Refusal",
    "Reply",
    "Request",
    "Script",
    "ServerToolUse",
    "Stall",
    "StreamError",
    "by_turn",
    "dump_answers",
    "error",
    "in_order",
    "load_answers",
    "redacted_thinking",
    "reply",
    "signature_of",
    "text",
    "thinking",
    "tool_use",
]
