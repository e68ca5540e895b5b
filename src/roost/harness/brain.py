"""The brain: takes a claim, brings its session forward, and keeps nothing that the log does not say.

What it does remember is a cache: the folded state of sessions it saw lately. The log only grows and the fold is a
function of it, so a remembered state is never wrong, only behind, and it reads on from its cursor.
"""

from __future__ import annotations

import logging
from collections import OrderedDict

from roost.core.ids import new_id
from roost.harness.request import Context
from roost.harness.turn import Tools, Turn
from roost.sandbox.interface import StaleEpoch
from roost.store.protocols import Claim, Fenced, StoreFull

log = logging.getLogger(__name__)

CONTEXTS_MAX = 256


class Brain:
    """Runs claimed sessions; any number side by side, each claim once."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._contexts: OrderedDict[str, Context] = OrderedDict()

    async def run(self, claim: Claim) -> None:
        """Brings a session to rest and gives the lease back.

        Raises StoreFull when nothing can be written now; the lease is still held then, and the same claim may be run
        again. Every other fault of ours ends the turn with a `session.error`, so that no session is left hanging.
        """
        row = await self._tools.store.sessions.load(claim.session_id)
        if row is None:
            return
        context = self._contexts.pop(claim.session_id, Context())
        turn = Turn(self._tools, claim, row, context)
        try:
            await self._run(turn, claim)
        except (Fenced, StaleEpoch):
            log.info("session %s has a newer owner; this one stops", claim.session_id)

    async def _run(self, turn: Turn, claim: Claim) -> None:
        try:
            await turn.run()
        except (Fenced, StaleEpoch, StoreFull):
            raise
        except Exception:
            reference = new_id("flt")
            log.exception("session %s: fault %s ended its turn", claim.session_id, reference)
            await turn.fail(reference)
            return
        self._remember(claim.session_id, turn.context)

    def _remember(self, session_id: str, context: Context) -> None:
        self._contexts[session_id] = context
        while len(self._contexts) > CONTEXTS_MAX:
            self._contexts.popitem(last=False)
