"""From an accepted arg to its feed: which channel pushes what, and how often. Pure.

Cadences after OKX v5 docs, each channel's page, read June 2026; in the world's own time.
"""

from __future__ import annotations

from collections.abc import Callable

from .accounts import Account
from .book_feeds import BookFeed, RpiBookFeed, WholeBookFeed
from .candles import CandleFeed, Candles
from .event_feeds import AuctionFeed, BlockTickerFeed, InstrumentFeed, LiquidationFeed, estimated_price_feed
from .feeds import ChangeFeed, Feed, OptionTradeFeed, TradeFeed
from .funding import funding_row
from .markets import Market, World
from .private_feeds import make_private_feed
from .rows import (
    index_row,
    interest_row,
    limit_row,
    mark_row,
    summary_row,
    ticker_row,
)
from .spread_markets import make_spread_feed

__all__ = ["make_feed"]

#: Channels of what happens, by instType.
EVENTS: dict[str, Callable[[World, dict[str, str]], Feed]] = {
    "instruments": InstrumentFeed,
    "liquidation-orders": LiquidationFeed,
    "estimated-price": estimated_price_feed,
}


def make_feed(world: World, arg: dict[str, str], account: Account | None) -> Feed | None:
    """Return the feed of an arg that was accepted, or None if its channel is quiet here.

    Args:
        world: What there is.
        arg: What was asked for.
        account: Who is logged in.
    """
    channel, instId = arg["channel"], arg.get("instId", "")
    if channel == "opt-summary":
        family = options(world, arg)
        return ChangeFeed(world, lambda: [summary_row(world, market) for market in family], 1000)
    if channel in EVENTS:
        return EVENTS[channel](world, arg)
    if channel.startswith("sprd-"):
        return make_spread_feed(world, arg)
    if channel == "option-trades":
        return OptionTradeFeed(world, options(world, arg))
    if channel == "status":
        return ChangeFeed(world, lambda: world.status, 100)
    if channel.startswith("index-") and instId in world.indices:
        index = world.indices[instId]
        if channel == "index-tickers":
            return ChangeFeed(world, lambda: [index_row(index)], 100, 60_000)
        return candle_feed(world, channel, instId, lambda: f"{index.price:.2f}", None)
    market = world.markets.get(instId)
    feed = make_market_feed(world, channel, market) if market is not None else None
    if feed is None and account is not None:
        return make_private_feed(world, arg, account)
    return feed


def options(world: World, arg: dict[str, str]) -> list[Market]:
    """Return the options an arg asks for; its instId counts more than its instFamily."""
    narrow = "instId" if "instId" in arg else "instFamily"
    places = [market for market in world.markets.values() if market.instrument.instType == "OPTION"]
    return [market for market in places if getattr(market.instrument, narrow) == arg[narrow]]


def make_market_feed(world: World, channel: str, market: Market) -> Feed | None:
    """Return the feed of a market's channel, or None."""
    place = market.instrument
    if channel.startswith("candle"):
        return candle_feed(world, channel, place.instId, lambda: place.px(market.last_ticks), market)
    if channel.startswith("mark-price-candle"):
        return candle_feed(world, channel, place.instId, lambda: place.px(market.mark), None)
    makers: dict[str, Callable[[], Feed]] = {
        "call-auction-details": lambda: AuctionFeed(world, market),
        "block-tickers": lambda: BlockTickerFeed(world, market),
        "tickers": lambda: ChangeFeed(world, lambda: [ticker_row(market)], 100),
        "trades": lambda: TradeFeed(world, market, aggregated=True),
        "trades-all": lambda: TradeFeed(world, market, aggregated=False),
        "books": lambda: BookFeed(world, market, 400, 100),
        "books-l2-tbt": lambda: BookFeed(world, market, 400, 10),
        "books50-l2-tbt": lambda: BookFeed(world, market, 50, 10),
        "books-rpi": lambda: RpiBookFeed(world, market, 400, 100),
        "books5": lambda: WholeBookFeed(world, market, 5, 100, with_instId=True),
        "bbo-tbt": lambda: WholeBookFeed(world, market, 1, 10, with_instId=False),
        "mark-price": lambda: ChangeFeed(world, lambda: [mark_row(market)], 200, 10_000),
        "funding-rate": lambda: ChangeFeed(world, lambda: [funding_row(world, market)], 60_000, 60_000),
        "open-interest": lambda: ChangeFeed(world, lambda: [interest_row(world, market)], 3000),
        "price-limit": lambda: ChangeFeed(world, lambda: [limit_row(market)], 200),
    }
    maker = makers.get(channel)
    return maker() if maker is not None else None


def candle_feed(world: World, channel: str, instId: str, price: Callable[[], str], market: Market | None) -> Feed:
    """Return a feed of the world's bars; they are made when they are first asked for, and stay."""
    key = f"{channel} {instId}"
    candles = world.followers.get(key)
    if not isinstance(candles, Candles):
        candles = world.followers[key] = Candles(channel.partition("candle")[2], world.ts, price, market)
    return CandleFeed(world, candles)
