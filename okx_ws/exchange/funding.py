"""Funding of perpetual swaps: the rate that is forming, and those that were settled. Pure.

What will be settled at a funding time follows from the instrument and the time alone; the forecast comes from the
premium, and reaches it as its time does. So the channel, REST and REST's history agree.

Source: OKX v5 docs, "Funding rate channel", "Get funding rate history", read June 2026.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from .markets import Market, World

__all__ = ["FUNDING_MS", "funding_row", "settled_rates"]

FUNDING_MS = 8 * 3_600_000

#: OKX's history reaches back three months.
HISTORY_MS = 90 * 24 * 3_600_000

METHOD = {"method": "current_period", "formulaType": "withRate"}


def settled_rate(instId: str, fundingTime: int) -> float:
    """Return the rate that is settled at a funding time: 0.03 % at the most."""
    return (zlib.crc32(f"{instId} {fundingTime}".encode()) % 60_001 - 30_000) / 1e8


def next_time(ts: int) -> int:
    """Return the funding time that comes after `ts`, Unix ms."""
    return ts - ts % FUNDING_MS + FUNDING_MS


def funding_row(world: World, market: Market) -> dict[str, Any]:
    """Return the row of ``funding-rate``."""
    place = market.instrument
    index = world.indices[place.index].price
    premium = (market.fair - index) / index
    fundingTime = next_time(world.ts)
    left = (fundingTime - world.ts) / FUNDING_MS
    return {
        "instType": place.instType,
        "instId": place.instId,
        **METHOD,
        "fundingRate": f"{settled_rate(place.instId, fundingTime) + left * premium / 10:.16f}",
        "nextFundingRate": "",
        "fundingTime": str(fundingTime),
        "nextFundingTime": str(fundingTime + FUNDING_MS),
        "minFundingRate": "-0.00375",
        "maxFundingRate": "0.00375",
        "interestRate": "0.0001",
        "impactValue": "20000",
        "settState": "settled",
        "settFundingRate": f"{settled_rate(place.instId, fundingTime - FUNDING_MS):.16f}",
        "premium": f"{premium:.16f}",
    }


def settled_rates(world: World, market: Market) -> Iterator[dict[str, str]]:
    """Give the rows of REST's funding history, the newest first."""
    place = market.instrument
    latest = next_time(world.ts) - FUNDING_MS
    for fundingTime in range(latest, world.ts - HISTORY_MS, -FUNDING_MS):
        rate = f"{settled_rate(place.instId, fundingTime):.16f}"
        yield {
            "instType": place.instType,
            "instId": place.instId,
            **METHOD,
            "fundingRate": rate,
            "realizedRate": rate,
            "fundingTime": str(fundingTime),
        }
