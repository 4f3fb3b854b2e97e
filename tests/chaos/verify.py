"""What a reader got, held against what the exchange had made. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Thing:
    """Something with an identity: a trade's id, a closed candle's start."""

    id: int
    at_ms: int


@dataclass(frozen=True)
class Hole:
    """A marker."""

    cause: str
    since_ms: int
    until_ms: int
    repaired: bool


def things_of(channel, push):
    """Return what a push holds, in order; nothing for candles that are still open."""
    if channel == "trades":
        return [
            Thing(id, int(row["ts"]))
            for row in push["data"]
            for id in range(int(row["tradeId"]) - int(row["count"]) + 1, int(row["tradeId"]) + 1)
        ]
    return [Thing(int(row[0]), int(row[0])) for row in push["data"] if row[-1] == "1"]


@dataclass
class Got:
    """What one subscription's reader got, in order: things, and holes."""

    channel: str
    items: list[Thing | Hole] = field(default_factory=list)
    backfilled: int = 0
    holes: Counter[str] = field(default_factory=Counter)

    def take(self, message):
        """Take a message or a marker from the queue."""
        if message.get("event") == "gap":
            hole = Hole(message["cause"], message["since_ms"], message["until_ms"], message["repaired"])
            self.items.append(hole)
            self.holes[hole.cause] += 1
            return
        things = things_of(self.channel, message)
        self.items += things
        self.backfilled += len(things) if message.get("backfill") else 0


def complaints(got, truth, most=5):
    """Return what is wrong with what was got, in words, and how many things were missing but told.

    Args:
        got: A `Got`.
        truth: Every `Thing` that there was, in order.
    """
    found = []
    place = {thing.id: index for index, thing in enumerate(truth)}
    things = [item for item in got.items if isinstance(item, Thing)]
    strange = [thing for thing in things if thing.id not in place]
    if strange:
        found.append(f"{len(strange)} things that never were, such as {strange[0]}")
    twice = [id for id, number in Counter(thing.id for thing in things).items() if number > 1]
    if twice:
        found.append(f"{len(twice)} things more than once, such as {twice[0]}")
    told, last, holes = 0, None, []
    for item in got.items:
        if isinstance(item, Hole):
            holes.append(item)
            continue
        index = place.get(item.id)
        if index is None:
            continue
        if last is not None and index < last:
            found.append(f"{item} came after {truth[last]}")
        elif last is not None:
            missing = truth[last + 1 : index]
            told += len(missing)
            found += untold(missing, holes, truth[last], item)
        last, holes = index, []
    return found[:most], told


def untold(missing, holes, before, after):
    """Return complaints about what is missing between two things and in no hole that stands there."""
    starts = sorted(holes, key=lambda hole: hole.since_ms)
    found = []
    for thing in missing:
        reach = starts[: bisect_left(starts, thing.at_ms + 1, key=lambda hole: hole.since_ms)]
        if not any(thing.at_ms <= hole.until_ms for hole in reach):
            found.append(f"{thing} is missing between {before} and {after}; told: {holes or 'nothing'}")
    return found
