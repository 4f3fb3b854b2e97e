"""Traders on a world that stands still: the order desk alone, without sockets, threads or clocks."""

import json
from decimal import Decimal

from okx_ws.exchange import Account
from okx_ws.exchange.instruments import make_instruments, preopen_row
from okx_ws.exchange.markets import World
from okx_ws.exchange.order_desk import OrderDesk

NOW_MS = 1_784_000_000_000

EVERYTHING = (
    {"channel": "orders", "instType": "ANY"},
    {"channel": "fills"},
    {"channel": "account"},
    {"channel": "positions", "instType": "ANY"},
    {"channel": "balance_and_position"},
    {"channel": "sprd-orders"},
    {"channel": "sprd-trades"},
)


class Trader:
    """A connection of an account that is subscribed to everything; what it is sent is remembered."""

    def __init__(self, market, account):
        self.market = market
        self.account = account
        self.args = {str(number): arg for number, arg in enumerate(EVERYTHING)}
        self.texts = []
        self.sent = []

    def send(self, text):
        self.texts.append(text)
        self.sent.append(json.loads(text))

    def push(self, arg, push):
        self.sent.append({"arg": arg, **json.loads(json.dumps(push))})

    def ask(self, op, *args, **more):
        """Send a request; return its reply."""
        self.market.desk.operate(self, {"id": "o1", "op": op, "args": list(args), **more})
        return next(message for message in reversed(self.sent) if "op" in message)

    def do(self, op, instId="BTC-USDT", **row):
        """Ask about one order; return the row of the reply."""
        (found,) = self.ask(op, {"instIdCode": self.market.code(instId), **row})["data"]
        return found

    def order(self, instId="BTC-USDT", **row):
        """Place an order: a limit order for cash, unless told otherwise; return the reply's row."""
        spot = len(instId.split("-")) == 2
        usual = {"tdMode": "cash" if spot else "cross", "side": "buy", "ordType": "limit"}
        return self.do("order", instId, **{**usual, **row})

    def rows(self, channel):
        """Return the rows that a channel has pushed."""
        return [row for m in self.sent if m.get("arg", {}).get("channel") == channel for row in m["data"]]

    def states(self, ordId=None):
        """Return the states that ``orders`` has pushed."""
        return [row["state"] for row in self.rows("orders") if ordId in (None, row["ordId"])]

    def last(self, ordId):
        """Return the newest row of an order."""
        return [row for row in self.rows("orders") if row["ordId"] == ordId][-1]


class Still:
    """A world that moves only when it is told to, and who trades there."""

    def __init__(self, *accounts, strict=False, only=None):
        self.now_us = NOW_MS * 1000
        listed = [place for place in make_instruments(NOW_MS, False) if only is None or place.instId in only]
        self.world = World(listed, NOW_MS, 1, [preopen_row(False)])
        self.accounts = accounts or tuple(
            Account(apiKey=name, uid=name, positions=[], balances={"BTC": 100.0, "USDT": 50_000.0}) for name in "ab"
        )
        self.traders = [Trader(self, account) for account in self.accounts]
        self.waiting = []
        self.desk = OrderDesk(
            self.world,
            self.accounts,
            clock_us=lambda: self.now_us,
            subscribers=lambda: self.traders,
            later=lambda delay_s, call: self.waiting.append(call),
            strict=strict,
        )

    def settle(self):
        """Let everything happen that waits."""
        while self.waiting:
            self.waiting.pop(0)()

    def code(self, instId):
        return self.world.markets[instId].instrument.instIdCode

    def book(self, instId="BTC-USDT"):
        return self.world.markets[instId]

    def lay(self, instId, bids, asks):
        """Give an instrument exactly these levels: [px, sz] each, the best first."""
        market = self.book(instId)
        place = market.instrument
        for side, levels in ((market.bids, bids), (market.asks, asks)):
            wanted = {ticks(place, px): lots(place, sz) for px, sz in levels}
            for px, size in wanted.items():
                side.put(px, size, 1)
            for px in [px for px in side.levels if px not in wanted]:
                side.put(px, 0, 0)
        market.fair = (float(bids[0][0]) + float(asks[0][0])) / 2

    def px(self, instId="BTC-USDT", side="asks"):
        """Return the best price of a side as a text."""
        market = self.book(instId)
        return market.instrument.px(getattr(market, side).best)


def ticks(place, px):
    return int(Decimal(px) / Decimal(place.px(1)))


def lots(place, sz):
    return int(Decimal(sz) / Decimal(place.sz(1)))
