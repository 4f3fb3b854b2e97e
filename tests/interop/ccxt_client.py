"""ccxt's pro client on a local exchange; run in an environment of its own. Prints what it got, as JSON, and ends."""

import asyncio
import json
import sys

import ccxt.pro


async def main(urls, key):
    client = ccxt.pro.okx({"apiKey": key["apiKey"], "secret": key["secretKey"], "password": key["passphrase"]})
    client.urls["api"] = {"rest": urls["rest"], "ws": urls["public"].removesuffix("/public")}
    client.options["fetchMarkets"] = {"types": ["spot", "swap", "future"]}
    got = {}
    try:
        await client.load_markets()
        got["symbols"] = sorted(client.markets)
        got["ticker"] = await client.watch_ticker("BTC/USDT")
        got["trades"] = await client.watch_trades("BTC/USDT:USDT")
        for _ in range(20):
            book = await client.watch_order_book("BTC/USDT")
        got["book"] = {"bids": book["bids"][:3], "asks": book["asks"][:3], "nonce": book["nonce"]}
        got["candles"] = await client.watch_ohlcv("BTC/USDT", "1m")
        got["balance"] = (await client.watch_balance())["total"]
        got["positions"] = len(await client.watch_positions())
        orders = asyncio.ensure_future(client.watch_orders())
        await asyncio.wait([orders], timeout=1)
        orders.cancel()
        got["rest"] = {
            "ticker": (await client.fetch_ticker("BTC/USDT"))["symbol"],
            "trades": len(await client.fetch_trades("BTC/USDT", limit=5)),
            "book": len((await client.fetch_order_book("BTC/USDT", limit=5))["bids"]),
            "candles": len(await client.fetch_ohlcv("BTC/USDT", "1m")),
            "funding": (await client.fetch_funding_rate("BTC/USDT:USDT"))["symbol"],
            "balance": (await client.fetch_balance())["total"],
            "open": await client.fetch_open_orders("BTC/USDT"),
        }
    finally:
        await client.close()
    print(json.dumps(got))


asyncio.run(main(*(json.loads(word) for word in sys.argv[1:])))
