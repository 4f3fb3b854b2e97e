"""A consumer that believes nothing: what it is given must be without holes, doubles and disorder."""

import threading
from collections import Counter

CANDLE_MS = {"candle1s": 1000, "candle1m": 60_000}


class Verifier:
    """Takes messages, from one thread at a time, and notes what is wrong with them.

    Attributes:
        faults: What was wrong.
        seen: Messages by channel.
        rows: Identities of orders and fills, in order.
    """

    def __init__(self):
        self.faults = []
        self.seen = Counter()
        self.rows = []
        self.markers = []
        #: How many books may begin (anew) with a snapshot.
        self.snapshots = Counter()
        self._last = {}
        self._candles = {}
        self._busy = threading.Lock()

    def take(self, message):
        """Check one message."""
        if not self._busy.acquire(blocking=False):
            self.faults.append("two threads at once")
            return
        try:
            self._check(message)
        finally:
            self._busy.release()

    def _check(self, message):
        arg = message["arg"]
        key = (arg["channel"], arg.get("instId"))
        if message.get("event") == "gap":
            self.markers.append(message)
            self._last.pop(key, None)
            self._candles.pop(key, None)
            return
        self.seen[arg["channel"]] += 1
        for row in message["data"]:
            if arg["channel"].startswith("candle"):
                self._candle(key, row)
            elif arg["channel"] == "trades":
                self._trade(key, row)
            elif arg["channel"] == "books":
                self._book(key, message["action"], row)
            elif arg["channel"] in ("orders", "fills"):
                self.rows.append(row["tradeId"])
            else:
                self._state(key, row)

    def _follow(self, key, what, good):
        if key in self._last and not good(self._last[key]):
            self.faults.append((key, self._last[key], what))
        self._last[key] = what

    def _trade(self, key, row):
        first = int(row["tradeId"]) - int(row["count"]) + 1
        if key in self._last and self._last[key] != first - 1:
            self.faults.append((key, self._last[key], row))
        self._last[key] = int(row["tradeId"])

    def _book(self, key, action, row):
        if action == "snapshot":
            self.snapshots[key] += 1
        elif self._last.get(key) != row["prevSeqId"]:
            self.faults.append((key, self._last.get(key), row["prevSeqId"]))
        self._last[key] = row["seqId"]

    def _candle(self, key, row):
        """Every candle is confirmed once, in order; an open one only grows."""
        now = (int(row[0]), int(row[8]), float(row[5]))
        self._follow(key, now, lambda last: last <= now)
        if row[8] == "1":
            last = self._candles.get(key)
            if last is not None and int(row[0]) != last + CANDLE_MS[key[0]]:
                self.faults.append((key, last, row))
            self._candles[key] = int(row[0])

    def _state(self, key, row):
        ts = int(row.get("ts") or row.get("uTime") or row["pTime"])
        self._follow(key, ts, lambda last: last <= ts)
