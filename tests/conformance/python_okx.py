"""Trade on an exchange with OKX's own client, PyPI's python-okx: a script for an environment that has it.

Reads a JSON object from stdin: ``rest`` and ``private`` (addresses), ``key``. Prints one: what each call answered, and
what came over WebSocket. It is never imported by the tests: other packages install a module of that name, too.
"""

import asyncio
import json
import sys
import warnings

from okx.Account import AccountAPI
from okx.PublicData import PublicAPI
from okx.Trade import TradeAPI
from okx.websocket.WsPrivateAsync import WsPrivateAsync

SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"


def over_rest(asked):
    """Place, look up, amend and cancel; return the answers by name."""
    key = asked["key"]
    login = (key["apiKey"], key["secretKey"], key["passphrase"])
    trade, account = (api(*login, flag="0", domain=asked["rest"]) for api in (TradeAPI, AccountAPI))
    found = {"instruments": PublicAPI(flag="0", domain=asked["rest"]).get_instruments("SPOT", instId=SPOT)}
    found["before"] = account.get_account_balance()
    limit = {"tdMode": "cash", "side": "buy", "ordType": "limit"}
    found["place"] = trade.place_order(instId=SPOT, **limit, px="60000", sz="0.1", clOrdId="rest1", tag="py")
    found["live"] = trade.get_order(instId=SPOT, clOrdId="rest1")
    found["amend"] = trade.amend_order(instId=SPOT, clOrdId="rest1", newPx="59000", reqId="r1")
    found["pending"] = trade.get_order_list(instType="SPOT")
    found["cancel"] = trade.cancel_order(instId=SPOT, clOrdId="rest1")
    found["again"] = trade.cancel_order(instId=SPOT, clOrdId="rest1")
    found["history"] = trade.get_orders_history("SPOT")
    row = {"instId": SPOT, **limit, "px": "60000", "sz": "0.01"}
    found["several"] = trade.place_multiple_orders([row, {**row, "sz": "99"}])
    ordId = found["several"]["data"][0]["ordId"]
    found["amend_several"] = trade.amend_multiple_orders([{"instId": SPOT, "ordId": ordId, "newSz": "0.02"}])
    found["cancel_several"] = trade.cancel_multiple_orders([{"instId": SPOT, "ordId": ordId}])
    found["market"] = trade.place_order(instId=SWAP, tdMode="cross", side="sell", ordType="market", sz="12")
    found["fills"] = trade.get_fills(instType="SWAP")
    found["positions"] = account.get_positions(instId=SWAP)
    found["balance"] = account.get_account_balance(ccy="USDT")
    return found


async def over_websocket(asked, code):
    """Log in, subscribe, place, amend and cancel; return every text that came."""
    key, texts, arrived = asked["key"], [], asyncio.Event()

    def take(text):
        texts.append(json.loads(text))
        arrived.set()

    async def until(holds):
        while not any(holds(message) for message in texts):
            arrived.clear()
            await asyncio.wait_for(arrived.wait(), 20)

    def is_reply(id):
        return lambda message: message.get("id") == id

    client = WsPrivateAsync(key["apiKey"], key["passphrase"], key["secretKey"], asked["private"])
    consumer = await client.start()
    await client.subscribe([{"channel": "orders", "instType": "ANY"}, {"channel": "account"}], take)
    order = {"instIdCode": code, "tdMode": "cash", "side": "buy", "ordType": "post_only", "px": "60000", "sz": "0.1"}
    await client.place_order([{**order, "clOrdId": "ws1"}], id="p1")
    await until(is_reply("p1"))
    await client.amend_order([{"instIdCode": code, "clOrdId": "ws1", "newSz": "0.2", "reqId": "r2"}], id="a1")
    await until(is_reply("a1"))
    await client.cancel_order([{"instIdCode": code, "clOrdId": "ws1"}], id="c1")
    await until(is_reply("c1"))
    await client.batch_orders([{**order, "clOrdId": "ws2"}, {**order, "clOrdId": "ws-3"}], id="b1")
    await until(is_reply("b1"))
    await client.batch_cancel_orders([{"instIdCode": code, "clOrdId": "ws2"}], id="b2")
    await until(
        lambda m: any(row.get("clOrdId") == "ws2" and row.get("state") == "canceled" for row in m.get("data", []))
    )
    await client.stop()
    await consumer
    return texts


def main():
    """Do both, and print what came of it."""
    warnings.simplefilter("ignore")
    asked = json.load(sys.stdin)
    rest = over_rest(asked)
    code = rest["instruments"]["data"][0]["instIdCode"]
    print(json.dumps({"rest": rest, "websocket": asyncio.run(over_websocket(asked, code))}))


if __name__ == "__main__":
    main()
