"""An order's life: placed, changed, followed on its channel, cancelled; a refusal; and a batch, order by order."""

import threading

from okx_ws import OkxWebSocketManager, OrderRejected, OutcomeUnknown
from okx_ws.exchange import LocalExchange


def main() -> None:
    # With the real one: OkxWebSocketManager.from_env(sandbox=True), and a demo key.
    with LocalExchange() as exchange, OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
        over = threading.Event()

        def follow(message: dict) -> None:
            for order in message["data"]:
                filled = f"{order['accFillSz'] or 0} of {order['sz']} filled"
                print(f"  orders: {order['clOrdId']} {order['state']}, {filled}")
                if order["clOrdId"] == "first" and order["state"] in ("filled", "canceled"):
                    over.set()

        ws.subscribe("orders", instType="SPOT", handler=follow).wait()
        (ticker,) = ws.rest.ticker("BTC-USDT")
        px = str(int(float(ticker["bidPx"]) * 0.99))  # one per cent under the market: it will rest in the book
        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": px}

        try:
            placed = ws.place_order(**order, sz="0.01", clOrdId="first", check=True, timeout=5)
            print("accepted as", placed.ordId)
        except OrderRejected as exc:
            print("certainly not carried out:", exc.sCode, exc.sMsg)
        except OutcomeUnknown as exc:  # no reply, a lost link: never sent again by itself
            print("it may be there:", exc.resolve())

        ws.amend_order(instId="BTC-USDT", clOrdId="first", newSz="0.02")
        ws.cancel_order(instId="BTC-USDT", clOrdId="first")
        over.wait(timeout=10)

        try:
            ws.place_order(**order, sz="1000000")
        except OrderRejected as exc:
            print("refused:", exc)

        rows = ws.place_orders([{**order, "sz": "0.01"}, {**order, "sz": "0"}])
        for row in rows:
            print("accepted" if row.ok else f"refused with {row.sCode}: {row.sMsg}", row.clOrdId)
        ws.cancel_orders([{"instId": "BTC-USDT", "ordId": row.ordId} for row in rows if row.ok])
        print(len(ws.rest.orders_pending()), "orders are open")


if __name__ == "__main__":
    main()
