"""An account and its orders, live: read at any moment, unreadable while they cannot be proven current."""

import threading

from okx_ws import AccountView, Event, OkxWebSocketManager, ViewOutOfSync
from okx_ws.exchange import LocalExchange


def main() -> None:
    # With the real one: OkxWebSocketManager.from_env(), which reads OKX_API_KEY, OKX_SECRET_KEY, OKX_PASSPHRASE.
    with LocalExchange() as exchange, OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
        lost = threading.Event()
        changes = []

        @ws.on_event
        def tell(event: Event) -> None:
            if event.type == "disconnected":
                lost.set()

        def changed(account: AccountView) -> None:  # on the link's own thread: it must return quickly
            changes.append(account.totals["uTime"])

        account = ws.account(on_update=changed).wait_synced()
        orders = ws.orders().wait_synced()
        for ccy, balance in sorted(account.balances().items()):
            print(f"{ccy:>5} {balance.availBal:>12}")
        print("of dogecoin there is", account.balance("DOGE").cashBal)
        for position in account.positions():
            print(position.instId, position.pos, "at", position.avgPx, "profit so far", position.upl)
        print("open orders:", [order.clOrdId or order.ordId for order in orders.open()])

        exchange.drop()
        lost.wait(timeout=10)
        try:
            print("bitcoin:", account.balance("BTC").cashBal)  # if the new link was quicker than we are
        except ViewOutOfSync as exc:
            print("not readable:", exc)
        account.wait_synced()
        orders.wait_synced()
        print(
            "whole again:",
            len(account.balances()),
            "currencies,",
            len(orders.open()),
            "open orders;",
            len(changes),
            "changes",
        )


if __name__ == "__main__":
    main()
