"""Handlers instead of a queue: one per subscription, one by pattern, and one for what happens to the links."""

import threading

from okx_ws import Event, OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    done = threading.Event()
    volume = 0.0

    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:

        @ws.on_event
        def tell(event: Event) -> None:
            print("event:", event.type, event.arg or event.msg)

        @ws.on("candle*")  # every candle channel; the name in brackets is a shell pattern
        def on_candle(message: dict) -> None:
            start, opened, high, low, close, *_ = message["data"][0]
            print(f"candle {message['arg']['instId']}: {opened} {high} {low} {close}")

        def on_trade(message: dict) -> None:
            nonlocal volume
            for trade in message["data"]:
                volume += float(trade["sz"])
                print(f"{trade['side']:4} {trade['sz']} at {trade['px']}")
            if volume > 0.5:
                done.set()

        ws.subscribe([{"channel": "trades", "instId": instId} for instId in ("BTC-USDT", "ETH-USDT")], handler=on_trade)
        ws.subscribe("candle1m", instId="BTC-USDT")
        done.wait(timeout=10)
    print(f"traded {volume:.4f}")


if __name__ == "__main__":
    main()
