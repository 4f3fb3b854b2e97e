"""A program written against the older class, with only its imports changed (and pointed at the local exchange)."""

import threading

from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange


class Printer(OkxWebSocketManager):
    """Prints by channel, and closes itself after a while."""

    printed = 0

    def on_open(self, ws) -> None:
        print("open:", self.url.rpartition("/")[2])

    def messagePublish(self, message) -> None:
        channel = message["arg"]["channel"]
        if channel == "mark-price":
            print("mark price", message["data"][0]["markPx"])
        elif channel == "tickers":
            print("last price", message["data"][0]["last"])
        self.printed += 1
        if self.printed == 12:
            self.close()


def main() -> None:
    with LocalExchange() as exchange:
        ws = Printer(urls=exchange.urls)
        ws.public_subscribe("btc")

        looper = OkxWebSocketManager("", "", "", False, urls=exchange.urls)
        looper.url = exchange.urls["public"]
        looper.channels = [{"channel": "tickers", "instId": "ETH-USDT"}]
        threading.Thread(target=looper.listenStreams).start()
        for _ in range(3):
            print("from the queue:", looper.msgQueue.get(timeout=10)["data"][0]["last"])
        looper.close()

        ws.wait_until_over()
        ws.close()


if __name__ == "__main__":
    main()
