"""What tests of several links of one endpoint want: args, messages, and waiting until links stand as they should."""

import json

from tests.watch import eventually

BOTH = ("BTC-USDT", "ETH-USDT")
PUBLIC = [
    {"channel": channel, "instId": instId} for channel in ("trades", "tickers", "books", "books5") for instId in BOTH
]
CANDLES = [{"channel": "candle1s", "instId": instId} for instId in BOTH]
TRADES = {"channel": "trades", "instId": "BTC-USDT"}


def tickers(n):
    return [{"channel": "tickers", "instId": f"I{i}-USDT"} for i in range(n)]


def trade(number):
    row = {"instId": "BTC-USDT", "tradeId": str(number), "px": "1", "sz": "2", "side": "buy", "count": "1"}
    return {"arg": TRADES, "data": [{**row, "ts": str(1_700_000_000_000 + number)}]}


def order(n):
    """A push of one fill, as OKX sends it to every connection."""
    row = {
        "instId": "BTC-USDT",
        "ordId": f"o{n}",
        "tradeId": str(n),
        "state": "filled",
        "uTime": str(1_700_000_000_000),
    }
    return json.dumps({"arg": {"channel": "orders", "instType": "ANY", "uid": "77982378738415879"}, "data": [row]})


def links(ws, endpoint="public"):
    return ws.stats()["endpoints"][endpoint]["links"]


def conn_id(ws, endpoint="public"):
    return ws.stats()["endpoints"][endpoint]["conn_id"]


def stats(ws):
    return ws.stats()["endpoints"]["public"]["subscriptions"]


def enough(verifier, n=20, channels=("trades", "tickers", "books", "books5")):
    """Wait until so many more messages came on each channel."""
    target = {channel: verifier.seen[channel] + n for channel in channels}
    eventually(lambda: all(verifier.seen[channel] >= least for channel, least in target.items()), timeout=15)


def handed_over(ws, before, endpoint="public"):
    """Wait until another link has taken the place of this one, and is alone."""
    eventually(lambda: [link["conn_id"] not in (before, None) for link in links(ws, endpoint)] == [True], timeout=10)
    eventually(lambda: all(line.pair is None for line in ws._lines[endpoint].connections))


def pairs_of(ws, endpoint="public"):
    return [line.pair for line in ws._lines[endpoint].lines]


def whole(ws, endpoint="public"):
    """Wait until both links of every line have everything for sure."""

    def complete():
        lines = ws._lines[endpoint]
        with lines.mutex:
            return all(
                pair.first.session.up and pair.second.session.up and pair._complete for pair in pairs_of(ws, endpoint)
            )

    eventually(complete, timeout=10)


def kill(exchange, conn_id):
    """Cut the connection of this id."""
    exchange.call(lambda: [line.abort() for line in exchange.hub.lines if line.desk.connId == conn_id])


def lose_both(exchange, watch, args, endpoint="public"):
    """Have both links lost, and neither back before something of each arg was made: else nothing is missing."""
    exchange.record()
    refused = exchange.faults.start("refuse", what="upgrade", endpoint=endpoint)
    exchange.drop(endpoint)
    for _ in range(2):
        watch.wait("disconnected")
    made = [len(exchange.sent(arg)) for arg in args]
    eventually(lambda: all(len(exchange.sent(a)) > n + 1 for a, n in zip(args, made, strict=True)), timeout=15)
    refused.stop()


def limited(most, code):
    """A script: acknowledge and push; close with `code` once there are more than `most` subscriptions."""

    def script(talk):
        talk.upgrade()
        args = []
        while True:
            request = talk.read_request()
            args += request["args"]
            if len(args) > most:
                talk.close(code, "too many")
                return args
            talk.ack(request)
            for arg in request["args"]:
                talk.json({"arg": arg, "data": [{"n": talk.number, "ts": str(1_700_000_000_000 + talk.number)}]})

    return script
