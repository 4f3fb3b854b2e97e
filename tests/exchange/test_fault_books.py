"""Faults of order books: judged with a client of another make, and an independent sum."""

import zlib

import pytest

from okx_ws.exchange import LocalExchange
from tests.exchange.client import talk

BOOKS = {"channel": "books", "instId": "BTC-USDT"}


@pytest.fixture
def busy():
    """An exchange whose world runs ten times faster."""
    with LocalExchange(speed=10) as running:
        yield running


@pytest.mark.parametrize(
    ("how", "broken"),
    [
        ("short", lambda row: any(len(level) == 1 for level in row["asks"] + row["bids"])),
        ("exponent", lambda row: any(level[1] == "1e5" for level in row["asks"] + row["bids"])),
        ("negative", lambda row: any(level[1].startswith("-") for level in row["asks"] + row["bids"])),
        ("number", lambda row: any(isinstance(level[0], float) for level in row["asks"] + row["bids"])),
        ("seqId", lambda row: "seqId" not in row),
    ],
)
@pytest.mark.parametrize("action", ["snapshot", "update"])
def test_a_level_may_be_none(how, broken, action, busy):
    """Acceptance 61: in a snapshot and in an update; the rest of the frame is whole."""
    busy.faults.start("malformed_level", how=how, action=action)
    with talk(busy) as client:
        client.subscribe(BOOKS)
        while not broken((push := client.pushes(1)[0])["data"][0]):
            assert push["data"][0]["checksum"] == 0
        assert push["action"] == action
        assert not broken(client.pushes(1)[0]["data"][0])


@pytest.mark.parametrize("hows", [("short", "short", "seqId", "negative"), ("negative",) * 4, ("number", "exponent")])
def test_two_faults_may_spoil_one_message(hows, busy):
    """What one has spoiled the other leaves alone; the exchange goes on."""
    for how in hows:
        busy.faults.start("malformed_level", how=how, action="update", times=5)
    with talk(busy) as client:
        client.subscribe(BOOKS)
        assert len(client.pushes(12)) == 12


def test_a_level_that_never_was_may_be_deleted(busy):
    """Acceptance 59: seen on the real exchange."""
    busy.faults.start("unknown_delete")
    with talk(busy) as client:
        client.subscribe(BOOKS)
        rows = [push["data"][0] for push in client.pushes(5)]
        assert sum(row["asks"][-1:] == [["9999999", "0", "0", "0"]] for row in rows) == 1


def test_books_may_begin_with_an_update(busy):
    """okx-protocol 6.4: the chain goes on as usual."""
    busy.faults.start("no_snapshot")
    with talk(busy) as client:
        client.subscribe(BOOKS)
        rows = [push["data"][0] for push in client.pushes(3)]
        assert rows[0]["prevSeqId"] > 0
        assert [row["prevSeqId"] for row in rows[1:]] == [row["seqId"] for row in rows[:-1]]


def test_one_snapshot_may_be_missing(busy):
    """Acceptance 57; that of a new subscription comes."""
    busy.faults.start("missing_snapshot")
    with talk(busy) as client:
        for expected in ("update", "snapshot"):
            client.subscribe(BOOKS)
            assert client.pushes(1)[0]["action"] == expected
            client.send({"op": "unsubscribe", "args": [BOOKS]})
            while client.get().get("event") != "unsubscribe":
                pass


def test_a_snapshot_may_be_late(busy):
    """And so is what follows it: in order."""
    busy.faults.start("late_snapshot", delay_s=0.4)
    with talk(busy) as client:
        client.subscribe(BOOKS)
        assert client.get()["event"] == "subscribe"
        with pytest.raises(TimeoutError):
            client.get(timeout=0.2)
        rows = [push["data"][0] for push in client.pushes(5)]
        assert [row["prevSeqId"] for row in rows] == [-1, *(row["seqId"] for row in rows[:-1])]


def test_a_chain_may_go_on_from_a_smaller_number(busy):
    """okx-protocol 6.2: reset by maintenance."""
    with talk(busy) as client:
        client.subscribe(BOOKS)
        last = client.pushes(1)[0]["data"][0]["seqId"]
        busy.faults.start("reset", instId="BTC-USDT")
        resets = 0
        for push in client.pushes(10):
            row = push["data"][0]
            assert row["prevSeqId"] == last
            resets, last = resets + (row["seqId"] < row["prevSeqId"]), row["seqId"]
        assert resets == 1 and last < 10_000


def test_checksums_may_be_those_of_old(busy):
    """okx-protocol 6.3: over what a client holds after each message."""
    fault = busy.faults.start("historic_checksums")
    with talk(busy) as client:
        client.subscribe(BOOKS)
        sides = {"bids": {}, "asks": {}}
        for push in client.pushes(20):
            row = push["data"][0]
            for side, levels in sides.items():
                if push["action"] == "snapshot":
                    levels.clear()
                for px, sz, *_ in row[side]:
                    levels.pop(px, None) if sz == "0" else levels.update({px: sz})
            best = [
                sorted(sides[side].items(), key=lambda level: float(level[0]), reverse=side == "bids") for side in sides
            ]
            texts = [f"{px}:{sz}" for pair in zip(*(side[:25] for side in best), strict=True) for px, sz in pair]
            crc = zlib.crc32(":".join(texts).encode())
            assert row["checksum"] == (crc - 2**32 if crc >= 2**31 else crc)
        wrong = busy.faults.start("wrong_checksum")
        client.pushes(3)
        assert wrong.strikes == 1
        fault.stop()
        client.pushes(5)
        assert client.pushes(1)[0]["data"][0]["checksum"] == 0
