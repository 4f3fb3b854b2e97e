"""Links whose peer, machine or surroundings misbehave: floods, a stopped process, no descriptors left, our own bugs."""

import errno
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import trustme

from okx_ws.net import connection
from okx_ws.protocol.session import Session
from tests.peer import PING, frame
from tests.watch import Watch, eventually

ROOT = Path(__file__).resolve().parents[2]

TRADES = b"".join(frame('{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[1]}') for _ in range(1000))


def flood(payload):
    """Return a script that sends `payload` again and again and reads nothing, until the client leaves."""

    def script(talk):
        talk.subscribed()
        while True:
            talk.send(payload)

    return script


@pytest.mark.parametrize("payload", [TRADES, frame(b"x" * 100, PING) * 1000, frame("pong") * 1000])
def test_a_flood_does_not_hold_up_close(payload, peer, connect):
    """Stop, timers and writes are looked at between reads, though the socket is never idle."""
    ws = connect(urls=peer(flood(payload)).urls, queue_size=1000)
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    eventually(lambda: ws.stats()["endpoints"]["public"]["bytes"] > 1_000_000)
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1


def test_a_flood_does_not_hold_up_pings_and_requests(peer, connect):
    """What the session has to send leaves while data pours in."""
    seen = threading.Event()

    def script(talk):
        talk.subscribed()
        stop = threading.Event()

        def pour():
            while not stop.is_set():
                talk.send(TRADES)

        thread = threading.Thread(target=pour)
        thread.start()
        try:
            assert talk.read_request("subscribe")["args"] == [{"channel": "tickers", "instId": "BTC-USDT"}]
            seen.set()
        finally:
            stop.set()
            thread.join()
        talk.until_gone()

    ws = connect(urls=peer(script).urls, queue_size=1000)
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    eventually(lambda: ws.stats()["endpoints"]["public"]["bytes"] > 1_000_000)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert seen.wait(2)


def test_pings_that_nobody_reads_the_answers_of_do_not_fill_memory(peer, connect):
    """Beyond a bound they stay unanswered."""
    ws = connect(urls=peer(flood(frame(b"x" * 125, PING) * 1000)).urls)
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    eventually(lambda: ws.stats()["endpoints"]["public"]["bytes"] > 30_000_000, timeout=30)
    assert ws._lines["public"].connections[0]._app.wire.unsent < 100_000


def test_fragments_of_a_message_are_life(peer, connect):
    """A message in whole frames that come slowly is not silence either."""

    def script(talk):
        talk.subscribed()
        talk.send(frame('{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":["', fin=False))
        for _ in range(8):
            talk.pause(0.1)
            talk.send(frame("x", opcode=0, fin=False))
        talk.send(frame('"]}', opcode=0))
        talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, ping_interval=0.1, pong_timeout=0.2)
    ws.subscribe("trades", instId="BTC-USDT")
    assert ws.get(timeout=5)["data"] == ["xxxxxxxx"]
    assert server.connections == 1


def test_a_process_that_was_stopped_reads_before_it_calls_a_link_dead():
    """SIGSTOP, as a debugger or a suspended laptop does: what came meanwhile is life."""
    code = """
        import sys
        from okx_ws import OkxWebSocketManager
        from okx_ws.exchange import LocalExchange
        ws = OkxWebSocketManager(urls=dict(public=sys.argv[1]), ping_interval=0.3, pong_timeout=0.3)
        ws.on_event(lambda event: print(event.type, flush=True))
        ws.subscribe("trades", instId="BTC-USDT", handler=lambda message: None)
        sys.stdin.readline()
        ws.close()
    """
    from okx_ws.exchange import LocalExchange

    with LocalExchange(speed=10) as exchange:
        program = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), exchange.urls["public"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert [program.stdout.readline() for _ in range(2)] == ["connected\n", "subscribed\n"]
            for _ in range(3):
                program.send_signal(signal.SIGSTOP)
                threading.Event().wait(0.8)
                program.send_signal(signal.SIGCONT)
                threading.Event().wait(0.2)
            out, _ = program.communicate("\n", timeout=10)
        finally:
            program.kill()
            program.communicate()
        assert out == "closed\n" and len(exchange.connects) == 1


def test_no_file_descriptor_left_costs_an_attempt(exchange, connect, monkeypatch):
    """The cause is told, and the link comes up later."""
    real, fails = connection.Poller, iter([OSError(errno.EMFILE, "Too many open files")] * 2)

    def poller(*args):
        for fault in fails:
            raise fault
        return real(*args)

    monkeypatch.setattr(connection, "Poller", poller)
    ws = connect(exchange)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert "Too many open files" in watch.wait("reconnecting").msg
    assert watch.wait("reconnecting").attempt == 2


def test_a_bug_of_ours_costs_a_link_not_the_thread(exchange, connect, monkeypatch, caplog):
    """It is logged with its traceback and told; the endpoint comes back."""
    real, bugs = Session.receive, iter([1])

    def receive(self, *args):
        for _ in bugs:
            raise ZeroDivisionError
        return real(self, *args)

    monkeypatch.setattr(Session, "receive", receive)
    ws = connect(exchange)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert "ZeroDivisionError" in watch.wait("disconnected").msg
    assert ws.get(timeout=5)["data"]
    assert "Traceback" in caplog.text


def test_a_log_handler_that_raises_costs_nothing(exchange, connect):
    """Users' logging is users' code."""

    class Bad(logging.Handler):
        def emit(self, record):
            raise ZeroDivisionError

    bad = Bad()
    logging.getLogger("okx_ws").addHandler(bad)
    try:
        ws = connect(exchange)
        ws.subscribe("tickers", instId="BTC-USDT").wait(5)
        exchange.drop()
        ws.subscribe("tickers", instId="ETH-USDT").wait(5)
        assert ws.get(timeout=5)["data"]
    finally:
        logging.getLogger("okx_ws").removeHandler(bad)


def test_what_was_encrypted_well_before_a_broken_record_is_delivered(peer, connect, tmp_path):
    """Then the link is lost, with the cause."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def script(talk):
        if talk.number == 1:
            talk.subscribed()
            for n in range(5):
                talk.json({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [n]})
            raw = socket.socket(fileno=os.dup(talk.sock.fileno()))
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"?" * 32)
            raw.close()
            talk.read(1)
        talk.subscribed()
        talk.until_gone()

    ws = connect(urls=peer(script, context=context).urls, sslopt={"ca_certs": str(tmp_path / "ca.pem")})
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT")
    assert "TLS failed" in watch.wait("disconnected").msg
    assert [ws.get(timeout=1)["data"] for _ in range(5)] == [[n] for n in range(5)]
