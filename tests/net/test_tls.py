"""TLS: what is trusted, what is refused and why, and what happens inside an encrypted link. Real handshakes."""

import contextlib
import datetime
import socket
import ssl
import time

import pytest
import trustme

from okx_ws import ConnectionLost
from okx_ws.net.tls import Tls
from tests.peer import frame
from tests.watch import Watch

ARG = {"channel": "tickers", "instId": "BTC-USDT"}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(cert, **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    for name, value in options.items():
        setattr(context, name, value)
    return context


def serve(talk):
    request = talk.subscribed()
    for n in range(3):
        talk.json({"arg": request["args"][0], "data": [n]})
    talk.until_gone()


def long_ago(**age):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**age)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_private_authority_can_be_trusted(version, authority, ca_file, peer, connect):
    """`sslopt` with ``ca_certs``; TLS 1.2 and 1.3."""
    context = server_context(authority.issue_cert("127.0.0.1"), minimum_version=version, maximum_version=version)
    ws = connect(urls=peer(serve, context=context).urls, sslopt={"ca_certs": ca_file})
    ws.subscribe([ARG])
    assert [ws.get(timeout=5)["data"] for _ in range(3)] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("wrong host", "127.0.0.1"),
        ("wrong authority", "unable to get local issuer certificate|self-signed certificate in certificate chain"),
        ("expired", "certificate has expired"),
        ("self-signed", "self-signed certificate"),
    ],
)
def test_a_bad_certificate_is_refused_with_its_fault(fault, told, authority, ca_file, peer, connect):
    """Acceptance 95: verification is on; the error says what is wrong; nothing is sent."""
    cert = {
        "wrong host": lambda: authority.issue_cert("example.com"),
        "wrong authority": lambda: trustme.CA().issue_cert("127.0.0.1"),
        "expired": lambda: authority.issue_cert("127.0.0.1", not_after=long_ago(days=1)),
        "self-signed": lambda: authority.issue_cert("127.0.0.1"),
    }[fault]()
    context = server_context(cert)
    if fault == "self-signed":
        alone = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with alone.cert_pem.tempfile() as cert_file, alone.private_key_pem.tempfile() as key_file:
            context.load_cert_chain(cert_file, key_file)
    reached = []
    server = peer(lambda talk: reached.append(talk.read_head()), context=context)
    ws = connect(urls=server.urls, sslopt={"ca_certs": ca_file}, reconnect=False)
    with pytest.raises(ConnectionLost, match=f"certificate of 127.0.0.1 is refused: .*({told})"):
        ws.subscribe([ARG])[0].wait(5)
    assert reached == []


def test_the_systems_authorities_are_the_default(authority, peer, connect):
    """Without `sslopt` a private authority is not trusted."""
    context = server_context(authority.issue_cert("127.0.0.1"))
    ws = connect(urls=peer(serve, context=context).urls, reconnect=False)
    with pytest.raises(ConnectionLost, match="refused"):
        ws.subscribe([ARG])[0].wait(5)


@pytest.mark.parametrize("after", [0, 1, 100])
def test_a_peer_that_drops_in_the_handshake_is_told(after, peer, connect):
    """It hung up: at once, or in the middle of the client's hello."""

    def script(talk):
        talk.read(after) if after else None

    ws = connect(urls={"public": peer(script).url.replace("ws:", "wss:")}, reconnect=False)
    with pytest.raises(ConnectionLost, match="handshake|broke"):
        ws.subscribe([ARG])[0].wait(5)


def test_a_peer_that_speaks_no_tls_is_told(peer, connect):
    """wss:// to a plain port."""

    def script(talk):
        talk.read(1)
        talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    ws = connect(urls={"public": peer(script).url.replace("ws:", "wss:")}, reconnect=False)
    with pytest.raises(ConnectionLost, match="TLS with 127.0.0.1 failed"):
        ws.subscribe([ARG])[0].wait(5)


def test_a_mute_handshake_ends_at_the_connect_limit(peer, connect):
    """Acceptance 1, within TLS."""
    ws = connect(
        urls={"public": peer(lambda talk: talk.read(10**6)).url.replace("ws:", "wss:")},
        reconnect=False,
        connect_timeout=0.1,
    )
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="timed out during the TLS handshake"):
        ws.subscribe([ARG])[0].wait(5)
    assert time.monotonic() - start < 0.5


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_server_name_is_sent(version, authority, ca_file, peer, connect):
    """SNI: OKX's hosts share addresses."""
    names = []
    context = server_context(authority.issue_cert("localhost"), minimum_version=version, maximum_version=version)
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = peer(serve, context=context)
    ws = connect(urls={"public": f"wss://localhost:{server.port}/"}, sslopt={"ca_certs": ca_file})
    ws.subscribe([ARG])[0].wait(5)
    assert names == ["localhost"]


@pytest.mark.parametrize("notify", [True, False])
def test_the_end_of_an_encrypted_stream_is_a_loss(notify, authority, ca_file, peer, connect):
    """With close_notify and with a bare FIN: what came before is delivered, then 1006."""

    def script(talk):
        request = talk.subscribed()
        talk.json({"arg": request["args"][0], "data": [talk.number]})
        if talk.number > 1:
            talk.until_gone()
        if notify:
            talk.sock.unwrap()
        else:
            talk.sock.shutdown(socket.SHUT_RDWR)

    context = server_context(authority.issue_cert("127.0.0.1"))
    ws = connect(urls=peer(script, context=context).urls, sslopt={"ca_certs": ca_file})
    watch = Watch(ws)
    ws.subscribe([ARG])
    assert [ws.get(timeout=5)["data"] for _ in range(2)] == [[1], [2]]
    assert watch.wait("disconnected").code == "1006"


def test_records_of_any_size_and_place_make_whole_messages(authority, ca_file, peer, connect):
    """A frame over several records, several frames in a record."""
    text = '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[%d,"%s"]}'
    frames = [frame(text % (n, "x" * size)) for n, size in enumerate((0, 5, 20_000, 100, 70_000, 3))]

    def script(talk):
        talk.subscribed()
        whole = b"".join(frames)
        for start in range(0, len(whole), 777):
            talk.send(whole[start : start + 777])
        talk.send(whole)
        talk.until_gone()

    context = server_context(authority.issue_cert("127.0.0.1"))
    ws = connect(urls=peer(script, context=context).urls, sslopt={"ca_certs": ca_file})
    ws.subscribe([ARG])
    assert [ws.get(timeout=5)["data"][0] for _ in range(12)] == [*range(6), *range(6)]


def test_a_client_certificate_is_shown(authority, ca_file, peer, connect, tmp_path):
    """``certfile`` and ``keyfile``."""
    context = server_context(authority.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_REQUIRED)
    authority.configure_trust(context)
    mine = authority.issue_cert("me@example.com")
    mine.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    mine.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    files = {"certfile": str(tmp_path / "cert.pem"), "keyfile": str(tmp_path / "key.pem")}
    server = peer(serve, context=context)
    ws = connect(urls=server.urls, sslopt={"ca_certs": ca_file, **files})
    ws.subscribe([ARG])[0].wait(5)
    bare = connect(urls=server.urls, sslopt={"ca_certs": ca_file}, reconnect=False)
    with pytest.raises(ConnectionLost):
        bare.subscribe([ARG])[0].wait(5)


def test_a_context_of_ones_own_is_taken_as_it_is(authority, peer, connect):
    """For what `sslopt`'s other keys cannot say."""
    context = server_context(authority.issue_cert("127.0.0.1"))
    mine = ssl.create_default_context()
    authority.configure_trust(mine)
    ws = connect(urls=peer(serve, context=context).urls, sslopt={"context": mine})
    ws.subscribe([ARG])[0].wait(5)


class Server:
    """The server's side of a session, in memory like ours."""

    def __init__(self, context):
        self.came, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.came, self.to_send, server_side=True)


@pytest.fixture
def in_memory(authority, ca_file):
    """Our session and a server's that have shaken hands, with no socket between them."""
    ours = Tls(ssl.create_default_context(cafile=ca_file), "127.0.0.1")
    theirs = Server(server_context(authority.issue_cert("127.0.0.1")))
    while not ours.shake_hands():
        theirs.came.write(ours.outgoing())
        with contextlib.suppress(ssl.SSLWantReadError):
            theirs.session.do_handshake()
        ours.feed(memoryview(theirs.to_send.read()))
    theirs.came.write(ours.outgoing())
    theirs.session.do_handshake()
    return ours, theirs


def test_a_session_takes_bytes_as_they_come_and_gives_whole_records(in_memory):
    """However the network cuts them; what one read has brought comes as one."""
    ours, theirs = in_memory
    theirs.session.write(b"x" * 50_000)  # four records
    cipher = theirs.to_send.read()
    ours.feed(memoryview(cipher[:100]))
    assert ours.read() is None and not ours.ended
    ours.feed(memoryview(cipher[100:]))
    assert ours.read() == b"x" * 50_000
    ours.write(b"hello")
    theirs.came.write(ours.outgoing())
    assert theirs.session.read() == b"hello" and ours.outgoing() == b""


@pytest.mark.parametrize("end", ["close_notify", "bare FIN"])
def test_what_came_before_the_end_of_a_session_is_read(end, in_memory):
    """In one read with it; then it has ended."""
    ours, theirs = in_memory
    theirs.session.write(b"last words")
    if end == "close_notify":
        with contextlib.suppress(ssl.SSLWantReadError):
            theirs.session.unwrap()
    ours.feed(memoryview(theirs.to_send.read()))
    if end == "bare FIN":
        ours.feed(memoryview(b""))
    read = [ours.read(), ours.read()]
    assert read == [b"last words", b""] and ours.ended and ours.fault is None


def test_what_came_whole_before_a_fault_is_read(in_memory):
    """A record that was tampered with is told with its cause, behind those before it."""
    ours, theirs = in_memory
    theirs.session.write(b"whole")
    whole = theirs.to_send.read()
    theirs.session.write(b"broken")
    broken = bytearray(theirs.to_send.read())
    broken[-1] ^= 1
    ours.feed(memoryview(whole + broken))
    assert ours.read() == b"whole"
    assert "TLS failed" in str(ours.fault) and not ours.ended
