"""Pings, pongs, half-open links and writes that stall: over real sockets."""

import queue
import socket
import time

import pytest

from okx_ws import Limits
from tests.peer import CLOSE, PING, PONG, TEXT, frame
from tests.watch import Watch, eventually

ALERT = {"ping_interval": 0.1, "pong_timeout": 0.2}


def test_silence_brings_a_text_ping_and_a_control_ping(peer, connect):
    """Acceptance 10: four bytes of text, which OKX answers; and a control ping for proxies on the way."""
    seen = queue.Queue()

    def script(talk):
        talk.subscribed()
        start = time.monotonic()
        frames = [talk.read_frame(), talk.read_frame()]
        seen.put((time.monotonic() - start, frames))
        talk.text("pong")
        talk.until_gone()

    ws = connect(urls=peer(script).urls, **ALERT)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    waited, frames = seen.get(timeout=5)
    assert frames == [(TEXT, b"ping"), (PING, b"")]
    assert 0.08 < waited < 0.4


def test_pongs_keep_a_quiet_link_and_reach_nobody(peer, connect):
    """Acceptance 11, 17: with pongs nothing happens, however quiet the instrument; the round trip is known."""
    pings = queue.Queue()

    def script(talk):
        talk.subscribed()
        while True:
            opcode, payload = talk.read_frame()
            if payload == b"ping":
                pings.put(time.monotonic())
                talk.text("pong")
            elif opcode == CLOSE:
                return

    server = peer(script)
    ws = connect(urls=server.urls, **ALERT)
    watch = Watch(ws)
    seen = []
    ws.on("*", seen.append)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    for _ in range(6):
        pings.get(timeout=2)
    assert server.connections == 1 and watch.of("malformed") == [] and seen == []
    assert ws.stats()["malformed"] == 0
    assert 0 < eventually(lambda: ws.stats()["endpoints"]["public"]["round_trip_s"]) < 0.2


def test_an_unanswered_ping_ends_the_link(peer, connect):
    """Acceptance 11, 16: half-open: the peer neither answers nor closes; detected within interval and limit."""

    def script(talk):
        if talk.number > 1:
            return talk.subscribed() and talk.until_gone()
        talk.subscribed()
        while talk.sock.recv(4096):
            pass

    ws = connect(urls=peer(script).urls, **ALERT)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    start = time.monotonic()
    lost = watch.wait("disconnected")
    assert "no sign of life" in lost.msg and lost.code == "1006"
    assert 0.25 < time.monotonic() - start < 1.5
    watch.wait("connected")
    watch.wait("connected")


def test_data_is_life_even_without_pongs(peer, connect):
    """Acceptance 12: the rule: whoever sends data lives, whatever its pongs do."""

    def script(talk):
        request = talk.subscribed()
        talk.sock.settimeout(0.05)
        for n in range(20):  # one second: more than interval and limit together
            talk.json({"arg": request["args"][0], "data": [n]})
            try:
                while True:
                    talk.read_frame()
            except TimeoutError:
                pass
        talk.sock.settimeout(10)
        talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, **ALERT)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert [ws.get(timeout=5)["data"][0] for _ in range(20)] == list(range(20))
    assert server.connections == 1


@pytest.mark.parametrize("kind", [PING, PONG])
def test_control_frames_are_no_life(kind, peer, connect):
    """Acceptance 14, design 4.3: a peer that sends only control frames is dead, and only the heartbeat says so."""

    def script(talk):
        talk.subscribed()
        talk.sock.settimeout(0.02)
        while True:
            talk.send(frame(b"x", kind))
            try:
                if talk.read_frame()[0] == CLOSE:
                    return
            except TimeoutError:
                pass

    ws = connect(urls=peer(script).urls, **ALERT)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert "no sign of life" in watch.wait("disconnected").msg


def test_a_control_ping_is_answered_with_its_payload(peer, connect):
    """Acceptance 13: and a text ping with a text pong."""

    def script(talk):
        talk.subscribed()
        talk.send(frame(b"1700000000123", PING))
        answer = talk.read_frame()
        talk.text("ping")
        return answer, talk.read_frame()

    server = peer(script)
    ws = connect(urls=server.urls)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert server.results.get(timeout=5) == ((PONG, b"1700000000123"), (TEXT, b"pong"))


def test_bytes_of_an_unfinished_message_are_life(peer, connect):
    """Design 4.3: a large message that trickles in is not silence."""
    payload = b'{"arg":{"channel":"books","instId":"BTC-USDT"},"data":["' + b"x" * 20_000 + b'"]}'

    def script(talk):
        talk.subscribed()
        whole = frame(payload)
        for start in range(0, len(whole), 2000):  # 11 pieces, 0.1 s apart
            talk.send(whole[start : start + 2000])
            talk.pause(0.1)
        talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, **ALERT)
    ws.subscribe("books", instId="BTC-USDT")
    assert len(ws.get(timeout=5)["data"][0]) == 20_000
    assert server.connections == 1


def test_a_peer_that_does_not_read_ends_the_link_at_the_write_limit(peer, connect):
    """Acceptance 16: a send cannot hang longer than the write limit; the peer's data goes on being read meanwhile."""

    def script(talk):
        talk.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talk.subscribed()
        for n in range(200):
            talk.json({"arg": {"channel": "tickers", "instId": "BTC-USDT"}, "data": [n]})
            talk.pause(0.02)

    limits = {"limits": Limits(requests_per_h=10**6), "subscriptions_per_link": 10**6}
    ws = connect(urls=peer(script).urls, write_timeout=0.5, **limits)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    for n in range(150):  # some 7 MB of requests: more than the buffers of both sides
        ws.subscribe([{"channel": "tickers", "instId": f"{n}-{m}-{'X' * 400}"} for m in range(100)])
    start = time.monotonic()
    assert "nothing could be written for 0.5 s" in watch.wait("disconnected", timeout=10).msg
    assert time.monotonic() - start < 5
    assert ws.get(timeout=1)["data"] == [0]


def test_a_stream_that_stalls_is_subscribed_anew_and_then_its_link_is_given_up(peer, connect):
    """`max_silence`: a socket may be up and mute; pongs prove nothing about a subscription."""

    def script(talk):
        request = talk.subscribed()
        if talk.number == 1:  # mute, whatever is asked
            for op in ("unsubscribe", "subscribe"):
                talk.ack(talk.read_request(op))
        else:
            talk.json({"arg": request["args"][0], "data": [{"ts": "1700000000000"}]})
        talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, markers=True, ping_interval=0.1, pong_timeout=5)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT", max_silence=0.2)
    assert "subscribed anew" in watch.wait("stalled").msg
    assert "given up" in watch.wait("stalled").msg
    assert "stalled" in watch.wait("disconnected").msg
    assert (ws.get(timeout=5)["cause"], ws.get(timeout=5)["data"][0]["ts"]) == ("stall", "1700000000000")
    watch.wait("repaired")
    assert server.connections == 2
