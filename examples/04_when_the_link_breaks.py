"""The exchange is cut off three times; the loop below does not notice, the events tell."""

import threading

from okx_ws import Event, OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
        back = threading.Event()

        @ws.on_event
        def tell(event: Event) -> None:
            if event.type == "disconnected":
                print(f"  lost: code {event.code}, {event.msg}")
            elif event.type == "reconnecting":
                print(f"  attempt {event.attempt} in {event.delay_s:.2f} s")
            elif event.type == "subscribed":
                print(f"  subscribed: {event.arg}")
                back.set()

        ws.subscribe("tickers", instId="BTC-USDT").wait()
        for number, message in enumerate(ws, start=1):
            print(message["data"][0]["last"])
            if number % 5 == 0:
                if number == 20:
                    break
                back.clear()
                exchange.drop()  # as if a cable was pulled: no close frame, nothing
                back.wait(timeout=10)
        print(ws.stats()["endpoints"]["public"]["connects"], "links, one loop")


if __name__ == "__main__":
    main()
