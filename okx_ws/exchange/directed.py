"""What a local exchange can be told to do while it runs, from any thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .accounts import Account, Key, rekey
from .happenings import Happening, Happenings
from .hub import Hub
from .line import Line
from .markets import Market, World
from .order_desk import OrderDesk
from .record import Generated
from .replay import Recording
from .rows import status_row
from .samples import sample_row
from .truth import Truth, truth_of

__all__ = ["Directed"]

T = TypeVar("T")


class Directed:
    """The part of `LocalExchange` that makes things happen, and tells what has."""

    world: World
    hub: Hub
    accounts: list[Account]
    orders: OrderDesk
    _happenings: Happenings

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the exchange's thread and return its result."""
        raise NotImplementedError

    def _clock_ms(self) -> int:
        raise NotImplementedError

    def replay(self, path: str | Path, speed: float | None = None) -> Recording:
        """Serve a file of recorded frames to whoever subscribes to their args, instead of the world's.

        The args of one subscribe request are played together, in the file's order, from its beginning.

        Args:
            path: One JSON text a line; see `Recording`.
            speed: None: as fast as the client reads; 1.0: with the distances of the recording; 2.0: twice as fast.
        """
        recording = Recording(path)
        self.call(lambda: self.hub.recordings.append((recording, speed)))
        return recording

    def drop(self, endpoint: str | None = None) -> int:
        """Cut connections without a close frame (of one endpoint, or all); return how many."""
        return self._each(endpoint, Line.abort)

    def close_all(self, code: int, reason: str = "", endpoint: str | None = None) -> int:
        """Close connections with this code (of one endpoint, or all); return how many."""
        return self._each(endpoint, lambda line: line.close(code, reason))

    def notice(self, close_after_s: float = 60.0, endpoint: str | None = None) -> int:
        """Announce the end of connections as OKX does before a service upgrade (64008), and end them then.

        Returns at once; says to how many it was announced.
        """
        return self._each(endpoint, lambda line: line.announce_end(close_after_s))

    def say(self, text: str, endpoint: str | None = None) -> int:
        """Send a text to every client (of one endpoint, or all), whatever it is; return to how many."""
        return self._each(endpoint, lambda line: line.send(text))

    def announce(self, title: str, state: str = "scheduled", begin_s: float = 60.0, end_s: float = 120.0) -> None:
        """Put an entry on the channel ``status``: work on the WebSocket service; `begin_s` and `end_s` from now."""
        now_ms = self._clock_ms()
        row = status_row(title, state, now_ms + int(begin_s * 1000), now_ms + int(end_s * 1000), self.hub.demo)
        self.call(lambda: setattr(self.world, "status", [row]))

    def _each(self, endpoint: str | None, action: Callable[[Line], None]) -> int:
        def act() -> int:
            lines = [line for line in self.hub.lines if endpoint in (None, line.endpoint)]
            for line in lines:
                action(line)
            return len(lines)

        return self.call(act)

    def truth(self, account: Account | None = None) -> Truth:
        """Return what an account (the first one, if not given) owns and has ordered now: a copy."""
        return self.call(lambda: truth_of(account or self.accounts[0], self.orders.spreads))

    def replace_key(self, account: Account, key: Key | None) -> int:
        """Give an account another key, or none; what is logged in as it is closed with 4007. Return how many were.

        The account's orders stay.
        """

        def act() -> int:
            rekey(self.hub.accounts, account, key)
            lines = [line for line in self.hub.lines if line.desk.account is account]
            for line in lines:
                line.close(4007, "API key has been updated or deleted. Please reconnect.")
            return len(lines)

        return self.call(act)

    def remove_key(self, account: Account | None = None) -> int:
        """Delete the key of an account (the first one, if not given); see `replace_key`."""
        return self.replace_key(account or self.accounts[0], None)

    def happen(self, channel: str, **fields: Any) -> int:
        """Push an event of a channel on which nothing happens by itself; return to how many subscriptions.

        Args:
            channel: Such as ``"adl-warning"`` or ``"deposit-info"``; what is sent is a sample with all of OKX's fields.
            fields: Fields that are to be otherwise.

        Raises:
            ValueError: There is no sample of this channel.
        """
        row = {**sample_row(channel, self._clock_ms()), **fields}
        return self.call(lambda: self.hub.happen(channel, row))

    def change_terms(self, instId: str, **fields: Any) -> None:
        """Change fields of an instrument, such as ``state="suspend"``: REST lists them, ``instruments`` pushes them.

        Raises:
            ValueError: There is no such instrument, or no such field.
        """
        listed = next((row for row in self.world.instrument_rows() if row["instId"] == instId), None)
        if listed is None:
            raise ValueError(f"there is no instrument {instId!r}")
        unknown = fields.keys() - listed.keys()
        if unknown:
            raise ValueError(f"an instrument has no {', '.join(sorted(unknown))}")
        self.call(lambda: self.world.terms.setdefault(instId, {}).update(fields))

    def call_auction(self, instId: str, seconds: float = 10.0) -> None:
        """Gather orders of an instrument in a call auction: its book may be crossed, and nothing is traded.

        Args:
            instId: Which.
            seconds: How long, on the world's clock.

        Raises:
            ValueError: There is no such instrument.
        """
        market = self._market(instId)
        self.call(lambda: market.gather(self.world.now_ms + seconds * 1000))

    def record(self, on: bool = True, most: int = 100_000) -> None:
        """Keep what is generated from now on for `sent`, or end that.

        While it is on, a feed of market data that was subscribed once goes on when nobody is there, so that what a
        client has missed is known too.

        Args:
            on: False: keep nothing any more, and forget what was kept.
            most: Pushes of each arg that are kept, the newest.
        """
        if most < 1:
            raise ValueError(f"most is at least 1, not {most!r}")
        self.call(lambda: self.hub.turn_record(most if on else 0))

    def sent(self, arg: dict[str, str]) -> list[Generated]:
        """Return everything that was generated for an arg of market data since it was subscribed, the oldest first.

        This is the truth, before any fault: the trades with their ids, the candles, the chain of a book's updates.
        Snapshots, which only their subscriber gets, and the account's channels are not among it.

        Args:
            arg: As it is subscribed: ``{"channel": "trades", "instId": "BTC-USDT"}``.

        Raises:
            LookupError: There was more than is kept.
        """
        return self.call(lambda: self.hub.record.of(arg))

    def watch(self, watcher: Callable[[Happening], None]) -> None:
        """Have a function told what connects, subscribes and fails; on the exchange's thread, so it must be quick."""
        self.call(lambda: self._happenings.watchers.append(watcher))

    def _market(self, instId: str) -> Market:
        market = self.world.markets.get(instId)
        if market is None:
            raise ValueError(f"there is no instrument {instId!r}")
        return market
