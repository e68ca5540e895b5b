"""What every store must do, whatever lies under it.

A dialect's tests import these classes beside a fixture `store` that yields a fresh, empty store; pytest then runs every
method. Nothing in here knows SQL, waits for a clock or needs a library of its own.
"""

from roost.store.conformance.blobs import TestBlobs
from roost.store.conformance.bus import TestBus
from roost.store.conformance.commit import TestCommit
from roost.store.conformance.egress import TestEgress
from roost.store.conformance.inputs import TestInputs
from roost.store.conformance.keys import TestKeys
from roost.store.conformance.log import TestLog
from roost.store.conformance.objects import TestObjects
from roost.store.conformance.queue import TestQueue
from roost.store.conformance.sessions import TestSessions
from roost.store.conformance.work import TestWork

__all__ = [
    "TestBlobs",
    "TestBus",
    "TestCommit",
    "TestEgress",
    "TestInputs",
    "TestKeys",
    "TestLog",
    "TestObjects",
    "TestQueue",
    "TestSessions",
    "TestWork",
]
