"""`python -m tests.messages_server --script FILE`: prints its URL, serves until its standard input ends."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import orjson

from tests.messages_server.replies import load_answers
from tests.messages_server.server import MessagesServer, Request, by_turn


async def serve(options: argparse.Namespace) -> None:
    script = by_turn(load_answers(options.script.read_bytes()))

    def record(request: Request) -> None:
        refusal = str(request.refusal) if request.refusal else None
        with options.record.open("ab") as file:
            file.write(orjson.dumps({"body": request.body, "refusal": refusal}) + b"\n")

    seen = record if options.record else None
    async with MessagesServer(script, port=options.port, expect_refusals=True, seen=seen) as server:
        print(server.url, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.messages_server", description=__doc__)
    parser.add_argument("--script", type=Path, required=True, help="answers, as `dump_answers` writes them")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--record", type=Path, help="a file that gets one JSON line per request")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
