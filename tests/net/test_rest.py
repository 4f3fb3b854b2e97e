"""`net.rest`: one exchange of HTTP, with servers that misbehave; over real sockets and real TLS."""

import ssl
import threading
import time

import pytest
import requests
import responses
import trustme

from okx_ws import ConnectionLost, RestError
from okx_ws.net.rest import RestTransport, is_unsent
from tests.web import GOOD, http, mute

TIME = "https://rest.invalid/api/v5/public/time"
PATH = "/api/v5/market/ticker"


@pytest.fixture
def transport():
    made = RestTransport("https://rest.invalid", ssl.create_default_context(), proxy=False)
    yield made
    made.close()


@responses.activate
def test_the_time_is_read_from_okxs_envelope(transport):
    """Milliseconds as a string."""
    responses.get(TIME, json={"code": "0", "msg": "", "data": [{"ts": "1779000000123"}]})
    assert transport.server_time_s() == 1779000000.123


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        ({"json": {"code": "50011", "msg": "Too Many Requests", "data": []}, "status": 429}, "50011", "HTTP 429"),
        ({"json": {"code": "50001", "msg": "Service temporarily unavailable"}, "status": 503}, "50001", "unavailable"),
        ({"json": {"msg": "API key doesn't exist", "code": "50119"}, "status": 401}, "50119", "HTTP 401"),
        ({"body": "<html>Bad gateway</html>", "status": 502}, "", "not OKX's.*HTTP 502"),
        ({"body": "<html>hello</html>"}, "", "not OKX's"),
        ({"json": []}, "", "not OKX's"),
        ({"json": {"code": "0", "msg": "", "data": []}}, "", "no time"),
        ({"json": {"code": "0", "msg": "", "data": None}}, "0", "no list of rows"),
        ({"json": {"code": "0", "data": [{"ts": "soon"}]}}, "", "no time"),
        ({"status": 302, "headers": {"Location": "https://elsewhere.invalid/"}}, "", "not OKX's.*HTTP 302"),
    ],
)
@responses.activate
def test_answers_that_are_none_are_typed_errors(answer, code, told, transport):
    """Acceptance 89: 429, 5xx, HTML, empty data, redirects: never a wrong number."""
    responses.get(TIME, **answer)
    with pytest.raises(RestError, match=told) as caught:
        transport.server_time_s()
    assert caught.value.code == code and caught.value.path == "/api/v5/public/time"
    assert len(responses.calls) == 1


@pytest.mark.parametrize("fault", [requests.ConnectionError("refused"), requests.Timeout("too slow")])
@responses.activate
def test_no_answer_is_a_lost_connection(fault, transport):
    """Acceptance 89: a typed error, with the kind and the words of its cause."""
    responses.get(TIME, body=fault)
    with pytest.raises(ConnectionLost, match=str(fault)) as caught:
        transport.server_time_s()
    assert type(caught.value.__cause__) is type(fault)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("127.0.0.1:1", "127.0.0.1 port 1: .*refused"),
        ("no-such-host.invalid:80", "no-such-host.invalid port 80: .*no-such-host.invalid"),
    ],
)
def test_who_cannot_be_reached_is_told_in_few_words(where, told):
    """Without the layers of requests, which bury it; what is certain (it was not sent) is still known."""
    one = RestTransport(f"http://{where}", ssl.create_default_context())
    with pytest.raises(ConnectionLost, match=f"^REST {PATH}: {told}") as caught:
        one.ask("GET", PATH, time.monotonic() + 2)
    assert "Pool" not in str(caught.value) and "retries" not in str(caught.value) and is_unsent(caught.value)
    one.close()


def drip(talk):
    """Send a head that never ends, a byte at a time."""
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        talk.send(b"X: y\r\n")
        talk.pause(0.02)


def drip_body(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        talk.send(b" ")
        talk.pause(0.02)


def drip_chunks(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        talk.send(b"1\r\n \r\n")
        talk.pause(0.02)


def flood(talk):
    talk.read_head()
    talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        talk.send(b" " * 65_536)


def continue_for_ever(talk):
    talk.read_head()
    while True:
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.pause(0.02)


@pytest.fixture
def plain(peer):
    """Make a transport to a scripted peer."""
    made = []

    def make(script):
        made.append(RestTransport(f"http://127.0.0.1:{peer(script).port}", ssl.create_default_context()))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("script", [drip, drip_body, drip_chunks, mute, continue_for_ever])
def test_a_server_that_never_finishes_costs_the_deadline(script, plain):
    """Acceptance 89: never a hang; a byte now and then does not keep a call alive, in the head or the body."""
    one = plain(script)
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out|Read timed out"):
        one.ask("GET", PATH, start + 0.4)
    assert 0.3 < time.monotonic() - start < 1


@pytest.mark.parametrize("script", [drip, drip_body, mute])
def test_the_deadline_holds_over_tls(script, peer):
    """Acceptance 89: the same, of what is encrypted."""
    authority, server, client = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    one = RestTransport(f"https://127.0.0.1:{peer(script, context=server).port}", client)
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out"):
        one.ask("GET", PATH, start + 0.4)
    assert 0.3 < time.monotonic() - start < 1
    one.close()


def test_a_host_that_cannot_be_reached_costs_the_deadline(black_hole):
    """Acceptance 89: connecting has a bound of its own, and the call's."""
    one = RestTransport(f"http://127.0.0.1:{black_hole}", ssl.create_default_context())
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out"):
        one.ask("GET", PATH, start + 0.3)
    assert time.monotonic() - start < 1
    one.close()


def test_an_answer_without_end_is_cut(plain, monkeypatch):
    """Acceptance 89: memory is bounded too."""
    monkeypatch.setattr("okx_ws.net.http.MAX_ANSWER_BYTES", 1_000_000)
    with pytest.raises(ConnectionLost, match="longer than 1000000 bytes"):
        plain(flood).ask("GET", PATH, time.monotonic() + 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1, 7\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_or_breaks_http_is_a_typed_error(data, plain):
    """Acceptance 89: a truncated body is never taken for the whole."""

    def script(talk):
        talk.read_head()
        talk.send(data)

    with pytest.raises((ConnectionLost, RestError)):
        plain(script).ask("GET", PATH, time.monotonic() + 5)


def test_redirects_are_not_followed(plain, peer):
    """Acceptance 89: a signature must not travel to another host."""
    elsewhere = peer(lambda talk: talk.read_head())

    def script(talk):
        talk.read_head()
        talk.send(http("", "302 Found", f"Location: {where}\r\n"))

    for where in (f"http://127.0.0.1:{elsewhere.port}/", "http://[", "/", "ftp://x"):
        with pytest.raises((RestError, ConnectionLost)):
            plain(script).ask("GET", PATH, time.monotonic() + 5)
    assert elsewhere.connections == 0


def test_demo_trading_is_said_and_a_path_before_ours_is_kept(peer):
    """x-simulated-trading on every request; a gateway may serve OKX under a path of its own."""
    heads = []

    def script(talk):
        while True:
            heads.append(talk.read_head().decode())
            talk.send(GOOD)

    server = peer(script)
    one = RestTransport(f"http://127.0.0.1:{server.port}/okx/", ssl.create_default_context(), sandbox=True)
    for _ in range(2):
        assert one.ask("GET", f"{PATH}?instId=X", time.monotonic() + 5) == [{"last": "1.10"}]
    one.close()
    assert len(heads) == 2 and server.connections == 1, "the connection is used again"
    for head in heads:
        assert head.startswith("GET /okx/api/v5/market/ticker?instId=X HTTP/1.1\r\n")
        assert "x-simulated-trading: 1" in head and "Authorization" not in head


def test_rest_verifies_with_the_same_context_as_the_links(tls_exchange):
    """A private authority is trusted alone; without it the certificate is refused."""
    trusting = ssl.create_default_context(cafile=tls_exchange.sslopt["ca_certs"])
    authorities = trusting.cert_store_stats()
    good = RestTransport(tls_exchange.urls["rest"], trusting)
    assert abs(good.server_time_s() - time.time()) < 2
    assert trusting.cert_store_stats() == authorities, "nothing was added to it"
    good.close()
    bad = RestTransport(tls_exchange.urls["rest"], ssl.create_default_context())
    with pytest.raises(ConnectionLost, match="CERTIFICATE_VERIFY_FAILED"):
        bad.server_time_s()
    bad.close()


def test_an_answer_that_comes_too_late_is_nobody_elses(plain):
    """Acceptance 89: after a time-out, the next question is not given the answer to the last one."""

    def script(talk):
        number = talk.number
        talk.read_head()
        talk.pause(0.3 if number == 1 else 0)
        talk.send(http('{"code":"0","data":[{"last":"%d"}]}' % number))
        talk.pause(30)

    one = plain(script)
    with pytest.raises(ConnectionLost):
        one.ask("GET", PATH, time.monotonic() + 0.15)
    assert one.ask("GET", PATH, time.monotonic() + 5) == [{"last": "2"}]


def test_many_threads_have_a_session_each(plain):
    """Calls at the same time do not wait for each other; their sessions are used again afterwards."""
    together = threading.Barrier(4, timeout=5)

    def script(talk):
        while True:
            talk.read_head()
            together.wait()
            talk.send(GOOD)

    one, found = plain(script), []
    for _ in range(2):
        threads = [
            threading.Thread(target=lambda: found.append(one.ask("GET", PATH, time.monotonic() + 5))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert found == [[{"last": "1.10"}]] * 8
    assert len(one._idle) == 4
