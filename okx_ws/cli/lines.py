"""Messages as lines for people: the time, the channel, the instrument, and the few fields people look for."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

from rich.text import Text

__all__ = ["lines_of"]

Row = dict[str, Any]

#: Fields nobody looks for in a line.
DULL = ("instId", "instType", "ts", "uTime", "cTime", "seqId")


def lines_of(message: dict[str, Any]) -> Iterator[Text]:
    """Yield one line for each row of a message's data."""
    arg = message["arg"]
    channel = str(arg["channel"])
    rows = message["data"] if isinstance(message["data"], list) else [message["data"]]
    for row in rows or [{}]:
        place = str(arg.get("instId") or (row.get("instId") if isinstance(row, dict) else None) or arg.get("ccy") or "")
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(time_of(row), "dim")
        line.append(f" {channel:<14} ", "cyan")
        line.append(f"{place:<18} ", "bold")
        line.append_text(words(channel, row, message))
        yield line


def time_of(row: Any) -> str:
    """Return the local time of a row, to the millisecond; the present time if it names none."""
    ts = row.get("ts") or row.get("uTime") or row.get("pTime") if isinstance(row, dict) else None
    try:
        moment = datetime.datetime.fromtimestamp(int(ts) / 1000)  # type: ignore[arg-type]  # None is caught below
    except (TypeError, ValueError, OverflowError, OSError):
        moment = datetime.datetime.now()
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def words(channel: str, row: Any, message: dict[str, Any]) -> Text:
    """Return what a row says, by its channel's family."""
    if isinstance(row, list):
        return candle(row)
    for prefix, show in FAMILIES:
        if channel.startswith(prefix):
            return show(row, message)
    told = [f"{key} {value}" for key, value in row.items() if key not in DULL and isinstance(value, (str, int))]
    return Text("  ".join(told[:6]))


def ticker(row: Row, message: dict[str, Any]) -> Text:
    """Last price, best bid and ask, volume."""
    text = Text(f"{row.get('last', ''):>12}")
    text.append(f"  bid {row.get('bidPx', '')} x {row.get('bidSz', '')}", "green")
    text.append(f"  ask {row.get('askPx', '')} x {row.get('askSz', '')}", "red")
    return text.append(f"  24h {row.get('vol24h', '')}", "dim")


def trade(row: Row, message: dict[str, Any]) -> Text:
    """Side, size and price."""
    side = row.get("side", "")
    text = Text(f"{row.get('px', ''):>12}  ")
    return text.append(f"{side:<4} {row.get('sz', '')}", "green" if side == "buy" else "red")


def book(row: Row, message: dict[str, Any]) -> Text:
    """The best levels of a whole book; how many levels an update changes."""
    asks, bids = row.get("asks", []), row.get("bids", [])
    if message.get("action") == "update":
        return Text(f"update: {len(bids)} bids, {len(asks)} asks  seqId {row.get('seqId', '')}")
    text = Text(f"{message['action']}: {len(bids)} x {len(asks)}  " if "action" in message else "")
    if bids:
        text.append(f"bid {bids[0][0]} x {bids[0][1]}  ", "green")
    if asks:
        text.append(f"ask {asks[0][0]} x {asks[0][1]}", "red")
    return text


def candle(row: list[str]) -> Text:
    """Open, high, low, close and volume; whether it is closed."""
    if len(row) < 6:
        return Text(" ".join(row))
    start = datetime.datetime.fromtimestamp(int(row[0]) / 1000).strftime("%m-%d %H:%M")
    volume = f"  vol {row[5]}" if len(row) > 6 else ""
    text = Text(f"{start}  o {row[1]} h {row[2]} l {row[3]} c {row[4]}{volume}")
    return text.append("  closed", "yellow") if row[-1] == "1" else text


def account(row: Row, message: dict[str, Any]) -> Text:
    """Total equity and the largest balances."""
    balances = [f"{detail.get('ccy')} {detail.get('eq')}" for detail in row.get("details", [])[:4]]
    return Text(f"total {row.get('totalEq', '')}  " + "  ".join(balances))


FAMILIES: tuple[tuple[str, Callable[[Row, dict[str, Any]], Text]], ...] = (
    ("tickers", ticker),
    ("trades", trade),
    ("books", book),
    ("bbo-tbt", book),
    ("account", account),
)
