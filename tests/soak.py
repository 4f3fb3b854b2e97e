"""Trades delivered = trades that happened, for as long as you like: ``python -m tests.soak --seconds 600``.

A local exchange, links that fall at random, now and then for seconds, repairs over REST; at the end each stream is
compared with the truth, from when it was active to the last loss, and the exit code tells whether all of them are the
same: each trade once, in order, and each closed bar.
"""

import argparse
import random
import resource
import sys
import threading
import time
from collections import Counter, defaultdict

from okx_ws import Backoff, Event, Limits, OkxWebSocketManager
from okx_ws.exchange import LocalExchange
from okx_ws.exchange.spread_markets import spread_of

TRADES = [
    {"channel": "trades", "instId": "BTC-USDT"},
    {"channel": "trades", "instId": "ETH-USDT"},
    {"channel": "trades-all", "instId": "BTC-USDT-SWAP"},
    {"channel": "sprd-public-trades", "sprdId": "BTC-USDT_BTC-USDT-SWAP"},
]
CANDLES = {"candle1s": 1_000, "candle1m": 60_000}


class Truth:
    """Every trade that happens, by instrument."""

    def __init__(self, exchange):
        self.ids = defaultdict(list)
        self._spread = spread_of(exchange.world, TRADES[-1]["sprdId"])
        exchange.world.followers["soak"] = self

    def watch(self, ts, trades):
        for place, new in [*trades.items(), (TRADES[-1]["sprdId"], self._spread.trades)]:
            for one in new:
                self.ids[place] += range(one.tradeId - one.count + 1, one.tradeId + 1)

    def newest(self):
        """Return the last trade of each that there is now."""
        return {place: ids[-1] for place, ids in list(self.ids.items())}


class Ear:
    """What is delivered."""

    def __init__(self):
        self.trades = defaultdict(list)
        self.candles = defaultdict(list)
        self.counts = Counter()

    def take(self, message):
        if message.get("event"):
            self.counts["holes repaired" if message["repaired"] else "holes that stay"] += 1
            if not message["repaired"]:
                print(message)
            return
        self.counts["messages over REST" if message.get("backfill") else "messages"] += 1
        for row in message["data"]:
            last = int(row["tradeId"])
            place = row.get("instId") or row["sprdId"]
            self.trades[place] += range(last - int(row.get("count", 1)) + 1, last + 1)

    def take_candle(self, message):
        if not message.get("event") and not message.get("fallback"):
            bars = [int(row[0]) for row in message["data"] if row[-1] == "1"]
            self.candles[message["arg"]["channel"]] += bars

    def hear(self, event: Event):
        self.counts[f"event {event.type}"] += 1


def lose(exchange, rng, seconds, pause_s):
    """Have links fall at random; one loss in ten is an outage, long enough for polling."""
    until, wait = time.monotonic() + seconds, threading.Event().wait
    while time.monotonic() < until:
        wait(rng.expovariate(1 / pause_s))
        outage = exchange.faults.start("refuse", what="upgrade") if rng.random() < 0.1 else None
        exchange.drop()
        if outage is not None:
            wait(rng.uniform(1, 8))
            outage.stop()


def caught_up(ear, until):
    """Wait until the last repairs are over, half a minute at the most."""
    deadline = time.monotonic() + 30
    places = [arg.get("instId") or arg["sprdId"] for arg in TRADES]
    while time.monotonic() < deadline and any(ear.trades[place][-1] < until[place] for place in places):
        threading.Event().wait(0.1)


def judge(ear, truth, since, until):
    """Compare with the truth, and print; return whether all is well."""
    good = True
    for arg in TRADES:
        place = arg.get("instId") or arg["sprdId"]
        got, all_of_them = ear.trades[place], truth.ids[place]
        wanted = all_of_them[all_of_them.index(got[0]) : all_of_them.index(got[-1]) + 1]
        whole = (
            got[0] <= since.get(place, got[0]) + 1 and got[-1] >= until[place]
        )  # from when it was active, and to the end
        good = good and got == wanted and whole
        twice, lost = len(got) - len(set(got)), len(set(wanted) - set(got))
        told = f"{len(got)} delivered of {len(wanted)}, {twice} twice, {lost} lost, in order: {got == wanted}"
        print(f"{arg['channel']} {place}: {told}, from the first to the last: {whole}")
    for channel, bar_ms in CANDLES.items():
        bars = ear.candles[channel]
        whole = bars == list(range(bars[0], bars[-1] + 1, bar_ms))
        good = good and whole
        print(f"{channel}: {len(bars)} closed, each once, none missing: {whole}")
    return good


def run(seconds, seed, pause_s):
    """Run; return whether all was delivered."""
    rng = random.Random(seed)
    ear, limits = Ear(), Limits(connects_per_s=1000)
    with LocalExchange(speed=5, seed=seed) as exchange:
        truth = Truth(exchange)
        with OkxWebSocketManager(
            urls=exchange.urls,
            markers=True,
            limits=limits,
            backoff=Backoff(first_s=0.05, cap_s=2.0),
            backfill_timeout=20.0,  # the longest outage is some 30 pages, of which OKX gives 20 in 2 s
        ) as ws:
            ws.on_event(ear.hear)
            for number, arg in enumerate(TRADES):
                ws.subscribe([arg], handler=ear.take, inline=number == 0)[0].wait()
            ws.subscribe([{"channel": name, "instId": "BTC-USDT"} for name in CANDLES], handler=ear.take_candle)
            since = truth.newest()
            lose(exchange, rng, seconds, pause_s)
            until = truth.newest()
            caught_up(ear, until)
            rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(", ".join(f"{number} {what}" for what, number in sorted(ear.counts.items())), f"; {rss_kb} kB at most")
    return judge(ear, truth, since, until)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two losses, on average")
    asked = parser.parse_args()
    sys.exit(not run(asked.seconds, asked.seed, asked.pause))
