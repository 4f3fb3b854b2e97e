"""The hub: who is subscribed to what, and what they get pushed.

Everything here runs on the exchange's own thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from .accounts import Account
from .channels import make_feed
from .desk import Arg, Desk, arg_id
from .feeds import Feed
from .line import Line, run_later
from .markets import World
from .order_desk import OrderDesk
from .record import Record
from .replay import Recording
from .rules import rule_of
from .spreads import spread_ids

__all__ = ["FAST_STEP_MS", "Hub"]

#: World milliseconds of a step while a 10 ms channel has subscribers.
FAST_STEP_MS = 10.0

#: The types of instruments of a channel that is not for all of them.
TYPES = {
    "funding-rate": ("SWAP",),
    "open-interest": ("SWAP", "FUTURES", "OPTION"),
    "opt-summary": ("OPTION",),
    "option-trades": ("OPTION",),
}

#: Keys of an arg that say which rows of a channel are wanted.
NARROWING = ("instType", "instFamily", "instId", "ccy", "algoId", "sprdId")

#: In this order OKX pushes one instrument's books.
BOOKS = ("bbo-tbt", "books-l2-tbt", "books50-l2-tbt", "books", "books-rpi", "books5")


@dataclass
class Play:
    """A recording on its way to a desk: the args that are still wanted of it, and who plays it."""

    ids: set[str]
    task: asyncio.Future[Any]


def feed_key(desk: Desk, arg: Arg) -> str:
    """Return what identifies the feed of an arg: everybody's, or that of one connection if it tells of an account."""
    rule = rule_of(arg.get("channel", ""))
    return arg_id(arg) + (desk.connId if rule is not None and rule.account else "")


def book_rank(arg: Arg) -> int:
    """Return where a feed stands among those of one instrument; what is no book comes first."""
    return BOOKS.index(arg["channel"]) if arg["channel"] in BOOKS else -1


def asks_for(arg: Arg, row: dict[str, Any]) -> bool:
    """Tell whether an arg asks for a row: what it names, the row has too, or does not say."""
    return all(value in ("ANY", row.get(key, value)) for key, value in arg.items() if key in NARROWING)


class Hub:
    """Who is subscribed to what, and what they get; a desk knows it as `desk.Hub`."""

    def __init__(
        self,
        world: World,
        accounts: dict[str, Account],
        orders: OrderDesk,
        demo: bool,
        *,
        echo_error_ids: bool = True,
        strict: bool = False,
        close_failed_logins: bool = False,
    ) -> None:
        self.world = world
        self.accounts = accounts
        self.orders = orders
        self.demo = demo
        self.echo_error_ids = echo_error_ids
        self.strict = strict
        self.close_failed_logins = close_failed_logins
        #: (line, arg) → why a fault wants a subscription refused.
        self.refuses: Callable[[Line, Arg], tuple[str, str] | None] = lambda line, arg: None
        self.recordings: list[tuple[Recording, float | None]] = []
        #: While it is on, everybody's feeds go on when nobody is subscribed: a hole shows what was missed.
        self.record = Record()
        self._feeds: dict[str, tuple[Arg, Feed, set[Desk]]] = {}
        self._lines: dict[Desk, Line] = {}
        self._plays: dict[Desk, list[Play]] = {}

    def known(self, channel: str, key: str) -> Collection[str] | None:
        """Every value a key of a channel's arg may take; None for any."""
        if key == "instId" and channel.startswith("index-"):
            return self.world.indices
        if key == "sprdId":
            return spread_ids(self.world)
        if key not in ("instId", "instFamily"):
            return None
        types = TYPES.get(channel)
        places = (market.instrument for market in self.world.markets.values())
        return {getattr(place, key) for place in places if types is None or place.instType in types}

    def refused(self, desk: Desk, arg: Arg) -> tuple[str, str] | None:
        """Return (code, msg) if a fault wants an arg refused."""
        return self.refuses(self._lines[desk], arg)

    def connections(self, uid: str, channel: str) -> int:
        """Count the connections of an account that have a channel."""
        return sum(
            desk.account is not None
            and desk.account.uid == uid
            and any(arg.get("channel") == channel for arg in desk.args.values())
            for desk in self._lines
        )

    def recorded(self, arg: Arg) -> bool:
        """Tell whether frames of this arg are being replayed."""
        return any(arg_id(arg) in recording.arg_ids for recording, _ in self.recordings)

    def join(self, desk: Desk, args: list[Arg]) -> None:
        """Start pushing what belongs to these args."""
        for arg in args:
            if not self.recorded(arg):
                self._join_feed(desk, arg)
        if any(arg.get("channel") in BOOKS for arg in args):
            self._feeds = dict(sorted(self._feeds.items(), key=lambda item: book_rank(item[1][0])))
        for recording, speed in self.recordings:
            ids = {arg_id(arg) for arg in args} & set(recording.arg_ids)
            if ids:
                task = run_later(self._play(recording, speed, self._lines[desk], ids))
                self._plays.setdefault(desk, []).append(Play(ids, task))

    def _join_feed(self, desk: Desk, arg: Arg) -> None:
        key = feed_key(desk, arg)
        if key not in self._feeds:
            feed = make_feed(self.world, arg, desk.account)
            if feed is None:
                return
            self._feeds[key] = (arg, feed, set())
        _, feed, desks = self._feeds[key]
        desks.add(desk)
        for push in feed.first():
            desk.push(arg, push)

    def leave(self, desk: Desk, arg: Arg) -> None:
        """Stop pushing an arg."""
        for play in self._plays.get(desk, ()):
            play.ids.discard(arg_id(arg))
            if not play.ids:
                play.task.cancel()
        self._plays[desk] = [play for play in self._plays.get(desk, ()) if play.ids and not play.task.done()]
        key = feed_key(desk, arg)
        _, _, desks = self._feeds.get(key, (None, None, set()))
        desks.discard(desk)
        if not desks and not (self.record.most and desk.connId not in key):
            self._feeds.pop(key, None)

    def turn_record(self, most: int) -> None:
        """Record what is generated from now on, so much of each arg; 0: no more."""
        self.record.turn(most)
        if not most:
            self._feeds = {key: feed for key, feed in self._feeds.items() if feed[2]}

    @property
    def fast(self) -> bool:
        """A 10 ms channel has subscribers."""
        return any(feed.every_ms <= FAST_STEP_MS for _, feed, _ in self._feeds.values() if feed.every_ms > 1)

    def step(self, dt_ms: float) -> None:
        """Let the world go on, and push what comes of it."""
        trades = self.world.step(dt_ms)
        for arg, feed, desks in list(self._feeds.values()):
            for push in feed.due(trades):
                if self.record.most:
                    self.record.note(arg, push)
                for desk in desks:
                    desk.push(arg, push)

    async def _play(self, recording: Recording, speed: float | None, line: Line, ids: set[str]) -> None:
        """Send the recorded frames of these args, in their order and, at a `speed`, with their distances.

        An arg that is left while it is played is taken out of `ids`.
        """
        start = time.monotonic()
        for recorded in recording.frames:
            if recorded.arg_id not in ids:
                continue
            if speed is not None:
                await asyncio.sleep(max(0.0, start + recorded.at_s / speed - time.monotonic()))
            await line.room()
            if recorded.arg_id in ids:
                line.send(recorded.text)

    def happen(self, channel: str, row: dict[str, Any]) -> int:
        """Push a row to the subscriptions of a channel whose arg asks for no other; return to how many."""
        found = [
            (desk, arg)
            for desk in self._lines
            for arg in desk.args.values()
            if arg.get("channel") == channel and asks_for(arg, row)
        ]
        for desk, arg in found:
            desk.push(arg, {"data": [row]})
        return len(found)

    def attach(self, line: Line) -> None:
        """A connection is open."""
        self._lines[line.desk] = line

    def detach(self, line: Line) -> None:
        """A connection is gone."""
        line.desk.retire()
        self._plays.pop(line.desk, None)
        self._lines.pop(line.desk, None)

    @property
    def lines(self) -> list[Line]:
        """The open connections."""
        return list(self._lines.values())
