"""`OrderPace`: OKX's limits of orders, counted for the whole process by user, whichever manager and link sends them.

Law. A user is known by the key and by where it is used. Keys are not kept: they are told apart by a digest that says
nothing outside this process. What was counted stays known for as long as it matters, though the manager is gone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from urllib.parse import urlsplit

from ..config import Credentials
from ..protocol.windows import Cost, Windows

__all__ = ["OrderPace"]

_SALT = secrets.token_bytes(32)

#: Who a limit holds for: host, port, and the digest of the key.
User = tuple[str, int | None, bytes]


class _Counts:
    """What one user has sent. Under `_lock`."""

    def __init__(self) -> None:
        self.windows = Windows()
        self.holders: weakref.WeakSet[OrderPace] = weakref.WeakSet()


_known: dict[User, _Counts] = {}
# Re-entrant: a signal handler may come back here from inside.
_lock = threading.RLock()


def _forget() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that the child does not have may hold the old one
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class OrderPace:
    """When one manager's orders may go; thread-safe.

    Args:
        url: Where the key is used.
        credentials: The key; without one, nothing is shared.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        parts = urlsplit(url)
        self._where = str(parts.hostname), parts.port
        self._credentials = credentials
        self._counts = _Counts()
        self.renew()

    def renew(self) -> None:
        """The key may have been replaced: it is the same user's, unless it is known already."""
        if not self._credentials:
            return
        key = self._credentials.apiKey.encode("utf-8", "surrogatepass")
        user = (*self._where, hashlib.blake2b(key, key=_SALT, digest_size=16).digest())
        now = time.monotonic()
        with _lock:
            self._counts.holders.discard(self)
            for known in [user for user, counts in _known.items() if not counts.holders]:
                if _known[known].windows.are_over(now):
                    del _known[known]
            self._counts = _known.setdefault(user, self._counts)
            self._counts.holders.add(self)

    def reserve(self, costs: Sequence[Cost], now: float) -> float:
        """Take what a call costs, if there is room for all of it, and return `now`; else when there may be."""
        with _lock:
            return self._counts.windows.reserve(costs, now)

    def full(self, costs: Sequence[Cost], now: float) -> None:
        """OKX has found too many: count as if all of it were taken."""
        with _lock:
            self._counts.windows.full(costs, now)
