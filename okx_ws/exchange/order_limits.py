"""How many orders OKX takes: counts for an exchange that keeps its limits. Pure.

WebSocket and REST share them. Source: OKX v5 docs, "Rate limits" and each operation's page, read June 2026.
"""

from __future__ import annotations

from collections import deque

__all__ = ["OrderLimits"]

WINDOW_MS = 2_000

#: In `WINDOW_MS`: of a request for one order, and orders in requests for several; a batch of one is a single one.
SINGLE, BATCH = 60, 300
#: New and amended orders on derivatives of one sub-account.
SUB_ACCOUNT = 1_000
#: Of one user: for orders on spreads, and for each mass-cancel.
SPREAD, MASS = 20, 5


class OrderLimits:
    """The orders of the last two seconds."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, ...], deque[int]] = {}

    def take(self, key: tuple[str, ...], most: int, now_ms: int) -> bool:
        """Count one more of a kind; return False if it is one too many, which is not counted."""
        times = self._times.setdefault(key, deque(maxlen=most))
        if len(times) == most and now_ms < times[0] + WINDOW_MS:
            return False
        times.append(now_ms)
        return True

    def refusal(self, user: str, what: str, place: str, batch: bool, derivative: bool, now_ms: int) -> str | None:
        """Count an order; return the code it is refused with, or None.

        Args:
            user: Whose.
            what: ``"place"``, ``"amend"``, ``"cancel"``.
            place: What limits are counted by: an instId, an option's family.
            batch: It is one of several in a request.
            derivative: The sub-account's own limit holds too.
        """
        if not self.take((user, what, "batch" if batch else "single", place), BATCH if batch else SINGLE, now_ms):
            return "50011"
        if derivative and what != "cancel" and not self.take((user, "sub-account"), SUB_ACCOUNT, now_ms):
            return "50061"
        return None
