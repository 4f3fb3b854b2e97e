"""Holes in a stream, and the markers that tell them in the queue, at their place.

A marker is a JSON text like any message, so that it travels the same way::

    {"event": "gap", "arg": {…}, "cause": "disconnect", "since_ms": 1, "until_ms": 2, "lost": null, "repaired": false}

`repaired`: nothing is missing after all, since REST gave it (it comes next, marked ``backfill``), or since the next
message holds the whole state (`heals`). If not, `missing` says what could not be had, and why.

Everything that is missing lies between `since_ms` and `until_ms`, both included: times of messages (``ts``, ``pTime``,
``uTime``, a candle's start) where they have one, else of messages nearby, or OKX's clock as far as it is known
(`skew`); Unix milliseconds. A message found broken when it is read, and without a time, has that of the next one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from . import codec
from .identity import WHOLE_STATES, kind_of

__all__ = [
    "SUSPICION",
    "Lost",
    "heals",
    "is_marker",
    "is_suspicion",
    "malformed",
    "marker",
    "merged",
    "settled",
    "suspicion",
    "time_of",
]

MARKER_START = b'{"event":"gap",'
#: How those end that tell of what is missing, or was not there: who fills holes finds out, nobody else is told.
SUSPECTED = b',"suspected":true}'
#: Stands for the cause of one.
SUSPICION = "suspicion"

#: The time a push names, without decoding it: of its rows, or of a candle's first field.
TIME = re.compile(rb'"(?:ts|pTime|uTime)":"(\d{13})"|"data":\[\["(\d{13})"')

#: Channels that tell all that there is when they are subscribed (anew), and then only what changes.
RETOLD = frozenset({*WHOLE_STATES, "algo-advance"})


def heals(arg: Mapping[str, Any], cause: str) -> bool:
    """Tell whether the first message after a hole with this cause makes up for it.

    One that was dropped from a full queue is not made up for: the queue's owner wanted it.
    """
    if cause == "overflow" or not isinstance(arg.get("channel"), str):
        return False
    kind = kind_of(arg)
    if kind == "book" or arg["channel"] in RETOLD:
        return cause != "malformed"  # then it is not subscribed anew
    return kind == "state"


def time_of(payload: bytes, newest: bool = False) -> int | None:
    """Return the earliest (or the newest) time that a push names, Unix ms; None if it names none."""
    times = [int(first or second) for first, second in TIME.findall(payload)]
    return (max if newest else min)(times, default=None)


def marker(
    arg: Mapping[str, Any], cause: str, since_ms: int, until_ms: int, lost: int | None = None, missing: str = ""
) -> bytes:
    """Return the text of a marker; `repaired` as the channel alone makes it. `missing`: why it is not, if it is not."""
    told = {"event": "gap", "arg": arg, "cause": cause, "since_ms": since_ms, "until_ms": until_ms}
    why = {"missing": missing} if missing else {}
    return orjson.dumps({**told, "lost": lost, "repaired": heals(arg, cause), **why})


def suspicion(arg: Mapping[str, Any], cause: str, since_ms: int, until_ms: int) -> bytes:
    """Return the text of a marker of what is missing, or was not there: for who fills holes, and nobody else."""
    return marker(arg, cause, since_ms, until_ms)[:-1] + SUSPECTED


def is_suspicion(payload: bytes) -> bool:
    """Tell whether a text is a marker for who fills holes alone."""
    return payload.endswith(SUSPECTED) and is_marker(payload)


def settled(marker: Mapping[str, Any], missing: str) -> dict[str, Any]:
    """Return a decoded marker as it is once REST was asked: `missing` could not be had."""
    told = {**marker, "repaired": not missing}
    return {**told, "missing": missing} if missing else told


def malformed(payload: bytes, near_ms: int) -> bytes | None:
    """Return the marker for a message that could not be decoded when it was read; None if it tells not whose it is.

    It is not asked for: what came behind it is with its readers already, and what is found so late has no place to come
    to. What names no time itself is given one from nearby.
    """
    arg = codec.head_arg(payload)
    if arg is None:
        return None
    at = time_of(payload) or near_ms
    missing = "" if heals(arg, "malformed") else "the message: it was found when it was read"
    return marker(arg, "malformed", at, at, 1, missing)


def is_marker(payload: bytes) -> bool:
    """Tell whether a text is one of our markers."""
    return payload.startswith(MARKER_START)


def merged(first: bytes, second: bytes) -> bytes:
    """Return one marker for two of the same arg and cause that stand side by side."""
    one, two = codec.decode(first), codec.decode(second)
    lost = None if one["lost"] is None or two["lost"] is None else one["lost"] + two["lost"]
    since_ms, until_ms = min(one["since_ms"], two["since_ms"]), max(one["until_ms"], two["until_ms"])
    whole = one["repaired"] and two["repaired"]
    missing = ", ".join(text for text in (one.get("missing"), two.get("missing")) if text)
    told = {**one, "since_ms": since_ms, "until_ms": until_ms, "lost": lost, "repaired": whole}
    return orjson.dumps({**told, "missing": missing} if missing else told)


class Lost:
    """What was dropped of one arg in a row: how many messages, the first and the last of them."""

    __slots__ = ("first", "last", "number")

    def __init__(self, payload: bytes) -> None:
        self.first = self.last = payload
        self.number = 0

    def add(self, payload: bytes) -> None:
        """One more was dropped."""
        self.last = payload
        self.number += 1

    def marker(self, now_ms: int) -> bytes | None:
        """Return the marker of this hole; None if the messages do not tell whose they are."""
        arg = codec.head_arg(self.first)
        if arg is None:
            return None
        since_ms = time_of(self.first)
        until_ms = time_of(self.last, newest=True)
        return marker(arg, "overflow", since_ms or now_ms, until_ms or now_ms, self.number)
