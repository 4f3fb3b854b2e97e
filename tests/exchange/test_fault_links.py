"""Faults of links, of accounts and of the server: judged with a client of another make, and with bare sockets."""

import json
import select
import socket
import time
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from okx_ws.exchange import Account, LocalExchange
from tests.exchange.client import get, mute, talk
from tests.watch import eventually

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}


def closed(client):
    """Return code and reason with which the connection ends; 1006 if it is cut."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            client.get()
    found = caught.value.rcvd
    return (found.code, found.reason) if found is not None else (1006, "")


def test_drop_cuts_links_again_and_again(exchange):
    """Of one endpoint; the others go on."""
    fault = exchange.faults.start("drop", endpoint="public", every_s=0.1)
    with talk(exchange, "business") as other:
        for _ in range(3):
            with talk(exchange) as client:
                assert closed(client) == (1006, "")
        assert other.ask("ping") == "pong"
    assert fault.strikes >= 3


def test_drop_may_take_one_link_of_many(exchange):
    """By chance."""
    with talk(exchange) as first, talk(exchange) as second:
        first.ask("ping"), second.ask("ping")
        exchange.faults.start("drop", one=True)
        eventually(lambda: len(exchange.hub.lines) == 1)
        (left,) = exchange.hub.lines
        survivor = first if left.desk is exchange.desks[0] else second
        assert survivor.ask("ping") == "pong"
        assert exchange.faults.log[0].connId in [desk.connId for desk in exchange.desks if desk is not left.desk]


def test_close_has_code_and_reason(exchange):
    """Whatever a close frame can have."""
    with talk(exchange) as client:
        client.ask("ping")
        exchange.faults.start("close", code=4006, reason="abnormal")
        assert closed(client) == (4006, "abnormal")


def test_notice_is_followed_by_the_close(exchange):
    """okx-protocol 8."""
    with talk(exchange) as client:
        client.ask("ping")
        exchange.faults.start("notice", close_after_s=0.2)
        assert client.get()["code"] == "64008"
        assert client.ask("ping") == "pong"
        assert closed(client) == (1001, "service upgrade")


def test_half_open_says_nothing_and_reads_nothing(exchange):
    """No pong of either kind, no FIN; and what was held up comes when it is over."""
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        client.pushes(1)
        fault = exchange.faults.start("half_open")
        client.send("ping")
        pong = client.ws.ping()
        with pytest.raises(TimeoutError):
            while True:  # what was on its way already
                client.get(timeout=0.5)
        assert not pong.is_set() and exchange.hub.lines[0].frozen
        fault.stop()
        assert "pong" in [client.get() for _ in range(20)]
        assert pong.wait(5)


def test_half_open_lets_the_clients_buffers_fill(exchange):
    """Its end of TCP does not read."""
    with mute(exchange) as sock:
        exchange.faults.start("half_open")
        sock.setblocking(False)
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 50_000_000:
                sent += sock.send(b"\x89\x80\0\0\0\0" * 10_000)
                if not select.select([], [sock], [], 1)[1]:
                    raise BlockingIOError
        assert sent < 50_000_000


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells")
def test_half_open_notices_that_the_client_has_left(exchange):
    """Without reading; so ten thousand of them leave nothing."""
    with mute(exchange):
        exchange.faults.start("half_open")
        assert len(exchange.hub.lines) == 1
    eventually(lambda: exchange.hub.lines == [])


def test_half_open_ends_when_nobody_is_there_for_too_long():
    """As the idle rule ends others; by a cut."""
    with LocalExchange(idle_s=0.3) as exchange, talk(exchange) as client:
        client.ask("ping")
        exchange.faults.start("half_open")
        assert closed(client) == (1006, "")


@pytest.mark.parametrize("tls", [False, True])
def test_an_exchange_ends_with_half_open_links(tls):
    """A request that waits for the link to go on, too."""
    with LocalExchange(tls=tls) as exchange, talk(exchange) as client, talk(exchange):
        client.ask("ping")
        exchange.faults.start("half_open")
        client.send("ping")
        start = time.monotonic()
        exchange.stop()
        assert time.monotonic() - start < 3


def test_throttle_cuts_a_slow_consumer_with_4005(exchange):
    """It lags behind what it is sent."""
    with talk(exchange) as client:
        client.subscribe(*({"channel": name, "instId": "BTC-USDT"} for name in ("bbo-tbt", "books", "tickers")))
        client.pushes(3)
        exchange.faults.start("throttle", per_s=10, frames=20)
        assert closed(client) == (4005, "Buffer is full")


def test_a_slow_consumer_is_sent_nothing_more_once_it_is_cut_off(exchange):
    """What it missed must not lie in the midst of what it got: the close tells it, and everything after is missing."""
    with talk(exchange) as client:
        assert client.ask("ping") == "pong"
        exchange.faults.start("throttle", frames=20, for_s=60.0)
        (line,) = exchange.hub.lines
        exchange.call(lambda: [line.put(f'{{"n":{n}}}') for n in range(30)])
        got = []
        with pytest.raises(ConnectionClosed) as told:
            while True:
                got.append(client.get()["n"])
        assert told.value.rcvd.code == 4005 and got == list(range(len(got)))


def test_refused_connections_are_refused_and_those_that_are_open_go_on(exchange):
    """TCP: connection refused; the port is the same afterwards."""
    url = exchange.urls["public"]
    with talk(exchange) as client:
        client.ask("ping")
        for _ in range(3):
            fault = exchange.faults.start("refuse")
            eventually(lambda: refused(exchange, "public"))
            for _ in range(50):
                assert refused(exchange, "public")
            assert get(exchange, "/api/v5/public/time")[0] == 200
            assert client.ask("ping") == "pong"
            fault.stop()
            eventually(lambda: not refused(exchange, "public"))
            assert exchange.urls["public"] == url
            with talk(exchange) as other:
                assert other.ask("ping") == "pong"
        assert client.ask("ping") == "pong"


def test_a_port_that_two_refuse_is_open_when_both_have_ended(exchange):
    """The first one's end is not the second one's."""
    first, second = exchange.faults.start("refuse"), exchange.faults.start("refuse")
    eventually(lambda: refused(exchange, "public"))
    first.stop()
    for _ in range(50):
        assert refused(exchange, "public")
    second.stop()
    second.stop()
    eventually(lambda: not refused(exchange, "public"))


def refused(exchange, endpoint):
    try:
        socket.create_connection(("127.0.0.1", urlsplit(exchange.urls[endpoint]).port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was just being shut
        return True
    return False


def test_rest_may_refuse_connections_too(exchange):
    """For a while."""
    exchange.faults.start("refuse", endpoint="rest", for_s=0.3)
    eventually(lambda: refused(exchange, "rest"))
    assert not refused(exchange, "public")
    eventually(lambda: not refused(exchange, "rest"))
    assert get(exchange, "/api/v5/public/time")[0] == 200


def test_an_exchange_may_end_while_it_refuses(exchange):
    """And lets go of its ports."""
    exchange.faults.start("refuse")
    exchange.faults.start("refuse", endpoint="rest")
    eventually(lambda: refused(exchange, "public") and refused(exchange, "rest"))
    exchange.stop()
    port = urlsplit(exchange.urls["public"]).port
    with LocalExchange(port=port) as other, talk(other) as client:
        assert client.ask("ping") == "pong"


def test_an_upgrade_may_be_refused_with_a_status(exchange):
    """Of one endpoint, so many times."""
    exchange.faults.start("refuse", what="upgrade", endpoint="private", status=403, times=2)
    for _ in range(2):
        with pytest.raises(InvalidStatus, match="403"), talk(exchange, "private"):
            pass
    with talk(exchange, "private") as client, talk(exchange) as other:
        assert client.ask("ping") == other.ask("ping") == "pong"


def test_a_subscription_may_be_refused_with_a_code(exchange):
    """Those that match; the siblings of one request are taken."""
    exchange.faults.start(
        "refuse", what="subscribe", code="60014", msg="too fast", channel="tick*", instId="ETH-USDT", times=1
    )
    with talk(exchange) as client:
        for expected in ("error", "subscribe"):
            client.subscribe(TICKERS, {**TICKERS, "instId": "ETH-USDT"}, id="s1")
            events = [m for m in (client.get() for _ in range(8)) if "event" in m][:2]
            assert [event["event"] for event in events] == ["subscribe", expected]
            if expected == "error":
                assert events[1] == {
                    "id": "s1",
                    "event": "error",
                    "msg": "too fast",
                    "code": "60014",
                    "connId": events[0]["connId"],
                }


def test_a_skewed_clock_refuses_logins(exchange):
    """60006, until it is right again; and REST tells the wrong time."""
    fault = exchange.faults.start("clock_skew", by_s=-60)
    with talk(exchange, "private") as client:
        assert client.login(exchange.accounts[0])["code"] == "60006"
        told = int(get(exchange, "/api/v5/public/time")[1]["data"][0]["ts"]) / 1000
        assert -62 < told - time.time() < -58
        fault.stop()
        assert client.login(exchange.accounts[0])["event"] == "login"


def test_a_removed_key_closes_its_links_with_4007():
    """Only its own; then it is unknown, until it is back."""
    accounts = [Account(), Account(apiKey="other")]
    with LocalExchange(accounts=accounts) as exchange, talk(exchange, "private") as mine:
        mine.login(accounts[0])
        with talk(exchange, "private") as theirs, talk(exchange, "private") as nobody:
            theirs.login(accounts[1]), nobody.ask("ping")
            fault = exchange.faults.start("key_removed", apiKey="local-key")
            assert closed(mine)[0] == 4007
            assert nobody.login(accounts[0])["code"] == "60032"
            assert theirs.ask("ping") == "pong"
            fault.stop()
            assert nobody.login(accounts[0])["event"] == "login"


def test_a_client_may_be_unsubscribed_unasked(exchange):
    """Told so; nothing comes any more, and it may subscribe anew."""
    with talk(exchange) as client:
        client.subscribe(TICKERS)
        client.pushes(1)
        exchange.faults.start("unsubscribed", channel="tickers")
        told = next(m for m in iter(client.get, None) if m.get("event") == "unsubscribe")
        assert told["arg"] == TICKERS
        with pytest.raises(TimeoutError):
            client.get(timeout=0.5)
        client.subscribe(TICKERS)
        assert client.get()["event"] == "subscribe" and client.pushes(1)


def test_too_many_connections_of_a_channel_are_told(exchange):
    """okx-protocol 2.1: after the acknowledgement, without arg, id or code; the others go on."""
    with talk(exchange, "private") as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": "positions", "instType": "ANY", "extraParams": '{"updateInterval":"2000"}'})
        client.subscribe({"channel": "account"})
        eventually(lambda: len(exchange.desks[0].args) == 2)
        exchange.faults.start("conn_count_error", channel="account")
        told = next(m for m in iter(client.get, None) if m.get("event") == "channel-conn-count-error")
        assert list(told) == ["event", "channel", "connCount", "connId"]
        assert (told["channel"], told["connCount"]) == ("account", "30")
        assert [json.loads(id)["channel"] for id in exchange.desks[0].args] == ["positions"]
