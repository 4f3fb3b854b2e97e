"""`protocol.book`: a book is what the exchange has, or it is broken; over captures, by example, and by properties."""

import random
import tracemalloc
from decimal import Decimal
from zlib import crc32

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol.book import LAYOUTS, Book, BookBroken, Level

FULL_CAPTURES = [
    "capture_2021-07_books-l2-tbt_public.jsonl",
    "capture_2022-05_books_public.jsonl",
    "gct_2022-08_books_checksum.jsonl",
    "books_2026-07_snapshot_seq_checksum0.jsonl",
]


def read(path):
    """Return the book pushes of a file."""
    messages = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [m for m in messages if "data" in m and m.get("arg", {}).get("channel") in LAYOUTS]


def row(asks=(), bids=(), seqId=None, prevSeqId=None, **more):
    """Return one row of data; levels as (px, sz)."""
    numbers = {name: n for name, n in (("seqId", seqId), ("prevSeqId", prevSeqId)) if n is not None}
    sides = {"asks": [[px, sz, "0", "1"] for px, sz in asks], "bids": [[px, sz, "0", "1"] for px, sz in bids]}
    return {**sides, "ts": "1765201257005", "checksum": 0, **numbers, **more}


def snapshot(asks=(), bids=(), seqId=10, **more):
    return {"action": "snapshot", "data": [row(asks, bids, seqId, -1, **more)]}


def update(asks=(), bids=(), seqId=15, prevSeqId=10, **more):
    return {"action": "update", "data": [row(asks, bids, seqId, prevSeqId, **more)]}


def make(channel="books", **options):
    return Book(LAYOUTS[channel], **options)


def synced(asks=(("101", "1"), ("102", "2")), bids=(("100", "3"), ("99", "4"))):
    book = make()
    assert book.apply(snapshot(asks, bids)) == "snapshot"
    return book


def sides(book):
    """Return (asks, bids) as (px, sz), best first."""
    return [[(level.px, level.sz) for level in levels] for levels in (book.best_asks(), book.best_bids())]


class Model:
    """A book as a plain dict: what anybody would write first."""

    def __init__(self):
        self.asks, self.bids = {}, {}

    def apply(self, message):
        (data,) = message["data"]
        if message.get("action", "snapshot") == "snapshot":
            self.asks, self.bids = {}, {}
        for side, rows in ((self.asks, data["asks"]), (self.bids, data["bids"])):
            for px, sz, *_ in rows:
                side.pop(Decimal(px), None)
                if Decimal(sz):
                    side[Decimal(px)] = (px, sz)

    def sides(self):
        return [[side[px] for px in sorted(side, reverse=side is self.bids)] for side in (self.asks, self.bids)]

    def checksum(self):
        asks, bids = (levels[:25] for levels in self.sides())
        texts = []
        for n in range(25):
            texts += [":".join(side[n]) for side in (bids, asks) if n < len(side)]
        crc = crc32(":".join(texts).encode())
        return crc - 2**32 if crc >= 2**31 else crc


# ---------------------------------------------------------------------- captures


@pytest.mark.parametrize(
    ("name", "count", "checksums"), list(zip(FULL_CAPTURES, [1504, 290, 3, 2], [1504, 290, 3, 0], strict=True))
)
def test_every_captured_frame_rebuilds_the_exchanges_book(name, count, checksums, frames):
    """Acceptance 46, 49, 59: the same book as a plain dict model, and the exchange's own checksum, frame by frame."""
    books, models, verified = {}, {}, 0
    messages = read(frames / name)
    for message in messages:
        arg = (message["arg"]["channel"], message["arg"]["instId"])
        book, model = books.setdefault(arg, make(arg[0], verify=True)), models.setdefault(arg, Model())
        assert book.apply(message) in ("snapshot", "update", "keep-alive")
        model.apply(message)
        assert sides(book) == model.sides()
        if message["data"][0]["checksum"]:
            assert book.checksum() == model.checksum() == message["data"][0]["checksum"]
            verified += 1
    assert (len(messages), verified) == (count, checksums)


def test_many_captured_frames_fail_if_numbers_are_rewritten(frames):
    """Acceptance 46: the checksum is over the texts as sent; through float they change."""
    failed = 0
    for message in read(frames / FULL_CAPTURES[1]):
        if message["action"] == "snapshot":
            for name in ("asks", "bids"):
                levels = message["data"][0][name]
                message["data"][0][name] = [[str(float(px)), str(float(sz)), *more] for px, sz, *more in levels]
            with pytest.raises(BookBroken, match="checksum|no numbers"):
                make().apply(message)
            failed += 1
    assert failed == 3


def test_every_whole_book_of_the_captures_replaces_the_one_before(frames):
    """Acceptance 60: books5 and bbo-tbt."""
    count = 0
    for path in sorted(frames.glob("*.jsonl")):
        for message in read(path):
            if LAYOUTS[message["arg"]["channel"]].whole:
                book, model = make(message["arg"]["channel"]), Model()
                book.apply({"data": [row([("1", "1")], [("0.5", "1")])]})
                assert book.apply(message) == "snapshot"
                model.apply(message)
                assert sides(book) == model.sides()
                count += 1
    assert count == 7


def test_an_honest_chain_of_2026_keeps_its_400_levels(frames):
    """Acceptance 49: prevSeqId is what chains; steps are not one."""
    book = make()
    for message in read(frames / "books_2026-07_snapshot_seq_checksum0.jsonl"):
        book.apply(message)
        assert (len(book.bids.keys), len(book.asks.keys)) == (400, 400)


def test_the_captured_gap_breaks_the_book(frames):
    """Acceptance 50: of the same stream, but not the next message."""
    book = make()
    for message in read(frames / "books_2026-07_snapshot_seq_checksum0.jsonl"):
        book.apply(message)
    before = sides(book)
    (gap,) = read(frames / "books_2026-07_gap_update.jsonl")
    with pytest.raises(BookBroken, match="a gap: prevSeqId 78677952829 after seqId 78677952687"):
        book.apply(gap)
    assert book.state == "broken" and sides(book) == before


def test_the_captured_malformed_updates_break_the_book_and_nothing_of_them_is_applied(frames):
    """Acceptance 61: one level of one field; no seqId."""
    messages = read(frames / "books_2026-07_malformed.jsonl")
    assert len(messages) == 2
    for message in messages:
        book = make()
        book.apply(read(frames / "books_2026-07_snapshot_seq_checksum0.jsonl")[0])
        message["data"][0]["prevSeqId"] = book.seqId  # so that it is not the chain that breaks
        before = sides(book)
        with pytest.raises(BookBroken, match="malformed"):
            book.apply(message)
        assert book.state == "broken" and sides(book) == before


# ---------------------------------------------------------------------- checksums


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        ([("3366.1", "7"), ("3366", "6")], [("3366.8", "9"), ("3368", "8")], -1881014294),
        ([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")], 831078360),
        (
            zip(
                "8476.97 8475.55 8475.54 8475.3 8447.32 8447.02 8446.83 8446".split(),
                "256 101 100 1 6 246 24 95".split(),
            ),
            zip(
                "8476.98 8477 8477.34 8477.56 8505.84 8506.37 8506.49 8506.96".split(), "415 7 85 1 8 85 2 100".split()
            ),
            -2102840145,
        ),
        ([], [("1", "2")], crc32(b"1:2") - 2**32 * (crc32(b"1:2") >> 31)),
        ([], [], 0),
    ],
)
def test_checksums_go_over_what_exists(bids, asks, expected):
    """Acceptance 47: short and one-sided books; okx-protocol 6.3, worked examples 1 to 3."""
    book = make(verify=True)
    book.apply(snapshot(list(asks), list(bids), checksum=expected))
    assert book.checksum() == expected


@pytest.mark.parametrize(("checksum", "verify", "good"), [(0, True, True), (7, True, False), (7, False, True)])
def test_a_checksum_of_0_is_none(checksum, verify, good):
    """Acceptance 48: 0 or absent is never a mismatch; another one is, if it is wanted."""
    book = make(verify=verify)
    absent = snapshot([("101", "1")])
    del absent["data"][0]["checksum"]
    assert book.apply(absent) == "snapshot"
    if good:
        assert book.apply(update([("101", "2")], checksum=checksum)) == "update"
    else:
        with pytest.raises(BookBroken, match="checksum 7, but the book's is"):
            book.apply(update([("101", "2")], checksum=checksum))


def test_without_numbers_a_checksum_is_the_proof():
    """Recordings of 2021 and 2022: what has neither cannot be proven, nor can what follows it."""

    def signed(text):
        good = crc32(text)
        return good - 2**32 * (good >> 31)

    book = make()
    book.apply({"action": "snapshot", "data": [row([("101", "1")], checksum=signed(b"101:1"))]})
    assert book.apply({"action": "update", "data": [row([("101", "2")], checksum=signed(b"101:2"))]})
    with pytest.raises(BookBroken, match="neither seqId nor checksum"):
        book.apply({"action": "update", "data": [row([("101", "3")])]})
    with pytest.raises(BookBroken, match="neither seqId nor checksum"):
        make().apply({"action": "snapshot", "data": [row([("101", "1")], checksum=0)]})


# ---------------------------------------------------------------------- the chain


def test_the_official_sequence():
    """Acceptance 49, 52, 54: (-1,10) (10,15) (15,15) (15,3) (3,5), of okx-protocol 6.2."""
    book = synced()
    assert book.apply(update([("101", "5")], [], 15, 10)) == "update"
    assert book.apply(update([], [], 15, 15)) == "keep-alive"
    assert book.apply(update([("101", "6")], [], 3, 15)) == "update"
    assert book.apply(update([], [("100", "7")], 5, 3)) == "update"
    assert book.seqId == 5 and sides(book)[0][0] == ("101", "6") and sides(book)[1][0] == ("100", "7")


def test_a_keep_alive_changes_nothing_and_may_carry_a_checksum():
    """Acceptance 52."""
    book = make(verify=True)
    book.apply(snapshot([("101", "1")], []))
    before = (sides(book), book.seqId, book.ts)
    assert book.apply(update([], [], 10, 10, checksum=book.checksum(), ts="1")) == "keep-alive"
    assert (sides(book), book.seqId, book.ts) == before
    with pytest.raises(BookBroken, match="checksum"):
        book.apply(update([], [], 10, 10, checksum=book.checksum() + 1))


@pytest.mark.parametrize("numbers", [(11, 11), (9, 9), (12, 11), (12, -1), (12, None), (10, 9), (12, 10.5), (12, "10")])
def test_what_does_not_chain_is_a_gap(numbers):
    """Acceptance 53: also a keep-alive of another number; and whatever is no number."""
    book = synced()
    with pytest.raises(BookBroken, match="a gap"):
        book.apply(update([], [], *numbers))
    assert book.state == "broken"


def test_a_broken_book_takes_nothing_until_it_restarts():
    """Acceptance 51: what is still queued of the old chain breaks nothing a second time, and mends nothing."""
    book = synced()
    with pytest.raises(BookBroken):
        book.apply(update([], [], 20, 18))
    before = sides(book)
    assert book.apply(update([("101", "9")], [], 15, 10)) == "dropped"
    assert book.apply(snapshot([("1", "1")])) == "dropped"
    assert sides(book) == before
    book.restart()
    assert book.apply(snapshot([("1", "1")], seqId=4)) == "snapshot"
    assert book.state == "synced" and sides(book) == [[("1", "1")], []]


def test_an_update_before_any_snapshot_is_refused():
    """Acceptance 55: never applied to an empty book, whatever it says it follows."""
    for prevSeqId in (10, -1, None):
        book = make()
        with pytest.raises(BookBroken, match="before any snapshot"):
            book.apply(update([("101", "1")], [], 15, prevSeqId))
        assert sides(book) == [[], []]


def test_a_second_snapshot_replaces_the_book_whole():
    """Acceptance 56: nothing of the old levels survives; the chain goes on from it."""
    book = synced()
    book.apply(snapshot([("201", "1")], [("200", "1")], seqId=3))
    assert sides(book) == [[("201", "1")], [("200", "1")]]
    assert book.apply(update([("202", "1")], [], 5, 3)) == "update"


def test_a_delete_of_a_level_that_is_not_there_is_no_error():
    """Acceptance 59."""
    book = synced()
    assert book.apply(update([("555", "0")], [("5", "0.00")])) == "update"
    assert [len(side) for side in sides(book)] == [2, 2]


@pytest.mark.parametrize("channel", ["bbo-tbt", "books5", "sprd-bbo-tbt", "sprd-books5"])
def test_whole_books_replace_and_do_not_chain(channel):
    """Acceptance 60: no action; seqId may repeat or jump back."""
    book = make(channel)
    for seqId in (10, 10, 3, 40):
        assert book.apply({"data": [row([("101", str(seqId))], [], seqId)]}) == "snapshot"
        assert sides(book) == [[("101", str(seqId))], []] and book.seqId == seqId


def test_a_snapshot_without_prevSeqId_is_one():
    """Acceptance 62."""
    book = make()
    assert book.apply({"action": "snapshot", "data": [row([("101", "1")], [], 10)]}) == "snapshot"
    assert book.apply(update([("101", "2")])) == "update"


def test_a_crossed_book_is_shown_as_it_is():
    """Pre-open: the best ask may be below the best bid."""
    book = synced([("99", "1")], [("100", "1")])
    assert (book.best_asks(1)[0].px, book.best_bids(1)[0].px) == ("99", "100")


# ---------------------------------------------------------------------- what cannot be right


def broken_levels():
    good = ["101", "1", "0", "1"]
    yield from ([["101"]], [[]], ["101"], [good, None], [good, {"px": "101"}], {"101": "1"}, "101", None, 5)
    for bad in ("1e5", "-1", "", " 1", "1_0", "1.2.3", "nan", "٣", "0x1", "+1", None, 1, 1.5, True, ["1"], {}):
        yield [good, [bad, "1", "0", "1"]]
        yield [good, ["101", bad, "0", "1"]]


@pytest.mark.parametrize("levels", list(broken_levels()), ids=repr)
@pytest.mark.parametrize("side", ["asks", "bids"])
def test_a_malformed_level_breaks_the_book_and_nothing_is_applied(side, levels):
    """Acceptance 61: the frame is refused as a whole, the good half of it too."""
    book = synced()
    before = sides(book)
    message = update([("101", "9")], [("100", "9")])
    message["data"][0][side] = levels
    with pytest.raises(BookBroken, match="malformed"):
        book.apply(message)
    assert book.state == "broken" and sides(book) == before


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "text",
        {},
        {"action": "update"},
        {"action": "update", "data": []},
        {"action": "update", "data": {}},
        {"action": "update", "data": "x"},
        {"action": "update", "data": [None]},
        {"action": "update", "data": [row(), row()]},
        {"action": "delete", "data": [row(seqId=15, prevSeqId=10)]},
        {"data": [row(seqId=15, prevSeqId=10)]},
        update(seqId="15"),
        update(seqId=15.0),
        update(seqId=True),
        update(ts=5),
        snapshot(seqId="15"),
        {"action": "snapshot", "data": [{"asks": [], "bids": [], "seqId": 1}]},
        {"action": "snapshot", "data": [{"asks": [], "ts": "1", "seqId": 1}]},
    ],
    ids=repr,
)
def test_a_malformed_message_breaks_the_book(message):
    """Acceptance 61: whatever it is."""
    book = synced()
    with pytest.raises(BookBroken, match="malformed"):
        book.apply(message)
    assert book.state == "broken"


# ---------------------------------------------------------------------- rows and numbers


@pytest.mark.parametrize(
    ("channel", "fields", "level"),
    [
        ("books", ["1", "2", "0", "3"], Level("1", "2", "3", None)),
        ("books-l2-tbt", ["1", "2", "0", "3", "new"], Level("1", "2", "3", None)),
        ("books-rpi", ["1", "2", "1.5", "3"], Level("1", "2", "3", "1.5")),
        ("sprd-books-l2-tbt", ["1", "2", "3"], Level("1", "2", "3", None)),
    ],
)
def test_each_channel_has_its_own_rows(channel, fields, level):
    """okx-protocol 6.1; a field that is new does no harm."""
    book = make(channel)
    book.apply({"action": "snapshot", "data": [{**row(seqId=1), "asks": [fields]}]})
    assert book.best_asks() == (level,)


def test_prices_that_float_cannot_tell_apart_are_levels_of_their_own():
    """Ordered by their exact numbers; equal numbers are one level, in the newest text."""
    book = synced([("9007199254740993", "1"), ("9007199254740992", "2")], [("0.3", "1")])
    assert sides(book)[0] == [("9007199254740992", "2"), ("9007199254740993", "1")]
    book.apply(update([("9007199254740992.5", "3")], [("0.30000000000000001", "4"), ("0.30", "5")]))
    assert [px for px, _ in sides(book)[0]] == ["9007199254740992", "9007199254740992.5", "9007199254740993"]
    assert sides(book)[1] == [("0.30000000000000001", "4"), ("0.30", "5")]
    assert book.sizes_at(Decimal("0.3")) == ["5"]


def test_a_long_price_on_the_second_side_rekeys_the_first():
    """The keys of one message are all of one kind."""
    book = synced()
    book.apply(update([("101", "7"), ("103", "1")], [("99.5000000000000000001", "1")]))
    assert sides(book) == [
        [("101", "7"), ("102", "2"), ("103", "1")],
        [("100", "3"), ("99.5000000000000000001", "1"), ("99", "4")],
    ]


def test_a_price_is_looked_up_exactly():
    """A text that float would take for a level is none."""
    book = synced([("0.3", "1")], [("0.3", "2")])
    assert book.sizes_at(Decimal("0.300")) == ["2", "1"]
    assert book.sizes_at(Decimal("0.30000000000000001")) == []


def test_a_full_book_takes_less_than_400_kB(frames):
    """400 + 400 levels of July 2026, as they came from the decoder."""
    payload = (frames / "books_2026-07_snapshot_seq_checksum0.jsonl").read_bytes().splitlines()[1]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        book = make()
        book.apply(orjson.loads(payload))
        size = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(book.best_bids()) == len(book.best_asks()) == 400 and size <= 400_000


# ---------------------------------------------------------------------- properties

PRICES = ["1", "1.0", "2", "2.5", "2.50", "3", "10", "0.1", "0.10", "64220.9", "99999999.12345"]
LONG_PRICES = ["0.10000000000000000001", "2.5000000000000000", "9007199254740993", "9007199254740992"]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    prices=st.sampled_from([PRICES, PRICES + LONG_PRICES]),
    steps=st.lists(
        st.sampled_from(["update"] * 6 + ["keep-alive", "reset", "snapshot", "drop", "twice", "garble", "anew"]),
        max_size=60,
    ),
)
def test_a_synced_book_is_the_exchanges(seed, prices, steps):
    """Whatever is lost, doubled, garbled or reset: the book equals the model as of the last message, or is broken."""
    rng = random.Random(seed)
    numbers = rng.sample(range(10**6), 4 * len(steps) + 4)  # each used once: a repeated one could hide a loss
    book, model, last, lost = make(), Model(), None, False

    def levels(zero):
        return [(px, rng.choice(["1", "2.5", "0", "0.0"] if zero else ["1", "7"])) for px in rng.sample(prices, 3)]

    def begin():
        nonlocal last, lost
        last, lost = numbers.pop(), False
        message = snapshot(levels(False), levels(False), last)
        model.apply(message)
        return message

    book.apply(begin())
    for step in steps:
        if step == "anew":
            book.restart()
        if step in ("anew", "snapshot"):
            message = begin()
        elif step == "keep-alive":
            message = update([], [], last, last)
        else:
            before, last = last, numbers.pop()
            message = update(levels(True), levels(True), last, before)
            model.apply(message)
        if step == "drop":
            lost = True
            continue
        if step == "garble":
            message["data"][0]["bids"].append(["x", "1", "0", "1"])
        for _ in range(1 + (step == "twice")):
            try:
                book.apply(message)
            except BookBroken:
                assert lost or step in ("garble", "twice")
        if book.state == "synced":
            assert not lost and sides(book) == model.sides() and book.seqId == last
            assert book.checksum() == model.checksum()
        lost = lost or book.state == "broken"


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "action", "asks", "bids", "ts", "seqId"]), inner, max_size=4),
        max_leaves=20,
    )
)
def test_no_message_raises_anything_else(message):
    """Whatever JSON can say."""
    book = synced()
    try:
        book.apply(message)
    except BookBroken:
        assert book.state == "broken"
