"""Users who subscribe, leave, come back and rotate at random, while links fail: each reader is judged by itself."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from okx_ws import Backoff, Limits, OkxWebSocketManager
from okx_ws.exchange import LocalExchange
from tests.chaos.verify import Got, complaints, things_of

ARGS = [
    {"channel": channel, "instId": instId}
    for channel in ("trades", "candle1s")
    for instId in ("BTC-USDT", "ETH-USDT", "SOL-USDT")
]

#: More readers than that leave again.
MOST_READERS = 15

#: A manager ends within a second; a busy machine may need a little more.
CLOSE_S = 2.0


class Reader:
    """A handler of one subscription, sometimes slow."""

    def __init__(self, arg, rng):
        self.arg = arg
        self.got = Got(arg["channel"])
        self.wrong = []
        self._slow_s = rng.choice([0.0, 0.0, 0.02])
        self._turns = 0
        self._busy = threading.Lock()

    def take(self, message):
        """Take a message or a marker; two threads at once would be wrong."""
        if not self._busy.acquire(blocking=False):
            self.wrong.append("two threads at once")
            return
        try:
            self._turns += 1
            if self._slow_s and self._turns % 20 == 0:
                threading.Event().wait(self._slow_s)
            self.got.take(message)
        finally:
            self._busy.release()


@dataclass
class Report:
    """What a run has found."""

    seed: int
    done: Counter[str] = field(default_factory=Counter)
    readers: int = 0
    delivered: int = 0
    holes: int = 0
    close_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Hands:
    """A run; `go` makes it. Without REST, which knows what was traded before a reader came."""

    def __init__(self, seed, **settings):
        self.report = Report(seed)
        self._rng = random.Random(seed)
        self._settings = {
            "backoff": Backoff(first_s=0.01, cap_s=0.2),
            "limits": Limits(connects_per_s=1000, requests_per_h=10**6),
            "ping_interval": 0.5,
            "pong_timeout": 0.5,
            "connect_timeout": 1.0,
            "markers": True,
            "backfill": False,
            "subscriptions_per_link": self._rng.choice([3, 240]),
            "max_link_age": self._rng.choice([None, 1.5]),
            **settings,
        }
        self._live, self._readers = {}, []
        self._slow_until = 0.0

    def go(self, calls, pace_s=0.03):
        """Make so many calls, one each `pace_s` on average, and close in the midst of it; return the report."""
        descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
        with LocalExchange(speed=10, seed=self.report.seed) as self._exchange:
            self._exchange.record(most=10_000_000)
            self._ws = OkxWebSocketManager(urls=self._exchange.urls, **self._settings)
            acts = [self._come] * 6 + [self._leave] * 4 + [self._come_again] * 5 + [self._fail] * 5 + [self._rotate] * 5
            for _ in range(calls):
                act = self._rng.choice(acts if len(self._live) < MOST_READERS else [self._leave])
                self.report.done[act.__name__] += 1
                act()
                threading.Event().wait(self._rng.expovariate(1 / pace_s))
            start = time.monotonic()
            self._ws.close()
            self.report.close_s = time.monotonic() - start
            self._judge()
        deadline = time.monotonic() + 3
        while threading.active_count() > threads and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        left = threading.active_count() - threads, len(os.listdir("/proc/self/fd")) - descriptors
        if left[0] > 0 or left[1] > 1:  # the first exchange of a process keeps one
            self.report.wrong.append(f"threads and descriptors left: {left}")
        return self.report

    # ------------------------------------------------------------------ what users do

    def _come(self):
        self._subscribe(self._rng.choice(ARGS))

    def _subscribe(self, arg):
        reader = Reader(arg, self._rng)
        self._readers.append(reader)
        subscription = self._ws.subscribe(**arg, handler=reader.take, inline=self._rng.random() < 0.5)
        self._live[subscription] = reader

    def _leave(self):
        if not self._live:
            return None
        subscription = self._rng.choice(list(self._live))
        subscription.unsubscribe()
        return self._live.pop(subscription)

    def _come_again(self):
        left = self._leave()
        if left is not None:
            threading.Event().wait(self._rng.choice([0, 0.001, 0.003, 0.02]))
            self._subscribe(left.arg)

    def _rotate(self):
        self._ws.rotate(self._rng.choice([None, "public", "business"]))

    # ------------------------------------------------------------------ what the exchange does

    def _fail(self):
        rng = self._rng
        of = {"endpoint": rng.choice(["public", "business", ""])}
        name, told = rng.choice(
            [
                ("drop", of),
                ("drop", {**of, "one": True}),
                ("close", {**of, "code": rng.choice([1001, 4004, 4006, 4008, 4009])}),
                ("notice", {**of, "close_after_s": rng.uniform(0.05, 1.0), "one": rng.random() < 0.5}),
                ("unsubscribed", {**of, "channel": rng.choice(["trades", "candle*"])}),
                ("slow", {"what": "all", "delay_s": 0.1, "for_s": rng.uniform(0.05, 0.4)}),
                ("ack_lost", {"what": rng.choice(["subscribe", "unsubscribe"]), "times": 1}),
                ("refuse", {"what": rng.choice(["connect", "upgrade"]), "for_s": rng.uniform(0.05, 0.4)}),
            ]
        )
        if name == "slow":  # two at once would change the order of what a link brings
            if time.monotonic() < self._slow_until:
                return
            self._slow_until = time.monotonic() + told["for_s"] + 0.3
        self._exchange.faults.start(name, **told)

    # ------------------------------------------------------------------ the verdict

    def _judge(self):
        report = self.report
        truth = {}
        for reader in self._readers:
            channel, instId = reader.arg["channel"], reader.arg["instId"]
            if (channel, instId) not in truth:
                made = self._exchange.sent(reader.arg)
                truth[channel, instId] = [thing for one in made for thing in things_of(channel, one.push)]
            wrong, _ = complaints(reader.got, truth[channel, instId])
            report.wrong += [f"{channel} {instId}: {text}" for text in (*reader.wrong, *wrong)]
            report.readers += 1
            report.holes += sum(reader.got.holes.values())
            report.delivered += len(reader.got.items)
        if report.close_s > CLOSE_S:
            report.wrong.append(f"close took {report.close_s:.1f} s")
