"""Which of an endpoint's lines a subscription goes to.

Law. An arg goes where it is already, or one with the same key: for OKX they are one subscription. What needs a login
stays together by channel, since OKX counts the connections of each private channel (30 an account); order books do not:
they are few a connection. Everything else goes to the line with the fewest, and where none has room, to a further one.
As many further ones as a list of args needs are opened before the first is placed, so that they carry alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..endpoints import is_depth
from .codec import arg_key
from .subscriptions import Stream, Subscriptions

__all__ = ["DEPTH_PER_LINK", "Load", "excess", "place"]

#: What tells args apart for OKX: see `arg_key`.
Key = frozenset[tuple[str, Any]]

#: OKX recommends fewer than 30 depth channels on a connection (OKX v5 docs, "Order book channel", read June 2026).
DEPTH_PER_LINK = 29


class Load:
    """What a line carries, and is about to: numbers of subscriptions, and of them of depth channels.

    Args:
        subscriptions: What it carries; None: it is to be opened.
    """

    def __init__(self, subscriptions: Subscriptions | None = None) -> None:
        self._known = Subscriptions() if subscriptions is None else subscriptions
        self.number = len(self._known)
        self._depth: int | None = None
        #: Keys and channels of what is about to come.
        self._coming: set[Any] = set()

    @property
    def depth(self) -> int:
        """Subscriptions of depth channels; counted when first asked."""
        if self._depth is None:
            self._depth = sum(is_depth(stream.arg["channel"]) for stream in self._known)
        return self._depth

    def has_key(self, key: Key) -> bool:
        """Tell whether an arg with this key is here, or is about to come."""
        return key in self._coming or self._known.has_key(key)

    def has_channel(self, channel: str) -> bool:
        """Tell whether something of this channel is here."""
        return channel in self._coming or any(one.arg["channel"] == channel for one in self._known)

    def has_room(self, depth: bool, limit: int) -> bool:
        """Tell whether one more fits."""
        return self.number < limit and not (depth and self.depth >= DEPTH_PER_LINK)

    def weight(self, depth: bool) -> tuple[int, int]:
        """Return what is compared to find the line that has the least to do."""
        return (self.depth if depth else 0, self.number)

    def add(self, arg: Mapping[str, str], key: Key) -> None:
        """One more comes."""
        if is_depth(arg["channel"]):
            self._depth = self.depth + 1
        self.number += 1
        self._coming |= {key, arg["channel"]}


def stays_together(channel: str, login: bool) -> bool:
    """Tell whether all args of this channel are to be on one line."""
    return login and not is_depth(channel)


def place(args: Iterable[tuple[Mapping[str, str], bool]], loads: list[Load], limit: int) -> list[Load]:
    """Return where each arg goes; lines that have to be opened for it are appended to `loads`.

    Args:
        args: Each with whether it needs a login.
        loads: The lines there are.
        limit: How many subscriptions one may carry.
    """
    wanted = [(arg, login, arg_key(arg)) for arg, login in args]
    homes = {key: _home(arg, login, key, loads) for arg, login, key in wanted}
    new = [arg["channel"] for arg, _, key in wanted if homes[key] is None]
    books = sum(map(is_depth, new))
    needed = -(-(sum(load.number for load in loads) + len(new)) // limit) if new else 0
    if books:
        needed = max(needed, -(-(sum(load.depth for load in loads) + books) // DEPTH_PER_LINK))
    loads += [Load() for _ in range(needed - len(loads))]
    places = []
    for arg, login, key in wanted:
        place = homes[key] or _place_one(arg, login, loads, limit)
        homes[key] = place
        if not place.has_key(key):
            place.add(arg, key)
        places.append(place)
    return places


def _home(arg: Mapping[str, str], login: bool, key: Key, loads: list[Load]) -> Load | None:
    """Return where an arg belongs, however much there is already; None if it may go anywhere."""
    found = next((load for load in loads if load.has_key(key)), None)
    if found is None and stays_together(arg["channel"], login):
        found = next((load for load in loads if load.has_channel(arg["channel"])), None)
    return found


def _place_one(arg: Mapping[str, str], login: bool, loads: list[Load], limit: int) -> Load:
    """Return where an arg goes that is nowhere yet."""
    together = stays_together(arg["channel"], login)  # another one of its channel may have come meanwhile
    found = next((load for load in loads if together and load.has_channel(arg["channel"])), None)
    if found is None:
        depth = is_depth(arg["channel"])
        fitting = [load for load in loads if load.has_room(depth, limit)]
        if not fitting:
            loads += (fitting := [Load()])
        found = min(fitting, key=lambda load: load.weight(depth))
    return found


def excess(subscriptions: Subscriptions, limit: int) -> list[Stream]:
    """Return the streams that have to go so that no more than `limit` are left, whole keys; the newest go first.

    What stays together stays.
    """
    found: list[Stream] = []
    for stream in reversed(list(subscriptions)):
        if len(subscriptions) - len(found) <= limit:
            break
        if stream not in found and not stays_together(stream.arg["channel"], stream.needs_login):
            found += [stream, *subscriptions.siblings(stream)]
    return found
