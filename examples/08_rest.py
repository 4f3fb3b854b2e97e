"""Market data and an account over REST, beside a stream; and what a refusal looks like."""

from okx_ws import OkxWebSocketManager, RestError
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange(speed=20) as exchange:
        with OkxWebSocketManager(**exchange.credentials, urls=exchange.urls) as ws:
            ws.subscribe("candle1m", instId="BTC-USDT").wait()
            ws.wait_for("candle1m")
            (ticker,) = ws.rest.ticker("BTC-USDT")
            print("last", ticker["last"], "bid", ticker["bidPx"], "ask", ticker["askPx"])
            for instrument in ws.rest.instruments("SWAP")[:3]:
                print(instrument["instId"], "ticks of", instrument["tickSz"], "code", instrument["instIdCode"])
            for start, opened, high, low, close, *_ in ws.rest.candles("BTC-USDT", bar="1m", limit=2):
                print("candle of", start, opened, high, low, close)
            (account,) = ws.rest.balance("BTC,USDT")
            for detail in account["details"]:
                print(detail["ccy"], detail["cashBal"])
            try:
                ws.rest.ticker("NO-SUCH-THING")
            except RestError as exc:
                print("refused:", exc)


if __name__ == "__main__":
    main()
