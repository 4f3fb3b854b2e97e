"""`AccountView`: balances and positions, kept live, and readable only while they are proven current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .config import Settings
from .errors import UsageError
from .live import LiveView, ViewOwner
from .live_stream import LiveStream
from .protocol.holdings import HOLDINGS, Balance, Holdings, Position, PushBroken
from .reporting import Reporter
from .sinks import Turn

__all__ = ["SNAPSHOT_S", "AccountState", "AccountView"]

#: After an acknowledgement the snapshot comes at once, and is repeated each 5 s: by then it will not come any more.
SNAPSHOT_S = 10.0

ARGS = {"account": {"channel": "account"}, "positions": {"channel": "positions", "instType": "ANY"}}

AccountHandler = Callable[["AccountView"], object]


class AccountState(NamedTuple):
    """One copy of an account; balances and positions are each of one moment.

    Attributes:
        balances: What there is, by currency; what is not in it is zero.
        positions: What is open.
        totals: What OKX says about the account as a whole: ``totalEq``, ``mgnRatio``, ``uTime`` and more, read-only.
        synced: It was proven current when it was copied.
    """

    balances: Mapping[str, Balance]
    positions: tuple[Position, ...]
    totals: Mapping[str, Any]
    synced: bool


class AccountView(LiveView):
    """An account's balances and positions, live; `Manager.account` makes it, not you.

    Every number in it is the exchange's own text, every value read-only. What is not in a complete snapshot is zero, or
    closed. A lost link, or a message that is missing or malformed, makes it unreadable at once, until a new snapshot
    has come whole. OKX repeats its snapshots about each 5 s, and each replaces everything.

    Threads: everything may be called from any thread, and from `on_update`; only `wait_synced` blocks.
    """

    _name = "account"

    def __init__(self, manager: ViewOwner, settings: Settings, reporter: Reporter) -> None:
        super().__init__(manager, reporter)
        self._handlers: tuple[AccountHandler, ...] = ()
        self._held = {channel: Holdings(layout) for channel, layout in HOLDINGS.items()}
        turn = Turn(reporter.resume)
        self.streams = tuple([LiveStream(settings, reporter, dict(arg), self._apply, turn) for arg in ARGS.values()])
        self._account, self._positions = self.streams

    def wait_synced(self, timeout: float | None = 10.0) -> AccountView:
        """Block until it is synced; return it, so that ``ws.account().wait_synced()`` can be chained.

        Args:
            timeout: Seconds; None waits as long as it takes.

        Raises:
            SubscribeError, LoginError: OKX refused one of its channels, or the login.
            ConnectionLost: The endpoint has failed for good.
            ManagerClosed: The manager was closed.
            AckTimeout: Not in time; the text says why. It goes on trying.
            UsageError: The view was closed; or called on a link's own thread, which would wait for itself.
        """
        self._wait_synced(timeout)
        return self

    # ------------------------------------------------------------------ reading

    def view(self, stale_ok: bool = False) -> AccountState:
        """Return one copy of everything.

        Args:
            stale_ok: Return what there is, with ``synced=False``, also while it is not proven current.

        Raises:
            ViewOutOfSync: It is not proven current. So do all that follow.
        """
        account, positions = self._held.values()
        (balances, totals), first = self._read(self._account, lambda: (by_ccy(account), account.totals), stale_ok)
        open_, second = self._read(self._positions, lambda: tuple(positions.held.values()), stale_ok)
        return AccountState(balances, open_, totals, first and second)

    def balances(self) -> Mapping[str, Balance]:
        """Return what there is, by currency; what is not in it is zero."""
        return self._read(self._account, lambda: by_ccy(self._held["account"]))[0]

    def balance(self, ccy: str) -> Balance:
        """Return what there is of a currency, ``"0"`` if nothing."""
        if not isinstance(ccy, str) or not ccy:
            raise UsageError(f"ccy must be a non-empty str, not {ccy!r}")
        found = self._read(self._account, lambda: self._held["account"].held.get((ccy,)))[0]
        return found or Balance(ccy)

    def positions(self, instId: str | None = None) -> tuple[Position, ...]:
        """Return what is open, all or of one instrument."""
        found = self._read(self._positions, lambda: tuple(self._held["positions"].held.values()))[0]
        return tuple([position for position in found if instId in (None, position.instId)])

    def position(self, instId: str, posSide: str | None = None, mgnMode: str | None = None) -> Position | None:
        """Return one position; None if it is closed.

        Args:
            instId: The instrument.
            posSide: ``"net"``, ``"long"`` or ``"short"``; None: whichever there is.
            mgnMode: ``"cross"`` or ``"isolated"``; None: whichever there is.

        Raises:
            UsageError: Several are open: say more (or look at `positions`: they may differ in the margin's currency).
        """
        found = [
            position
            for position in self.positions(instId)
            if posSide in (None, position.posSide) and mgnMode in (None, position.mgnMode)
        ]
        if len(found) > 1:
            told = ", ".join(f"{position.posSide} {position.mgnMode} {position.ccy}" for position in found)
            raise UsageError(f"{instId} has several positions: {told}; pass posSide and mgnMode, or use positions()")
        return found[0] if found else None

    @property
    def totals(self) -> Mapping[str, Any]:
        """What OKX says about the account as a whole: ``totalEq``, ``mgnRatio``, ``uTime`` and more, read-only."""
        return self._read(self._account, lambda: self._held["account"].totals)[0]

    # ------------------------------------------------------------------ the link's thread

    def add_handler(self, *handler: Any) -> None:
        """Call a function after each change. For the manager."""
        self._handlers = (*self._handlers, *handler)

    def holed(self, live: LiveStream) -> None:
        """Something of a stream is missing, though one of two links goes on: have a new snapshot. For the manager.

        The loss of the only link needs none of this: a snapshot comes with the next acknowledgement.
        """
        stream = live.find()
        if stream is not None and stream.stands and stream.epoch == live.epoch:
            live.ask_anew(stream, "something was missed that a second link could not cover")

    def _apply(self, live: LiveStream, message: Any) -> None:
        """Apply a message."""
        stream = live.find()
        assert stream is not None  # it has brought the message
        holdings = self._held[live.arg["channel"]]
        if stream.epoch != live.epoch:
            live.epoch = stream.epoch
            holdings.restart()
        try:
            with live.changing:
                done = holdings.apply(message)
        except PushBroken as exc:
            if stream.stands:  # else a new snapshot is to come with the acknowledgement
                live.ask_anew(stream, str(exc))
            return
        # What came before the acknowledgement may be of an attempt that was given up: it counts as soon as something
        # has come after it.
        if stream.stands and holdings.complete:
            if live.proven != stream.epoch:
                live.mended(stream.epoch)
            if done != "page" and self.synced:
                for handler in self._handlers:
                    live.call(handler, self)


def by_ccy(holdings: Holdings) -> Mapping[str, Balance]:
    """Return balances by currency, read-only."""
    return MappingProxyType({balance.ccy: balance for balance in holdings.held.values()})
