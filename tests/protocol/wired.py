"""A session whose link is the test: what it sends is returned, what arrives is told, and time is set by hand."""

import json

from okx_ws.config import Credentials, Settings
from okx_ws.protocol.session import LOGIN, PING, Session

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}
TRADES = {"channel": "trades", "instId": "BTC-USDT"}
ORDERS = {"channel": "orders", "instType": "ANY"}


class Box:
    """An outlet that keeps what it gets."""

    congested = False

    def __init__(self):
        self.got = []

    def deliver(self, batch):
        self.got += batch
        return False


class Wired:
    """A session whose link is the test."""

    def __init__(self, up=True, credentials=False, clock=None, **settings):
        self.box = Box()
        self.session = Session(
            "public",
            Settings(**settings),
            lambda streams, arg: self.box if any(stream.holders for stream in streams) else None,
            credentials=Credentials("SECRET", "hidden", "phrase") if credentials else None,
            hint="tried wss://here",
            clock=clock,
        )
        self.now = 1000.0
        if up:
            self.session.link_up(self.now, 15)

    def want(self, *args, login=False, holder="me"):
        return [self.session.subscribe(arg, login, holder) for arg in args]

    def sent(self):
        """Pump, and return the requests that went out."""
        texts = [text for text in self.session.pump(self.now) if text != PING]
        return [{"op": "login"} if text == LOGIN else json.loads(text) for text in texts]

    def get(self, *messages):
        """Let messages arrive together; return what outlets got."""
        texts = [m if isinstance(m, bytes) else json.dumps(m, separators=(",", ":")).encode() for m in messages]
        for outlet, batch in self.session.receive(texts, self.now, int(self.now * 1000)):
            outlet.deliver(batch)
        got, self.box.got = self.box.got, []
        return got

    def ack(self, request, *args):
        self.get(
            *(
                {"id": request["id"], "event": request["op"], "arg": arg, "connId": "c0"}
                for arg in args or request["args"]
            )
        )

    def refuse(self, code, msg, id=None):
        self.get({**({"id": id} if id else {}), "event": "error", "code": code, "msg": msg, "connId": "c0"})

    def told(self):
        """Return the events since the last time."""
        events, self.session.events = self.session.events, []
        return events

    def events(self):
        return [(event.type, event.arg, event.code) for event in self.told()]

    def reconnect(self):
        self.session.link_down()
        self.session.link_up(self.now, 15)


def push(arg, n=1):
    return {"arg": arg, "data": [{"n": n}]}


def states(streams):
    return [stream.wire for stream in streams]


def timed(arg, ts):
    return {"arg": arg, "data": [{"ts": str(ts)}]}
