"""A dead man's switch: OKX cancels all orders when this program no longer says, once a second, that all is well."""

import threading
import time

from okx_ws import Event, OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
        last_thought = time.monotonic()
        told = threading.Event()

        @ws.on_event
        def tell(event: Event) -> None:
            if event.type in ("switch_failed", "switch_lapsed"):
                print(f"{event.type}: {event.msg}, {event.delay_s or 0:.0f} s left")
                told.set()

        def alive() -> bool:
            """The strategy has had a thought within the last two seconds."""
            return time.monotonic() - last_thought < 2

        answer = ws.cancel_all_after(10, healthy=alive)  # before the first order
        seconds = int(answer["triggerTime"]) - int(answer["ts"])
        print("armed: all orders are cancelled", seconds, "s after the last sign of life")

        (ticker,) = ws.rest.ticker("BTC-USDT")
        px = str(int(float(ticker["bidPx"]) * 0.9))
        ws.place_order(instId="BTC-USDT", tdMode="cash", side="buy", ordType="post_only", sz="0.01", px=px)
        print(len(ws.rest.orders_pending()), "order is open")
        for _ in range(3):
            last_thought = time.monotonic()
            threading.Event().wait(1)
        print("renewed", sum("cancel-all-after" in asked for asked in exchange.rest.requests) - 1, "times")

        print("now the strategy hangs, though the process lives")
        told.wait(timeout=10)
        ws.cancel_all_after(0)  # it would lapse in ten seconds; here it is ended instead, and the order left behind
        print("ended:", len(ws.rest.orders_pending()), "order is open still")


if __name__ == "__main__":
    main()
