"""A recorder that knows what it missed: markers stand in the queue where messages are missing."""

import threading

from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange(speed=5) as exchange:
        with OkxWebSocketManager(urls=exchange.urls, markers=True, queue_size=50) as ws:
            ws.subscribe("trades", instId="BTC-USDT")
            ws.get(timeout=10)
            exchange.drop()  # one hole: the link is lost
            threading.Event().wait(2)  # and another: nobody reads, while the queue holds only 50 messages
            trades = 0
            for message in ws.messages(timeout=1):
                if message.get("event") == "gap":
                    span = message["until_ms"] - message["since_ms"]
                    lost = "unknown" if message["lost"] is None else message["lost"]
                    print(f"hole of {span} ms in {message['arg']}: {message['cause']}, lost: {lost}")
                    continue
                trades += len(message["data"])
                if trades % 25 == 0:
                    print(trades, "trades, the last at", message["data"][-1]["px"])
                if trades > 100:
                    break
            print(trades, "trades,", ws.stats()["queue"]["dropped"], "messages dropped and told")


if __name__ == "__main__":
    main()
