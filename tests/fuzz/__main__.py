"""Whatever a server sends, guided by coverage: ``python -m tests.fuzz session --seconds 600``, or ``frames``.

By hand: it wants atheris (``pip install atheris``), which is in no extra. ``session`` feeds a `Session` that has a key,
subscriptions and calls; ``frames`` feeds raw bytes to a link's frame reader over a real socket. No exception may leave
either, and no secret may stand in what the session tells. What breaks is left in a file, whose path given as
``--again`` runs it once more.
"""

import argparse
import json
import socket
import sys

import atheris

with atheris.instrument_imports(include=["okx_ws"]):
    from okx_ws.config import Credentials
    from okx_ws.errors import OkxWsError
    from okx_ws.net import app, wire
    from okx_ws.protocol.calls import Call
    from okx_ws.protocol.replies import only_result
    from okx_ws.reporting import Reporter
    from tests.protocol.wired import ORDERS, TICKERS, TRADES, Wired

SECRETS = ("SECRET", "hidden", "phrase")

#: OKX's words, and the key. Ids s1, u1 are of requests; calls' are put in as they are made.
WORDS = [
    *SECRETS,
    *"event error subscribe unsubscribe login notice channel-conn-count channel-conn-count-error".split(),
    *"arg channel instId uid tickers trades orders instType ANY BTC-USDT data action update snapshot".split(),
    *"op code msg id connId order sCode sMsg eventType curPage lastPage connCount s1 u1 s2 ts".split(),
    *"0 1 2 50011 50026 60011 60012 60014 60018 64004 64008 apiKey passphrase sign".split(),
]
#: A peer that does not answer our close frame is not waited for.
app.GOODBYE_S = 0.0
ARGS = [TICKERS, TRADES, ORDERS, {**ORDERS, "uid": "1"}]


def value_from(data, ids, depth=0):
    """Return something that JSON can say."""
    kind = data.ConsumeIntInRange(0, 9 if depth < 3 else 5)
    if kind < 4:
        return data.PickValueInList(WORDS + ids)
    if kind == 4:
        return data.PickValueInList([None, True, False, 0, -1, 2**63, 0.5, ""])
    if kind == 5:
        return data.ConsumeUnicodeNoSurrogates(8)
    if kind == 6:
        return data.PickValueInList(ARGS)
    if kind == 7:
        return [value_from(data, ids, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))]
    names = [str(value_from(data, ids, 9)) for _ in range(data.ConsumeIntInRange(0, 5))]
    return {name: value_from(data, ids, depth + 1) for name in names}


def payload_from(data, ids):
    """Return a message: bytes, JSON, or JSON that breaks off."""
    kind = data.ConsumeIntInRange(0, 4)
    if kind == 0:
        return data.ConsumeBytes(data.ConsumeIntInRange(0, 64))
    if kind == 1:
        arg = data.PickValueInList(ARGS)
        return json.dumps({"arg": arg, "data": value_from(data, ids)}, separators=(",", ":")).encode()
    if kind == 2:
        return data.PickValueInList([b"ping", b"pong", b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":'])
    frame = {
        name: value_from(data, ids, 1) for name in ("event", "op", "arg", "code", "msg", "id") if data.ConsumeBool()
    }
    text = json.dumps({**frame, "data": value_from(data, ids, 1)}, separators=(",", ":")).encode()
    return text if kind == 3 else text[: data.ConsumeIntInRange(0, len(text))]


class Talk:
    """A session, and everything it has told anybody."""

    def __init__(self, markers):
        self.wired = Wired(credentials=True, markers=markers)
        self.streams = self.wired.want(TICKERS, TRADES) + self.wired.want(ORDERS, login=True)
        self.ids = []
        self.told = []
        self.reporter = Reporter(Credentials(*SECRETS), lambda: None, lambda: None, lambda reason: None)
        self.reporter.add(lambda event: None)

    def act(self, what):
        """Something else happens: time, the link, a wish, a call."""
        wired, session = self.wired, self.wired.session
        if what == 0:
            wired.now += 11
        elif what == 1:
            wired.reconnect()
        elif what == 2:
            call = Call("order", [{"sz": "1"}], wired.now + 5, lambda call, outcome: None)
            self.ids.append(call.id)
            session.calls.add(call)
        elif what == 3 and self.streams:
            session.unsubscribe(self.streams.pop(), "me")
        elif what == 4:
            self.streams += wired.want(TICKERS, holder="other")
        elif what == 5:
            session.login_again()

    def pump(self):
        """Send what is due; take in what was told, and see that no secret is in it."""
        session = self.wired.session
        try:
            session.pump(self.wired.now)
        except app.LinkFault as exc:
            self.told.append(str(exc))
            self.wired.reconnect()
        for event in self.wired.told():
            self.reporter.tell(event)
            self.told.append(repr(self.reporter.thread.events.pop()[1]))
        settled, session.calls.settled = session.calls.settled, []
        for _, outcome in settled:
            try:
                self.told.append(repr(outcome) if isinstance(outcome, OkxWsError) else only_result(outcome) and "")
            except OkxWsError as exc:
                self.told.append(repr(exc))
        self.told += [repr(stream.refusal) for stream in self.streams] + [repr(session.login.error)]
        for text in self.told:
            plain = text.replace("passphrase", "")  # our own word for it
            assert not any(secret in plain for secret in SECRETS), text
        self.told.clear()


def session(raw):
    """A conversation."""
    data = atheris.FuzzedDataProvider(raw)
    talk = Talk(data.ConsumeBool())
    talk.pump()
    for _ in range(data.ConsumeIntInRange(1, 12)):
        if data.ConsumeIntInRange(0, 3) == 0:
            talk.act(data.ConsumeIntInRange(0, 5))
        else:
            talk.wired.get(*[payload_from(data, talk.ids) for _ in range(data.ConsumeIntInRange(1, 4))])
        talk.wired.now += 0.5
        talk.pump()


class Owner:
    """What a frame reader tells."""

    def __init__(self):
        self.now = 0.0

    def link_opened(self, link, now):
        """Nothing."""

    def received(self, payloads):
        """Every payload is whole; texts have been proven."""
        assert all(type(payload) is bytes for payload in payloads)

    def control_pong(self, payload):
        """At most what a control frame may hold."""
        assert len(payload) <= 125

    def must_pause(self):
        """Never."""
        return False


def frames(raw):
    """A link that is up, and what its peer sends until it hangs up, in pieces of any size."""
    data = atheris.FuzzedDataProvider(raw)
    here, there = socket.socketpair()
    here.setblocking(False)
    waker = wire.Waker()
    poller = wire.Poller(waker, lambda: False)
    link = app.LinkApp("ws://fuzz", wire.Wire(here, poller, waker, 1.0), Owner(), 65_536)
    face = app.LinkSocket(link.wire)
    face._upgraded = True
    link.sock = app.websocket.WebSocket(skip_utf8_validation=True)
    link.sock.sock, link.sock.connected = face, True
    pieces = [data.ConsumeBytes(data.ConsumeIntInRange(0, 400)) for _ in range(data.ConsumeIntInRange(0, 3))]
    pieces.append(data.ConsumeBytes(data.remaining_bytes()))

    def serve(now, idle):
        if pieces:
            there.send(pieces.pop(0))
        else:
            there.close()
        return now

    link.wire.serve = serve
    try:
        link.reader.read(None, None, None)
        assert link.loss is not None and link.loss.code != 1011, link.loss
    finally:
        there.close()
        link.wire.close()
        poller.close()
        waker.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["session", "frames"])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--again", help="a file that was left")
    asked = parser.parse_args()
    options = [asked.again] if asked.again else [f"-max_total_time={asked.seconds}", "-max_len=2048", "-len_control=0"]
    atheris.Setup([sys.argv[0], *options], {"session": session, "frames": frames}[asked.what])
    atheris.Fuzz()
