"""Many threads at one link under load: nothing lost, nothing out of order, one link; over TLS that changes its keys.

``OKX_WS_LOAD_S=60 python -m pytest -s tests/net/test_load.py`` makes it a minute each, and tells what it saw.
"""

import itertools
import json
import os
import threading
import time

import pytest
import trustme

from okx_ws import Limits
from tests.conformance import openssl
from tests.peer import CLOSE, frame
from tests.watch import Watch, eventually

LOAD_S = float(os.environ.get("OKX_WS_LOAD_S", "2"))

#: Messages a second, over all args.
RATE = 20_000

#: How often the peer sends what is due, and how often it changes keys.
TICK_S, CHANGE_S = 0.005, 0.05

THREADS = 8

#: Subscribed all the time, by each kind of consumer.
STEADY = [f"{kind}-{n}" for kind in ("HANDLER", "INLINE", "OWN", "SHARED") for n in range(3)]

pytestmark = [
    pytest.mark.skipif(not openssl.available, reason="this Python does not show the OpenSSL that it has built in"),
    pytest.mark.timeout(60 + 2 * LOAD_S),
]


class Feed:
    """The peer: numbers each arg's messages, and sends them to whoever subscribed, while keys change."""

    def __init__(self, cert_file, version):
        self._cert_file = cert_file
        self._version = version
        #: Numbers sent so far, by instrument; they go on over subscriptions.
        self.sent = {}
        #: Set to send no more.
        self.stop = threading.Event()
        #: Key updates, or completed handshakes.
        self.changes = 0
        self.requests = 0
        self._subscribed = {}

    def serve(self, talk):
        """Be the script of a `Peer`."""
        self._subscribed.clear()
        talk.sock = tls = openssl.ServerTls(talk.sock, self._cert_file, self._version)
        try:
            talk.upgrade()
            self._pour(talk, tls)
        finally:
            tls.close()

    def _pour(self, talk, tls):
        start = last_change = time.monotonic()
        total = 0
        for tick in itertools.count(1):
            while talk._in or tls.readable(max(0.0, start + tick * TICK_S - time.monotonic())):
                if not self._answer(talk):
                    return
            now = time.monotonic()
            due = int((now - start) * RATE) - total
            total += due
            if self.stop.is_set():
                continue
            if self._subscribed:
                talk.send(b"".join(map(self._next, itertools.islice(itertools.cycle(list(self._subscribed)), due))))
            if now - last_change > CHANGE_S:
                last_change = now
                self._change_keys(tls)

    def _next(self, name):
        """Return the next message of an instrument."""
        self.sent[name] = number = self.sent.get(name, 0) + 1
        text = (
            f'{{"arg":{{"channel":"trades","instId":"{name}"}},"data":[{{"px":"42219.9","sz":"0.12","n":{number}}}]}}'
        )
        return frame(text)

    def _change_keys(self, tls):
        if self._version == openssl.TLS_1_3:
            self.changes += 1
            tls.update_keys(both=self.changes % 2 == 0)
        else:
            self.changes += tls.renegotiate()

    def _answer(self, talk):
        """Answer one frame of the client; return False if it closes."""
        opcode, payload = talk.read_frame()
        if opcode == CLOSE:
            return False
        if payload == b"ping":
            talk.text("pong")
        elif payload:
            request = json.loads(payload)
            self.requests += 1
            for arg in request["args"]:
                if request["op"] == "subscribe":
                    self._subscribed[arg["instId"]] = True
                else:
                    self._subscribed.pop(arg["instId"], None)
            talk.ack(request)
        return True


class Numbers:
    """Takes messages of one arg, each with the next number; of a steady one, from 1."""

    def __init__(self, last=None):
        self.last = last
        self.faults = []

    def take(self, message):
        """Check one."""
        number = message["data"][0]["n"]
        if self.last is not None and number != self.last + 1:
            self.faults.append((self.last, number))
        self.last = number


class Caller:
    """One of the threads: subscribes, reads, asks and unsubscribes until it is stopped."""

    def __init__(self, ws, number, stop):
        self._ws = ws
        self._stop = stop
        #: Every other round it shares a subscription with the other threads.
        self._names = itertools.cycle([f"OF-{number}", "COMMON"])
        self._steady = itertools.cycle(STEADY[number:] + STEADY[:number])
        self.rounds = 0
        self.faults = []
        self.thread = threading.Thread(target=self._run, name=f"caller {number}")
        self.thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                self._round(next(self._names), next(self._steady))
                self.rounds += 1
        except Exception as exc:
            self.faults.append(exc)

    def _round(self, name, steady):
        ws, numbers = self._ws, Numbers()
        subscription = ws.subscribe("trades", instId=name, queue=True).wait(10)
        for _ in range(20):
            numbers.take(subscription.get(timeout=10))
        assert ws.stats()["endpoints"]["public"]["connects"] == 1
        before = ws.latest("trades", instId=steady)
        after = ws.wait_for("trades", timeout=10, instId=steady)
        assert before is None or after["data"][0]["n"] > before["data"][0]["n"]
        subscription.unsubscribe()
        for message in subscription:
            numbers.take(message)
        self.faults += numbers.faults


def subscribe_steadily(ws):
    """Subscribe what stays, and check it; return the numbers by name and the threads that read."""
    numbers = {name: Numbers(last=0) for name in STEADY}

    def read_own(subscription, into):
        for message in subscription:
            into.take(message)

    def read_shared():
        for message in ws:
            numbers[message["arg"]["instId"]].take(message)

    readers = [threading.Thread(target=read_shared, name="shared")]
    for name, into in numbers.items():
        if name.startswith("OWN"):
            subscription = ws.subscribe("trades", instId=name, queue=True)
            readers.append(threading.Thread(target=read_own, args=(subscription, into), name=name))
        elif name.startswith("SHARED"):
            ws.subscribe("trades", instId=name)
        else:
            ws.subscribe("trades", instId=name, handler=into.take, inline=name.startswith("INLINE"))
    for reader in readers:
        reader.start()
    return numbers, readers


@pytest.mark.parametrize("version", [openssl.TLS_1_3, openssl.TLS_1_2], ids=["key updates", "renegotiations"])
def test_eight_threads_at_a_busy_link_lose_nothing(version, peer, connect, tmp_path):
    """They subscribe, unsubscribe and ask while 20,000 messages a second come in and the keys of TLS change."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    feed = Feed(tmp_path / "server.pem", version)
    server = peer(feed.serve)
    ws = connect(
        urls={"public": server.url.replace("ws:", "wss:")},
        sslopt={"ca_certs": str(tmp_path / "ca.pem")},
        limits=Limits(connects_per_s=1000, requests_per_h=10**9),
        queue_size=10**6,
    )
    watch = Watch(ws)
    numbers, readers = subscribe_steadily(ws)
    start = time.monotonic()
    stop = threading.Event()
    callers = [Caller(ws, number, stop) for number in range(THREADS)]
    stop.wait(LOAD_S)
    stop.set()
    for caller in callers:
        caller.thread.join(30)
    lasted = time.monotonic() - start
    feed.stop.set()
    eventually(lambda: all(numbers[name].last == feed.sent[name] for name in STEADY), timeout=20)
    stats = ws.stats()
    ws.close()
    for reader in readers:
        reader.join(5)
    assert [caller.faults for caller in callers] == [[]] * THREADS
    assert {name: into.faults for name, into in numbers.items() if into.faults} == {}
    assert server.connections == 1 and watch.of("disconnected") == [] and stats["malformed"] == 0
    rounds = [caller.rounds for caller in callers]
    assert min(rounds) > 1 and feed.changes > 5
    sent = sum(feed.sent.values())
    print(
        f"\n{lasted:.1f} s: {sent:,} messages ({sent / lasted:,.0f}/s), {feed.changes} changes of keys,"
        f" {sum(rounds)} rounds of {THREADS} threads, {feed.requests} requests"
    )
