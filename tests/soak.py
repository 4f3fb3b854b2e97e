"""Trades delivered = trades that happened, for as long as you like: ``python -m tests.soak --seconds 600``.

A local exchange, links that fall at random, repairs over REST; at the end each stream is compared with the truth, and
the exit code tells whether all of them are the same: each trade once, in order.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter, defaultdict

from okx_ws import Backoff, Event, Limits, OkxWebSocketManager
from okx_ws.exchange import LocalExchange

PLACES = ["BTC-USDT", "ETH-USDT", "BTC-USDT-SWAP"]


class Truth:
    """Every trade that happens, by instId."""

    def __init__(self, exchange):
        self.ids = defaultdict(list)
        exchange.world.followers["soak"] = self

    def watch(self, ts, trades):
        for instId, new in trades.items():
            for one in new:
                self.ids[instId] += range(one.tradeId - one.count + 1, one.tradeId + 1)


class Ear:
    """What is delivered."""

    def __init__(self):
        self.trades = defaultdict(list)
        self.candles = []
        self.counts = Counter()

    def take(self, message):
        if message.get("event"):
            self.counts["holes repaired" if message["repaired"] else "holes that stay"] += 1
            return
        self.counts["messages over REST" if message.get("backfill") else "messages"] += 1
        for row in message["data"]:
            last = int(row["tradeId"])
            self.trades[row["instId"]] += range(last - int(row.get("count", 1)) + 1, last + 1)

    def take_candle(self, message):
        self.candles += [int(row[0]) for row in message.get("data", ()) if row[-1] == "1"]

    def hear(self, event: Event):
        self.counts[f"event {event.type}"] += 1


def run(seconds, seed, pause_s):
    """Run; return whether all was delivered."""
    rng = random.Random(seed)
    ear, limits = Ear(), Limits(connects_per_s=1000)
    with LocalExchange(speed=5, seed=seed) as exchange:
        truth = Truth(exchange)
        with OkxWebSocketManager(
            urls=exchange.urls, markers=True, limits=limits, backoff=Backoff(first_s=0.05, cap_s=2.0)
        ) as ws:
            ws.on_event(ear.hear)
            for number, instId in enumerate(PLACES):
                ws.subscribe("trades", instId=instId, handler=ear.take, inline=number == 0)
            ws.subscribe("candle1s", instId="BTC-USDT", handler=ear.take_candle)
            until, wait = time.monotonic() + seconds, threading.Event().wait
            while time.monotonic() < until:
                wait(rng.expovariate(1 / pause_s))
                exchange.drop()
            wait(6)
    print(", ".join(f"{number} {what}" for what, number in sorted(ear.counts.items())))
    good = True
    for instId in PLACES:
        got, all_of_them = ear.trades[instId], truth.ids[instId]
        wanted = all_of_them[all_of_them.index(got[0]) : all_of_them.index(got[-1]) + 1]
        good = good and got == wanted
        twice, lost = len(got) - len(set(got)), len(set(wanted) - set(got))
        print(f"{instId}: {len(got)} delivered of {len(wanted)}, {twice} twice, {lost} lost, in order: {got == wanted}")
    bars = ear.candles
    whole = bars == list(range(bars[0], bars[-1] + 1, 1000))
    print(f"candles: {len(bars)} closed, each once: {whole}")
    return good and whole


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between two losses, on average")
    asked = parser.parse_args()
    sys.exit(not run(asked.seconds, asked.seed, asked.pause))
