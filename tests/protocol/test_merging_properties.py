"""`protocol.merging`: of several lines one stream, each message once, in order; and what no line brought is told."""

import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol import gaps
from okx_ws.protocol.hole_watch import HoleWatch
from okx_ws.protocol.merging import Merge
from tests.protocol.lines import STREAMS, Positions, Tickers, World

STEPS = ["publish"] * 8 + ["arrive"] * 10 + ["open", "flush", "own"]


def run(stream_type, seed, steps, world_type=World):
    rng = random.Random(seed)
    world = world_type(stream_type(rng), rng)
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
            if len(world.under_way) < 3 and (world.since is not None or not world.under_way):
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


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS + ["own", "own", "kill", "harm"]), max_size=120)
)
def test_positions_are_right_whatever_was_lost(seed, steps):
    """A consumer that replaces its positions by each whole snapshot, and applies the changes, has the exchange's."""
    world = run(Positions, seed, steps)
    world.open()
    world.finish()
    for frames in world.under_way.values():
        frames += world.stream.own()  # the regular repetition
    world.drain()
    mine, pages = {}, []
    for payload in world.got:
        if gaps.is_marker(payload):
            continue
        message = orjson.loads(payload)
        rows = {row["instId"]: (int(row["pos"]), row.get("posId")) for row in message["data"]}
        if message["eventType"] == "event_update":
            mine.update(rows)
            continue
        assert message["curPage"] == len(pages) + 1, "torn"
        pages.append(rows)
        if message["lastPage"]:
            assert len({posId for page in pages for _, posId in page.values()}) == 1, "of two snapshots"
            mine, pages = {instId: pos for page in pages for instId, pos in page.items()}, []
    assert not pages
    assert {instId: pos for instId, (pos, _) in mine.items()} == world.stream.pos


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    skipped=st.lists(st.sets(st.sampled_from("ab"), max_size=2), min_size=1, max_size=60),
)
def test_of_states_that_each_line_conflates_by_itself_none_goes_back(seed, skipped):
    """The newest wins, and the newest of all is delivered."""
    rng = random.Random(seed)
    stream, merge, got = Tickers(rng), Merge(Tickers.arg), []
    under_way = {"a": [], "b": []}
    for line in under_way:
        merge.enter(line, stream.ms)
    for lacks in [*skipped, set()]:
        payload = stream.publish()
        for line, frames in under_way.items():
            frames.extend([payload] if line not in lacks else [])
        for line in rng.sample("ab", rng.randint(0, 2)):
            got += merge.receive(line, under_way[line], stream.ms)
            under_way[line] = []
    for line, frames in under_way.items():
        got += merge.receive(line, frames, stream.ms)
    places = [stream.truth.index(payload) for payload in got]
    assert places == sorted(set(places)) and got[-1] == stream.truth[-1]


class Watched(World):
    """A world whose holes are told as events, too: as they begin, and as they end."""

    def __init__(self, stream, rng):
        super().__init__(stream, rng)
        self.watch, self.begun, self.ended = HoleWatch(), 0, 0

    def take(self, payloads):
        super().take(payloads)
        if self.watch.is_news(self.merge):
            news = self.watch.look(self.merge, payloads, self.now_ms, told=True, filling=False)
            self.begun += sum(not one.over for one in news)
            self.ended += sum(one.over for one in news)
            while self.watch.ends:
                self.ended += self.watch.ended()
        assert self.begun - self.ended == (self.merge.pending is not None)


@pytest.mark.parametrize("stream_type", STREAMS)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS + ["kill", "harm", "kill"]), max_size=120))
def test_each_hole_begins_and_ends_once(stream_type, seed, steps):
    """As events; and while one is under way, something is missing."""
    world = run(stream_type, seed, steps, Watched)
    world.finish()
    told = [payload for payload in world.got if gaps.is_marker(payload) and not gaps.is_suspicion(payload)]
    assert world.begun >= len(told)
