"""The rows of pushes that describe a state: from a market to a dict in OKX's shape. Pure; ``ts`` is added by the feed.

Fields after OKX v5 docs, each channel's page, read June 2026.
"""

from __future__ import annotations

from typing import Any

from .markets import Index, Market, World
from .options import OPTION_VOLATILITY, YEAR_MS, option_greeks

__all__ = [
    "funding_row",
    "index_row",
    "interest_row",
    "limit_row",
    "mark_row",
    "status_row",
    "summary_row",
    "ticker_row",
]

Push = dict[str, Any]

FUNDING_MS = 8 * 3_600_000


def ticker_row(market: Market) -> Push:
    """Return the row of ``tickers``, also that of REST's ticker."""
    place = market.instrument
    ((ask, (ask_lots, _)),) = market.asks.shown(1).items()
    ((bid, (bid_lots, _)),) = market.bids.shown(1).items()
    # Quote currency for SPOT, base coin for the others.
    volume = place.turnover if place.instType == "SPOT" else place.coins
    return {
        "instType": place.instType,
        "instId": place.instId,
        "last": place.px(market.last_ticks),
        "lastSz": place.sz(market.last_lots),
        "askPx": place.px(ask),
        "askSz": place.sz(ask_lots),
        "bidPx": place.px(bid),
        "bidSz": place.sz(bid_lots),
        "open24h": place.px(place.ticks(market.open24h)),
        "high24h": place.px(place.ticks(market.high24h)),
        "low24h": place.px(place.ticks(market.low24h)),
        "volCcy24h": f"{volume(market.vol24h, market.last_ticks):.4f}",
        "vol24h": place.sz(market.vol24h),
        "sodUtc0": place.px(place.ticks(market.sodUtc0)),
        "sodUtc8": place.px(place.ticks(market.sodUtc8)),
    }


def index_row(index: Index) -> Push:
    """Return the row of ``index-tickers``."""
    return {
        "instId": index.instId,
        "idxPx": f"{index.price:.2f}",
        "open24h": f"{index.open24h:.2f}",
        "high24h": f"{index.high24h:.2f}",
        "low24h": f"{index.low24h:.2f}",
        "sodUtc0": f"{index.sodUtc0:.2f}",
        "sodUtc8": f"{index.sodUtc8:.2f}",
    }


def mark_row(market: Market) -> Push:
    """Return the row of ``mark-price``."""
    place = market.instrument
    return {"instType": place.instType, "instId": place.instId, "markPx": place.px(market.mark)}


def interest_row(world: World, market: Market) -> Push:
    """Return the row of ``open-interest``."""
    index = world.indices[market.instrument.index].price
    place = market.instrument
    coins = place.coins(market.openInterest, market.last_ticks)
    # An option's price is in coin; what its contracts are worth follows the coin.
    usd = coins * index if place.instType == "OPTION" else place.turnover(market.openInterest, market.last_ticks)
    return {
        "instType": place.instType,
        "instId": place.instId,
        "oi": place.sz(market.openInterest),
        "oiCcy": f"{coins:.4f}",
        "oiUsd": f"{usd:.2f}",
    }


def limit_row(market: Market) -> Push:
    """Return the row of ``price-limit``: 5 % around the mark price."""
    place = market.instrument
    buy, sell = market.limits
    return {"instId": place.instId, "buyLmt": place.px(buy), "sellLmt": place.px(sell), "enabled": True}


def funding_row(world: World, market: Market) -> Push:
    """Return the row of ``funding-rate``."""
    place = market.instrument
    index = world.indices[place.index].price
    premium = (market.fair - index) / index
    fundingTime = world.ts - world.ts % FUNDING_MS + FUNDING_MS
    return {
        "instType": place.instType,
        "instId": place.instId,
        "method": "current_period",
        "formulaType": "withRate",
        "fundingRate": f"{premium / 2:.16f}",
        "nextFundingRate": "",
        "fundingTime": str(fundingTime),
        "nextFundingTime": str(fundingTime + FUNDING_MS),
        "minFundingRate": "-0.00375",
        "maxFundingRate": "0.00375",
        "interestRate": "0.0001",
        "impactValue": "20000",
        "settState": "settled",
        "settFundingRate": f"{premium / 3:.16f}",
        "premium": f"{premium:.16f}",
    }


def summary_row(world: World, market: Market) -> Push:
    """Return the row of ``opt-summary`` of one option."""
    place = market.instrument
    forward = world.indices[place.index].price
    years = max(place.expTime - world.now_ms, 0.0) / YEAR_MS
    greeks = {name: f"{value:.10f}" for name, value in option_greeks(place, forward, years).items()}
    return {
        "instType": place.instType,
        "instId": place.instId,
        "uly": place.instFamily,
        **greeks,
        **{f"{name}BS": value for name, value in greeks.items()},
        "lever": f"{1 / market.fair:.4f}",
        "markVol": str(OPTION_VOLATILITY),
        "bidVol": f"{OPTION_VOLATILITY - 0.01:.2f}",
        "askVol": f"{OPTION_VOLATILITY + 0.01:.2f}",
        "realVol": "",
        "volLv": str(OPTION_VOLATILITY),
        "fwdPx": f"{forward:.2f}",
    }


def status_row(title: str, state: str, begin: int, end: int, demo: bool) -> Push:
    """Return the row of ``status``: work on the WebSocket service, between two times in Unix ms."""
    return {
        "title": title,
        "state": state,
        "begin": str(begin),
        "end": str(end),
        "preOpenBegin": "",
        "href": "",
        "serviceType": "0",
        "system": "unified",
        "scheDesc": "",
        "maintType": "1",
        "env": "2" if demo else "1",
    }
