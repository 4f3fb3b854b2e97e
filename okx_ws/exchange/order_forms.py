"""From the row of a request to what it asks for, or to OKX's reason why not. Pure.

What depends on balances, positions or other orders is not looked at here.

Sources: OKX v5 docs, "Place order", "Amend order" and "Error Code", read June 2026; the double blank in the refusal of
a clOrdId is OKX's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .instruments import Instrument
from .orders import Draft, Unfit

__all__ = ["Amendment", "amendment_of", "choice_in", "draft_of", "identity_of", "number_in", "text_in", "units_of"]

CLORDID = re.compile(r"[0-9A-Za-z]{1,32}")
TAG = re.compile(r"[0-9A-Za-z]{1,16}")
NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")

OPTION_TYPES = ("mmp", "mmp_and_post_only", "op_fok")
ORDER_TYPES = ("market", "limit", "post_only", "fok", "ioc", "optimal_limit_ioc", *OPTION_TYPES)
STP_MODES = ("cancel_maker", "cancel_taker", "cancel_both")

#: Without a limit.
UNPRICED = ("market", "optimal_limit_ioc")


@dataclass(frozen=True)
class Amendment:
    """What an amendment asks for: None is as it was."""

    lots: int | None
    ticks: int | None
    reqId: str
    cxlOnFail: bool


def wrong(name: str) -> Unfit:
    """A parameter has a value it cannot have."""
    return Unfit("51000", f"Parameter {name} error")


def missing(name: str) -> Unfit:
    """A parameter is not there."""
    return Unfit("50014", f"Parameter {name} can not be empty")


def text_in(row: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    """Return an optional text; ``""`` and null are as good as nothing."""
    text = row.get(name)
    if text in (None, ""):
        return ""
    if not (isinstance(text, str) and pattern.fullmatch(text)):
        raise Unfit("51000", "Parameter clOrdId  error") if name == "clOrdId" else wrong(name)
    return text


def choice_in(row: Mapping[str, Any], name: str, choices: tuple[str, ...], usual: str | None = None) -> str:
    """Return one of several texts; required if there is no usual one."""
    text = row.get(name)
    if text in (None, ""):
        if usual is None:
            raise missing(name)
        return usual
    if text not in choices:
        raise wrong(name)
    return str(text)


def flag_of(row: Mapping[str, Any], name: str) -> bool:
    """Return a flag; OKX takes its text too."""
    value = row.get(name)
    if value not in (None, "", True, False, "true", "false"):
        raise wrong(name)
    return value in (True, "true")


def number_in(row: Mapping[str, Any], name: str) -> Decimal:
    """Return a number that must be there and more than 0."""
    value = row.get(name)
    if value in (None, ""):
        raise missing(name)
    text = "" if isinstance(value, bool) else str(value)
    if not NUMBER.fullmatch(text) or not Decimal(text):
        raise wrong(name)
    return Decimal(text)


def units_of(value: Decimal, unit: str) -> int | None:
    """Return how many units a number is, or None if it is no whole number of them."""
    count = value / Decimal(unit)
    return int(count) if count == int(count) else None


def ticks_of(row: Mapping[str, Any], name: str, place: Instrument) -> int:
    """Return a price in ticks."""
    ticks = units_of(number_in(row, name), place.px(1))
    if ticks is None:
        raise wrong(name)
    return ticks


def lots_of(row: Mapping[str, Any], name: str, place: Instrument) -> int:
    """Return a size in lots."""
    value = number_in(row, name)
    if value < Decimal(place.minSz):
        raise Unfit("51020", "Your order should meet or exceed the minimum order amount.")
    lots = units_of(value, place.sz(1))
    if lots is None:
        raise Unfit("51121", "Order quantity must be a multiple of the lot size.")
    return lots


def draft_of(row: Mapping[str, Any], place: Instrument, hedged: bool = False) -> Draft:
    """Return what a request for an order asks for; `hedged`: it has to say which position it is about.

    Raises:
        Unfit: It cannot be asked for.
    """
    clOrdId, tag = text_in(row, "clOrdId", CLORDID), text_in(row, "tag", TAG)
    spot = place.instType == "SPOT"
    tdMode = choice_in(row, "tdMode", ("cash", "cross", "isolated", "spot_isolated"))
    side = choice_in(row, "side", ("buy", "sell"))
    ordType = type_of(row, place)
    if (tdMode == "cash") != spot or tdMode == "spot_isolated":
        # One account mode is played: spot for cash, derivatives on margin, as with acctLv 2 without spot margin.
        raise Unfit("51010", "You can't complete this request under your current account mode.")
    posSide = row.get("posSide") or "net"
    if posSide not in (("long", "short") if hedged else ("net",)):
        raise wrong("posSide")
    quoted = spot and ordType == "market" and choice_in(row, "tgtCcy", ("base_ccy", "quote_ccy"), "") != "base_ccy"
    if side == "sell" and row.get("tgtCcy") in (None, ""):
        quoted = False  # sold by size, unless it is said otherwise
    ticks = None if ordType in UNPRICED else ticks_of(row, "px", place)
    return Draft(
        place,
        tdMode,
        side,
        ordType,
        ticks,
        0 if quoted else lots_of(row, "sz", place),
        str(row["sz"]) if row.get("sz") not in (None, "") else "",
        quote=number_in(row, "sz") if quoted else Decimal(0),
        tgtCcy=("quote_ccy" if quoted else "base_ccy") if spot and ordType == "market" else "",
        clOrdId=clOrdId,
        tag=tag,
        posSide="" if spot else posSide,
        reduceOnly=flag_of(row, "reduceOnly") and not spot and not hedged,  # where it says nothing
        banAmend=flag_of(row, "banAmend"),
        stpMode=choice_in(row, "stpMode", STP_MODES, "cancel_maker"),
    )


def type_of(row: Mapping[str, Any], place: Instrument) -> str:
    """Return the type of an order; not every instrument takes every one."""
    if row.get("ordType") == "rpi":
        raise Unfit("54109", "This feature has to be activated first.")
    ordType = choice_in(row, "ordType", ORDER_TYPES)
    option = place.instType == "OPTION"
    if ordType == "optimal_limit_ioc" and place.instType not in ("SWAP", "FUTURES"):
        raise wrong("ordType")
    if ordType == "market" and option or ordType in OPTION_TYPES and not option:
        raise wrong("ordType")
    return ordType


def identity_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return ordId and clOrdId of a request about an order; one of them is there, and ordId counts more."""
    ordId, clOrdId = row.get("ordId"), text_in(row, "clOrdId", CLORDID)
    if ordId in (None, "") and not clOrdId:
        raise missing("ordId")
    if ordId not in (None, "") and not (isinstance(ordId, (str, int)) and str(ordId).isdigit()):
        raise wrong("ordId")
    return "" if ordId is None else str(ordId), clOrdId


def amendment_of(row: Mapping[str, Any], place: Instrument) -> Amendment:
    """Return what an amendment asks for.

    Raises:
        Unfit: It cannot be asked for, or is nothing.
    """
    reqId = text_in(row, "reqId", CLORDID)
    lots = lots_of(row, "newSz", place) if row.get("newSz") not in (None, "") else None
    ticks = ticks_of(row, "newPx", place) if row.get("newPx") not in (None, "") else None
    if lots is None and ticks is None:
        raise missing("newSz")
    return Amendment(lots, ticks, reqId, flag_of(row, "cxlOnFail"))
