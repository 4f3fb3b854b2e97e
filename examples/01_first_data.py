"""First data in three lines; here against the local exchange, which needs no key and no internet.

For the real one, drop `exchange` and `urls=…`: OkxWebSocketManager() alone connects to OKX.
"""

from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
        ws.subscribe("tickers", instId="BTC-USDT")
        ws.subscribe("candle1m", instId="BTC-USDT")  # goes to /business by itself
        for number, message in enumerate(ws, start=1):
            print(message["arg"]["channel"], message["data"])
            if number == 10:
                break


if __name__ == "__main__":
    main()
