"""Real captured frames, replayed by the local exchange over real TLS sockets, arrive whole, in order, byte for byte."""

import queue

import orjson
import pytest

from okx_ws.exchange import LocalExchange, Recording

CAPTURES = (
    "capture_2022-05_books_public.jsonl",
    "capture_2021-07_books-l2-tbt_public.jsonl",
    "ccxt_2026-08_tickers_candles.jsonl",
    "tardis_2021-2023_mixed.jsonl",
    "crypto-msg-parser_2022_mixed.jsonl",
    "roq_2021-2025_mixed.jsonl",
    "books_2026-07_snapshot_seq_checksum0.jsonl",
)


def data_frames(path):
    """Return the data pushes of a capture, as OKX sent them."""
    frames = [line for line in path.read_text().splitlines() if line]
    return [text for text in frames if "data" in orjson.loads(text) and "arg" in orjson.loads(text)]


@pytest.fixture
def replaying(frames):
    """An exchange that replays a capture, and the pushes it will send."""
    made = []

    def start(name):
        exchange = LocalExchange(tls=True)
        exchange.replay(frames / name)
        made.append(exchange.start())
        return exchange, data_frames(frames / name)

    yield start
    for exchange in made:
        exchange.stop()


def text_of(message):
    return orjson.dumps(message).decode()


@pytest.mark.parametrize("name", CAPTURES)
def test_every_frame_arrives_through_get(name, replaying, connect):
    """All args in one request: the whole file, in its order."""
    exchange, texts = replaying(name)
    assert texts
    ws = connect(exchange)
    ws.subscribe(recorded_args(exchange), endpoint="public")
    assert [text_of(ws.get(timeout=10)) for _ in texts] == texts
    assert ws.msgQueue.empty() and ws.stats()["malformed"] == 0


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("name", CAPTURES[:3])
def test_every_frame_arrives_through_handlers(name, inline, replaying, connect):
    """On the handlers' thread and on the link's."""
    exchange, texts = replaying(name)
    got = queue.Queue()
    ws = connect(exchange)
    ws.subscribe(recorded_args(exchange), endpoint="public", handler=got.put, inline=inline)
    assert [text_of(got.get(timeout=10)) for _ in texts] == texts


def test_each_arg_alone_arrives_in_its_own_order(replaying, connect):
    """One request per arg, one queue per subscription."""
    exchange, texts = replaying(CAPTURES[0])
    ws = connect(exchange)
    for arg in recorded_args(exchange):
        mine = [text for text in texts if orjson.loads(text)["arg"] == arg]
        subscription = ws.subscribe(**arg, queue=True, endpoint="public")
        assert [text_of(subscription.get(timeout=10)) for _ in mine] == mine


def test_a_recording_can_keep_its_pace(frames):
    """The times of the capture are known, for replays at a speed."""
    recording = Recording(frames / CAPTURES[0])
    times = [frame.at_s for frame in recording.frames]
    assert times == sorted(times) and 10 < times[-1] < 15


def recorded_args(exchange):
    """Return the args of what is being replayed."""
    return exchange.hub.recordings[0][0].args
