"""Messages for queues, and what queues report."""

import queue
from collections import Counter

from okx_ws import UsageError

HEAD = b'{"arg":{"channel":"trades","instId":"BTC-USDT"}'


def payload(n, pad=0):
    return HEAD + b',"data":[%d,"%s"]}' % (n, b"x" * pad)


class Reports:
    """Takes what queues report."""

    def __init__(self):
        self.lost = Counter()
        self.told = []
        self.bad = []
        self.resumed = 0
        self.owing = []
        self.left_over = 0
        self.forbidden = False

    def overflow(self, queue, lost):
        self.lost.update(lost)
        self.told.append((queue, lost.total()))

    def owe(self, queue):
        self.owing.append(queue)

    def malformed(self, payload, exc):
        self.bad.append(payload)

    def resume(self):
        self.resumed += 1

    def check_may_block(self):
        if self.forbidden:
            raise UsageError("not here")


def numbers(q):
    """Return what is queued, by number."""
    return [q.get_nowait()["data"][0] for _ in range(q.qsize())]


def timed(n, name=b"BTC"):
    return b'{"arg":{"channel":"trades","instId":"%s"},"data":[{"n":%d,"ts":"%d"}]}' % (name, n, 1_700_000_000_000 + n)


def story(q):
    """Return what is queued: numbers, and markers as (instId, cause, since, until, lost) counted from the start."""
    out = []
    while True:
        try:
            message = q.get_nowait()
        except queue.Empty:
            return out
        if message.get("event") == "gap":
            bounds = (message["since_ms"] - 1_700_000_000_000, message["until_ms"] - 1_700_000_000_000)
            assert message["repaired"] is False
            out.append((message["arg"]["instId"], message["cause"], *bounds, message["lost"]))
        else:
            out.append(message["data"][0]["n"])
