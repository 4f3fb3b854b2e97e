"""Our link against the stock `WebSocketApp` on the same bytes: the same events in the same order, or better.

What is better stands in one table, `DIFFERENCES`, with the reason; all else has to be equal.
"""

import contextlib
import os
import random
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import trustme
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conformance.links import Listener, run_ours, run_stock
from tests.peer import BINARY, CLOSE, PING, PONG, TEXT, Gone, Peer, close_frame, frame

#: Room for the peer's answer to the upgrade and for what TLS adds: cuts are made there too.
OVERHEAD_BYTES = 200


#: Holds small segments back until it is taken away; where there is none, this one changes nothing.
CORK = getattr(socket, "TCP_CORK", socket.TCP_NODELAY)


@dataclass(frozen=True)
class Outcome:
    """What a client was seen to do with a stream.

    Attributes:
        told: Messages, pings and pongs, in order. (Stock also tells whether a message was text; ours does not, since
            OKX means JSON either way.)
        answered: What the peer got back, up to the first close frame, which stands as its code.
        code: The close code told to the user.
        reason: The peer's reason, None for none.
    """

    told: tuple
    answered: tuple
    code: int | None
    reason: str | None


@dataclass(frozen=True)
class Difference:
    """Where ours is not as stock is.

    Attributes:
        stock: What stock does.
        ours: What ours does.
        why: Why that is better.
        change: Makes what ours has to do out of what stock did, and the number of events before a fault.
    """

    stock: str
    ours: str
    why: str
    change: Callable[[Outcome, int], Outcome]


def fault(code):
    """Ours ends at the fault, says so to the peer with `code`, and tells the user the same."""

    def change(stock, good):
        pongs = tuple(answer for answer in stock.answered if answer[0] == PONG)
        return Outcome(stock.told[:good], (*pongs, (CLOSE, code)), code, None)

    return change


DIFFERENCES = {
    "echo": Difference(
        "answers every close frame with 1000",
        "answers with the peer's own code",
        "RFC 6455 5.5.1: the answer typically echoes the code; a server's log then shows one code, not two",
        lambda stock, good: replace(stock, answered=(*stock.answered[:-1], (CLOSE, stock.code))),
    ),
    "1005": Difference(
        "tells None for a close frame without a code",
        "tells 1005",
        "RFC 6455 7.1.5; None also means a connection that was lost without any close frame",
        lambda stock, good: replace(stock, code=1005),
    ),
    "1006": Difference(
        "tells None for a connection lost without a close frame",
        "tells 1006",
        "RFC 6455 7.1.5, as above",
        lambda stock, good: replace(stock, code=1006),
    ),
    "reset": Difference(
        "loses what stands behind a ping where the connection was reset, since it cannot write the pong",
        "tells all that had arrived, as if the connection had ended in order, and then 1006",
        "a broken link is no reason to lose data (stock is asked without the reset: its answer depends on time)",
        lambda stock, good: replace(stock, answered=(), code=1006),
    ),
    "1002": Difference(
        "answers a protocol error with 1000 and tells None",
        "answers with 1002, names the fault, and tells 1002",
        "RFC 6455 7.4.1: 1000 says that all went well",
        fault(1002),
    ),
    "lenient": Difference(
        "takes masked frames, long or fragmented pongs and fragmented close frames",
        "refuses them with 1002",
        "RFC 6455 5.1 and 5.5 say MUST NOT: after such bytes nobody knows any more where a frame begins",
        fault(1002),
    ),
    "1007": Difference(
        "answers text that is no UTF-8 with 1000 and tells None",
        "answers with 1007 and tells 1007",
        "RFC 6455 8.1 and 7.4.1",
        fault(1007),
    ),
    "reason": Difference(
        "answers a close frame whose reason is no UTF-8 with 1000 and tells None",
        "answers with 1007, and tells the peer's code",
        "RFC 6455 8.1; the code decides whether a reconnect makes sense, and it came whole",
        lambda stock, good: replace(stock, answered=((CLOSE, 1007),), code=4004, reason="\ufffd"),
    ),
    "1009": Difference(
        "gathers a message of any size that a header announces",
        "ends the link with 1009 as soon as the header says that it is over `max_message_bytes`",
        "one false header must not eat the memory, nor make a link wait for bytes that never come",
        fault(1009),
    ),
}


@dataclass(frozen=True)
class Case:
    """A stream, with what comes after it.

    Attributes:
        stream: What the peer sends after the upgrade.
        ending: What it does then: ``"wait"`` for the client's close frame, ``"end"`` its direction, ``"notify"`` by TLS
            alone that it ends, or ``"reset"`` the connection.
        differs: The row of `DIFFERENCES`.
        good: How many events come before a fault.
    """

    stream: bytes
    ending: str = "wait"
    differs: str = "echo"
    good: int = 1


def text(n, pad=0):
    return frame(f'{{"n":{n},"pad":"{"x" * pad}"}}')


def fragments(payload, size, opcode=TEXT, between=b""):
    """Return a message in frames of `size` bytes."""
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    last = len(parts) - 1
    frames = [frame(part, 0 if i else opcode, fin=i == last) for i, part in enumerate(parts)]
    return between.join(frames)


BYE = close_frame(1001, "bye")
NOISE = frame(b"mid", PING) + frame(b"", PONG)

#: A little of everything, short enough to be cut everywhere.
MIXED = b"".join(
    (
        text(0),
        frame(""),
        text(1, 120),
        frame(b"hi", PING),
        frame("pong"),
        fragments("维护 ✓".encode(), 4, between=NOISE),
        frame(b'{"n":2}', BINARY),
        frame(b"", PING) + frame(b"yo", PONG),
        fragments(b'{"n":3}', 3, BINARY),
        frame("", TEXT, fin=False) + frame("", 0, fin=False) + frame("x", 0),
        text(4),
        BYE,
    )
)

CASES = {
    "a bit of everything": Case(MIXED),
    "nothing": Case(BYE),
    "many short": Case(b"".join(map(text, range(300))) + BYE),
    "every size": Case(b"".join(text(n, n) for n in (*range(100, 140), 65_500, 65_511, 65_521, 65_522, 65_523)) + BYE),
    "64 kB": Case(b"".join(frame("x" * size) for size in (65_535, 65_536, 65_537)) + text(1) + BYE),
    "1 MB": Case(text(1, 1 << 20) + text(2) + BYE),
    "1 MB in fragments": Case(fragments(b"x" * (1 << 20), 70_000, between=NOISE) + text(2) + BYE),
    "1000 fragments": Case(fragments(b"x" * 1000, 1, between=frame(b"p", PING)) + BYE),
    "characters over fragments": Case(fragments("é维🙂".encode() * 20, 1) + BYE),
    "full control frames": Case(
        frame(b"x" * 125, PING) + text(1) + frame(b"y" * 125, PONG) + close_frame(1000, "r" * 123)
    ),
    "lengths longer than needed": Case(b"\x81\x7e\x00\x02{}\x81\x7f" + struct.pack("!Q", 2) + b"{}" + BYE),
    "data after the close": Case(text(1) + BYE + text(2)),
    "a code of OKX": Case(text(1) + close_frame(4004, "No data received in 30s.")),
    "a code alone": Case(text(1) + close_frame(3000)),
    "a close without a code": Case(text(1) + frame(b"", CLOSE), differs="1005"),
    "an end between frames": Case(text(1), "end", "1006"),
    "an end in a header": Case(text(1) + text(2, 200)[:3], "end", "1006"),
    "an end in a frame": Case(text(1) + text(2)[:9], "end", "1006"),
    "an end in a long frame": Case(text(1) + text(2, 90_000)[:70_000], "end", "1006"),
    "an end between fragments": Case(text(1) + frame("{", fin=False), "end", "1006"),
    "an end in a ping": Case(text(1) + frame(b"hello", PING)[:4], "end", "1006"),
    "a good-bye of TLS": Case(text(1), "notify", "1006"),
    "a good-bye of TLS in a frame": Case(text(1) + text(2)[:9], "notify", "1006"),
    "a reset between frames": Case(text(1), "reset", "reset"),
    "a reset in a frame": Case(text(1) + text(2)[:9], "reset", "reset"),
    "a reset behind a ping": Case(text(1) + frame(b"hi", PING) + text(2), "reset", "reset"),
    "reserved bit": Case(text(1) + frame("{}", rsv=4) + text(2) + BYE, differs="1002"),
    "reserved bit on a ping": Case(text(1) + frame(b"", PING, rsv=1) + BYE, differs="1002"),
    "reserved opcode": Case(text(1) + frame("{}", 3) + BYE, differs="1002"),
    "reserved control opcode": Case(text(1) + frame("", 11) + BYE, differs="1002"),
    "long ping": Case(text(1) + frame(b"x" * 126, PING) + BYE, differs="1002"),
    "fragmented ping": Case(text(1) + frame(b"x", PING, fin=False) + BYE, differs="1002"),
    "long close": Case(text(1) + close_frame(1000, "r" * 124), differs="1002"),
    "close with one byte": Case(text(1) + frame(b"\x03", CLOSE), differs="1002"),
    "close with a reserved code": Case(text(1) + close_frame(1005), differs="1002"),
    "close with a code out of range": Case(text(1) + close_frame(5000), differs="1002"),
    "continuation of nothing": Case(text(1) + frame("x", 0) + BYE, differs="1002"),
    "text inside fragments": Case(text(1) + frame("{", fin=False) + text(2) + BYE, differs="1002"),
    "a fault after a ping": Case(frame(b"hi", PING) + text(1) + frame("", 11) + BYE, differs="1002", good=2),
    "masked": Case(text(1) + b"\x81\x82\0\0\0\0{}" + BYE, differs="lenient"),
    "long pong": Case(text(1) + frame(b"x" * 126, PONG) + BYE, differs="lenient"),
    "fragmented pong": Case(text(1) + frame(b"x", PONG, fin=False) + BYE, differs="lenient"),
    "fragmented close": Case(text(1) + frame(b"\x03\xe8", CLOSE, fin=False), differs="lenient"),
    "text that is no UTF-8": Case(text(1) + frame(b"\xff") + text(2) + BYE, differs="1007"),
    "fragments that are no UTF-8": Case(text(1) + fragments(b"\xc3\x28", 1) + BYE, differs="1007"),
    "a reason that is no UTF-8": Case(text(1) + frame(b"\x0f\xa4\xff", CLOSE), differs="reason"),
    "a header that lies": Case(text(1) + frame("x", size=1 << 62), "end", "1009"),
}


def say_good_bye(sock):
    """Say over TLS that the stream ends, in one piece with what came before, but send no FIN: the client must end."""
    sock.setblocking(False)
    with contextlib.suppress(ssl.SSLWantReadError):
        sock.unwrap()
    sock.setsockopt(socket.IPPROTO_TCP, CORK, 0)
    sock.settimeout(5)
    try:
        sock.unwrap()
    except TimeoutError:
        return (("the client waits for more", b""),)
    except OSError:
        pass  # it ended without a good-bye
    return ()


def serve(talk, case):
    """Send the stream and go on as the case says; return what the client sent, up to its close frame."""
    if case.ending == "notify":
        talk.sock.setsockopt(socket.IPPROTO_TCP, CORK, 1)
    talk.upgrade()
    talk.send(case.stream)
    if case.ending == "reset":
        talk.reset()
        return ()
    if case.ending == "notify" and isinstance(talk.sock, ssl.SSLSocket):
        return say_good_bye(talk.sock)
    if case.ending in ("end", "notify"):
        # By another descriptor: `SSLSocket.shutdown` forgets the encryption of the other direction too.
        with socket.socket(fileno=os.dup(talk.sock.fileno())) as plain:
            plain.shutdown(socket.SHUT_WR)
    answered = []
    try:
        while True:
            opcode, payload = talk.read_frame()
            if opcode == CLOSE:
                return (*answered, (CLOSE, int.from_bytes(payload[:2], "big")))
            answered.append((opcode, payload))
    except (Gone, OSError):
        return tuple(answered)


class Stage:
    """A peer that serves one case after the other to ours and to stock."""

    def __init__(self, peer, tls):
        self._peer = peer
        self._tls = tls
        #: What is served next.
        self.case = None

    def ours(self, case, cuts=()):
        """Return what ours does."""
        self.case = case
        listener = Listener()
        loss = run_ours(self._peer.url, listener, tls=self._tls, cuts=cuts)
        assert loss.opened
        reason = loss.reason if loss.code >= 3000 or loss.code in (1000, 1001) else None  # the others are our words
        return Outcome(tuple(listener.told), self._peer.results.get(timeout=5), loss.code, reason or None)

    def expected(self, case):
        """Return what ours has to do: what stock does, but for the difference that is argued."""
        self.case = replace(case, ending="end") if case.ending == "reset" else case
        listener = Listener()
        code, reason = run_stock(self._peer.url, listener, tls=self._tls)
        stock = Outcome(tuple(listener.told), self._peer.results.get(timeout=5), code, reason)
        return DIFFERENCES[case.differs].change(stock, case.good)


@pytest.fixture(scope="module", params=["ws", "wss"])
def stage(request):
    """The stage, over ws and over wss."""
    server = client = None
    if request.param == "wss":
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.num_tickets = 0  # they would only be more bytes to cut
        authority.issue_cert("127.0.0.1").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
    peer = Peer(lambda talk: serve(talk, made.case), context=server)
    made = Stage(peer, client)
    yield made
    peer.close()


def some_cuts(case, count):
    """Return random cuts of a case, always the same."""
    length = len(case.stream) + OVERHEAD_BYTES
    return random.Random(length).sample(range(1, length), min(count, length - 1))


@pytest.mark.parametrize("name", CASES)
def test_ours_does_what_stock_does_or_better(name, stage):
    """Whole, and cut at random."""
    case = CASES[name]
    expected = stage.expected(case)
    for cuts in ((), some_cuts(case, 3), some_cuts(case, 40)):
        assert stage.ours(case, cuts) == expected, cuts


def test_a_stream_may_be_cut_anywhere(stage):
    """At every byte, from the answer to the upgrade to the close frame; and everywhere at once."""
    case = CASES["a bit of everything"]
    expected = stage.expected(case)
    everywhere = range(1, len(MIXED) + OVERHEAD_BYTES)
    for cut in everywhere:
        assert stage.ours(case, [cut]) == expected, cut
    assert stage.ours(case, everywhere) == expected


sizes = st.one_of(st.integers(0, 300), st.sampled_from([65_535, 65_536]))
payloads = sizes.map(lambda size: b"x" * size) | st.text(max_size=40).map(str.encode)
controls = st.builds(frame, st.binary(max_size=125), st.sampled_from([PING, PONG]))
messages = st.builds(frame, payloads, st.just(TEXT)) | st.builds(frame, st.binary(max_size=300), st.just(BINARY))
torn = st.builds(fragments, st.text(min_size=1, max_size=40).map(str.encode), st.integers(1, 50), between=controls)
streams = st.lists(st.one_of(messages, controls, torn), max_size=12).map(b"".join)
endings = st.sampled_from(
    [
        (BYE, "wait", "echo"),
        (frame(b"", CLOSE), "wait", "1005"),
        (b"", "end", "1006"),
        (frame("lost", fin=False)[:4], "end", "1006"),
        (frame("lost"), "reset", "reset"),
    ]
)


@settings(max_examples=100, deadline=None)
@given(stream=streams, ending=endings, data=st.data())
def test_any_stream_in_any_pieces_is_read_as_stock_reads_it(stage, stream, ending, data):
    """Frames in any order, of any kind, cut anywhere, ended in any way."""
    last, how, differs = ending
    assume(how != "reset" or len(stream) < 20_000)  # a reset also takes back what the kernel has not sent yet
    case = Case(stream + last, how, differs)
    cuts = data.draw(st.sets(st.integers(1, len(case.stream) + OVERHEAD_BYTES), max_size=20))
    assert stage.ours(case, cuts) == stage.expected(case)


def test_the_table_has_no_row_that_nothing_shows():
    """Each difference is seen in a case."""
    assert {case.differs for case in CASES.values()} == set(DIFFERENCES)
