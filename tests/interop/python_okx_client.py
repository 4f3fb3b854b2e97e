"""PyPI's python-okx on a local exchange; run in an environment of its own. Prints what it got, as JSON, and ends."""

import asyncio
import json
import sys

from okx.websocket.WsPrivateAsync import WsPrivateAsync
from okx.websocket.WsPublicAsync import WsPublicAsync


class Seen:
    """Collects messages until every channel that is wanted has pushed, or was at least acknowledged."""

    def __init__(self, pushed, acknowledged=()):
        self._pushed, self._acknowledged = set(pushed), set(acknowledged)
        self.messages = []
        self.done = asyncio.Event()

    def __call__(self, text):
        message = json.loads(text)
        self.messages.append(message)
        channel = message.get("arg", {}).get("channel")
        if "data" in message:
            self._pushed.discard(channel)
        elif message.get("event") == "subscribe":
            self._acknowledged.discard(channel)
        if not self._pushed and not self._acknowledged:
            self.done.set()


async def follow(client, seen, *args):
    task = await client.start()
    await client.subscribe(list(args), seen, id="a1")
    await asyncio.wait_for(seen.done.wait(), 30)
    await client.unsubscribe(list(args[:1]), seen)
    while seen.messages[-1].get("event") != "unsubscribe":
        await asyncio.sleep(0.01)
    task.cancel()
    await client.stop()
    return seen.messages


async def main(urls, key):
    spot = [{"channel": name, "instId": "BTC-USDT"} for name in ("tickers", "trades", "books")]
    candle = {"channel": "candle1m", "instId": "BTC-USDT"}
    orders = {"channel": "orders", "instType": "ANY"}
    names = [arg["channel"] for arg in spot]
    secrets = (key["apiKey"], key["passphrase"], key["secretKey"])
    account = {"channel": "account"}
    public, business, private = await asyncio.gather(
        follow(WsPublicAsync(urls["public"]), Seen(names), *spot),
        follow(WsPublicAsync(urls["business"]), Seen(["candle1m"]), candle),
        follow(WsPrivateAsync(*secrets, urls["private"]), Seen(["account"], ["orders"]), account, orders),
    )
    print(json.dumps({"public": public, "business": business, "private": private}))


asyncio.run(main(*(json.loads(word) for word in sys.argv[1:])))
