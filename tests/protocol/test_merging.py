"""`protocol.merging`, by example: hand-over, redundant lines, and holes, channel by channel."""

import orjson
import pytest

from okx_ws.protocol import gaps
from okx_ws.protocol import line as line_module
from okx_ws.protocol.merging import Merge

BOOKS = {"channel": "books", "instId": "BTC-USDT"}
TRADES = {"channel": "trades", "instId": "BTC-USDT"}
TICKERS = {"channel": "tickers", "instId": "BTC-USDT"}
POSITIONS = {"channel": "positions", "instType": "ANY"}
ORDERS = {"channel": "orders", "instType": "ANY"}
MS = 1_700_000_000_000


def push(arg, *rows, **head):
    return orjson.dumps({"arg": arg, **head, "data": list(rows)})


def book(prevSeqId, seqId, bids=(("1", "2", "0", "1"),)):
    row = {"asks": [], "bids": bids, "ts": str(MS + 1), "checksum": 0, "seqId": seqId, "prevSeqId": prevSeqId}
    return push(BOOKS, row, action="snapshot" if prevSeqId == -1 else "update")


def trade(*tradeIds, count=1, arg=TRADES):
    return push(
        arg, *({"instId": "BTC-USDT", "tradeId": str(n), "ts": str(MS + n), "count": str(count)} for n in tradeIds)
    )


def ticker(ts, last="1"):
    return push(TICKERS, {"instId": "BTC-USDT", "last": last, "ts": str(MS + ts)})


def order(n, **fields):
    row = {"instId": "BTC-USDT", "ordId": str(n), "state": "live", "tradeId": "", "reqId": "", "uTime": str(MS + n)}
    return push(ORDERS, {**row, **fields})


def candle(ts, vol, confirm="0", arg="candle1m"):
    return push({"channel": arg, "instId": "BTC-USDT"}, [str(MS + ts), "1", "1", "1", "1", str(vol), "1", "1", confirm])


class Lines(Merge):
    """A merge whose old line has delivered something."""

    def __init__(self, arg, *delivered, others=("new",)):
        super().__init__(arg)
        self.enter("old", MS)
        self.receive("old", list(delivered), MS)
        for line in others:
            self.enter(line, MS)

    def get(self, line, *payloads):
        return self.receive(line, list(payloads), MS + 1000)


def marker(payload):
    told = orjson.loads(payload)
    assert gaps.is_marker(payload)
    return told["cause"], told["since_ms"] - MS, told["until_ms"] - MS


# ---------------------------------------------------------------------- books


def test_a_book_is_handed_over_where_the_old_line_reaches_the_new_snapshot():
    """Acceptance 42, 44: the snapshot is not delivered; then whichever line brings the next update."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15))
    assert lines.get("new", book(-1, 20), book(20, 22)) == []
    assert not lines.joined("new") and not lines.caught_up and lines.held == 2
    assert lines.get("old", book(15, 17)) == [book(15, 17)]
    assert lines.get("old", book(17, 20)) == [book(17, 20), book(20, 22)]
    assert lines.caught_up and lines.held == 0
    assert lines.get("new", book(22, 30)) == [book(22, 30)]
    assert lines.get("old", book(20, 22), book(22, 30), book(30, 31)) == [book(30, 31)]
    assert lines.lost("old", MS) == [] and lines.get("new", book(30, 31), book(31, 32)) == [book(31, 32)]
    assert lines.holes == 0


def test_a_new_line_whose_snapshot_is_what_was_delivered_joins_at_once():
    """A quiet book: no update comes to prove it."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15))
    assert lines.get("new", book(-1, 15)) == [] and lines.caught_up


def test_a_new_line_that_lags_drops_what_was_delivered():
    """Its snapshot is older than the last update; also if only that update is known."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15), book(15, 17))
    assert lines.get("new", book(-1, 10), book(10, 15), book(15, 17), book(17, 18)) == [book(17, 18)]
    late = Merge(BOOKS)
    late.enter("old", MS, newest=book(15, 17))
    late.enter("new", MS)
    assert late.receive("new", [book(-1, 10), book(10, 15)], MS) == [] and not late.caught_up
    assert late.receive("new", [book(15, 17), book(17, 18)], MS) == [book(17, 18)] and late.caught_up


def test_the_numbers_of_a_book_may_begin_anew():
    """The official sequence (okx-protocol 6.2), on two lines: 15 → 3 is the next, and 3 → 15 would be another."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15))
    assert lines.get("new", book(-1, 3), book(3, 5)) == []
    assert lines.get("old", book(15, 3)) == [book(15, 3), book(3, 5)]
    assert lines.get("new", book(5, 10), book(10, 15)) == [book(5, 10), book(10, 15)] and lines.caught_up
    assert lines.get("old", book(3, 5), book(5, 10), book(10, 15), book(15, 16)) == [book(15, 16)]


def test_keep_alives_come_from_one_line_only():
    """Each connection has its own; they prove a line that is level."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15), others=("new", "third"))
    alive = book(15, 15, ())
    assert lines.get("new", book(-1, 12), alive) == [] and lines.joined("new")
    assert lines.get("old", alive, alive) == [alive, alive]
    assert lines.get("new", alive) == [] and lines.get("new", book(15, 20)) == [book(15, 20)]
    assert lines.get("old", alive) == [] and lines.joined("old")
    assert lines.get("new", book(20, 20, ())) == [book(20, 20, ())]


def test_the_new_snapshot_repairs_the_hole_that_the_old_line_leaves():
    """When nobody continues the chain: after a marker, with bounds, and then the chain goes on from it."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 15))
    lines.get("new", book(-1, 20), book(20, 22))
    hole, *rest = lines.lost("old", MS, "disconnect")
    assert marker(hole) == ("disconnect", 1, 1) and rest == [book(-1, 20), book(20, 22)]
    assert lines.caught_up and lines.holes == 1 and lines.get("new", book(22, 23)) == [book(22, 23)]


def test_a_number_left_out_on_one_line_costs_nothing():
    """It has to join again; the other continues."""
    lines = Lines(BOOKS, book(-1, 10))
    lines.get("new", book(-1, 10))
    assert lines.get("old", book(12, 15), book(15, 16)) == [] and not lines.joined("old")
    assert lines.get("new", book(10, 12)) == [book(10, 12), book(12, 15), book(15, 16)] and lines.caught_up


def test_a_number_left_out_on_the_last_line_is_repaired_by_one_that_holds_a_snapshot():
    """The chain goes on from that."""
    lines = Lines(BOOKS, book(-1, 10))
    lines.get("new", book(-1, 20))
    hole, *rest = lines.get("old", book(12, 15))
    assert marker(hole)[0] == "sequence" and rest == [book(-1, 20)]
    assert lines.joined("new") and not lines.joined("old")
    assert lines.get("old", book(15, 20)) == [] and lines.caught_up


def test_a_line_alone_is_passed_on_as_it_is():
    """The consumer finds the gap, as without a merge; a new snapshot too."""
    lines = Lines(BOOKS, book(-1, 10), others=())
    frames = [book(12, 15), book(15, 15, ()), book(-1, 15), book(15, 16)]
    assert lines.get("old", *frames) == frames


def test_a_consumer_that_begins_anew_gets_the_next_snapshot():
    """Whoever brings it; the others join again when it has reached them."""
    lines = Lines(BOOKS, book(-1, 10))
    lines.get("new", book(-1, 10), book(10, 11), book(11, 12))
    assert lines.get("old", book(10, 11), book(-1, 11)) == [], "nobody has asked for it"
    lines.renew()
    assert lines.get("old", book(-1, 11), book(11, 12)) == [book(-1, 11), book(11, 12)]
    assert lines.get("new", book(12, 13)) == [book(12, 13)] and lines.get("old", book(12, 13)) == []


def test_a_consumer_that_begins_anew_does_so_too_when_the_old_line_ends():
    """The snapshot is what was delivered last, and is delivered all the same."""
    lines = Lines(BOOKS, book(-1, 10))
    lines.renew()
    lines.lost("old", MS)
    assert lines.get("new", book(-1, 10), book(10, 11)) == [book(-1, 10), book(10, 11)] and lines.holes == 0


def test_what_was_delivered_before_a_new_beginning_proves_nothing():
    """A line whose snapshot is ahead of it waits."""
    lines = Lines(BOOKS, book(-1, 10), book(10, 11), book(11, 12), others=("new", "third"))
    lines.renew()
    assert lines.get("new", book(-1, 11)) == [book(-1, 11)]
    assert lines.get("third", book(-1, 12)) == [] and not lines.joined("third")
    assert lines.get("new", book(11, 12)) == [book(11, 12)] and lines.joined("third")


def test_recorded_books_without_numbers_are_believed_of_the_old_line_only():
    """Nothing proves what another brings, until the old line ends."""
    first, second = (
        push(BOOKS, {"asks": [], "bids": [], "ts": str(MS + n), "checksum": 7}, action="update") for n in (1, 2)
    )
    lines = Lines(BOOKS, first)
    assert lines.get("new", second) == [] and lines.flushed("new", MS) == []
    assert lines.lost("old", MS)[1:] == [second]
    lines = Lines(BOOKS, first)
    lines.get("new", second)
    assert lines.get("old", second) == [second] and lines.caught_up, "until it brings the same"


def test_keep_alives_come_from_the_line_that_is_left():
    """The one that led has a hole."""
    lines = Lines(BOOKS, book(-1, 10))
    lines.get("new", book(-1, 10))
    lines.get("old", gaps.marker(BOOKS, "malformed", MS, MS))
    assert lines.get("new", book(10, 10, ())) == [book(10, 10, ())]


# ---------------------------------------------------------------------- trades


def test_trades_go_on_with_the_line_that_is_first():
    """Acceptance 44."""
    lines = Lines(TRADES, trade(1), trade(2))
    assert lines.get("new", trade(2), trade(3)) == [trade(3)]
    assert lines.get("old", trade(3), trade(4)) == [trade(4)]
    assert lines.get("new", trade(4), trade(5)) == [trade(5)]


def test_a_new_line_that_is_ahead_waits_until_the_old_one_has_caught_up():
    """What is between is not lost."""
    lines = Lines(TRADES, trade(1))
    assert lines.get("new", trade(4), trade(5)) == []
    assert lines.get("old", trade(2)) == [trade(2)]
    assert lines.get("old", trade(3)) == [trade(3), trade(4), trade(5)] and lines.caught_up


def test_aggregated_trades_prove_that_none_is_between():
    """`count` of them end with tradeId: 5 stands for 3, 4 and 5."""
    for count, caught_up in ((3, True), (2, False)):
        lines = Lines(TRADES, trade(2))
        lines.get("new", trade(5, count=count))
        assert lines.caught_up is caught_up
        assert len(lines.lost("old", MS)) == (0 if caught_up else 2) and lines.holes == (not caught_up)


def test_a_lost_line_leaves_a_marker_if_trades_may_be_missing():
    """Bounds from the last delivered to the first after it; none if the tradeIds follow each other."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(4))
    hole, first = lines.lost("old", MS, "stall")
    assert marker(hole) == ("stall", 1, 4) and first == trade(4) and lines.holes == 1
    lines = Lines(TRADES, trade(1))
    assert lines.lost("old", MS) == [] and lines.get("new", trade(2)) == [trade(2)] and lines.holes == 0
    lines = Lines(TRADES, trade(1))
    assert lines.lost("old", MS) == [] and len(lines.get("new", trade(3))) == 2


def test_of_several_trades_in_one_push_only_the_new_ones_are_delivered():
    """Connections may put them together in different ways."""
    lines = Lines(TRADES, trade(1), trade(2))
    assert lines.get("new", trade(1, 2, 3, 4)) == [trade(3, 4)]
    assert lines.get("old", trade(3), trade(4, 5)) == [trade(5)]


def test_a_trade_that_one_line_left_out_comes_late_from_the_other():
    """Rather than never; and once."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(1))
    assert lines.get("old", trade(2), trade(4)) == [trade(2), trade(4)]
    assert lines.get("new", trade(2), trade(3), trade(4)) == [trade(3)]
    assert lines.get("old", trade(5)) == [trade(5)]


def test_a_trade_in_a_hole_that_was_told_stays_missing():
    """Behind what was delivered after the hole it would be out of order."""
    lines = Lines(TRADES, trade(1))
    lines.lost("new", MS)
    marker, after = lines.get("old", gaps.marker(TRADES, "disconnect", MS, MS), trade(4))
    assert gaps.is_marker(marker) and after == trade(4)
    lines.enter("new", MS)
    lines.flushed("new", MS)
    assert lines.get("new", trade(2), trade(3), trade(4), trade(5)) == [trade(5)]


def test_trade_ids_that_begin_anew_are_believed():
    """An instrument listed again: no trade is dropped for ever, and none comes twice."""
    lines = Lines(TRADES, trade(1000), trade(1001))
    lines.get("new", trade(1001))
    assert lines.get("new", trade(1), trade(2)) == [trade(1), trade(2)]
    assert lines.get("old", trade(1), trade(2), trade(3)) == [trade(3)]
    assert lines.get("new", trade(3), trade(4)) == [trade(4)] and lines.caught_up


def test_trades_that_cannot_be_read_are_known_by_their_text():
    """Nothing is raised, nothing is lost."""
    odd = push(TRADES, {"tradeId": "x1"}), push(TRADES), b'{"arg":{"channel":"trades"},"data":7'
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(1))
    assert lines.get("old", *odd) == list(odd) and lines.get("new", *odd) == []


def test_what_was_delivered_is_remembered_for_a_while_only():
    """Memory has a bound; what is older than that is taken for delivered."""
    lines = Lines(TRADES, *map(trade, range(1, 30_000)))
    assert len(lines._track._seen) <= 20_000
    assert lines.get("new", trade(3)) == [] and lines.caught_up
    assert lines.get("new", *map(trade, range(4, 30_001))) == [trade(30_000)]


# ---------------------------------------------------------------------- states


def test_of_a_state_the_newest_wins():
    """An older one is dropped; one as new from another line too, unless it reads otherwise."""
    lines = Lines(TICKERS, ticker(1))
    assert lines.get("new", ticker(1), ticker(5)) == [ticker(5)] and lines.caught_up
    assert lines.get("old", ticker(3), ticker(5), ticker(5, "2")) == [ticker(5, "2")]
    assert lines.get("new", ticker(5, "2"), ticker(6)) == [ticker(6)]
    assert lines.get("new", ticker(6), ticker(6)) == [ticker(6)] * 2, "the line's own repetition"
    assert lines.get("old", ticker(6), ticker(6)) == []


def test_a_line_alone_may_say_the_same_again():
    """Also if it names no time."""
    lines = Lines(POSITIONS, others=())
    frames = [page(1, True), page(1, True), change(1), change(1), change(0), page(1, True)]
    assert lines.get("old", *frames) == frames


def test_a_line_that_brings_one_of_the_same_time_need_not_be_the_furthest():
    """What it brings next was delivered."""
    lines = Lines(TICKERS, ticker(1))
    lines.get("new", ticker(1))
    assert lines.get("old", ticker(5, "2")) == [ticker(5, "2")]
    assert lines.get("new", ticker(5, "1"), ticker(5, "2"), ticker(6)) == [ticker(5, "1"), ticker(6)]


def test_a_new_state_waits_for_the_old_line():
    """What is under way on it would be dropped as older."""
    lines = Lines(TICKERS, ticker(1))
    assert lines.get("new", ticker(4)) == []
    assert lines.get("old", ticker(2), ticker(4), ticker(6)) == [ticker(2), ticker(4), ticker(6)]
    assert lines.caught_up


def page(number, last, *times):
    rows = [{"instId": "BTC-USDT-SWAP", "pos": "1", "uTime": str(MS), "pTime": str(MS + ms)} for ms in times]
    return push({**POSITIONS, "uid": "7"}, *rows, eventType="snapshot", curPage=number, lastPage=last)


def change(ms, pos="1"):
    row = {"instId": "BTC-USDT-SWAP", "pos": pos, "uTime": str(MS + ms), "pTime": str(MS + ms)}
    return push({**POSITIONS, "uid": "7"}, row, eventType="event_update")


def test_the_pages_of_a_snapshot_come_from_one_line_together():
    """Whatever the other brings meanwhile, and whatever is between them."""
    lines = Lines(POSITIONS, page(1, True, 1))
    lines.get("new", page(1, True, 1))
    assert lines.get("old", page(1, False, 5)) == []
    assert lines.get("new", change(4)) == [change(4)] and lines.get("new", page(1, False, 4)) == []
    assert lines.get("old", change(4), page(2, True, 6)) == [page(1, False, 5), page(2, True, 6)]
    assert lines.get("new", page(2, True, 4)) == [], "outdated"
    assert lines.get("new", page(1, False, 7), change(8)) == []
    assert lines.get("new", page(2, True, 7)) == [page(1, False, 7), change(8), page(2, True, 7)]


def test_what_comes_between_pages_comes_once():
    """Though the other line brings it meanwhile."""
    lines = Lines(POSITIONS, change(1))
    lines.get("new", change(1))
    assert lines.get("new", page(1, False, 7), change(8)) == [] and lines.get("old", change(8)) == [change(8)]
    assert lines.get("new", page(2, True, 9)) == [page(1, False, 7), page(2, True, 9)]


def test_pages_that_do_not_follow_each_other_are_none():
    """What was between them is delivered."""
    lines = Lines(POSITIONS, change(1), others=())
    assert lines.get("old", page(2, True, 2), page(1, False, 2), change(3), page(3, True, 2)) == [change(3)]
    assert lines.get("old", page(1, False, 4), change(5), page(1, True, 6)) == [change(5), page(1, True, 6)]


def test_a_snapshot_that_was_overtaken_is_dropped_whole():
    """It would take an update back."""
    lines = Lines(POSITIONS, change(1))
    lines.get("new", change(1))
    assert lines.get("old", page(1, False, 3)) == [] and lines.get("new", change(4, "0")) == [change(4, "0")]
    assert lines.get("old", page(2, True, 3), change(4, "0"), change(5)) == [change(5)]


def test_a_line_that_ends_between_pages_leaves_none_of_them():
    """The next snapshot is whole."""
    lines = Lines(POSITIONS, change(1))
    lines.get("new", change(1))
    assert lines.get("old", page(1, False, 3)) == [] and lines.lost("old", MS) == []
    assert lines.get("new", page(2, True, 3), page(1, False, 4), page(2, True, 4)) == [
        page(1, False, 4),
        page(2, True, 4),
    ]


def test_a_snapshot_without_positions_names_no_time_and_is_believed_of_the_leading_line():
    """Another's may be from before they were opened."""
    lines = Lines(POSITIONS, page(1, True))
    assert lines.get("new", page(1, True)) == [] and not lines.joined("new"), "it proves nothing"
    assert lines.flushed("new", MS) == [] and lines.joined("new")
    assert lines.get("old", change(5)) == [change(5)]
    assert lines.get("new", page(1, True), change(5)) == []
    assert lines.get("old", page(1, True)) == [page(1, True)]
    lines.get("old", change(6))
    lines.lost("old", MS)
    assert lines.get("new", change(6), page(1, True)) == [page(1, True)]


def test_a_closed_position_is_not_lost_in_a_hand_over():
    """It is told once, and is not in the new line's snapshot."""
    lines = Lines(POSITIONS, change(1))
    assert lines.get("new", page(1, True, 5)) == []
    assert lines.get("old", change(4, "0")) == [change(4, "0")]
    assert lines.flushed("new", MS) == [page(1, True, 5)] and lines.caught_up


# ---------------------------------------------------------------------- candles


def test_a_candle_is_closed_once_and_never_shrinks():
    """Of an open one the larger volume wins."""
    lines = Lines({"channel": "candle1m", "instId": "BTC-USDT"}, candle(0, 5))
    assert lines.get("new", candle(0, 4), candle(0, 7)) == [candle(0, 7)]
    assert lines.get("old", candle(0, 6), candle(0, 7), candle(0, 9, "1")) == [candle(0, 9, "1")]
    assert lines.get("new", candle(0, 8), candle(0, 9, "1"), candle(60_000, 1)) == [candle(60_000, 1)]
    assert lines.get("old", candle(60_000, 1), candle(60_000, 2)) == [candle(60_000, 2)]


def test_a_candle_whose_end_only_one_line_tells_is_closed_late():
    """Rather than never, and without what was delivered of the next."""
    arg = {"channel": "candle1m", "instId": "BTC-USDT"}
    lines = Lines(arg, candle(0, 5))
    lines.get("new", candle(0, 5))
    assert lines.get("old", candle(60_000, 3)) == [candle(60_000, 3)]
    rows = [orjson.loads(one)["data"][0] for one in (candle(0, 9, "1"), candle(60_000, 2))]
    assert lines.get("new", push(arg, *rows)) == [candle(0, 9, "1")]


@pytest.mark.parametrize("newest", [candle(0, 5), candle(-60_000, 5, "1")])
def test_a_new_line_waits_for_the_end_of_a_candle_it_has_not_seen(newest):
    """Though a pong says that nothing is under way: what answers pings may be quicker than what sends data."""
    lines = Lines({"channel": "candle1m", "instId": "BTC-USDT"}, newest)
    assert lines.get("new", candle(60_000, 1)) == [] and lines.flushed("new", MS) == []
    assert lines.get("old", candle(0, 9, "1")) == [candle(0, 9, "1"), candle(60_000, 1)] and lines.caught_up


def test_candles_of_prices_have_no_volume():
    """One that reads otherwise than the recent ones is new."""
    arg = {"channel": "index-candle1m", "instId": "BTC-USDT"}
    one, two, three = (push(arg, [str(MS), "1", "1", "1", close, "0"]) for close in "123")
    lines = Lines(arg, one)
    assert lines.get("new", one, two) == [two] and lines.get("old", two, three) == [three]
    assert lines.get("new", three) == []


def test_candles_that_leave_out_a_bar_wait_for_it():
    """Their starts count them: what the other line has not brought is told, even if the owner knows of nothing."""
    arg = {"channel": "candle1m", "instId": "BTC-USDT"}
    lines = Lines(arg, candle(0, 5), candle(0, 6, "1"), candle(60_000, 1))
    assert lines.get("new", candle(120_000, 1)) == [] == lines.flushed("new", MS) and not lines.caught_up
    assert lines.get("old", candle(60_000, 2, "1")) == [candle(60_000, 2, "1"), candle(120_000, 1)] and lines.caught_up
    assert lines.get("old", candle(120_000, 1)) == []
    lines = Lines(arg, candle(0, 6, "1"))
    assert lines.flushed("new", MS) == [] and lines.caught_up
    assert lines.get("new", candle(120_000, 1)) == [] and not lines.joined("new"), "60,000 is missing"
    hole, first = lines.lost("old", MS)
    assert marker(hole) == ("disconnect", 0, 120_000) and first == candle(120_000, 1)
    lines = Lines(arg, candle(0, 6, "1"))
    assert lines.get("new", candle(60_000, 1)) == [] and lines.flushed("new", MS) == [candle(60_000, 1)]


def test_bars_of_months_are_not_counted():
    """They are uneven; so is what no rule knows."""
    for channel in ("candle1M", "candle1Mutc", "new-candle"):
        one, two = candle(0, 1, "1", channel), candle(10**10, 1, arg=channel)
        lines = Lines({"channel": channel, "instId": "BTC-USDT"}, one)
        lines.get("new", two)
        assert lines.flushed("new", MS) == [two]


# ---------------------------------------------------------------------- events


def test_orders_join_by_what_was_delivered():
    """No order to compare: a message from before, or one that the other line reaches."""
    lines = Lines(ORDERS, order(1), order(2), others=("behind", "ahead"))
    assert lines.get("behind", order(2)) == [] and lines.joined("behind")
    assert lines.get("ahead", order(4), order(5)) == [] and not lines.joined("ahead")
    assert lines.get("old", order(3)) == [order(3)]
    assert lines.get("behind", order(3), order(4)) == [order(4), order(5)] and lines.caught_up


def test_what_is_flushed_may_join_without_a_message():
    """A quiet stream: no order changes. What it held before is in order, and nothing comes twice."""
    lines = Lines(ORDERS, order(1))
    assert lines.flushed("new", MS) == [] and lines.caught_up
    lines = Lines(ORDERS, order(1))
    lines.get("new", order(2), order(3))
    assert lines.flushed("new", MS) == [order(2), order(3)] and lines.get("old", order(2), order(3)) == []
    assert lines.lost("old", MS) == [] and lines.holes == 0
    assert lines.flushed("new", MS) == lines.flushed("nobody", MS) == []


def test_a_line_that_is_lost_before_anything_is_proven_leaves_a_marker():
    """Of events nothing tells whether one is missing."""
    lines = Lines(ORDERS, order(1))
    assert lines.lost("old", MS) == []
    assert lines.joined("new"), "it leads"
    hole, first = lines.get("new", order(3))
    assert marker(hole) == ("disconnect", 1, 3) and first == order(3)
    assert lines.get("new", order(4)) == [order(4)] and lines.holes == 1


def test_what_the_first_line_had_delivered_before_it_entered_is_known_by_its_newest():
    """What another brings before that, was delivered; what it brings after it, and nobody has delivered, is late."""
    for newest, late in ((order(5), []), (order(2), [order(4)])):
        lines = Merge(ORDERS)
        lines.enter("old", MS, newest=newest)
        lines.enter("new", MS)
        lines.receive("old", [order(5)] if late else [], MS)
        assert lines.receive("new", [order(4)], MS) == []
        assert lines.receive("new", [order(5), order(6)], MS) == [*late, order(6)]
    lines = Lines(ORDERS, order(1))
    lines.get("new", order(2), order(3), order(4))
    assert lines.get("old", order(3)) == [order(3), order(2), order(4)], "the old line has left one out"


def test_rows_of_one_push_are_told_apart():
    """A row that was delivered is left out."""
    rows = [orjson.loads(order(n))["data"][0] for n in (1, 2, 3)]
    lines = Lines(ORDERS, order(1), order(2))
    assert lines.get("new", push(ORDERS, *rows)) == [order(3)]


def test_what_okx_says_twice_on_a_line_is_passed_on_twice():
    """As without a merge; another line's copies are dropped."""
    lines = Lines(ORDERS, order(1))
    lines.get("new", order(1))
    assert lines.get("old", order(2, tradeId="5"), order(2, tradeId="5")) == [order(2, tradeId="5")] * 2
    assert lines.get("new", order(2, tradeId="5"), order(2, tradeId="5")) == []


def test_the_first_push_of_some_channels_may_be_old():
    """It proves nothing, and is not delivered again: the cached trade of option-trades."""
    arg = {"channel": "option-trades", "instType": "OPTION", "instFamily": "BTC-USD"}
    one, two, three, four = (trade(n, arg=arg) for n in (1, 2, 3, 4))
    lines = Lines(arg, two, others=("new", "third"))
    assert lines.get("new", one, three) == [] and not lines.joined("new")
    assert lines.get("third", one, four) == []
    assert lines.get("old", three) == [three] and lines.joined("new")
    assert lines.flushed("third", MS) == [four]
    lines = Lines(arg, two)
    lines.lost("old", MS)
    assert lines.get("new", one) == [] and len(lines.get("new", three)) == 2
    lines = Lines(arg, two)
    assert lines.get("new", three) == [] and lines.flushed("new", MS) == [three]


def test_unknown_channels_are_told_apart_by_their_text():
    """And what cannot be decoded."""
    arg = {"channel": "orders", "instType": "ANY"}
    odd = [b"{", push(arg, {"ordId": ["a"], "state": "x", "tradeId": "1"}), push(arg, 7), push(arg)]
    lines = Lines(arg, *odd)
    assert lines.get("new", odd[-1]) == [] and lines.get("new", b"[]") == [b"[]"]
    assert lines.get("old", b"[]") == []


# ---------------------------------------------------------------------- holes that a line tells


def test_a_hole_of_one_line_is_filled_by_the_other():
    """Its marker is swallowed, and it joins again."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(1))
    assert lines.get("old", gaps.marker(TRADES, "malformed", MS + 2, MS + 2, 1), trade(4)) == []
    assert not lines.joined("old") and not lines.caught_up
    assert lines.get("new", trade(2), trade(3)) == [trade(2), trade(3), trade(4)] and lines.caught_up
    assert lines.holes == 0


def test_the_hole_of_the_last_line_is_told_with_bounds_from_what_was_delivered():
    """By another line, later than the marker's own beginning; how many are missing is not known then."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(1), trade(2), trade(3))
    lines.lost("new", MS)
    (hole,) = lines.get("old", gaps.marker(TRADES, "stall", MS + 1, MS + 9, 5))
    assert marker(hole) == ("stall", 3, 9) and orjson.loads(hole)["lost"] is None
    assert lines.get("old", trade(10)) == [trade(10)] and lines.holes == 1


def test_a_marker_of_a_line_alone_stays_as_it_is():
    """With its number."""
    told = gaps.marker(TRADES, "malformed", MS + 2, MS + 2, 1)
    lines = Lines(TRADES, trade(1), others=())
    assert lines.get("old", told, trade(3)) == [told, trade(3)]


def test_a_line_that_holds_takes_over_from_one_with_a_hole():
    """After one marker, with bounds of both."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(5))
    hole, first = lines.get("old", gaps.marker(TRADES, "malformed", MS + 2, MS + 2))
    assert marker(hole) == ("malformed", 1, 5) and first == trade(5)
    assert lines.joined("new") and not lines.joined("old") and lines.holes == 1


def test_a_hole_within_what_a_line_holds_stays_in_its_place():
    """It is told if nobody fills it."""
    told = gaps.marker(ORDERS, "malformed", MS + 4, MS + 4)
    lines = Lines(ORDERS, order(1))
    lines.get("new", told, order(3), told, order(5))
    assert lines.held == 3, "nothing was before the first"
    assert lines.get("old", order(3)) == [order(3)] and lines.held == 1 and not lines.joined("new")
    hole, last = lines.lost("old", MS)
    assert marker(hole) == ("disconnect", 3, 5) and last == order(5)


@pytest.mark.parametrize(("arg", "make"), [(ORDERS, order), (TRADES, trade)])
def test_a_line_that_fell_silent_does_not_stand_in_for_the_one_that_did_not(arg, make):
    """It never brought what the other one did: what it brings next, long after, is not what comes next."""
    lines = Lines(arg, make(1))
    lines.get("new", make(1), make(2), make(3))
    assert lines.lost("new", MS) == [] and lines.caught_up
    hole, after = lines.get("old", make(9))
    assert marker(hole) == ("disconnect", 3, 9) and after == make(9)
    assert lines.get("old", make(10)) == [make(10)] and lines.holes == 1


@pytest.mark.parametrize(("arg", "make"), [(ORDERS, order), (TRADES, trade)])
def test_a_line_that_lags_stands_in_for_the_one_that_was_ahead(arg, make):
    """It brings what the other one did, a little later, and then what comes next."""
    for late in ((), (make(2),), (make(2), make(3))):
        lines = Lines(arg, make(1))
        lines.get("new", make(1), make(2), make(3))
        lines.get("old", *late)
        lines.lost("new", MS)
        assert lines.get("old", *[make(2), make(3)][len(late) :], make(4), make(9)) == [make(4), make(9)]
        assert lines.holes == 0


def test_who_comes_back_while_the_other_one_is_silent_tells_of_a_hole():
    """Nobody has brought what was between; the owner's word is about what is under way, not what never will be."""
    for held in ((), (order(9),)):
        lines = Lines(ORDERS, order(1))
        lines.get("new", order(1), order(2))
        lines.lost("new", MS)
        lines.enter("again", MS)
        assert lines.get("again", *held) == []
        got = lines.flushed("again", MS) + lines.get("again", *() if held else (order(9),))
        assert marker(got[0]) == ("disconnect", 2, 9) and got[1:] == [order(9)]
        assert lines.get("again", order(10)) == [order(10)]


def test_a_state_needs_nobody_to_have_kept_pace():
    """The newest holds it all."""
    lines = Lines(TICKERS, ticker(1))
    lines.get("new", ticker(1), ticker(5))
    lines.lost("new", MS)
    assert lines.get("old", ticker(9)) == [ticker(9)] and lines.holes == 0


def test_who_leads_by_default_gives_way_to_who_is_proven():
    """It has brought nothing yet, or nothing since its hole, of which the other one may have what is missing."""
    lines = Lines(ORDERS, order(1), order(2), others=())
    lines.lost("old", MS)
    lines.enter("late", MS)
    lines.enter("early", MS)
    assert lines.get("early", order(2)) == [] and lines.joined("early") and not lines.joined("late")
    assert lines.get("late", order(5)) == [] and lines.get("early", order(3)) == [order(3)]
    assert lines.get("early", order(4), order(5)) == [order(4), order(5)] and lines.caught_up and lines.holes == 0
    lines = Lines(TRADES, trade(1), others=())
    lines.get("old", gaps.marker(TRADES, "malformed", MS + 2, MS + 2, 1))
    lines.enter("new", MS)
    assert lines.get("new", trade(1), trade(2)) == [trade(2)]
    assert lines.get("old", trade(4)) == [] and lines.get("new", trade(3)) == [trade(3), trade(4)]


def test_a_message_that_cannot_be_read_parts_a_line_that_had_brought_nothing():
    """Unlike a hole from before it began: the other one has what it was."""
    lines = Lines(ORDERS, order(1))
    lines.flushed("new", MS)
    assert lines.get("new", gaps.marker(ORDERS, "malformed", MS + 2, MS + 2), order(3)) == []
    assert lines.get("old", order(2), order(3)) == [order(2), order(3)] and lines.caught_up and lines.holes == 0


def test_what_was_not_wanted_meanwhile_is_not_missing():
    """A line that ended since nobody wanted it leaves no hole."""
    lines = Lines(TRADES, trade(1), others=())
    assert lines.lost("old", MS, cause=None) == []
    lines.enter("next", MS)
    assert lines.get("next", trade(5)) == [trade(5)] and lines.holes == 0


def test_one_marker_tells_of_a_loss_and_of_the_hole_after_it():
    """The line that leads has not brought a message in between."""
    lines = Lines(ORDERS, order(1))
    lines.lost("old", MS)
    (hole,) = lines.get("new", gaps.marker(ORDERS, "malformed", MS + 5, MS + 5))
    assert marker(hole) == ("malformed", 1, 5)
    assert lines.get("new", order(6)) == [order(6)] and lines.holes == 1


def test_all_lines_lost_is_a_hole_until_the_next_message():
    """Of the first line that enters afterwards; from the beginning on, if there was none before."""
    lines = Lines(TRADES, trade(1), others=())
    lines.lost("old", MS, "disconnect")
    assert lines.lines == () and lines.caught_up
    lines.enter("next", MS + 50)
    assert marker(lines.get("next", trade(7))[0]) == ("disconnect", 1, 7)
    lines = Lines(TRADES, others=())
    lines.lost("old", MS)
    lines.enter("next", MS + 50)
    assert marker(lines.get("next", trade(7))[0]) == ("disconnect", 0, 7)


# ---------------------------------------------------------------------- bounds and misuse


def test_what_is_held_has_a_bound(monkeypatch):
    """The oldest are dropped: then only what is delivered proves that the line continues it."""
    monkeypatch.setattr(line_module, "MAX_HELD", 3)
    lines = Lines(ORDERS, order(1))
    lines.get("new", *map(order, range(3, 8)))
    assert lines.held == 3 and lines.flushed("new", MS) == [] and not lines.caught_up
    assert lines.get("old", *map(order, range(2, 6))) == [*map(order, range(2, 8))] and lines.caught_up


def test_lines_have_names_of_their_own():
    """One that has not entered brings nothing."""
    lines = Lines(TRADES, trade(1))
    with pytest.raises(ValueError, match="'old' has entered already"):
        lines.enter("old", MS)
    assert lines.get("nobody", trade(2)) == [] and lines.lost("nobody", MS) == []
    assert lines.lines == ("old", "new") and not lines.joined("nobody")


# ---------------------------------------------------------------------- captures


def test_every_captured_stream_survives_two_lines(frames):
    """Each arg of each capture, the second line three messages late: byte for byte, in order, each once."""
    streams = {}
    for path in sorted(frames.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            message = orjson.loads(line) if line else None
            if isinstance(message, dict) and isinstance(message.get("arg"), dict) and "data" in message:
                streams.setdefault((path.name, orjson.dumps(message["arg"])), []).append(line)
    assert len(streams) > 60
    for (_, arg), payloads in streams.items():
        merge, got = Merge(orjson.loads(arg)), []
        merge.enter("first", MS)
        merge.enter("second", MS)
        for n in range(len(payloads) + 3):
            got += merge.receive("first", payloads[n : n + 1], MS)
            got += merge.receive("second", payloads[max(0, n - 3) : max(0, n - 2)], MS)
        assert got == payloads


# ---------------------------------------------------------------------- a pong that is quicker than data


def test_trades_that_are_not_the_next_wait_for_those_before_them():
    """The other link's pong has come, and its data has not: the numbers know better."""
    lines = Lines(TRADES, trade(1))
    assert lines.get("new", trade(4)) == [] == lines.flushed("new", MS) and not lines.caught_up
    assert lines.get("old", trade(2)) == [trade(2)] and not lines.caught_up
    assert lines.get("old", trade(3)) == [trade(3), trade(4)] and lines.caught_up
    assert lines.get("old", trade(4)) == [] and lines.get("new", trade(5)) == [trade(5)]


def test_what_does_not_come_in_time_is_told_to_be_missing():
    """The other line has lost it, and does not know."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(4))
    lines.flushed("new", MS)
    assert lines.receive("new", [trade(5)], MS + 1) == [] and lines.until_ms == MS + 2000
    assert lines.expire(MS + 1999) == []
    told, *rest = lines.expire(MS + 2000)
    assert gaps.is_marker(told) and rest == [trade(4), trade(5)] and lines.caught_up and lines.until_ms is None
    assert lines.get("old", trade(2), trade(5)) == [] and lines.get("old", trade(6)) == [trade(6)]


def test_a_line_that_joined_empty_has_to_begin_with_the_next():
    """Of a quiet instrument: it is joined, so that the other may go; its first message is looked at."""
    lines = Lines(TRADES, trade(1))
    assert lines.flushed("new", MS) == [] and lines.caught_up
    assert lines.get("new", trade(4)) == [] and not lines.caught_up
    assert lines.get("old", trade(2, 3, 4)) == [trade(2, 3, 4)] and lines.caught_up
    alone = Lines(TRADES, trade(1))
    alone.flushed("new", MS)
    alone.lost("old", MS)
    told, rest = alone.get("new", trade(4))
    assert gaps.is_marker(told) and rest == trade(4)


def test_a_hole_from_before_a_line_began_does_not_part_it():
    """It joined by the owner's word, so others have what it lacks: nobody would give that word a second time."""
    tickers = {"channel": "tickers", "instId": "BTC-USDT"}
    lines = Lines(tickers, push(tickers, {"ts": str(MS)}))
    assert lines.flushed("new", MS) == []
    first = push(tickers, {"ts": str(MS + 1)})
    assert lines.get("new", gaps.marker(tickers, "disconnect", MS, MS), first) == [first] and lines.caught_up


def test_what_the_first_line_left_out_before_its_first_message_is_told():
    """It goes on from what was delivered, which REST may have told: the stream may have stalled meanwhile."""
    merge = Merge(TRADES)
    merge.enter("old", MS, trade(1))
    marker, after = merge.receive("old", [trade(4)], MS)
    assert gaps.is_marker(marker) and after == trade(4)
    assert merge.receive("old", [trade(6)], MS) == [trade(6)], "from then on its own order is the truth"


SECONDS = "candle1s"


@pytest.mark.parametrize("why", ["held", "alone"])
def test_seconds_without_trades_are_suspected_but_no_hole(why):
    """OKX does not say that it pushes them: who fills holes is asked to look, and nobody is told of what is not."""
    lines = Lines({"channel": SECONDS, "instId": "BTC-USDT"}, candle(0, 1, "1", SECONDS))
    if why == "alone":
        assert lines.flushed("new", MS) == [] and lines.lost("old", MS) == []
        found, *rest = lines.get("new", candle(5000, 1, "0", SECONDS))
    else:
        assert lines.get("new", candle(5000, 1, "0", SECONDS)) == lines.flushed("new", MS) == []
        assert lines.expire(lines.until_ms - 1) == []
        found, *rest = lines.expire(lines.until_ms)
    assert gaps.is_suspicion(found) and marker(found)[0] == "sequence" and rest == [candle(5000, 1, "0", SECONDS)]
    assert lines.caught_up and lines.get("new", candle(5000, 2, "1", SECONDS)) == [candle(5000, 2, "1", SECONDS)]


def test_trades_that_are_left_out_are_missing():
    """Their ids count one by one."""
    lines = Lines(TRADES, trade(1))
    lines.flushed("new", MS)
    lines.lost("old", MS)
    found, *rest = lines.get("new", trade(5))
    assert marker(found)[0] == "sequence" and not gaps.is_suspicion(found) and rest == [trade(5)]


@pytest.mark.parametrize(
    ("arg", "ahead", "behind", "same"),
    [
        (ORDERS, order(2), order(1), push({**ORDERS, "uid": "7"}, orjson.loads(order(2))["data"][0])),
        (TRADES, trade(3), trade(2), trade(3, count=2)),
        (TICKERS, ticker(2), ticker(1), ticker(2, "3")),
        (TICKERS, ticker(2), ticker(1), ticker(3)),
        ({"channel": "candle1m", "instId": "BTC-USDT"}, candle(0, 3, "1"), candle(0, 3), candle(0, 4, "1")),
        (BOOKS, book(1, 2), book(0, 1), book(-1, 2)),
    ],
)
def test_a_line_that_is_left_is_in_doubt_until_it_has_brought_what_the_other_had(arg, ahead, behind, same):
    """As the next line shows that: with the same words or others."""
    for brought, doubtful in ((behind, True), (same, False)):
        lines = Lines(arg, behind if arg is not BOOKS else book(-1, 1), others=())
        lines.enter("new", MS)
        lines.get("old", behind)
        lines.flushed("new", MS)
        lines.get("new", behind if arg is not BOOKS else book(-1, 1))
        lines.get("old", ahead)
        if brought is same:
            lines.get("new", same)
        assert lines.joined("new")
        lines.lost("old", MS)
        assert lines.doubtful is doubtful and lines.pending is None


def test_what_repeats_itself_to_each_line_puts_none_in_doubt():
    """The account, at times of each connection's own."""
    account = [push({"channel": "account"}, {"uTime": str(MS + n)}, curPage=1, lastPage=True) for n in range(2)]
    lines = Lines({"channel": "account"}, account[0])
    lines.flushed("new", MS)
    lines.get("old", account[1])
    lines.lost("old", MS)
    assert not lines.doubtful


def test_a_hole_of_a_late_line_that_the_other_one_had_filled_is_none():
    """Its bounds are behind what was delivered; what follows tells whether anything is missing after that."""
    lines = Lines(TRADES, trade(1))
    lines.get("new", trade(1))
    lines.get("old", *map(trade, range(2, 6)))
    assert lines.lost("old", MS) == []
    assert lines.get("new", gaps.marker(TRADES, "disconnect", MS + 1, MS + 3), trade(3), trade(6)) == [trade(6)]


def test_a_hole_that_a_line_begins_with_keeps_its_bounds():
    """It came from elsewhere, with a hole from before the merge began."""
    lines = Merge(TRADES)
    lines.enter("new", MS + 500)
    found, _ = lines.receive("new", [gaps.marker(TRADES, "disconnect", MS + 1, MS + 9), trade(9)], MS + 600)
    assert marker(found) == ("disconnect", 1, 9)
