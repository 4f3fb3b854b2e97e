"""What an account owns, as the rows of its channels. Pure.

Fields after OKX v5 docs, "Account channel" and its neighbours, read June 2026.
"""

from __future__ import annotations

from typing import Any

from .accounts import Account, Position
from .markets import Market, World

__all__ = ["account_row", "balance_and_position_row", "detail_rows", "greek_rows", "position_rows"]

Row = dict[str, Any]

EMPTY_ACCOUNT = (
    "adjEq availEq borrowFroz delta deltaLever deltaNeutralStatus imr mgnRatio mmr notionalUsd notionalUsdForBorrow"
    " notionalUsdForFutures notionalUsdForOption notionalUsdForSwap ordFroz upl"
).split()
ZERO_DETAIL = (
    "borrowFroz clSpotInUseAmt colBorrAutoConversion colRes crossLiab fixedBal frozenBal imr interest isoEq isoLiab"
    " isoUpl liab mmr ordFrozen rewardBal smtSyncEq spotCopyTradingEq spotIsoBal stgyEq twap upl uplLiab"
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


def price_of(world: World, ccy: str) -> float:
    """Return what a currency is worth in US dollars."""
    market = world.markets.get(f"{ccy}-USDT")
    return market.instrument.price(market.last_ticks) if market is not None else 1.0


def account_row(account: Account, world: World) -> Row:
    """Return the row of ``account`` without its details; its totals are of the whole account, whatever the page."""
    total = sum(amount * price_of(world, ccy) for ccy, amount in account.balances.items())
    return {"uTime": str(world.ts), "totalEq": f"{total:.4f}", "isoEq": "0", **dict.fromkeys(EMPTY_ACCOUNT, "")}


def detail_rows(account: Account, world: World, ccy: str | None) -> list[Row]:
    """Return the details of ``account``: all currencies it has some of, or only `ccy`."""
    return [
        detail_row(name, amount, price_of(world, name), str(world.ts))
        for name, amount in account.balances.items()
        if amount and ccy in (None, name)
    ]


def detail_row(ccy: str, amount: float, price: float, ts: str) -> Row:
    text, worth = number(amount), f"{amount * price:.4f}"
    return {
        "ccy": ccy,
        **dict.fromkeys(("eq", "cashBal", "availBal", "availEq"), text),
        **dict.fromkeys(("disEq", "eqUsd"), worth),
        "coinUsdPrice": f"{price:.4f}",
        "collateralEnabled": True,
        "collateralRestrict": False,
        "uTime": ts,
        **dict.fromkeys(ZERO_DETAIL, "0"),
        **dict.fromkeys(EMPTY_DETAIL, ""),
    }


def position_rows(account: Account, world: World, arg: dict[str, str]) -> list[Row]:
    """Return the rows of ``positions`` that an arg asks for; its instId counts more than its instFamily."""
    found = []
    for posId, position in enumerate(account.positions, 1):
        market = world.markets.get(position.instId)
        if market is None:
            continue
        place = market.instrument
        narrow = "instId" if "instId" in arg else "instFamily"
        if arg["instType"] in ("ANY", place.instType) and arg.get(narrow) in (None, getattr(place, narrow)):
            found.append(position_row(position, market, world, str(posId)))
    return found


def position_row(position: Position, market: Market, world: World, posId: str) -> Row:
    place = market.instrument
    mark, average, size = place.price(market.mark), float(position.avgPx), float(position.pos)
    face = size * float(place.ctVal or 1) * float(place.ctMult or 1)
    upl = face * (1 / average - 1 / mark) if place.ctType == "inverse" else face * (mark - average)
    usd = abs(face) if place.ctType == "inverse" else abs(face) * mark
    upl_text, ratio = number(upl), number(3 * (mark / average - 1) * (1 if size > 0 else -1))
    return {
        "instType": place.instType,
        "instId": place.instId,
        "mgnMode": "cross",
        "posId": posId,
        "posSide": "net",
        "pos": position.pos,
        "availPos": "",
        "avgPx": position.avgPx,
        **dict.fromkeys(("upl", "uplLastPx"), upl_text),
        **dict.fromkeys(("uplRatio", "uplRatioLastPx"), ratio),
        "lever": "3",
        "markPx": place.px(market.mark),
        "last": place.px(market.last_ticks),
        "idxPx": f"{world.indices[place.index].price:.2f}",
        "usdPx": "1",
        "bePx": position.avgPx,
        "imr": number(usd / 3),
        "mmr": number(usd * 0.004),
        "mgnRatio": "30",
        "notionalUsd": number(usd),
        "adl": "1",
        "ccy": place.settleCcy,
        "tradeId": "1",
        **dict.fromkeys(("realizedPnl", "pnl", "fee", "fundingFee", "liqPenalty"), "0"),
        "closeOrderAlgo": [],
        "cTime": str(world.start_ms),
        "uTime": str(world.start_ms),
        "pTime": str(world.ts),
        **dict.fromkeys(EMPTY_POSITION, ""),
    }


def balance_and_position_row(account: Account, world: World) -> Row:
    """Return the row of ``balance_and_position``: everything, to a new subscriber."""
    keys = "posId tradeId instId instType mgnMode posSide pos ccy posCcy avgPx nonSettleAvgPx settledPnl uTime".split()
    return {
        "pTime": str(world.ts),
        "eventType": "snapshot",
        "balData": [
            {key: row[key] for key in ("ccy", "cashBal", "uTime")} for row in detail_rows(account, world, None)
        ],
        "posData": [{key: row[key] for key in keys} for row in position_rows(account, world, {"instType": "ANY"})],
        "trades": [],
    }


def greek_rows(account: Account, world: World, ccy: str | None) -> list[Row]:
    """Return the rows of ``account-greeks``: without options, a currency's delta is what there is of it."""
    zeros = dict.fromkeys(("gammaBS", "gammaPA", "thetaBS", "thetaPA", "vegaBS", "vegaPA"), "0")
    return [
        {"ccy": name, "deltaBS": number(amount), "deltaPA": number(amount), **zeros, "ts": str(world.ts)}
        for name, amount in account.balances.items()
        if amount and ccy in (None, name)
    ]
