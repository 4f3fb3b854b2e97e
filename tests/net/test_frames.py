"""Frames as they should not be: torn, fragmented, huge, malformed, forbidden; each with the link's answer."""

import queue
import random
import zlib

import pytest

from tests.peer import BINARY, CLOSE, PING, PONG, TEXT, frame
from tests.watch import Watch

ARG = {"channel": "tickers", "instId": "BTC-USDT"}
HEAD = '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":['


def message(n, pad=0):
    return f'{HEAD}{{"n":{n},"pad":"{"x" * pad}"}}]}}'


def numbers(ws, count, timeout=10):
    """Return the numbers of the next messages."""
    return [ws.get(timeout=timeout)["data"][0]["n"] for _ in range(count)]


@pytest.fixture
def stream(peer, connect):
    """Start a manager against a peer that sends these bytes in these pieces; the second connection just serves."""

    def start(pieces, then=None, **settings):
        closes = queue.Queue()

        def script(talk):
            talk.subscribed()
            if talk.number > 1:
                talk.text(message(-1))
                talk.until_gone()
            for piece in pieces:
                talk.send(piece)
            if then is not None:
                return then(talk)
            while True:
                opcode, payload = talk.read_frame()
                if opcode == CLOSE:
                    closes.put(int.from_bytes(payload[:2], "big"))
                    return None

        server = peer(script)
        ws = connect(urls=server.urls, **settings)
        watch = Watch(ws)
        ws.subscribe([ARG])
        return ws, watch, server, closes

    return start


def cut(data, places):
    """Cut bytes at these places."""
    places = [0, *places, len(data)]
    return [data[a:b] for a, b in zip(places, places[1:], strict=False)]


def test_a_stream_cut_anywhere_gives_the_same_messages(stream):
    """Torn frames: every byte on its own, and random cuts, over one connection."""
    texts = [message(n, pad) for n, pad in enumerate((0, 1, 50, 80, 200, 0, 3))]
    whole = b"".join(map(frame, texts)) + frame(b"hi", PING) + frame(message(7))
    rounds = [cut(whole, range(1, len(whole)))]
    rounds += [cut(whole, sorted(random.Random(seed).sample(range(1, len(whole)), 9))) for seed in range(40)]
    ws, watch, server, _ = stream([piece for pieces in rounds for piece in pieces])
    assert numbers(ws, 8 * len(rounds)) == list(range(8)) * len(rounds)
    assert server.connections == 1 and watch.of("malformed") == []


@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 65_535, 65_536, 200_000])
def test_every_size_of_frame_arrives(size, stream):
    """Around the borders of the three length encodings and of the read buffer; the short ones are not JSON."""
    payload = message(0, size - len(message(0))) if size > 100 else "7" * size
    ws, watch, server, _ = stream([frame(payload) + frame(message(1))])
    if size > 100:
        assert len(payload) == size and numbers(ws, 1) == [0]
    else:
        watch.wait("malformed")
    assert numbers(ws, 1) == [1]
    assert server.connections == 1


@pytest.mark.parametrize("pieces", [2, 3, 50, 1000])
def test_a_fragmented_message_is_delivered_once_and_whole(pieces, stream):
    """Acceptance 66: over 2 to 1000 frames, with pings in between."""
    payload = message(1, 3000).encode()
    places = sorted(random.Random(pieces).sample(range(1, len(payload)), pieces - 1))
    parts = cut(payload, places)
    frames = [
        frame(part, TEXT if i == 0 else 0, fin=i == len(parts) - 1) + (frame(b"p", PING) if i % 7 == 0 else b"")
        for i, part in enumerate(parts)
    ]
    ws, _, server, _ = stream([frame(message(0)) + b"".join(frames) + frame(message(2))])
    assert numbers(ws, 3) == [0, 1, 2]
    assert server.connections == 1


@pytest.mark.parametrize("size", [26_000, 1 << 20, 16 << 20])
def test_a_large_message_arrives(size, stream):
    """Acceptance 67: from a 400-level snapshot to 16 MB, in one frame."""
    ws, _, server, _ = stream([frame(message(0, size)) + frame(message(1))])
    first = ws.get(timeout=20)
    assert len(first["data"][0]["pad"]) == size
    assert numbers(ws, 1) == [1] and server.connections == 1


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_message_over_the_limit_closes_with_1009(fragmented, stream):
    """Acceptance 67: the limit is documented, above 1 MB by default, and holds over fragments; a reconnect follows."""
    part = b"x" * 40_000
    frames = [frame(part, TEXT, fin=False), frame(part, 0, fin=False)] if fragmented else [frame(b"", size=1 << 40)]
    ws, watch, _, closes = stream([frame(message(0)), *frames], max_message_bytes=65_536)
    assert closes.get(timeout=5) == 1009
    assert watch.wait("disconnected").code == "1009"
    assert numbers(ws, 2) == [0, -1]


@pytest.mark.parametrize("text", ["{not json", "", "null", "[]", "42", '{"arg":{}}', '"text"', "NaN", "[" * 2000])
def test_text_that_is_no_message_is_told_and_the_link_stays(text, stream):
    """Acceptance 64: counted and reported, connection kept, later frames processed."""
    ws, watch, server, _ = stream([frame(message(0)) + frame(text) + frame(message(1))])
    assert numbers(ws, 2) == [0, 1]
    assert watch.wait("malformed").endpoint == "public"
    assert ws.stats()["malformed"] == 1 and server.connections == 1


def test_a_broken_message_with_a_good_beginning_is_passed_over(stream):
    """Acceptance 64: it is found out when it is decoded: told with its arg, and the next one is returned instead."""
    broken = HEAD + '{"n":1'
    ws, watch, server, _ = stream([frame(message(0)) + frame(message(1)) + frame(broken) + frame(message(2))])
    assert numbers(ws, 3) == [0, 1, 2]
    assert watch.wait("malformed").arg == ARG
    assert ws.stats()["malformed"] == 1 and server.connections == 1


@pytest.mark.parametrize(
    ("payload", "delivered"),
    [(message(1).encode(), True), (zlib.compress(b"x"), False), (b"\xff\xfe\x00garbage", False)],
)
def test_a_binary_frame_is_read_as_text_if_it_is_json(payload, delivered, stream):
    """Acceptance 65: JSON bytes are a message; anything else is malformed; the link stays either way."""
    ws, watch, server, _ = stream([frame(message(0)) + frame(payload, BINARY) + frame(message(2))])
    assert numbers(ws, 3 if delivered else 2) == ([0, 1, 2] if delivered else [0, 2])
    if not delivered:
        watch.wait("malformed")
    assert server.connections == 1


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_text_that_is_no_utf8_closes_with_1007(bad, split, stream):
    """Acceptance 68: what came before it is delivered; a reconnect follows."""
    payload = message(1).encode().replace(b'"pad":""', b'"pad":"' + bad + b'"')
    middle = payload.index(bad) + (len(bad) > 1)
    wrong = frame(payload[:middle], TEXT, fin=False) + frame(payload[middle:], 0) if split else frame(payload)
    ws, watch, _, closes = stream([frame(message(0)) + wrong + frame(message(2))])
    assert closes.get(timeout=5) == 1007
    assert watch.wait("disconnected").code == "1007"
    assert numbers(ws, 2) == [0, -1]


def test_text_beyond_ascii_is_delivered(stream):
    """Real UTF-8 is no error, also where a fragment ends inside a character."""
    payload = message(1).replace('"pad":""', '"pad":"维护 ✓ é"').encode()
    middle = payload.index("护".encode()) + 1
    ws, _, server, _ = stream([frame(payload) + frame(payload[:middle], TEXT, fin=False) + frame(payload[middle:], 0)])
    assert [ws.get(timeout=5)["data"][0]["pad"] for _ in range(2)] == ["维护 ✓ é"] * 2
    assert server.connections == 1


FORBIDDEN = {
    "reserved bit 1": frame(message(1), rsv=4),
    "reserved bit 3": frame(message(1), rsv=1),
    "reserved opcode 3": frame(message(1), 3),
    "reserved opcode 11": frame(b"", 11),
    "masked": bytes([0x81, 0x80 | 2]) + b"\0\0\0\0" + b"{}",
    "long ping": frame(b"x" * 126, PING),
    "endless ping": frame(b"", PING, size=1 << 62),
    "fragmented ping": frame(b"x", PING, fin=False),
    "fragmented close": frame(b"\x03\xe8", CLOSE, fin=False),
    "continuation of nothing": frame(b"x", 0),
    "text inside fragments": frame(b"{", TEXT, fin=False) + frame(message(1)),
    "close with one byte": frame(b"\x03", CLOSE),
    "close with a reserved code": frame((1005).to_bytes(2, "big"), CLOSE),
    "close with a code out of range": frame((5000).to_bytes(2, "big"), CLOSE),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_the_protocol_forbids_closes_with_1002(name, stream):
    """Acceptance 69, 70: reserved bits and opcodes, bad control frames, bad fragments; a reconnect follows."""
    ws, watch, _, closes = stream([frame(message(0)) + FORBIDDEN[name]])
    assert closes.get(timeout=5) == 1002
    assert watch.wait("disconnected").code == "1002"
    assert numbers(ws, 2) == [0, -1]


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        (b"", "1005", "closed without a code"),
        (b"\x03\xe8", "1000", "normal close"),
        (b"\x0f\xa4No data received in 30s.", "4004", "No data received in 30s."),
        (b"\x03\xe9" + b"r" * 123, "1001", "r" * 123),
    ],
)
def test_close_frames_are_answered_and_told(body, code, reason, stream):
    """Acceptance 70: with no body, a code, a long reason."""
    ws, watch, _, closes = stream([frame(message(0)) + frame(body, CLOSE)])
    assert closes.get(timeout=5) == (int(code) if body else 1000)
    lost = watch.wait("disconnected")
    assert (lost.code, lost.msg) == (code, reason)
    assert numbers(ws, 2) == [0, -1]


def test_what_came_before_a_reset_is_delivered(stream):
    """A link that breaks loses nothing that had arrived whole."""
    ws, watch, _, _ = stream([frame(message(n)) for n in range(50)] + [frame(message(50))[:20]], then=lambda t: None)
    assert numbers(ws, 51) == [*range(50), -1]
    assert watch.wait("disconnected").code == "1006"


def test_control_frames_between_messages_change_nothing(stream):
    """Pings and pongs in any number, empty and full."""
    noise = frame(b"", PING) + frame(b"x" * 125, PONG) + frame(b"x" * 125, PING)
    ws, _, server, _ = stream([b"".join(noise + frame(message(n)) for n in range(20))])
    assert numbers(ws, 20) == list(range(20)) and server.connections == 1
