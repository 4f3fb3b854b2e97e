"""What accounts are told of: orders and fills at once, balances and positions in groups. Pure.

Law. A push goes to every connection of the account whose arg asks for it, in the order things happened. What changed in
the account within `GROUP_S` is one push of each channel, and tells how it is when it is sent; what comes first of a
group starts its time. A position that was closed is told once, with ``pos`` ``"0"``, and then forgotten.

Source: OKX v5 docs, "Account channel", "Positions channel", "Balance and position channel", read June 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .accounts import Account
from .holdings import account_row, asked_for, balance_and_position_row, detail_row, greek_rows, position_row
from .ledger import Key
from .markets import World
from .order_events import Event, Told, Touched

__all__ = ["GROUP_S", "Publisher", "Subscriber"]

Arg = dict[str, str]
Row = dict[str, Any]

#: OKX adds up what happens to an account for about so long.
GROUP_S = 0.05


class Subscriber(Protocol):
    """A connection: who is logged in, what it is subscribed to, and how to push."""

    account: Account | None
    args: dict[str, Arg]

    def push(self, arg: Arg, push: dict[str, Any]) -> None:
        """Send a push."""


@dataclass
class Group:
    """What changed in one account, in the order it did; the values are of no account."""

    account: Account
    currencies: dict[str, None] = field(default_factory=dict)
    positions: dict[Key, None] = field(default_factory=dict)
    trades: dict[tuple[str, str], None] = field(default_factory=dict)


class Publisher:
    """Pushes what the engine tells.

    Args:
        world: For what balances and positions are worth.
        subscribers: Gives all connections.
        later: Calls a function after so many seconds.
    """

    def __init__(
        self,
        world: World,
        subscribers: Callable[[], Iterable[Subscriber]],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._world = world
        self._subscribers = subscribers
        self._later = later
        #: Further copies of each push of ``orders``: OKX's come twice now and then.
        self.copies = 0
        self._groups: list[Group] = []

    def publish(self, events: Iterable[Event]) -> None:
        """Push what happened, or let it wait for its group."""
        for event in events:
            if isinstance(event, Told):
                self._tell(event)
            else:
                self._note(event)

    def _tell(self, told: Told) -> None:
        times = 1 + self.copies if told.channel == "orders" else 1
        for subscriber, arg in self._who(told.account, told.channel):
            if wants(arg, told):
                for _ in range(times):
                    subscriber.push(arg, {"data": [told.row]})

    def _who(self, account: Account, channel: str) -> list[tuple[Subscriber, Arg]]:
        return [
            (subscriber, arg)
            for subscriber in self._subscribers()
            if subscriber.account is account
            for arg in subscriber.args.values()
            if arg["channel"] == channel
        ]

    def _note(self, touched: Touched) -> None:
        if not self._groups:
            self._later(GROUP_S, self.flush)
        group = next((group for group in self._groups if group.account is touched.account), None)
        if group is None:
            group = Group(touched.account)
            self._groups.append(group)
        if touched.ccy:
            group.currencies[touched.ccy] = None
        if touched.key is not None:
            group.positions[touched.key] = None
        if touched.trade is not None:
            group.trades[touched.trade] = None

    def flush(self) -> None:
        """Push the changes that wait."""
        groups, self._groups = self._groups, []
        for group in groups:
            self._push_group(group)
            group.account.ledger.forget_closed()

    def _push_group(self, group: Group) -> None:
        account, world = group.account, self._world
        details = [detail_row(account, world, ccy) for ccy in group.currencies]
        held = account.ledger.holdings
        touched = [held[key] for key in group.positions if key in held]
        positions = [position_row(account, holding, world.markets[holding.instId], world) for holding in touched]
        for subscriber, arg in self._who(account, "account"):
            rows = [row for row in details if arg.get("ccy") in (None, row["ccy"])]
            if rows:
                data = [{**account_row(account, world), "details": rows}]
                subscriber.push(arg, {"eventType": "event_update", "data": data})
        for subscriber, arg in self._who(account, "positions"):
            rows = [row for row in positions if asked_for(world.markets[row["instId"]].instrument, arg)]
            if rows:
                subscriber.push(arg, {"eventType": "event_update", "data": rows})
        if group.trades:
            row = balance_and_position_row(world, "filled", details, positions, group.trades)
            for subscriber, arg in self._who(account, "balance_and_position"):
                subscriber.push(arg, {"data": [row]})
            self._push_greeks(group)

    def _push_greeks(self, group: Group) -> None:
        for subscriber, arg in self._who(group.account, "account-greeks"):
            rows = [
                row
                for ccy in group.currencies
                if arg.get("ccy") in (None, ccy)
                for row in greek_rows(group.account, self._world, ccy)
            ]
            if rows:
                subscriber.push(arg, {"data": rows})


def wants(arg: Arg, told: Told) -> bool:
    """Tell whether an arg asks for a row."""
    if told.place is None:
        return arg.get("sprdId") in (None, told.row["sprdId"])
    if told.channel == "orders":
        return asked_for(told.place, arg)
    return arg.get("instId") in (None, told.place.instId)
