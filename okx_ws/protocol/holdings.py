"""What an account holds, kept from the pushes of ``account`` and ``positions``. Pure.

Law. A snapshot says everything: what is not in it is zero, or closed. It may come in pages, and counts only when its
last page is there; until then the old state stands. An update changes the rows it names, at once. A snapshot that was
made before an update and comes after it, whole or in part, does not undo it: the newer row counts (``uTime``), and one
that is not in the snapshot counts if it is newer than the snapshot. OKX repeats snapshots on a timer: each replaces the
whole state, so that whatever went wrong before is mended.

    push                     | effect
    -------------------------+------------------------------------------------------------------
    event_update             | merged row by row; a position of 0, a currency of 0 is gone
    snapshot, page 1         | begins to be collected; what was collected before is dropped
    snapshot, the next page  | collected
    snapshot, the last page  | replaces the state
    snapshot, any other page | a page is missing: `PushBroken`; nothing counts until `restart`
    anything else            | `PushBroken`, as above

Source: OKX v5 docs, "Account channel" and "Positions channel", read June 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

__all__ = ["HOLDINGS", "Balance", "Holdings", "Position", "PushBroken", "frozen", "is_zero", "text_in", "texts_in"]

#: What reading a push of the wrong shape raises; ArithmeticError: `Decimal` of what is no number.
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError)

Row = dict[str, Any]
Key = tuple[str, ...]


class PushBroken(Exception):
    """A push cannot be read, or something before it is missing; its text says why."""


def frozen(value: Any) -> Any:
    """Return a decoded value that nobody can change: dicts as read-only mappings, lists as tuples."""
    if isinstance(value, dict):
        return MappingProxyType({name: frozen(inner) for name, inner in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def is_zero(text: str) -> bool:
    """Tell whether a number is 0, or missing."""
    return not text or not Decimal(text)


def text_in(row: Mapping[str, Any], name: str) -> str:
    """Return a field that is a text; empty if it is missing."""
    value = row.get(name, "")
    if type(value) is not str:
        raise TypeError(f"{name} is {value!r}")
    return value


def texts_in(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return fields that are texts, by name; see `text_in`."""
    return {name: text_in(row, name) for name in names}


@dataclass(frozen=True)
class Balance:
    """What an account has of one currency, in the exchange's own texts.

    Attributes:
        ccy: The currency.
        eq: Its equity, with what is open in it.
        cashBal: The cash.
        availBal, availEq: What of it can be used; which of the two counts depends on the account's mode.
        frozenBal: What cannot.
        uTime: When it changed last, Unix ms; empty if the account has none of it.
        raw: Every field that OKX sent, read-only.
    """

    ccy: str
    eq: str = "0"
    cashBal: str = "0"
    availBal: str = "0"
    availEq: str = "0"
    frozenBal: str = "0"
    uTime: str = ""
    raw: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)


@dataclass(frozen=True)
class Position:
    """One open position, in the exchange's own texts.

    Attributes:
        instId: The instrument.
        posSide: ``"net"``, ``"long"`` or ``"short"``.
        mgnMode: ``"cross"`` or ``"isolated"``.
        ccy: The currency of its margin.
        pos: Its size: contracts of derivatives; less than 0 if net and short.
        avgPx: What it was opened at, on average.
        upl: Its profit so far, by the mark price.
        uTime: When it changed last, Unix ms.
        raw: Every field that OKX sent, read-only.
    """

    instId: str
    posSide: str
    mgnMode: str
    ccy: str
    pos: str
    avgPx: str
    upl: str
    uTime: str
    raw: Mapping[str, Any] = field(repr=False)


BALANCE_FIELDS = ("ccy", "eq", "cashBal", "availBal", "availEq", "frozenBal", "uTime")
POSITION_FIELDS = ("instId", "posSide", "mgnMode", "ccy", "pos", "avgPx", "upl", "uTime")
#: What makes a currency part of a snapshot.
BALANCE_SIZES = ("eq", "availEq", "availBal")


def named(row: Row, names: tuple[str, ...]) -> Key:
    """Return the fields that tell rows apart; all but the currency of a margin are always there."""
    key = tuple(text_in(row, name) for name in names)
    if not all(key[: len(key) - (len(key) > 1)]):
        raise ValueError(f"no {names} in {row!r:.100}")
    return key


class Layout(NamedTuple):
    """How a channel writes what is held.

    Attributes:
        key: The fields that tell its rows apart.
        sizes: Its row is gone if all of these are 0.
        make: Makes what users see from a row.
        made: The field that says when a snapshot was made: of what it says about all rows, or else of each row.
        inner: The rows stand in this field of the only one of ``data``; empty: they are ``data``.
    """

    key: tuple[str, ...]
    sizes: tuple[str, ...]
    make: Callable[[Row], Any]
    made: str
    inner: str = ""

    def rows(self, message: Row) -> tuple[list[Row], Row]:
        """Return the rows of a push, and what it says about all of them."""
        data = message["data"]
        if type(data) is not list:
            raise TypeError(f"data is {data!r:.100}")
        if not self.inner:
            return data, {}
        if not data:
            return [], {}
        (whole,) = data
        totals = {name: value for name, value in whole.items() if name != self.inner}
        return whole[self.inner], totals

    def made_ms(self, rows: Iterable[Row], totals: Row) -> int | None:
        """Return when a page was made, Unix ms; None if it does not say."""
        times = [text_in(row, self.made) for row in ([totals] if self.inner else rows)]
        return min([int(time) for time in times if time], default=None)


HOLDINGS = {
    "account": Layout(
        ("ccy",),
        BALANCE_SIZES,
        lambda row: Balance(**texts_in(row, BALANCE_FIELDS), raw=frozen(row)),
        "uTime",
        "details",
    ),
    "positions": Layout(
        ("instId", "posSide", "mgnMode", "ccy"),
        ("pos",),
        lambda row: Position(**texts_in(row, POSITION_FIELDS), raw=frozen(row)),
        "pTime",
    ),
}


class Holdings:
    """What one channel says is held.

    Not thread-safe: `apply` and `restart` are for one thread.

    Args:
        layout: How its channel writes it, see `HOLDINGS`.

    Attributes:
        complete: A whole snapshot has come since the last `restart`.
        held: What users see, by key.
        totals: What the last push said about all of it, read-only.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.complete = False
        self.held: dict[Key, Any] = {}
        self.totals: Mapping[str, Any] = MappingProxyType({})
        self._rows: dict[Key, Row] = {}
        #: The snapshot under way: its rows, the last page that came (0: none is under way), and when it was made.
        self._collected: dict[Key, Row] = {}
        self._page = 0
        self._made_ms: int | None = None
        #: What was updated since the last complete snapshot, and of that, what was since the first page of the next.
        self._updated: dict[Key, Row] = {}
        self._amid: set[Key] = set()

    def restart(self) -> None:
        """A snapshot is due: what came before says nothing about what comes now. The old state can still be seen."""
        self.complete = False
        self._updated = {}
        self._drop_pages()

    def _drop_pages(self) -> None:
        self._collected, self._page, self._made_ms, self._amid = {}, 0, None, set()

    def apply(self, message: Any) -> Literal["snapshot", "page", "update"]:
        """Apply one decoded push; return what it was: ``"page"`` has changed nothing yet.

        Raises:
            PushBroken: It cannot be read, or a page before it is missing. Nothing of it was applied.
        """
        try:
            return self._apply(message)
        except PushBroken:
            self.restart()
            raise
        except UNREADABLE as exc:
            self.restart()
            raise PushBroken(f"malformed: {exc!r:.200}") from exc

    def _apply(self, message: Row) -> Literal["snapshot", "page", "update"]:
        rows, totals = self._layout.rows(message)
        keyed = {named(row, self._layout.key): row for row in rows}
        for row in rows:  # before any of it is applied
            self._layout.make(row)
            int(text_in(row, "uTime") or 0)
            self._is_gone(row)
        kind = message["eventType"]
        if kind == "event_update":
            for key, row in keyed.items():
                self._put(key, {**self._rows.get(key, {}), **row})
                self._updated[key] = {**self._updated.get(key, {}), **row}
                self._amid.add(key)
            done: Literal["snapshot", "page", "update"] = "update"
        elif kind == "snapshot":
            made_ms = self._layout.made_ms(rows, totals)
            done = self._add_page(message["curPage"], message["lastPage"], keyed, made_ms)
        else:
            raise ValueError(f"eventType {kind!r}")
        if totals and done != "page":
            self.totals = frozen(totals)
        return done

    def _add_page(
        self, number: Any, last: Any, rows: dict[Key, Row], made_ms: int | None
    ) -> Literal["snapshot", "page"]:
        if type(number) is not int or type(last) is not bool:
            raise TypeError(f"curPage {number!r}, lastPage {last!r}")
        if number == 1:
            self._drop_pages()
        elif number != self._page + 1:
            raise PushBroken(f"page {number} of a snapshot came after page {self._page}")
        self._page = number
        self._made_ms = min([time for time in (self._made_ms, made_ms) if time is not None], default=None)
        self._collected.update(rows)
        if not last:
            return "page"
        self._replace()
        return "snapshot"

    def _replace(self) -> None:
        """The snapshot is complete: it is the state, but for what was updated after it was made."""
        self._rows, self.held = {}, {}
        for key, row in self._collected.items():
            self._put(key, row)
        for key, row in self._updated.items():
            if self._outlasts(key, row):
                self._put(key, {**self._collected.get(key, {}), **row})
        self._updated = {}
        self._drop_pages()
        self.complete = True

    def _outlasts(self, key: Key, row: Row) -> bool:
        """Tell whether an updated row is newer than the snapshot under way."""
        updated_ms, known = int(row.get("uTime") or 0), self._collected.get(key)
        if known is not None:
            return updated_ms > int(known.get("uTime") or 0)
        return key in self._amid if self._made_ms is None else updated_ms > self._made_ms

    def _put(self, key: Key, row: Row) -> None:
        if self._is_gone(row):
            self._rows.pop(key, None)
            self.held.pop(key, None)
        else:
            self._rows[key] = row
            self.held[key] = self._layout.make(row)

    def _is_gone(self, row: Row) -> bool:
        return all([is_zero(text_in(row, name)) for name in self._layout.sizes])  # a list: to look at each of them
