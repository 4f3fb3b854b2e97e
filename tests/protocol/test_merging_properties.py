"""`protocol.merging`: of several lines one stream, each message once, in order; and what no line brought is told."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol import gaps
from tests.protocol.lines import STREAMS, World

STEPS = ["publish"] * 8 + ["arrive"] * 10 + ["open", "flush", "own"]


def run(stream_type, seed, steps):
    rng = random.Random(seed)
    world = World(stream_type(rng), rng)
    world.open()
    for step in steps:
        if step == "arrive" and world.under_way:
            world.arrive(world.any(), rng.randint(1, 4))
        elif step in ("kill", "harm") and world.under_way:
            name = world.any()
            if "ack" not in world.under_way[name]:
                getattr(world, step)(name)
        elif step == "kill safely":
            joined = [name for name in world.merge.lines if world.merge.joined(name)]
            if len(joined) > 1:
                world.kill(rng.choice(joined))
        elif step == "open":
            if len(world.under_way) < 3:
                world.open()
        elif step in ("publish", "flush", "own"):
            getattr(world, step)()
    return world


@pytest.mark.parametrize("stream_type", STREAMS)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS + ["kill", "harm", "kill"]), max_size=120))
def test_what_is_delivered_is_the_truth_or_told(stream_type, seed, steps):
    """Acceptance 44: whatever begins, ends, is lost or overtakes."""
    world = run(stream_type, seed, steps)
    world.finish()
    world.check()


@pytest.mark.parametrize("stream_type", STREAMS)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS + ["kill safely"] * 2), max_size=120))
def test_nothing_is_missing_while_a_joined_line_remains(stream_type, seed, steps):
    """Acceptance 44: no marker, and all of the truth."""
    world = run(stream_type, seed, steps)
    world.finish()
    world.check()
    assert world.merge.holes == 0 and not any(map(gaps.is_marker, world.got))
