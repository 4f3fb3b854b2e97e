"""Real captured frames, replayed by the local exchange over real TLS sockets, arrive whole, in order, byte for byte."""

import queue
from collections import Counter

import orjson
import pytest

from okx_ws.exchange import LocalExchange, Recording
from okx_ws.protocol.book import LAYOUTS, Book, BookBroken
from tests.protocol.test_book import Model, read, sides

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


def test_every_captured_book_frame_is_rebuilt_or_refused_for_what_is_wrong_with_it(frames):
    """Acceptance 46: all 1,820 of all files: equal to a plain dict model, the checksum wherever there is a whole book.

    The 14 that are refused were cut by who published them, begin in the middle, or are a docs sample without action.
    """
    counts, refusals = Counter(), []
    for path in sorted(frames.glob("*.jsonl")):
        books, models = {}, {}
        for message in read(path):
            channel, whose = message["arg"]["channel"], str(message["arg"])
            book = books.setdefault(whose, Book(LAYOUTS[channel], verify=True))
            model = models.setdefault(whose, Model())
            counts["frames"] += 1
            try:
                done = book.apply(message)
            except BookBroken as exc:
                refusals.append(str(exc).partition(",")[0].partition(" -")[0].rstrip("0123456789 "))
                continue
            if done == "dropped":  # the book is broken, and waits for a snapshot
                refusals.append(done)
                continue
            model.apply(message)
            counts["equal"] += sides(book) == model.sides()
            checksum = message["data"][0].get("checksum")
            counts["checksums"] += bool(checksum) and checksum == book.checksum() == model.checksum()
    assert counts == {"frames": 1820, "equal": 1806, "checksums": 1797}
    malformed = "malformed: KeyError('action')"
    assert Counter(refusals) == {"an update before any snapshot": 6, "checksum": 5, "dropped": 2, malformed: 1}


def recorded_args(exchange):
    """Return the args of what is being replayed."""
    return exchange.hub.recordings[0][0].args
