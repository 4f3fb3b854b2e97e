"""An exchange and lines from it, with messages under way, and a merge that gets what arrives: for properties."""

import orjson

from okx_ws.protocol import gaps
from okx_ws.protocol.merging import Merge

START_MS = 1_700_000_000_000


def dumps(arg, row, **head):
    return orjson.dumps({"arg": arg, **head, "data": row if isinstance(row, list) else [row]})


# ---------------------------------------------------------------------- streams


class Stream:
    """What the exchange says about one thing: messages in their order, and what a connection is told at first."""

    #: The same may be said again.
    repeats = False
    #: What is missing may come late.
    late = True

    def __init__(self, rng):
        self.rng = rng
        self.ms = START_MS
        self.truth = []

    def tick(self, least=1):
        self.ms += self.rng.randint(least, 300)
        return str(self.ms)

    def publish(self):
        payload = self.next(len(self.truth))
        self.truth.append(payload)
        return payload

    def greeting(self):
        """The pushes that follow an acknowledgement by themselves."""
        return []

    def own(self):
        """A push that one connection alone gets."""
        return []

    def index(self, payload):
        """Return the place of a message in the truth; None if it stands for none."""
        return self.truth.index(payload)


class Trades(Stream):
    arg = {"channel": "trades", "instId": "BTC-USDT"}
    late = False
    skips = 0.1

    def __init__(self, rng):
        super().__init__(rng)
        self.tradeId = 1000

    def next(self, number):
        rows = []
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            count = self.rng.choice([1, 1, 3])
            self.tradeId += count + (self.rng.random() < self.skips)
            row = {"instId": "BTC-USDT", "tradeId": str(self.tradeId), "px": "1", "sz": "1", "side": "buy"}
            rows.append({**row, "ts": self.tick(0), "count": str(count), "source": "0", "seqId": number // 2})
        return dumps(self.arg, rows)


class Books(Stream):
    arg = {"channel": "books", "instId": "BTC-USDT"}
    late = False

    def __init__(self, rng):
        super().__init__(rng)
        self.seqId = 10**6
        #: The seqId of each message of the truth.
        self.seqIds = []

    def message(self, action, prevSeqId, seqId, ts, bids=()):
        row = {"asks": [], "bids": list(bids), "ts": ts, "checksum": 0, "seqId": seqId, "prevSeqId": prevSeqId}
        return dumps(self.arg, row, action=action)

    def next(self, number):
        before, self.seqId = self.seqId, self.seqId + self.rng.randint(1, 9)
        if self.rng.random() < 0.05:
            self.seqId = self.rng.randint(0, 10**6)
        self.seqIds.append(self.seqId)
        return self.message("update", before, self.seqId, self.tick(), [["1", str(number + 1), "0", "1"]])

    def greeting(self):
        return [self.message("snapshot", -1, self.seqId, str(self.ms), [["2", "1", "0", "1"]])]

    def own(self):
        return [self.message("update", self.seqId, self.seqId, str(self.ms + 1))]

    def index(self, payload):
        row = orjson.loads(payload)["data"][0]
        if row["seqId"] == row["prevSeqId"]:
            return None
        return len(self.seqIds) - 1 - self.seqIds[::-1].index(row["seqId"]) if row["seqId"] in self.seqIds else -1


class Orders(Stream):
    arg = {"channel": "orders", "instType": "ANY"}

    def next(self, number):
        ordId, uTime = str(self.rng.randint(1, 5)), self.tick(0)
        row = {"instId": "BTC-USDT", "ordId": ordId, "clOrdId": "", "state": "live", "tradeId": "", "reqId": ""}
        row.update({"px": "1", "sz": str(number), "accFillSz": "0", "uTime": uTime})
        kind = self.rng.choice(["live", "fill", "filled", "canceled", "amend"])
        if kind == "fill":
            row.update(state="partially_filled", tradeId=str(number))
        elif kind in ("filled", "canceled"):
            row.update(state=kind, ordId=str(1000 + number))
        elif kind == "amend":
            row.update(reqId=f"r{number // 2}", amendResult="0")
        return dumps({**self.arg, "uid": "7"}, row)


class Fills(Stream):
    arg = {"channel": "fills"}

    def next(self, number):
        row = {"instId": "BTC-USDT", "fillSz": "1", "fillPx": "2", "side": "buy", "ts": self.tick(0)}
        return dumps({**self.arg, "uid": "7"}, {**row, "ordId": "4", "tradeId": str(number), "count": "1"})


class Unknown(Stream):
    arg = {"channel": "something-new"}

    def next(self, number):
        return dumps(self.arg, {"n": number})


class Candles(Stream):
    arg = {"channel": "candle1m", "instId": "BTC-USDT"}

    def __init__(self, rng):
        super().__init__(rng)
        self.start, self.vol = START_MS, 0

    def next(self, number):
        self.vol += self.rng.randint(1, 9)
        closed = self.rng.random() < 0.3
        row = [str(self.start), "1", "2", "1", "2", str(self.vol), "1", "1", "1" if closed else "0"]
        if closed:
            self.start, self.vol = self.start + 60_000, 0
        return dumps(self.arg, [row])


class PriceCandles(Candles):
    arg = {"channel": "index-candle1m", "instId": "BTC-USDT"}

    def next(self, number):
        (row,) = orjson.loads(super().next(number))["data"]
        return dumps(self.arg, [[row[0], "1", "2", "1", str(number), row[-1]]])


class Tickers(Stream):
    arg = {"channel": "tickers", "instId": "BTC-USDT"}
    step = 1
    repeats = True
    late = False

    def next(self, number):
        return dumps(self.arg, {"instId": "BTC-USDT", "last": str(number), "ts": self.tick(self.step)})

    def greeting(self):
        return self.truth[-1:]

    def own(self):
        return self.truth[-1:]


class Positions(Stream):
    """Changes that every connection gets, and paged snapshots that each gets at its own times."""

    arg = {"channel": "positions", "instType": "ANY"}
    late = False

    def __init__(self, rng):
        super().__init__(rng)
        self.pos = {instId: 0 for instId in "ABCDE"}
        self.snapshots = 0

    def row(self, instId, pTime):
        return {"instId": instId, "pos": str(self.pos[instId]), "pTime": pTime}

    def next(self, number):
        instId = self.rng.choice("ABCDE")
        self.pos[instId] = number + 1
        return dumps({**self.arg, "uid": "7"}, self.row(instId, self.tick()), eventType="event_update")

    def own(self):
        self.snapshots += 1
        rows = [{**self.row(instId, str(self.ms)), "posId": str(self.snapshots)} for instId in "ABCDE"]
        size = self.rng.choice([1, 2, 3, 5])
        pages = [rows[n : n + size] for n in range(0, len(rows), size)]
        arg = {**self.arg, "uid": "7"}
        return [
            dumps(arg, page, eventType="snapshot", curPage=number, lastPage=number == len(pages))
            for number, page in enumerate(pages, 1)
        ]

    greeting = own

    def index(self, payload):
        return None if b'"snapshot"' in payload else super().index(payload)


STREAMS = [Trades, Books, Orders, Fills, Unknown, Candles, PriceCandles, Tickers, Positions]


# ---------------------------------------------------------------------- a world of lines


class World:
    """An exchange, links with messages under way, and a merge that gets what arrives."""

    def __init__(self, stream, rng):
        self.stream, self.rng = stream, rng
        self.merge = Merge(stream.arg)
        self.under_way = {}
        self.got = []
        self.now_ms = START_MS
        self.names = iter(range(10**6))
        #: Where in the truth each line begins; and where the first that entered does.
        self.begins = {}
        self.since = None

    def publish(self):
        payload = self.stream.publish()
        for frames in self.under_way.values():
            frames.append(payload)

    def own(self):
        if self.under_way:
            self.under_way[self.any()].extend(self.stream.own())

    def open(self):
        name = next(self.names)
        self.begins[name] = (len(self.stream.truth), self.stream.ms)
        self.under_way[name] = ["ack", *self.stream.greeting()]

    def any(self):
        return self.rng.choice(list(self.under_way))

    def arrive(self, name, count):
        frames = self.under_way[name]
        batch, frames[:count] = frames[:count], []
        if batch[:1] == ["ack"]:
            begin, ms = self.begins[name]
            self.merge.enter(name, ms)
            self.since = begin if self.since is None else self.since
            batch = batch[1:]
        self.now_ms = max(self.now_ms, self.stream.ms) + 5
        self.take(self.merge.receive(name, batch, self.now_ms))

    def take(self, payloads):
        self.got += payloads

    def kill(self, name):
        del self.under_way[name]
        self.take(self.merge.lost(name, self.now_ms))

    def harm(self, name):
        """Something that is under way is not readable: a marker takes its place."""
        frames = self.under_way[name]
        places = [n for n, frame in enumerate(frames) if frame != "ack" and not gaps.is_marker(frame)]
        if places:
            n = self.rng.choice(places)
            frames[n] = gaps.malformed(frames[n], self.now_ms)

    def flush(self):
        """Ping each joined line: what it had sent before the answer arrives before it."""
        waiting = [name for name in self.merge.lines if not self.merge.joined(name)]
        for name in self.merge.lines:
            if self.merge.joined(name):
                self.arrive(name, len(self.under_way[name]))
        for name in waiting:
            self.take(self.merge.flushed(name, self.now_ms))

    def drain(self):
        for name in list(self.under_way):
            self.arrive(name, 10**6)

    def finish(self):
        self.publish()
        self.drain()
        self.flush()

    def check(self):
        """What was delivered is the truth, in order, each once; what is missing was told where it is missing.

        What was told to be missing may come late, from a line that had not begun (in a state, or a book, it may not).
        """
        at, told, missing = (self.since or 0) - 1, [], set()
        for payload in self.got:
            if gaps.is_marker(payload):
                told.append(orjson.loads(payload))
                continue
            n = self.stream.index(payload)
            if n is None:
                continue
            if b'"action":"snapshot"' in payload:
                assert n >= at or told
                missing |= self.told(at + 1, n + 1, told)
            elif n in missing and self.stream.late:
                missing.remove(n)
                continue
            else:
                assert n > at or (n == at and self.stream.repeats), f"{n} after {at}"
                missing |= self.told(at + 1, n, told)
            at, told = n, []
        if self.merge.lines and not self.merge.held:
            self.told(at + 1, len(self.stream.truth), told)

    def told(self, first, end, markers):
        """Check that all of that was told to be missing; return it."""
        for n in range(first, end):
            at = gaps.time_of(self.stream.truth[n])  # None: the bounds are times of arrival, and it never arrived
            assert any(at is None or m["since_ms"] <= at <= m["until_ms"] for m in markers), (n, first, end, markers)
        return set(range(first, end))
