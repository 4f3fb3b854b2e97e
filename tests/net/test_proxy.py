"""Proxies: through a real proxy process, HTTP and SOCKS5, with and without credentials; and proxies that are none."""

import logging
import socket
import subprocess
import sys
import time

import pytest

from okx_ws import ConnectionLost, OkxWebSocketManager, UsageError
from okx_ws.net.poller import WireError
from okx_ws.net.proxy import Proxy, proxy_for
from tests.watch import Watch, eventually

ARG = {"channel": "tickers", "instId": "BTC-USDT"}
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def answers(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def proxies():
    """A proxy process with four doors; their URLs by name."""
    ports = [free_port() for _ in range(4)]
    kinds = ["http", "http", "socks5", "socks5"]
    doors = [f"{kind}://127.0.0.1:{port}" for kind, port in zip(kinds, ports, strict=True)]
    doors[1] += "#user:pa%ss"
    doors[3] += "#user:pa%ss"
    listen = [word for door in doors for word in ("-l", door)]
    with subprocess.Popen(
        [sys.executable, "-m", "pproxy", "--auth", "0", *listen], stdout=subprocess.DEVNULL
    ) as process:
        try:
            eventually(lambda: all(map(answers, ports)), timeout=20)
            yield {
                "http": f"http://127.0.0.1:{ports[0]}",
                "http with credentials": f"http://user:pa%25ss@127.0.0.1:{ports[1]}",
                "socks5h": f"socks5h://127.0.0.1:{ports[2]}",
                "socks5 with credentials": f"socks5://user:pa%25ss@127.0.0.1:{ports[3]}",
                "http, wrong": f"http://user:wrong@127.0.0.1:{ports[1]}",
                "http, none": f"http://127.0.0.1:{ports[1]}",
                "socks5, wrong": f"socks5h://user:wrong@127.0.0.1:{ports[3]}",
                "socks5, none": f"socks5h://127.0.0.1:{ports[3]}",
            }
        finally:
            process.terminate()


@pytest.fixture
def environment(monkeypatch):
    """An environment without proxies, to be filled."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch.setenv


@pytest.mark.parametrize("door", ["http", "http with credentials", "socks5h", "socks5 with credentials"])
@pytest.mark.parametrize("kind", ["exchange", "tls_exchange"])
def test_links_and_rest_go_through_a_proxy(door, kind, proxies, connect, request):
    """ws and wss; a private login asks the clock over REST, through the same proxy."""
    exchange = request.getfixturevalue(kind)
    ws = connect(exchange, proxy=proxies[door], **exchange.credentials)
    ws.subscribe([ARG])
    assert ws.get(timeout=10)["arg"] == ARG
    ws.subscribe("account").wait(10)
    assert exchange.rest.requests.count("GET /api/v5/public/time") == 3
    assert ws._clock.known


@pytest.mark.parametrize(
    ("door", "told"),
    [
        ("http, wrong", "answered HTTP 407"),
        ("http, none", "answered HTTP 407"),
        ("socks5, wrong", "user name or password|hung up"),
        ("socks5, none", "none of our ways|hung up"),
    ],
)
def test_a_proxy_that_refuses_is_told_with_its_reason(door, told, proxies, exchange, connect):
    """The error names the proxy and does not repeat the password."""
    ws = connect(exchange, proxy=proxies[door], reconnect=False)
    with pytest.raises(ConnectionLost, match=told) as caught:
        ws.subscribe([ARG])[0].wait(10)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("door", ["http", "socks5h"])
def test_a_proxy_that_cannot_reach_the_exchange_is_told(door, proxies, connect):
    """What lies behind it is down."""
    ws = connect(urls={"public": f"ws://127.0.0.1:{free_port()}/"}, proxy=proxies[door], reconnect=False)
    with pytest.raises(ConnectionLost, match="proxy|hung up|broke"):
        ws.subscribe([ARG])[0].wait(10)


def test_a_proxy_that_is_down_is_named_as_what_is(connect):
    """Its address is not the one that a user looks for; the same over REST."""
    ws = connect(urls={"public": "ws://127.0.0.1:1/"}, proxy=f"http://127.0.0.1:{free_port()}", reconnect=False)
    with pytest.raises(ConnectionLost, match="the proxy cannot be reached: 127.0.0.1 port .*refused"):
        ws.subscribe([ARG])[0].wait(10)
    with pytest.raises(ConnectionLost, match="the proxy cannot be used: 127.0.0.1 port .*refused"):
        ws.rest.server_time(timeout=0.5)


def tunnel(answer):
    """Return a script: a proxy that answers CONNECT like this, and is then the server itself."""

    def script(talk):
        head = talk.read_head()
        talk.send(answer)
        if b" 200 " in answer:
            talk.subscribed()
            talk.json({"arg": ARG, "data": [head.decode()]})
            talk.until_gone()
        return head

    return script


def test_the_environments_proxy_is_asked_for_the_host_by_name(peer, connect, environment):
    """`https_proxy` for wss, `http_proxy` for ws; no lookup of our own."""
    server = peer(tunnel(b"HTTP/1.1 200 Connection established\r\n\r\n"))
    environment("http_proxy", f"http://me:p%40ss@127.0.0.1:{server.port}")
    ws = connect(urls={"public": "ws://exchange.invalid:8800/x"})
    ws.subscribe([ARG])
    head = ws.get(timeout=5)["data"][0]
    assert head.startswith("CONNECT exchange.invalid:8800 HTTP/1.1\r\nHost: exchange.invalid:8800\r\n")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==" in head


@pytest.mark.parametrize(
    ("settings", "setting", "url", "host"),
    [
        ({"https_proxy": "http://a:1"}, None, "wss://ws.okx.com/x", "a"),
        ({"https_proxy": "http://a:1"}, None, "ws://ws.okx.com/x", None),
        ({"http_proxy": "b:2"}, None, "ws://ws.okx.com/x", "b"),
        ({"all_proxy": "socks5://c"}, None, "wss://ws.okx.com/x", "c"),
        ({"HTTPS_PROXY": "http://d:1"}, None, "wss://ws.okx.com/x", "d"),
        ({"https_proxy": "http://a:1", "no_proxy": "okx.com"}, None, "wss://ws.okx.com/x", None),
        ({"https_proxy": "http://a:1"}, False, "wss://ws.okx.com/x", None),
        ({"https_proxy": "http://a:1"}, "socks5h://e:5", "wss://ws.okx.com/x", "e"),
        ({"https_proxy": "http://a:1"}, None, "wss://127.0.0.1:9/x", None),
        ({"https_proxy": "http://a:1"}, None, "wss://localhost:9/x", None),
        ({}, None, "wss://ws.okx.com/x", None),
    ],
)
def test_which_proxy_an_address_goes_through(settings, setting, url, host, environment):
    """The environment's, unless told otherwise; loopback never goes through the environment's."""
    for name, value in settings.items():
        environment(name, value)
    found = proxy_for(url, setting)
    assert (None if found is None else found.host) == host


def test_an_environment_that_names_an_unknown_kind_is_told(environment):
    """Without its password."""
    environment("https_proxy", "https://me:secret@proxy.invalid:1")
    with pytest.raises(WireError, match="proxy.invalid") as caught:
        proxy_for("wss://ws.okx.com/x", None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["ftp://x:1", "http://", "http://x:port", "x:1", True, 5, "http://user:secret@x:1/path"]
)
def test_a_bad_proxy_is_refused_when_the_manager_is_made(proxy):
    """A `UsageError` that names the parameter and not the password."""
    with pytest.raises(UsageError, match="proxy") as caught:
        OkxWebSocketManager(proxy=proxy)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered HTTP 403 Forbidden"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"x" * 70_000, "no end"),
        (b"", "hung up"),
    ],
)
def test_what_is_no_proxy_is_told(answer, told, peer, connect):
    """Bounded, whatever it says."""
    server = peer(tunnel(answer))
    ws = connect(urls={"public": "ws://exchange.invalid/"}, proxy=f"http://127.0.0.1:{server.port}", reconnect=False)
    with pytest.raises(ConnectionLost, match=told):
        ws.subscribe([ARG])[0].wait(10)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([b"\x04\x00"], "does not speak SOCKS5"),
        ([b"\x05\xff"], "accepts none of our ways to log in"),
        ([b"\x05\x02", b"\x01\x01"], "refused its user name or password"),
        ([b"\x05\x00", b"\x05\x05\x00\x01\0\0\0\0\0\0"], "could not connect: connection refused"),
        ([b"\x05\x00", b"\x05\x63\x00\x01\0\0\0\0\0\0"], "could not connect: reply 99"),
        ([b"\x05\x00", b"\x05"], "hung up"),
    ],
)
def test_what_a_socks_proxy_refuses_is_told(answers, told, peer, connect):
    """By the reply it gave."""

    def script(talk):
        talk.read(4)
        for answer in answers:
            talk.send(answer)
            if len(answer) > 1 and answer is not answers[-1]:
                talk.read(1)

    server = peer(script)
    proxy = f"socks5h://me:hunter2@127.0.0.1:{server.port}"
    ws = connect(urls={"public": "ws://exchange.invalid/"}, proxy=proxy, reconnect=False)
    with pytest.raises(ConnectionLost, match=told):
        ws.subscribe([ARG])[0].wait(10)


@pytest.mark.parametrize("kind", [b"\x01\0\0\0\0", b"\x04" + b"\0" * 16, b"\x03\x05hello"])
def test_a_socks_answer_may_name_any_kind_of_address(kind, peer, connect):
    """What follows it belongs to the tunnel, also in the same packet."""

    def script(talk):
        assert talk.read(3) == b"\x05\x01\x00"
        talk.send(b"\x05\x00")
        assert talk.read(5 + 16 + 2) == b"\x05\x01\x00\x03\x10exchange.invalid\x22\x60"
        talk.send(b"\x05\x00\x00" + kind + b"\0\0")
        talk.subscribed()
        talk.json({"arg": ARG, "data": []})
        talk.until_gone()

    server = peer(script)
    ws = connect(urls={"public": "ws://exchange.invalid:8800/"}, proxy=f"socks5h://127.0.0.1:{server.port}")
    ws.subscribe([ARG])
    assert ws.get(timeout=5)["data"] == []


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_mute_proxy_ends_at_the_connect_limit(scheme, peer, connect):
    """Acceptance 1: within the same limit as everything else; a close ends it at once."""
    server = peer(lambda talk: talk.read(10**6))
    url = {"public": "ws://exchange.invalid/"}
    ws = connect(urls=url, proxy=f"{scheme}://127.0.0.1:{server.port}", connect_timeout=0.2, reconnect=False)
    with pytest.raises(ConnectionLost, match="timed out during the talk with the proxy"):
        ws.subscribe([ARG])[0].wait(5)
    patient = connect(urls=url, proxy=f"{scheme}://127.0.0.1:{server.port}")
    patient.subscribe([ARG])
    eventually(lambda: server.connections == 2)
    start = time.monotonic()
    patient.close()
    assert time.monotonic() - start < 1


def test_a_proxys_password_appears_nowhere(peer, connect, caplog):
    """Not in logs, reprs, events, stats."""
    server = peer(tunnel(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
    with caplog.at_level(logging.DEBUG):
        ws = connect(urls={"public": "ws://exchange.invalid/"}, proxy=f"http://me:hunter2@127.0.0.1:{server.port}")
        watch = Watch(ws)
        ws.subscribe([ARG])
        watch.wait("reconnecting")
        told = [caplog.text, repr(watch.events), repr(ws), str(ws.stats()), repr(ws._settings)]
    assert not any("hunter2" in text for text in told)
    assert "hunter2" not in repr(Proxy.parse("http://me:hunter2@x:1"))
