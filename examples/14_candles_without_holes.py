"""A candle recorder without holes: what closed while the link was down is filled in over REST, at its place."""

import threading

from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange


def main() -> None:
    with LocalExchange(speed=5) as exchange:
        with OkxWebSocketManager(urls=exchange.urls, markers=True) as ws:
            ws.subscribe("candle1s", instId="BTC-USDT")
            threading.Timer(1.5, exchange.drop).start()  # the cable is pulled
            recorded: list[list[str]] = []
            for message in ws.messages(timeout=10):
                if message.get("event") == "gap":
                    left = "nothing" if message["repaired"] else message.get("missing", "what no message tells")
                    print(f"the link was lost ({message['cause']}); missing after all: {left}")
                    continue
                for candle in message["data"]:
                    if candle[-1] == "1":  # closed: it changes no more
                        recorded.append(candle)
                        how = "over REST" if message.get("backfill") else "live"
                        print(candle[0], "open", candle[1], "close", candle[4], how)
                if len(recorded) >= 15:
                    break
            starts = [int(candle[0]) for candle in recorded]
            whole = starts == list(range(starts[0], starts[-1] + 1, 1000))
            print(len(recorded), "candles, each once, none missing" if whole else "candles, with holes!")


if __name__ == "__main__":
    main()
