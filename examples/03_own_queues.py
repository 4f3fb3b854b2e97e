"""A queue per subscription, each read by a thread of its own; a refusal shows where it is waited for."""

import threading

from okx_ws import OkxWebSocketManager, SubscribeError, Subscription
from okx_ws.exchange import LocalExchange


def watch(subscription: Subscription) -> None:
    for number, message in enumerate(subscription, start=1):
        print(subscription.arg["instId"], message["data"][0]["last"])
        if number == 5:
            subscription.unsubscribe()  # ends the loop once the queue is drained


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
        threads = []
        for instId in ("BTC-USDT", "ETH-USDT-SWAP", "NO-SUCH-THING"):
            subscription = ws.subscribe("tickers", instId=instId, queue=True)
            try:
                subscription.wait(timeout=5)
            except SubscribeError as exc:
                print(f"refused: {exc}")
                continue
            threads.append(threading.Thread(target=watch, args=(subscription,)))
            threads[-1].start()
        for thread in threads:
            thread.join(timeout=10)
        print(ws.stats()["endpoints"]["public"]["messages"], "messages came over one link")


if __name__ == "__main__":
    main()
