"""An account and its orders, live: an order followed to its end, and both whole again after a lost link."""

import threading
from decimal import Decimal

from okx_ws import Event, OkxWebSocketManager, Order, ViewOutOfSync
from okx_ws.exchange import LocalExchange


def main() -> None:
    # With the real one: OkxWebSocketManager.from_env(), which reads OKX_API_KEY, OKX_SECRET_KEY, OKX_PASSPHRASE.
    with LocalExchange() as exchange, OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
        lost = threading.Event()

        @ws.on_event
        def tell(event: Event) -> None:
            if event.type == "disconnected":
                lost.set()

        def changed(order: Order) -> None:  # on the link's own thread: it must return quickly
            print(f"  {order.clOrdId} is {order.state}, filled {order.accFillSz} of {order.sz}")

        account = ws.account().wait_synced()
        orders = ws.orders(on_update=changed).wait_synced()
        print("bitcoin:", account.balance("BTC").cashBal, "dogecoin:", account.balance("DOGE").cashBal)
        for position in account.positions():
            print(position.instId, position.pos, "at", position.avgPx, "profit so far", position.upl)

        spot = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "sz": "0.01"}
        ws.place_order(**spot, ordType="market", tgtCcy="base_ccy", clOrdId="now")
        order = orders.wait("now", "filled", timeout=10)
        print("bought at", order.avgPx, "in", len(order.fills), "fills")
        far = str((Decimal(order.avgPx) / 2).quantize(Decimal(1)))
        ws.place_order(**spot, ordType="limit", px=far, clOrdId="later")
        resting = orders.wait("later", "live", timeout=10)

        exchange.drop()
        lost.wait(timeout=10)
        try:
            print("open:", len(orders.open()))  # if the new link was quicker than we are
        except ViewOutOfSync as exc:
            print("not readable:", exc)
        orders.wait_synced()
        print("whole again, open:", [order.clOrdId for order in orders.open()])
        ws.cancel_order(instId=resting.instId, ordId=resting.ordId)
        print("ended as", resting.wait("canceled", timeout=10).state)


if __name__ == "__main__":
    main()
