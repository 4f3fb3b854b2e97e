"""One run: an exchange, a manager with readers and a trader, faults drawn at random, and a verdict."""

from __future__ import annotations

import os
import queue
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from okx_ws import Backoff, BookOutOfSync, Limits, ManagerClosed, OkxWebSocketManager
from okx_ws.exchange import LocalExchange
from tests.chaos.trading import Trader
from tests.chaos.verify import Got, complaints, things_of
from tests.watch import eventually

#: What is read and verified, message by message.
STREAMS = (
    {"channel": "trades", "instId": "BTC-USDT"},
    {"channel": "trades", "instId": "ETH-USDT"},
    {"channel": "candle1s", "instId": "BTC-USDT"},
)
BOOK = {"channel": "books", "instId": "ETH-USDT"}

#: Silence that is no accident does not last so long, at ten times the speed of the clock.
SILENCE_S = 2.0


#: Faults that may strike one connection alone, where each subscription is on two.
OF_ONE = {"drop", "close", "notice", "half_open", "throttle", "stall", "slow", "late_snapshot", "missing_snapshot"}

#: Of every so many stalls that are drawn one begins: they last longest, and trades shall come live as well.
STALLS = 5


def draw(rng, links=1):
    """Return a fault, with what it is told, for a client that has each subscription on so many links."""
    while (fault := draw_any(rng))[0] == "stall" and rng.randrange(STALLS):
        pass
    name, told = fault
    if links > 1 and name in OF_ONE and told.get("what") != "rest" and rng.random() < 0.6:
        told["one"] = True
    return name, told


def draw_any(rng):
    """Return a fault, each as likely as any other."""
    endpoint = rng.choice(["public", "private", "business", ""])
    short = {"for_s": rng.uniform(0.02, 0.3)}
    return rng.choice(
        [
            ("drop", {"endpoint": endpoint}),
            ("drop", {"endpoint": endpoint, "one": True}),
            ("close", {"endpoint": endpoint, "code": rng.choice([1000, 1001, 1011, 1012, 4004, 4005, 4006])}),
            ("notice", {"endpoint": endpoint, "close_after_s": rng.uniform(0.05, 1.5)}),
            ("half_open", {"endpoint": endpoint, "for_s": rng.uniform(0.1, 2.5)}),
            ("throttle", {"endpoint": endpoint, "per_s": 50.0, "frames": 20, **short}),
            ("refuse", {"what": rng.choice(["connect", "upgrade"]), "for_s": rng.uniform(0.05, 0.6)}),
            ("unsubscribed", {"endpoint": endpoint, "channel": rng.choice(["trades", "candle*", "books"])}),
            ("stall", {"channel": rng.choice(["trades", "books"]), "for_s": rng.uniform(2.5, 4.0)}),
            ("corrupt", {"channel": rng.choice(["trades", "candle*", "books"]), "how": "utf8"}),
            ("corrupt", {"channel": "books", "how": rng.choice(["json", "binary", "empty", "other"])}),
            ("slow", {"what": rng.choice(["all", "push", "ack", "pong", "rest"]), "delay_s": 0.1, **short}),
            ("ack_lost", {"what": rng.choice(["subscribe", "unsubscribe"]), "times": 1}),
            ("gap", {"channel": "books", "times": rng.randrange(1, 4)}),
            ("malformed_level", {"channel": "books", "how": rng.choice(["short", "exponent", "negative", "seqId"])}),
            ("missing_snapshot", {"channel": "books"}),
            ("late_snapshot", {"channel": "books", "delay_s": 0.3}),
            ("unknown_delete", {"channel": "books", "times": 3}),
            ("reset", {}),
            ("ack_lost", {"what": "reply", "times": 1}),
            ("reorder", {"what": "reply", "times": 2}),
            ("duplicate", {"channel": "orders", "times": 3}),
            ("rest_error", {"how": rng.choice(["status", "code", "html", "cut", "broken", "empty"]), **short}),
        ]
    )


@dataclass
class Report:
    """What a run has found."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    delivered: Counter[str] = field(default_factory=Counter)
    missing_but_told: int = 0
    backfilled: int = 0
    holes: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    books_compared: int = 0
    books_refused: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self):
        rows = {name: getattr(self, name) for name in self.__dataclass_fields__}
        shown = {name: dict(value) if isinstance(value, Counter) else value for name, value in rows.items()}
        return "\n".join(f"{name}: {value}" for name, value in shown.items())


class Model:
    """The exchange's book at each of its sequence numbers, from what it has made."""

    def __init__(self):
        self._sides = {}
        self._applied = 0
        self._tops = {}
        #: By the number alone: a book that begins with a snapshot, or with REST's, has the time of that.
        self._states = defaultdict(list)
        #: What there was before the model began.
        self.early = set()

    def begin(self, row, pushes):
        """Take the book as REST tells it, if that is of one of the `pushes`, and not of between two; return whether."""
        numbers = [made.push["data"][0]["seqId"] for made in pushes]
        if row["seqId"] not in numbers:
            return False
        self._sides = {name: {px: sz for px, sz, *_ in row[name]} for name in ("asks", "bids")}
        self._applied = numbers.index(row["seqId"]) + 1
        self.early = set(numbers[: self._applied])
        return True

    def follow(self, pushes):
        """Apply what was made since."""
        for made in pushes[self._applied :]:
            row = made.push["data"][0]
            for name, side in self._sides.items():
                for px, sz, *_ in row[name]:
                    side.pop(px, None)
                    if float(sz):
                        side[px] = sz
            self._tops[row["seqId"], row["ts"]] = self._top()
            self._states[row["seqId"]].append(self._tops[row["seqId"], row["ts"]])
        self._applied = len(pushes)

    def like(self, seqId, ts, have):
        """Return the top of the book at that number and time; of several, or at another time, one like `have`."""
        known = self._states[seqId]
        return self._tops.get((seqId, ts)) or (have if have in known else next(iter(known), None))

    def _top(self):
        asks = sorted(self._sides["asks"].items(), key=lambda level: float(level[0]))
        bids = sorted(self._sides["bids"].items(), key=lambda level: -float(level[0]))
        return asks[:20], bids[:20]


class Run:
    """A run; `go` makes it."""

    def __init__(self, seed, **settings):
        self.report = Report(seed)
        self._rng = random.Random(seed)
        self._exchange = LocalExchange(speed=10, seed=seed)
        self._settings = {
            "backoff": Backoff(first_s=0.01, cap_s=0.2),
            "limits": Limits(connects_per_s=1000, requests_per_h=10**6),
            "ping_interval": 0.5,
            "pong_timeout": 0.5,
            "connect_timeout": 1.0,
            "markers": True,
            **settings,
        }
        self._got = {tuple(sorted(arg.items())): Got(arg["channel"]) for arg in STREAMS}
        self._read = threading.Condition()
        self._model = Model()

    def go(self, faults, pace_s=0.05):
        """Let so many faults strike, one each `pace_s` on average; return the report."""
        with self._exchange as exchange:
            exchange.record(most=10_000_000)
            with OkxWebSocketManager(**exchange.credentials, urls=exchange.urls, **self._settings) as ws:
                reader = threading.Thread(target=self._reading, args=[ws], name="chaos-reader")
                reader.start()
                ws.subscribe([dict(arg) for arg in STREAMS], max_silence=SILENCE_S)
                book = ws.order_book(BOOK["instId"], max_silence=SILENCE_S)
                self._fresh(ws)
                trader = Trader(exchange, ws, self._rng) if self._settings.get("overflow") != "block" else None
                rest = ws.rest
                eventually(lambda: self._model.begin(rest.order_book(BOOK["instId"], sz=400)[0], exchange.sent(BOOK)))
                pause, stalled_until = threading.Event(), 0.0
                for _ in range(faults):
                    name, told = draw(self._rng, self._settings.get("redundancy", 1))
                    exchange.faults.start(name, **told)
                    self.report.faults[name] += 1
                    if name == "stall":  # one that ended before `SILENCE_S` nobody could notice
                        stalled_until = max(stalled_until, time.monotonic() + told["for_s"])
                    if trader is not None:
                        trader.trade()
                    pause.wait(self._rng.expovariate(1 / pace_s))
                    self._look(book)
                pause.wait(max(0.0, stalled_until - time.monotonic()))
                exchange.faults.stop()
                book.wait_ready(20)
                self._fresh(ws)
                self._look(book)
                if trader is not None:
                    self.report.orders, wrong = trader.judge()
                    self.report.wrong += wrong
                stats = ws.stats()
                ws.close()
                reader.join(10)
            self._judge(exchange, stats)
        return self.report

    def _reading(self, ws):
        while True:
            try:
                message = ws.get(timeout=60)
            except (ManagerClosed, queue.Empty):
                return
            key = tuple(sorted(message["arg"].items()))
            with self._read:
                if key in self._got:
                    self._got[key].take(message)
                self._read.notify_all()

    def _fresh(self, ws):
        """Wait until every stream has brought something more."""
        with self._read:
            before = [len(got.items) for got in self._got.values()]
            fresh = self._read.wait_for(
                lambda: all(len(got.items) > n + 1 for got, n in zip(self._got.values(), before, strict=True)), 60
            )
        assert fresh, f"a stream stays silent: {ws.stats()}"

    def _look(self, book):
        """Compare the book, if it can be read."""
        try:
            view = book.view(20)
        except BookOutOfSync:
            self.report.books_refused += 1
            return
        if view.seqId in self._model.early:
            return
        self._model.follow(self._exchange.sent(BOOK))
        have = [(level.px, level.sz) for level in view.asks], [(level.px, level.sz) for level in view.bids]
        want = self._model.like(view.seqId, view.ts, have)
        self.report.books_compared += 1
        if want != have:
            told = f"a book that is not the exchange's: seqId {view.seqId}, ts {view.ts}: {difference(have, want)}"
            self.report.wrong.append(told[:1000])

    def _judge(self, exchange, stats):
        report = self.report
        report.connects = sum(endpoint["connects"] for endpoint in stats["endpoints"].values())
        for arg in STREAMS:
            got = self._got[tuple(sorted(arg.items()))]
            truth = [thing for made in exchange.sent(arg) for thing in things_of(arg["channel"], made.push)]
            wrong, told = complaints(got, truth)
            report.wrong += [f"{arg}: {text}" for text in wrong]
            report.missing_but_told += told
            report.backfilled += got.backfilled
            report.holes += got.holes
            report.delivered[f"{arg['channel']} {arg['instId']}"] = len(got.items) - sum(got.holes.values())


def difference(have, want):
    """Say in which levels two books differ."""
    if want is None:
        return "the exchange had none with this seqId"
    sides = zip(("asks", "bids"), have, want, strict=True)
    apart = {name: (sorted(set(one) - set(two)), sorted(set(two) - set(one))) for name, one, two in sides}
    return f"levels that it has not, and levels that it has: {apart}"


def rss_kb():
    """Return the memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main(faults, seed, **settings):
    """Run in portions of a thousand faults, each with a seed of its own; print and return whether all was right."""
    right, done, threads = True, 0, threading.active_count()
    while done < faults:
        start = time.monotonic()
        part = min(1000, faults - done)
        report = Run(seed + done, **settings).go(part)
        done += part
        left = threading.active_count() - threads
        told = f"{done} faults, {time.monotonic() - start:.0f} s, {left} threads left, {rss_kb()} kB"
        print(f"{report}\n{told}\n", flush=True)
        right = right and not report.wrong and not left
    return right
