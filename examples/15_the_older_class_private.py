"""The older class's private program: a key by position, callbacks overridden, msgQueue; only its imports are new."""

import json
import threading

import okx_ws.consts as c
from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange


class Account(OkxWebSocketManager):
    """As it was written: what arrives is looked at, and handed to the base class, which queues it."""

    def on_open(self, ws) -> None:
        print("opened", self.url.rpartition("/")[2], "sandbox" if self.sandbox else "live")
        super().on_open(ws)

    def on_message(self, ws, message) -> None:
        event = json.loads(message).get("event")
        if event:
            print("event:", event)
        super().on_message(ws, message)

    def on_error(self, ws, error) -> None:
        print("error:", error)

    def on_close(self, ws, close_status_code, close_msg) -> None:
        print("closed:", close_status_code)


def main() -> None:
    with LocalExchange() as exchange:
        apiKey, secretKey, passphrase = exchange.credentials.values()
        ws = Account(apiKey, secretKey, passphrase, False, urls=exchange.urls)  # `urls` is for the local exchange
        print("with the real one it would log in to", c.WS_PRIVATE_URL)
        ws.private_subscribe()
        print("subscribed:", [arg["channel"] for arg in ws.channels])

        seen = set()
        while len(seen) < 2:
            message = ws.msgQueue.get()
            seen.add(message["arg"]["channel"])
            print(message["arg"]["channel"], "has", len(message["data"]), "rows")

        order = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "100"}
        threading.Thread(target=ws.rest.post, args=("/api/v5/trade/order", order)).start()
        while True:
            message = ws.msgQueue.get()
            if message["arg"]["channel"] == "orders":
                print("order:", [row["state"] for row in message["data"]])
                if message["data"][-1]["state"] == "filled":
                    break
        ws.close()


if __name__ == "__main__":
    main()
