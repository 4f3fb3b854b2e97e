"""`protocol.backoff`: full jitter under an exponential ceiling."""

import pytest

from okx_ws import Backoff
from okx_ws.protocol.backoff import delay_before


def test_the_ceiling_doubles_up_to_the_cap():
    """Acceptance 2: delays grow."""
    ceilings = [delay_before(n, Backoff(), 1.0) for n in range(1, 9)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("draw", [0.0, 0.25, 0.999])
def test_the_delay_is_drawn_from_nothing_to_the_ceiling(draw):
    """Acceptance 2: delays are jittered."""
    assert delay_before(3, Backoff(), draw) == 2 * draw


def test_a_link_down_for_weeks_keeps_the_cap():
    """The exponent does not overflow."""
    assert delay_before(10**6, Backoff(), 1.0) == 30
