"""A ledger: what one account owns, exactly. Pure.

Law. Amounts are decimals, never floats. A fill changes a balance by amounts that are rounded once, and those very
amounts stand in the order's pushes: what is pushed adds up to the balance, to the last digit.

A derivative's position is one net position for each margin mode, at the average price it was opened at; of an account
that hedges, a long and a short one. Its margin is what it was opened for, divided by `LEVERAGE`; what it has gained
since can be seen in ``eq``, and is not lent on.
An option is paid for when it is bought; only a short one needs margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .instruments import Instrument

__all__ = ["LEVERAGE", "Fill", "Holding", "Key", "Ledger", "decimal_of", "text_of"]

#: What tells positions apart: instId, margin mode, posSide.
Key = tuple[str, str, str]

LEVERAGE = 3

#: Of spot and of derivatives: taker and maker. OKX's ordinary rates, in percent of what is traded.
FEES = {"SPOT": (Decimal("0.001"), Decimal("0.0008")), "OPTION": (Decimal("0.0003"), Decimal("0.0002"))}
OTHER_FEES = (Decimal("0.0005"), Decimal("0.0002"))

#: An option's fee is at most this part of its price.
OPTION_FEE_CAP = Decimal("0.125")
#: A short option needs this part of its coin as margin.
SHORT_OPTION_MARGIN = Decimal("0.15")

#: Amounts are rounded to this.
UNIT = Decimal("1e-12")

ZERO = Decimal(0)


def decimal_of(value: object) -> Decimal:
    """Return a number as a decimal, by its shortest text: 0.1 is 0.1."""
    return Decimal(str(value))


def text_of(value: Decimal) -> str:
    """Return a number as OKX writes it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def rounded(value: Decimal) -> Decimal:
    """Return an amount as it is booked."""
    return value.quantize(UNIT)


@dataclass(frozen=True)
class Fill:
    """What a fill did to an account: the fee (less than 0 if paid) and in which currency, and what was realized."""

    fee: Decimal
    feeCcy: str
    pnl: Decimal


@dataclass
class Holding:
    """A position: so many contracts (less than 0 if short) at an average price."""

    instId: str
    mgnMode: str
    posSide: str
    posId: str
    pos: Decimal
    avgPx: Decimal
    #: None until somebody has told what it is: an account is made before there is a world.
    place: Instrument | None = None
    realized: Decimal = ZERO
    fee: Decimal = ZERO
    tradeId: str = ""
    cTime: int = 0
    uTime: int = 0

    @property
    def key(self) -> Key:
        """What tells it apart from others."""
        return self.instId, self.mgnMode, self.posSide

    @property
    def margin(self) -> Decimal:
        """What it keeps of its settlement currency."""
        if self.place is None or not self.pos:
            return ZERO
        return margin_of(self.place, self.pos, self.avgPx)


def face_of(place: Instrument, contracts: Decimal) -> Decimal:
    """Return what so many contracts stand for, in `ctValCcy`."""
    return contracts * Decimal(place.ctVal) * Decimal(place.ctMult)


def worth_of(place: Instrument, contracts: Decimal, px: Decimal) -> Decimal:
    """Return what so many contracts are worth at a price, in the settlement currency."""
    face = face_of(place, contracts)
    return face / px if place.ctType == "inverse" else face * px


def margin_of(place: Instrument, contracts: Decimal, px: Decimal) -> Decimal:
    """Return the margin so many contracts need, less than 0 if short."""
    if place.instType == "OPTION":
        return face_of(place, -contracts) * SHORT_OPTION_MARGIN if contracts < 0 else ZERO
    return rounded(abs(worth_of(place, contracts, px)) / LEVERAGE)


def fee_of(place: Instrument, size: Decimal, px: Decimal, maker: bool) -> Decimal:
    """Return the fee of a derivative's trade, in its settlement currency."""
    rate = FEES.get(place.instType, OTHER_FEES)[maker]
    if place.instType == "OPTION":
        return rounded(min(face_of(place, size) * rate, worth_of(place, size, px) * OPTION_FEE_CAP))
    return rounded(worth_of(place, size, px) * rate)


class Ledger:
    """What an account owns: balances, what open orders keep of them, and positions.

    Args:
        balances: Currency → amount, to begin with.
    """

    def __init__(self, balances: dict[str, Decimal]) -> None:
        self.balances = balances
        #: Currency → what open orders keep.
        self.frozen: dict[str, Decimal] = {}
        self.holdings: dict[Key, Holding] = {}
        #: A position that is opened again has the number it had.
        self._posIds: dict[Key, str] = {}

    def hold(self, key: Key, pos: Decimal, avgPx: Decimal, cTime: int = 0) -> Holding:
        """Enter a position."""
        posId = self._posIds.setdefault(key, str(len(self._posIds) + 1))
        self.holdings[key] = Holding(*key, posId, pos, avgPx, cTime=cTime)
        return self.holdings[key]

    def margin(self, ccy: str) -> Decimal:
        """Return what positions keep of a currency."""
        held = (h.margin for h in self.holdings.values() if h.place is not None and h.place.settleCcy == ccy)
        return sum(held, ZERO)

    def available(self, ccy: str) -> Decimal:
        """Return what a new order may use of a currency."""
        return self.balances.get(ccy, ZERO) - self.frozen.get(ccy, ZERO) - self.margin(ccy)

    def freeze(self, ccy: str, amount: Decimal) -> None:
        """Keep so much more for an open order; less, if it is less than 0."""
        self.frozen[ccy] = self.frozen.get(ccy, ZERO) + amount
        if not self.frozen[ccy]:
            del self.frozen[ccy]

    def pos(self, instId: str, mgnMode: str, posSide: str = "net") -> Decimal:
        """Return how many contracts of an instrument are held; less than 0 if short."""
        holding = self.holdings.get((instId, mgnMode, posSide))
        return holding.pos if holding is not None else ZERO

    def fill(self, place: Instrument, key: Key, size: Decimal, px: Decimal, maker: bool, ts: int) -> Fill:
        """Book a fill of `size` (less than 0 if sold) at `px`.

        Args:
            place: What was traded.
            key: Of a derivative: the position it belongs to.
            maker: It rested in the book.
            ts: The exchange's clock.
        """
        if place.instType == "SPOT":
            return self._swap(place, size, px, maker)
        holding = self.holdings.get(key) or self.hold(key, ZERO, px, ts)
        holding.place, holding.uTime = place, ts
        pnl = change(holding, place, size, px)
        fee = -fee_of(place, abs(size), px, maker)
        paid = rounded(-worth_of(place, size, px)) if place.instType == "OPTION" else pnl
        self._add(place.settleCcy, paid + fee)
        holding.realized += pnl
        holding.fee += fee
        return Fill(fee, place.settleCcy, pnl)

    def _swap(self, place: Instrument, size: Decimal, px: Decimal, maker: bool) -> Fill:
        base, quote = place.instId.split("-")
        rate = FEES["SPOT"][maker]
        self._add(base, size)
        self._add(quote, -size * px)
        feeCcy, got = (base, size) if size > 0 else (quote, -size * px)  # OKX takes it from what comes in
        fee = -rounded(got * rate)
        self._add(feeCcy, fee)
        return Fill(fee, feeCcy, ZERO)

    def _add(self, ccy: str, amount: Decimal) -> None:
        self.balances[ccy] = self.balances.get(ccy, ZERO) + amount

    def forget_closed(self) -> None:
        """Let go of positions that are closed; they have been told of."""
        for key in [key for key, holding in self.holdings.items() if not holding.pos]:
            del self.holdings[key]


def change(holding: Holding, place: Instrument, size: Decimal, px: Decimal) -> Decimal:
    """Add a trade to a position; return what it realized."""
    pos = holding.pos
    if not pos or (pos > 0) == (size > 0):
        total = pos + size
        if place.ctType == "inverse":
            holding.avgPx = total / (pos / holding.avgPx + size / px)
        else:
            holding.avgPx = (pos * holding.avgPx + size * px) / total
        holding.pos = total
        return ZERO
    closed = -size if abs(size) <= abs(pos) else pos
    bought, sold = worth_of(place, closed, holding.avgPx), worth_of(place, closed, px)
    holding.pos = pos + size
    if holding.pos and (holding.pos > 0) != (pos > 0):
        holding.avgPx = px  # it has turned round
    return rounded(bought - sold if place.ctType == "inverse" else sold - bought)
