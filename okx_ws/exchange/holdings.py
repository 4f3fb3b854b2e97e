"""What an account owns, as the rows of its channels. Pure.

Fields after OKX v5 docs, "Account channel" and its neighbours, read June 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from .accounts import Account
from .instruments import Instrument
from .ledger import LEVERAGE, Holding, decimal_of, text_of, worth_of
from .markets import Market, World
from .order_checks import closing_lots

__all__ = [
    "account_row",
    "asked_for",
    "balance_and_position_row",
    "detail_row",
    "detail_rows",
    "greek_rows",
    "position_row",
    "position_rows",
]

Row = dict[str, Any]

EMPTY_ACCOUNT = (
    "adjEq availEq borrowFroz delta deltaLever deltaNeutralStatus imr mgnRatio mmr notionalUsd notionalUsdForBorrow"
    " notionalUsdForFutures notionalUsdForOption notionalUsdForSwap ordFroz upl"
).split()
ZERO_DETAIL = (
    "borrowFroz clSpotInUseAmt colBorrAutoConversion colRes crossLiab fixedBal interest isoEq isoLiab"
    " isoUpl liab mmr rewardBal smtSyncEq spotCopyTradingEq spotIsoBal stgyEq twap uplLiab"
).split()
EMPTY_DETAIL = (
    "accAvgPx autoLendMtAmt autoLendStatus frpType maxLoan maxSpotInUseAmt mgnRatio notionalLever openAvgPx spotBal"
    " spotInUseAmt spotUpl spotUplRatio totalPnl totalPnlRatio"
).split()
EMPTY_POSITION = (
    "baseBal baseBorrowed baseInterest bizRefId bizRefType clSpotInUseAmt deltaBS deltaPA gammaBS gammaPA hedgedPos"
    " interest liab liabCcy liqPx margin maxSpotInUseAmt nonSettleAvgPx optVal pendingCloseOrdLiabVal posCcy"
    " quoteBal quoteBorrowed quoteInterest settledPnl spotInUseAmt spotInUseCcy thetaBS thetaPA vegaBS vegaPA"
).split()


def number(value: float) -> str:
    """Return a number without trailing zeros."""
    return f"{value:.8f}".rstrip("0").rstrip(".")


def amount_text(value: Decimal) -> str:
    """Return an amount that was reckoned at the mark price: to eight places."""
    return text_of(value.quantize(Decimal("1e-8")))


def price_of(world: World, ccy: str) -> float:
    """Return what a currency is worth in US dollars."""
    market = world.markets.get(f"{ccy}-USDT")
    return market.instrument.price(market.last_ticks) if market is not None else 1.0


def account_row(account: Account, world: World) -> Row:
    """Return the row of ``account`` without its details; its totals are of the whole account, whatever the page."""
    total = sum(float(equity(account, world, ccy)) * price_of(world, ccy) for ccy in currencies(account))
    return {"uTime": str(world.ts), "totalEq": f"{total:.4f}", "isoEq": "0", **dict.fromkeys(EMPTY_ACCOUNT, "")}


def currencies(account: Account) -> list[str]:
    """Return what an account has some of, or keeps for a position."""
    held = {h.place.settleCcy for h in account.ledger.holdings.values() if h.place is not None and h.pos}
    owned = [ccy for ccy, amount in account.ledger.balances.items() if amount]
    return owned + sorted(held.difference(owned))


def equity(account: Account, world: World, ccy: str) -> Decimal:
    """Return the balance of a currency with what its positions have gained, and what its options are worth."""
    gains = (gain(h, world.markets[h.instId]) for h in account.ledger.holdings.values() if in_ccy(h, ccy))
    return account.ledger.balances.get(ccy, Decimal(0)) + sum(gains, Decimal(0))


def in_ccy(holding: Holding, ccy: str) -> bool:
    """Tell whether a position is settled in a currency."""
    return holding.place is not None and holding.place.settleCcy == ccy and bool(holding.pos)


def gain(holding: Holding, market: Market) -> Decimal:
    """Return what a position adds to the balance it is settled in."""
    if market.instrument.instType == "OPTION":  # it was paid for
        return worth_of(market.instrument, holding.pos, decimal_of(market.instrument.px(market.mark)))
    return gained(holding, market)


def gained(holding: Holding, market: Market) -> Decimal:
    """Return what a position has gained since it was opened, at the mark price."""
    place = market.instrument
    then = worth_of(place, holding.pos, holding.avgPx)
    now = worth_of(place, holding.pos, decimal_of(place.px(market.mark)))
    return then - now if place.ctType == "inverse" else now - then


def detail_rows(account: Account, world: World, ccy: str | None) -> list[Row]:
    """Return the details of ``account``: all currencies it has some of, or only `ccy`."""
    return [detail_row(account, world, name) for name in currencies(account) if ccy in (None, name)]


def detail_row(account: Account, world: World, ccy: str) -> Row:
    """Return what an account has of a currency, how much of it orders keep, and how much positions do."""
    ledger = account.ledger
    price, eq, margin = price_of(world, ccy), equity(account, world, ccy), ledger.margin(ccy)
    frozen = ledger.frozen.get(ccy, Decimal(0))
    worth = f"{float(eq) * price:.4f}"
    upl = sum((gained(h, world.markets[h.instId]) for h in ledger.holdings.values() if in_ccy(h, ccy)), Decimal(0))
    return {
        "ccy": ccy,
        **dict.fromkeys(ZERO_DETAIL, "0"),
        **dict.fromkeys(EMPTY_DETAIL, ""),
        "eq": amount_text(eq),
        "cashBal": text_of(ledger.balances.get(ccy, Decimal(0))),
        "availBal": text_of(ledger.available(ccy)),
        "availEq": text_of(ledger.available(ccy)),
        "frozenBal": text_of(frozen + margin),
        "ordFrozen": text_of(frozen),
        "imr": text_of(margin),
        "upl": amount_text(upl),
        **dict.fromkeys(("disEq", "eqUsd"), worth),
        "coinUsdPrice": f"{price:.4f}",
        "collateralEnabled": True,
        "collateralRestrict": False,
        "uTime": str(world.ts),
    }


def position_rows(account: Account, world: World, arg: Mapping[str, str]) -> list[Row]:
    """Return the rows of ``positions`` that an arg asks for; its instId counts more than its instFamily."""
    found = []
    for holding in account.ledger.holdings.values():
        market = world.markets.get(holding.instId)
        if market is not None and holding.pos and asked_for(market.instrument, arg):
            found.append(position_row(account, holding, market, world))
    return found


def asked_for(place: Instrument, arg: Mapping[str, str]) -> bool:
    """Tell whether an arg asks for an instrument; its instId counts more than its instFamily."""
    narrow = "instId" if "instId" in arg else "instFamily"
    return arg["instType"] in ("ANY", place.instType) and arg.get(narrow) in (None, getattr(place, narrow))


def position_row(account: Account, holding: Holding, market: Market, world: World) -> Row:
    """Return one position; of a long or short one, `pos` is never less than 0, and `availPos` can still be closed."""
    place, net = market.instrument, holding.posSide == "net"
    closing = decimal_of(place.sz(closing_lots(account, holding.key)))
    mark, average, size = place.price(market.mark), float(holding.avgPx), float(holding.pos)
    face = size * float(place.ctVal or 1) * float(place.ctMult or 1)
    usd = abs(face) if place.ctType == "inverse" else abs(face) * mark
    upl = amount_text(gained(holding, market))
    ratio = number(LEVERAGE * (mark / average - 1) * (1 if size > 0 else -1))
    avgPx = text_of(holding.avgPx.quantize(Decimal("1e-8")))
    return {
        "instType": place.instType,
        "instId": place.instId,
        "mgnMode": holding.mgnMode,
        "posId": holding.posId,
        "posSide": holding.posSide,
        "pos": text_of(holding.pos if net else abs(holding.pos)),
        "availPos": "" if net else text_of(abs(holding.pos) - closing),
        "avgPx": avgPx,
        **dict.fromkeys(("upl", "uplLastPx"), upl),
        **dict.fromkeys(("uplRatio", "uplRatioLastPx"), ratio),
        "lever": "3",
        "markPx": place.px(market.mark),
        "last": place.px(market.last_ticks),
        "idxPx": f"{world.indices[place.index].price:.2f}",
        "usdPx": "1",
        "bePx": avgPx,
        "imr": text_of(holding.margin),
        "mmr": number(usd * 0.004),
        "mgnRatio": "30",
        "notionalUsd": number(usd),
        "adl": "1",
        "ccy": place.settleCcy,
        "tradeId": holding.tradeId,
        "realizedPnl": text_of(holding.realized + holding.fee),
        "pnl": text_of(holding.realized),
        "fee": text_of(holding.fee),
        **dict.fromkeys(("fundingFee", "liqPenalty"), "0"),
        "closeOrderAlgo": [],
        "cTime": str(holding.cTime or world.start_ms),
        "uTime": str(holding.uTime or world.start_ms),
        "pTime": str(world.ts),
        **dict.fromkeys(EMPTY_POSITION, ""),
    }


BALANCE_KEYS = ("ccy", "cashBal", "uTime")
POSITION_KEYS = (
    "posId tradeId instId instType mgnMode posSide pos ccy posCcy avgPx nonSettleAvgPx settledPnl uTime".split()
)


def balance_and_position_row(
    world: World, eventType: str, details: list[Row], positions: list[Row], trades: Iterable[tuple[str, str]] = ()
) -> Row:
    """Return the row of ``balance_and_position``.

    Args:
        eventType: ``"snapshot"``, ``"filled"``.
        details, positions: What it is about, as `detail_rows` and `position_rows` have it.
        trades: instId and tradeId of each.
    """
    return {
        "pTime": str(world.ts),
        "eventType": eventType,
        "balData": [{key: row[key] for key in BALANCE_KEYS} for row in details],
        "posData": [{key: row[key] for key in POSITION_KEYS} for row in positions],
        "trades": [{"instId": instId, "tradeId": tradeId} for instId, tradeId in trades],
    }


def greek_rows(account: Account, world: World, ccy: str | None) -> list[Row]:
    """Return the rows of ``account-greeks``: without options, a currency's delta is what there is of it."""
    zeros = dict.fromkeys(("gammaBS", "gammaPA", "thetaBS", "thetaPA", "vegaBS", "vegaPA"), "0")
    return [
        {"ccy": name, "deltaBS": text_of(amount), "deltaPA": text_of(amount), **zeros, "ts": str(world.ts)}
        for name, amount in account.ledger.balances.items()
        if amount and ccy in (None, name)
    ]
