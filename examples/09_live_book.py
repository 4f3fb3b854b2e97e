"""A live order book: read at any moment, unreadable while it cannot be proven current, whole again by itself."""

import threading

from okx_ws import BookOutOfSync, Event, OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
        lost = threading.Event()

        @ws.on_event
        def tell(event: Event) -> None:
            if event.type == "disconnected":
                lost.set()

        book = ws.order_book("BTC-USDT").wait_ready()
        for level in reversed(book.asks(3)):
            print(f"        ask {level.px:>10} {level.sz:>14}")
        print(f"spread {book.spread}, middle {book.mid}")
        for level in book.bids(3):
            print(f"        bid {level.px:>10} {level.sz:>14}")
        print("half a bitcoin costs", book.cost_to_fill("buy", "0.5"))

        exchange.drop()
        lost.wait(timeout=10)
        try:
            print("best bid:", book.best_bid)  # if the new link was quicker than we are
        except BookOutOfSync as exc:
            print("not readable:", exc)
        view = book.wait_ready().view(1)
        print("whole again:", view.bids[0].px, view.asks[0].px, "seqId", view.seqId)


if __name__ == "__main__":
    main()
