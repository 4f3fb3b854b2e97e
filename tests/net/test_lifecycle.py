"""Connecting, losing, reconnecting, closing: through the public interface, against peers that misbehave."""

import queue
import socket
import threading
import time

import pytest

from okx_ws import AckTimeout, Backoff, ConnectionLost, Limits, ManagerClosed
from tests.peer import close_frame
from tests.watch import Watch, eventually

TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}


def mute(talk):
    """Accept, and never say a word."""
    talk.sock.settimeout(10)
    while talk.sock.recv(4096):
        pass


def serve(talk):
    """Acknowledge the subscription, push one message, stay."""
    request = talk.subscribed()
    talk.json({"arg": request["args"][0], "data": [{"n": talk.number}]})
    talk.until_gone()


@pytest.fixture
def closed_port():
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_mute_upgrade_ends_at_the_connect_limit(peer, connect):
    """Acceptance 1: it fails with a time-out within about the limit, and leaves no thread or socket."""
    server = peer(mute)
    ws = connect(urls=server.urls, connect_timeout=0.1, reconnect=False)
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out during the upgrade"):
        ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert 0.1 <= time.monotonic() - start < 0.5
    assert server.results.get(timeout=2) is None  # the socket is closed


def test_no_listener_is_a_typed_error_without_reconnect(closed_port, connect):
    """Acceptance 2: a connection error that names the address."""
    ws = connect(urls={"public": f"ws://127.0.0.1:{closed_port}/"}, reconnect=False)
    with pytest.raises(ConnectionError, match="refused") as caught:
        ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert isinstance(caught.value, ConnectionLost)
    with pytest.raises(ConnectionLost):
        ws.get(timeout=5)


def test_without_a_listener_attempts_back_off(closed_port, connect):
    """Acceptance 2: with reconnect on, attempts go on, at growing and jittered distances."""
    ws = connect(urls={"public": f"ws://127.0.0.1:{closed_port}/"}, backoff=Backoff(first_s=0.02, cap_s=0.1))
    watch = Watch(ws)
    subscription = ws.subscribe("tickers", instId="BTC-USDT")
    attempts = [watch.wait("reconnecting") for _ in range(12)]
    assert [event.attempt for event in attempts] == list(range(1, 13))
    assert all("refused" in event.msg for event in attempts)
    for event in attempts:
        assert 0 <= event.delay_s <= min(0.1, 0.02 * 2 ** (event.attempt - 1))
    assert len({event.delay_s for event in attempts}) > 6
    assert watch.of("disconnected") == [], "only after connected"
    with pytest.raises(AckTimeout, match="refused"):
        subscription.wait(0.05)


def test_connects_keep_within_the_limit_a_second(peer, connect):
    """Acceptance 2: never more than 3 handshakes a second to one host, whichever manager asks."""
    starts = []

    def hang_up(talk):
        starts.append(time.monotonic())
        talk.upgrade()

    server = peer(hang_up)
    settings = {"urls": server.urls, "limits": Limits(connects_per_s=3), "backoff": Backoff(first_s=0, cap_s=0)}
    for _ in range(2):
        connect(**settings).subscribe("tickers", instId="BTC-USDT")
    eventually(lambda: len(starts) >= 8, 10)
    assert all(later - earlier >= 1.0 for earlier, later in zip(starts, starts[3:], strict=False))


def test_close_is_prompt_and_idempotent_when_connected(exchange, connect):
    """Acceptance 3: twice, from two threads; readers end instead of hanging."""
    ws = connect(exchange)
    ws.subscribe("status").wait(5)
    ended = queue.Queue()

    def read():
        try:
            ws.get()
        except ManagerClosed as exc:
            ended.put(exc)

    reader = threading.Thread(target=read)
    reader.start()
    start = time.monotonic()
    ws.close()
    ws.close()
    assert time.monotonic() - start < 1
    ended.get(timeout=2)
    reader.join(2)
    with pytest.raises(ManagerClosed):
        ws.subscribe("status")
    assert len(exchange.connects) == 1


@pytest.mark.parametrize("state", ["connecting", "upgrading", "backing off", "waiting for a place"])
def test_close_is_prompt_from_every_state(state, peer, closed_port, black_hole, connect):
    """Acceptance 3: while connecting or backing off; nothing follows."""
    server = peer(mute)
    settings = {
        "connecting": {"urls": {"public": f"ws://127.0.0.1:{black_hole}/"}},
        "upgrading": {"urls": server.urls},
        "backing off": {
            "urls": {"public": f"ws://127.0.0.1:{closed_port}/"},
            "backoff": Backoff(first_s=1e6, cap_s=1e6),
        },
        "waiting for a place": {"urls": server.urls, "limits": Limits(connects_per_s=1)},
    }[state]
    if state == "waiting for a place":
        connect(**settings).subscribe("tickers", instId="BTC-USDT")
        eventually(lambda: server.connections)
    ws = connect(**settings)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    if state == "upgrading":
        eventually(lambda: server.connections)
    elif state == "backing off":
        watch.wait("reconnecting")
    connections = server.connections
    start = time.monotonic()
    ws.close()
    assert time.monotonic() - start < 1
    assert server.connections == connections
    assert watch.of("connected") == []


def test_a_lost_link_is_told_once_and_comes_back_with_its_subscriptions(exchange, connect):
    """Acceptance 5: TCP cut without a close frame: one `disconnected` 1006, then login, then everything again."""
    ws = connect(exchange, **exchange.credentials)
    watch = Watch(ws)
    public = ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    private = ws.subscribe("account").wait(5)
    assert exchange.drop() == 2
    assert {watch.wait("disconnected").code, watch.wait("disconnected").code} == {"1006"}
    for _ in range(2):
        watch.wait("subscribed", arg=public.arg)
        watch.wait("subscribed", arg=private.arg)
    assert len(watch.of("disconnected")) == 2
    requests = exchange.desks[-1].requests + exchange.desks[-2].requests
    assert sorted(request["op"] for request in requests) == ["login", "subscribe", "subscribe"]
    (account,) = [desk for desk in exchange.desks[2:] if desk.endpoint == "private"]
    assert [request["op"] for request in account.requests] == ["login", "subscribe"]
    assert public.state == private.state == "active"


def test_after_five_drops_there_is_one_link_with_each_channel_once(peer, connect):
    """Acceptance 6, 7: also a drop during the resubscribe itself."""

    def script(talk):
        talk.upgrade()
        if talk.number <= 5:
            if talk.number % 2:
                talk.read_request("subscribe")
            return talk.reset()
        requests = [talk.read_request("subscribe")]
        talk.ack(requests[0])
        talk.json({"arg": TICKERS, "data": [{"n": 1}]})
        talk.sock.settimeout(0.3)
        try:
            requests.append(talk.read_request())
        except TimeoutError:
            pass
        return requests

    server = peer(script)
    ws = connect(urls=server.urls)
    ws.subscribe([TICKERS, {"channel": "trades", "instId": "BTC-USDT"}])
    assert ws.get(timeout=5)["data"] == [{"n": 1}]
    for _ in range(5):
        assert server.results.get(timeout=2) is None
    (request,) = server.results.get(timeout=2)
    assert [arg["channel"] for arg in request["args"]] == ["tickers", "trades"]


def test_a_failed_first_attempt_is_not_the_last(peer, connect):
    """Acceptance 8: no wedge after failed handshakes; after a healthy link the count starts from zero."""

    def script(talk):
        if talk.number in (1, 2, 4):
            return talk.reset()
        talk.subscribed()
        if talk.number == 3:
            return talk.close(1001)
        talk.until_gone()

    server = peer(script)
    ws = connect(urls=server.urls, backoff=Backoff(first_s=0.01, cap_s=0.05, healthy_s=0))
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    watch.wait("disconnected")
    watch.wait("connected")
    watch.wait("connected")
    assert [event.attempt for event in watch.of("reconnecting")] == [1, 2, 1, 2]


def test_a_link_lost_soon_after_each_connect_still_backs_off(peer, connect):
    """`healthy_s`: a connect alone is no success."""

    def script(talk):
        talk.subscribed()

    ws = connect(urls=peer(script).urls, backoff=Backoff(first_s=0.001, cap_s=0.01, healthy_s=30))
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    for attempt in range(1, 6):
        assert watch.wait("reconnecting").attempt == attempt


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4004, 4005, 4006, 4000, 1013])
def test_a_close_of_the_server_is_told_and_reconnected(code, peer, connect):
    """Acceptance 15, 45: code and reason are exposed, a reconnect follows."""

    def script(talk):
        talk.subscribed()
        if talk.number == 1:
            return talk.close(code, "No data received in 30s.")
        talk.until_gone()

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    lost = watch.wait("disconnected")
    assert (lost.code, lost.msg) == (str(code), "No data received in 30s.")
    watch.wait("connected")
    watch.wait("connected")


def test_an_idle_link_of_the_exchange_is_closed_with_4004_and_comes_back(connect):
    """Acceptance 15: the real thing, with an exchange that is impatient."""
    from okx_ws.exchange import LocalExchange

    with LocalExchange(idle_s=0.3) as exchange:
        ws = connect(exchange, ping_interval=5)
        watch = Watch(ws)
        ws.subscribe("status").wait(5)
        lost = watch.wait("disconnected")
        assert (lost.code, lost.msg) == ("4004", "No data received in 30s.")
        watch.wait("subscribed", arg={"channel": "status"})
        watch.wait("subscribed", arg={"channel": "status"})
        ws.close()


def test_our_own_close_is_no_loss(exchange, connect):
    """Acceptance 45: no `disconnected`, no reconnect; the server sees a 1000."""
    ws = connect(exchange)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    ws.close()
    assert watch.of("disconnected") == [] and watch.of("reconnecting") == []
    assert watch.events[-1].type == "closed"


def test_close_sends_a_close_frame(peer, connect):
    """The server is told, with 1000."""
    frames = queue.Queue()

    def script(talk):
        talk.subscribed()
        while True:
            opcode, payload = talk.read_frame()
            if opcode == 8:
                frames.put(payload)
                return talk.send(close_frame(1000))

    ws = connect(urls=peer(script).urls)
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    ws.close()
    assert frames.get(timeout=2) == b"\x03\xe8"


@pytest.mark.parametrize("code", [4001, 4007])
def test_a_close_no_reconnect_can_mend_stops_the_endpoint(code, peer, connect):
    """okx-protocol 2.2: a bad key must change first; what waits fails."""

    def script(talk):
        talk.upgrade()
        talk.accept_login()
        request = talk.read_request("subscribe")
        talk.ack(request)
        talk.close(code, "the key is gone")

    server = peer(script)
    ws = connect(urls=server.urls, apiKey="k", secretKey="s", passphrase="p")
    watch = Watch(ws)
    subscription = ws.subscribe("orders", instType="ANY")
    failed = watch.wait("login_failed")
    assert (failed.code, failed.msg) == (
        str(code),
        f"the key is gone (tried {server.urls['private']}, region 'global', live)",
    )
    eventually(lambda: subscription.state == "rejected")
    with pytest.raises(Exception, match="the key is gone"):
        subscription.wait(5)
    with pytest.raises(Exception, match="the key is gone"):
        ws.get(timeout=5)
    assert server.connections == 1


def test_reconnect_false_ends_the_endpoint_at_a_loss(peer, connect):
    """Design 3.1: what waits gets `ConnectionLost`, after the queue is drained."""

    def script(talk):
        request = talk.subscribed()
        talk.json({"arg": request["args"][0], "data": [1]})
        talk.close(1001, "going away")

    server = peer(script)
    ws = connect(urls=server.urls, reconnect=False)
    subscription = ws.subscribe("tickers", instId="BTC-USDT")
    assert ws.get(timeout=5)["data"] == [1]
    with pytest.raises(ConnectionLost, match="going away"):
        ws.get(timeout=5)
    with pytest.raises(ConnectionLost, match="going away"):
        list(ws)
    with pytest.raises(ConnectionLost):
        subscription.wait(5)
    assert subscription.state == "closed" and server.connections == 1


def test_a_redirect_is_not_followed(peer, connect):
    """An answer other than 101 ends the attempt with its status, told as the cause."""
    visited = peer(serve)

    def script(talk):
        talk.read_head()
        talk.send(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % visited.url.encode())
        mute(talk)

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert "HTTP 302 Found (redirects are not followed)" in watch.wait("reconnecting").msg
    assert visited.connections == 0


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\nlater", "HTTP 429 Too Many Requests"),
        (b"HTTP/1.1 503\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HTTP 200 OK"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"", "hung up during the upgrade"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "Invalid WebSocket Header",
        ),
        (b"x" * 70_000, "no end"),
    ],
)
def test_a_refused_upgrade_tells_its_status(answer, told, peer, connect):
    """`reconnecting` carries what the server said."""

    def script(talk):
        talk.read_head()
        talk.send(answer)

    ws = connect(urls=peer(script).urls)
    watch = Watch(ws)
    ws.subscribe("tickers", instId="BTC-USDT")
    assert told in watch.wait("reconnecting").msg
    assert watch.of("connected") == []


def test_a_link_opens_when_first_needed_and_not_before(exchange, connect):
    """No connection, no thread before a subscription; one link per endpoint."""
    threads = threading.active_count()
    ws = connect(exchange)
    assert threading.active_count() == threads and exchange.connects == []
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    assert len(exchange.connects) == 1
    assert {thread.name for thread in threading.enumerate()} >= {"okx-ws:public"}


def test_nothing_is_reconnected_that_nobody_wants(exchange, connect):
    """With the last subscription gone, a lost link stays down until something is wanted again."""
    ws = connect(exchange)
    watch = Watch(ws)
    subscription = ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    subscription.unsubscribe()
    eventually(lambda: any(request["op"] == "unsubscribe" for request in exchange.desks[0].requests))
    exchange.drop()
    watch.wait("disconnected")
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    assert len(exchange.connects) == 2
    assert [arg["channel"] for arg in exchange.desks[1].requests[0]["args"]] == ["trades"]
