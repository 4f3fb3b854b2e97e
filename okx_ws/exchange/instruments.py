"""The instruments of the local exchange, as OKX's ``/public/instruments`` lists them. Pure.

Shapes after OKX v5 docs, "Get instruments", read June 2026. Prices and sizes are whole numbers of ticks and lots
inside, and become texts without trailing zeros outside, as OKX writes them.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

__all__ = ["Instrument", "decimal_text", "make_instruments", "preopen_row"]

DAY_MS = 86_400_000


def decimal_text(units: int, places: int) -> str:
    """Return `units` of ``10 ** -places`` as OKX writes numbers: ``decimal_text(8310, 3)`` is ``"8.31"``."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(places + 1, "0")
    if not places:
        return sign + digits
    whole, fraction = digits[:-places], digits[-places:].rstrip("0")
    return sign + (f"{whole}.{fraction}" if fraction else whole)


@dataclass(frozen=True)
class Instrument:
    """One instrument.

    Attributes:
        instType, instId: As OKX names them.
        index: The index its price follows, e.g. ``"BTC-USDT"``.
        tick, tick_places: A tick is ``tick * 10 ** -tick_places`` of quote.
        lot_places: A lot is ``10 ** -lot_places`` (of base for SPOT, of a contract else).
        typical_lots: Usual size of an order.
        instIdCode: The number WebSocket orders want; differs between demo and live; None until OKX has made one.
        settleCcy, ctVal, ctValCcy, ctType: Of derivatives.
        expTime: Expiry, Unix ms; 0 if none.
        stk, optType: Of options.
    """

    instType: str
    instId: str
    index: str
    tick: int
    tick_places: int
    lot_places: int
    typical_lots: int
    instIdCode: int | None
    settleCcy: str = ""
    ctVal: str = ""
    ctValCcy: str = ""
    ctType: str = ""
    expTime: int = 0
    stk: str = ""
    optType: str = ""

    @property
    def instFamily(self) -> str:
        """``"BTC-USDT"`` of ``"BTC-USDT-SWAP"``; empty for SPOT."""
        return "" if self.instType == "SPOT" else "-".join(self.instId.split("-")[:2])

    def px(self, ticks: int) -> str:
        """Return a price text."""
        return decimal_text(ticks * self.tick, self.tick_places)

    def sz(self, lots: int) -> str:
        """Return a size text."""
        return decimal_text(lots, self.lot_places)

    def ticks(self, price: float) -> int:
        """Return the nearest price in ticks, at least one."""
        return max(1, int(price * 10**self.tick_places / self.tick + 0.5))

    def price(self, ticks: int) -> float:
        """Return a price as a number, for indices and statistics."""
        return float(ticks * self.tick / 10**self.tick_places)

    def coins(self, lots: int, ticks: int) -> float:
        """Return what so many lots are in the base coin, at a price."""
        if self.instType == "SPOT":
            return float(self.sz(lots))
        value = float(self.sz(lots)) * float(self.ctVal) * float(self.ctMult)
        return value / self.price(ticks) if self.ctType == "inverse" else value

    def turnover(self, lots: int, ticks: int) -> float:
        """Return what so many lots cost in the quote currency, at a price."""
        return self.coins(lots, ticks) * self.price(ticks)

    @property
    def ctMult(self) -> str:
        """How many times `ctVal` a contract is; empty for SPOT."""
        return {"SPOT": "", "OPTION": "0.01"}.get(self.instType, "1")

    @property
    def minSz(self) -> str:
        """The least size of an order."""
        return self.sz(10 if self.instType == "SPOT" else 1)

    def row(self) -> dict[str, Any]:
        """Return the instrument as OKX lists it."""
        spot = self.instType == "SPOT"
        base, quote = self.instId.split("-")[:2]
        return {
            "instType": self.instType,
            "instId": self.instId,
            "instIdCode": self.instIdCode,
            "uly": self.instFamily,
            "instFamily": self.instFamily,
            "groupId": "1",
            "seriesId": "",
            "category": "1",
            "instCategory": "1",
            "baseCcy": base if spot else "",
            "quoteCcy": quote if spot else "",
            "settleCcy": self.settleCcy,
            "ctVal": self.ctVal,
            "ctMult": self.ctMult,
            "ctValCcy": self.ctValCcy,
            "ctType": self.ctType,
            "optType": self.optType,
            "stk": self.stk,
            "listTime": "1606468572000",
            "auctionEndTime": "",
            "contTdSwTime": "",
            "preMktSwTime": "",
            "openType": "call_auction" if spot else "",
            "expTime": str(self.expTime) if self.expTime else "",
            "lever": "" if self.instType == "OPTION" else ("10" if spot else "100"),
            "tickSz": self.px(1),
            "lotSz": self.sz(1),
            "minSz": self.minSz,
            "state": "live",
            "ruleType": "normal",
            "maxLmtSz": "9999999999",
            "maxMktSz": "1000000",
            "maxLmtAmt": "20000000" if spot else "",
            "maxMktAmt": "1000000" if spot else "",
            "maxTwapSz": "9999999999",
            "maxIcebergSz": "9999999999",
            "maxTriggerSz": "9999999999",
            "maxStopSz": "1000000",
            "futureSettlement": False,
            "tradeQuoteCcyList": [quote] if spot else [],
            "upcChg": [],
        }


def preopen_row(demo: bool) -> dict[str, Any]:
    """Return a contract that is listed and not yet traded: much of what the others say is still empty."""
    code = 2_900_001 if demo else 19_001
    place = Instrument("SWAP", "DOGE-USDT-SWAP", "DOGE-USDT", 1, 5, 0, 1, code, "USDT", "1", "DOGE", "linear")
    unknown = ("tickSz", "lotSz", "minSz", "ctVal", "ctMult", "lever", "maxLmtSz", "maxMktSz")
    return {**place.row(), "state": "preopen", **dict.fromkeys(unknown, "")}


def expiry(now_ms: int, days: int) -> tuple[int, str]:
    """Return a Friday 08:00 UTC at least `days` ahead, as Unix ms and as OKX writes it in an instId (yymmdd)."""
    day = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.timezone.utc) + datetime.timedelta(days=days)
    day += datetime.timedelta(days=(4 - day.weekday()) % 7)
    day = day.replace(hour=8, minute=0, second=0, microsecond=0)
    return int(day.timestamp() * 1000), day.strftime("%y%m%d")


def make_instruments(now_ms: int, demo: bool) -> list[Instrument]:
    """Return the listed instruments of all types; demo and live differ in their codes, as on OKX."""
    quarter_ms, quarter = expiry(now_ms, 60)
    week_ms, week = expiry(now_ms, 2)
    found: list[Instrument] = []

    def add(
        instType: str, instId: str, index: str, tick: int, places: int, lots: int, typical: int, **more: Any
    ) -> None:
        code = (2_000_001 if demo else 10_459) + 17 * len(found) if more.pop("coded", True) else None
        found.append(Instrument(instType, instId, index, tick, places, lots, typical, code, **more))

    add("SPOT", "BTC-USDT", "BTC-USDT", 1, 1, 8, 5_000_000)
    add("SPOT", "ETH-USDT", "ETH-USDT", 1, 2, 6, 1_000_000)
    add("SPOT", "SOL-USDT", "SOL-USDT", 1, 2, 6, 20_000_000)
    add("SPOT", "BTC-USDC", "BTC-USDC", 1, 1, 8, 1_000_000)
    for coin, ctVal, places in (("BTC", "0.01", 1), ("ETH", "0.1", 2), ("SOL", "1", 2)):
        linear = {"settleCcy": "USDT", "ctVal": ctVal, "ctValCcy": coin, "ctType": "linear"}
        add("SWAP", f"{coin}-USDT-SWAP", f"{coin}-USDT", 1, places, 2, 2_000, **linear)
        add("FUTURES", f"{coin}-USDT-{quarter}", f"{coin}-USDT", 1, places, 2, 800, expTime=quarter_ms, **linear)
    inverse = {"settleCcy": "BTC", "ctVal": "100", "ctValCcy": "USD", "ctType": "inverse"}
    add("SWAP", "BTC-USD-SWAP", "BTC-USD", 1, 1, 0, 300, **inverse)
    add("FUTURES", f"BTC-USD-{quarter}", "BTC-USD", 1, 1, 0, 100, expTime=quarter_ms, **inverse)
    for strike in (60_000, 64_000, 68_000):
        for kind in "CP":
            option = {"settleCcy": "BTC", "ctVal": "1", "ctValCcy": "BTC", "stk": str(strike), "optType": kind}
            add("OPTION", f"BTC-USD-{week}-{strike}-{kind}", "BTC-USD", 5, 4, 0, 10, expTime=week_ms, **option)
    young = {"settleCcy": "USDC", "ctVal": "1", "ctValCcy": "SOL", "ctType": "linear", "coded": False}
    add("SWAP", "SOL-USDC-SWAP", "SOL-USDT", 1, 2, 2, 500, **young)
    return found
