"""Balances and positions of an account; the key is the local exchange's. A wrong key says what is wrong with it."""

from okx_ws import LoginError, OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange() as exchange:
        # With the real one: OkxWebSocketManager.from_env(), which reads OKX_API_KEY, OKX_SECRET_KEY, OKX_PASSPHRASE.
        with OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
            ws.subscribe("account")
            ws.subscribe("positions", instType="ANY")
            for _ in range(2):
                message = ws.get(timeout=10)
                rows = message["data"]
                print(message["arg"]["channel"], "of account", message["arg"]["uid"], "with", len(rows), "rows")
                for detail in rows[0].get("details", []) if rows else []:
                    print(f"  {detail['ccy']}: {detail['cashBal']}")

        wrong = {**exchange.credentials, "passphrase": "not this one"}
        with OkxWebSocketManager(**wrong, urls=exchange.urls) as ws:
            try:
                ws.subscribe("account").wait()
            except LoginError as exc:
                print("refused:", exc)


if __name__ == "__main__":
    main()
