"""The delay before attempt n."""

from __future__ import annotations

from ..config import Backoff

__all__ = ["delay_before"]


def delay_before(attempt: int, policy: Backoff, draw: float) -> float:
    """Return the seconds to wait before attempt `attempt` (from 1): `draw`, from 0 to 1, times the ceiling."""
    # The exponent is bounded so that a link down for weeks does not overflow a float.
    return draw * min(policy.cap_s, policy.first_s * policy.factor ** min(attempt - 1, 64))
