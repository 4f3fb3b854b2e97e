"""OKX's clock from a few questions: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Sample", "offset_of"]


class Sample(NamedTuple):
    """One question: local time when it was sent and answered, and the time in the answer; Unix seconds."""

    sent_s: float
    answered_s: float
    server_s: float


def offset_of(samples: Iterable[Sample]) -> float:
    """Return what to add to the local clock: the answer against the midpoint, of the sample that took the least time.

    The answer was written somewhere between the two ends, so the error is at most half of the round trip.
    """
    best = min(samples, key=lambda sample: sample.answered_s - sample.sent_s)
    return best.server_s - (best.sent_s + best.answered_s) / 2
