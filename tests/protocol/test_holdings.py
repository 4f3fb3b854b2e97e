"""`Holdings`: pages joined, updates merged, and after any history the state that the exchange has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.protocol.holdings import HOLDINGS, Balance, Holdings, PushBroken


def detail(ccy, eq="1", uTime="1", **more):
    return {
        "ccy": ccy,
        "eq": eq,
        "cashBal": eq,
        "availBal": eq,
        "availEq": eq,
        "frozenBal": "0",
        "uTime": uTime,
        **more,
    }


def account(kind, *details, page=1, last=True, **totals):
    paging = {"curPage": page, "lastPage": last} if kind == "snapshot" else {}
    return {"eventType": kind, **paging, "data": [{"uTime": "1", "totalEq": "5", **totals, "details": list(details)}]}


def place(instId, pos="1", uTime="1", **more):
    return {
        **{"instId": instId, "posSide": "net", "mgnMode": "cross", "ccy": "USDT", "pos": pos, "avgPx": "5", "upl": "0"},
        **{"uTime": uTime, "closeOrderAlgo": [{"algoId": "1"}], **more},
    }


def positions(kind, *rows, page=1, last=True):
    paging = {"curPage": page, "lastPage": last} if kind == "snapshot" else {}
    return {"eventType": kind, **paging, "data": list(rows)}


def holdings(channel, *messages):
    made = Holdings(HOLDINGS[channel])
    for message in messages:
        made.apply(message)
    return made


def amounts(found):
    return {key[0]: getattr(value, "eq", None) or value.pos for key, value in found.held.items()}


def test_pages_are_one_snapshot_once_the_last_one_is_there():
    """Until then nothing is complete; then a currency that was on none of them is zero."""
    found = Holdings(HOLDINGS["account"])
    assert found.apply(account("snapshot", detail("BTC"), last=False)) == "page"
    assert not found.complete and found.held == {}
    assert found.apply(account("snapshot", detail("ETH", "2"), page=2, totalEq="7")) == "snapshot"
    assert found.complete and amounts(found) == {"BTC": "1", "ETH": "2"} and found.totals["totalEq"] == "7"
    assert found.apply(account("snapshot", detail("ETH", "3"))) == "snapshot"
    assert amounts(found) == {"ETH": "3"}


def test_the_old_state_stands_while_the_pages_of_a_repeat_come():
    """Timed repeats do not make a state flicker."""
    found = holdings("account", account("snapshot", detail("BTC"), detail("ETH")))
    found.apply(account("snapshot", detail("BTC", "9"), last=False))
    assert found.complete and amounts(found) == {"BTC": "1", "ETH": "1"}


def test_a_repeat_heals_whatever_went_wrong_before():
    """It replaces everything: here a currency that went while we were not told."""
    found = holdings("account", account("snapshot", detail("BTC"), detail("DOGE", "77")))
    found.apply(account("snapshot", detail("BTC", "2")))
    assert amounts(found) == {"BTC": "2"}


@pytest.mark.parametrize("pages", [[(1, False), (3, True)], [(2, True)], [(1, False), (2, False), (2, True)]])
def test_a_missing_page_breaks_the_snapshot(pages):
    """What is torn is no snapshot, and nothing counts until the owner has asked for a new one."""
    found = holdings("account", account("snapshot", detail("BTC")))
    with pytest.raises(PushBroken, match="page"):
        for number, last in pages:
            found.apply(account("snapshot", detail("ETH"), page=number, last=last))
    assert not found.complete and amounts(found) == {"BTC": "1"}
    found.apply(account("snapshot", detail("XRP")))
    assert found.complete and amounts(found) == {"XRP": "1"}


def test_a_first_page_begins_anew():
    """Half a snapshot and a whole one: the half is forgotten."""
    found = holdings("account", account("snapshot", detail("BTC"), last=False), account("snapshot", detail("ETH")))
    assert amounts(found) == {"ETH": "1"}


def test_pages_before_a_loss_do_not_mix_with_those_after_it():
    """Page 1 of one link and page 2 of the next are no snapshot."""
    found = holdings("positions", positions("snapshot", place("A"), last=False))
    found.restart()
    with pytest.raises(PushBroken):
        found.apply(positions("snapshot", place("B"), page=2))


def test_updates_are_merged_row_by_row():
    """Others stay; fields that a row leaves out keep what they were; the totals are the newest."""
    found = holdings("account", account("snapshot", detail("BTC", twap="4"), detail("ETH")))
    found.apply(account("event_update", detail("BTC", "2", "5"), detail("USDT", "9"), totalEq="8"))
    assert amounts(found) == {"BTC": "2", "ETH": "1", "USDT": "9"} and found.totals["totalEq"] == "8"
    assert found.held[("BTC",)].raw["twap"] == "4"


def test_zero_is_gone():
    """A position of 0 is closed, a currency of which nothing is left is no part of a snapshot either."""
    found = holdings("positions", positions("snapshot", place("A"), place("B")))
    found.apply(positions("event_update", place("A", "0")))
    assert amounts(found) == {"B": "1"}
    found.apply(positions("snapshot"))  # data: []
    assert found.held == {} and found.complete
    money = holdings("account", account("snapshot", detail("BTC"), detail("ETH")))
    money.apply(account("event_update", detail("BTC", "0.000")))
    assert amounts(money) == {"ETH": "1"}
    assert holdings("account", {**account("snapshot"), "data": []}).complete


def test_an_update_between_the_pages_is_kept_unless_the_page_is_newer():
    """The state of an update is newer than that of a page that was made before it."""
    found = Holdings(HOLDINGS["account"])
    found.apply(account("snapshot", detail("BTC", "1", "10"), last=False, uTime="15"))
    found.apply(account("event_update", detail("BTC", "2", "20"), detail("ETH", "0", "20"), detail("SOL", "4", "20")))
    found.apply(account("event_update", detail("XRP", "5", "20")))
    found.apply(account("snapshot", detail("ETH", "7", "10"), detail("XRP", "6", "30"), page=2, uTime="15"))
    assert amounts(found) == {"BTC": "2", "SOL": "4", "XRP": "6"}


@pytest.mark.parametrize(("made", "expected"), [("19", {"A": "1", "B": "2"}), ("20", {"A": "1"})])
def test_a_snapshot_does_not_undo_what_was_updated_after_it_was_made(made, expected):
    """It may have been made before the update, and sent after it."""
    found = holdings("positions", positions("snapshot", place("A")))
    found.apply(positions("event_update", place("B", "2", "20")))
    found.apply(positions("snapshot", place("A", pTime=made)))
    assert amounts(found) == expected
    found.apply(positions("snapshot", place("A", pTime="21")))
    assert amounts(found) == {"A": "1"}


def test_without_a_time_only_what_comes_between_the_pages_outlasts_them():
    """What is not in a complete snapshot is closed."""
    found = holdings("positions", positions("snapshot", place("A")), positions("event_update", place("B")))
    found.apply(positions("snapshot"))
    assert found.held == {}
    found.apply(positions("snapshot", place("A"), last=False))
    found.apply(positions("event_update", place("B")))
    found.apply(positions("snapshot", page=2))
    assert amounts(found) == {"A": "1", "B": "1"}


def test_positions_of_one_instrument_are_told_apart():
    """Long and short, cross and isolated, and by the currency of the margin."""
    rows = [
        place("A", posSide="long"),
        place("A", posSide="short", pos="2"),
        place("A", mgnMode="isolated", pos="-3"),
        place("A", mgnMode="isolated", ccy="BTC", pos="4"),
    ]
    found = holdings("positions", positions("snapshot", *rows))
    assert [position.pos for position in found.held.values()] == ["1", "2", "-3", "4"]


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {"data": []},
        positions("what"),
        {**positions("snapshot"), "curPage": "1"},
        {**positions("snapshot"), "lastPage": 1},
        {**positions("snapshot"), "data": {}},
        positions("snapshot", 5),
        positions("snapshot", place("A", pos=5)),
        positions("snapshot", place("A", pos="x")),
        positions("snapshot", place("")),
        positions("event_update", place("A"), place("B", uTime="x")),
    ],
)
def test_what_cannot_be_read_breaks_the_state_and_is_not_applied(message):
    """Not even its good rows."""
    found = holdings("positions", positions("snapshot", place("Z")))
    with pytest.raises(PushBroken, match="malformed"):
        found.apply(message)
    assert not found.complete and amounts(found) == {"Z": "1"}


def test_what_is_handed_out_cannot_be_changed():
    """Neither its fields, nor what lies within them."""
    found = holdings("positions", positions("snapshot", place("A")))
    (position,) = found.held.values()
    with pytest.raises(AttributeError):
        position.pos = "9"
    for change in (
        lambda: position.raw.update(pos="9"),
        lambda: position.raw["closeOrderAlgo"].append(1),
        lambda: position.raw["closeOrderAlgo"][0].update(algoId="2"),
    ):
        with pytest.raises(AttributeError):
            change()
    assert Balance("BTC").eq == "0"


# ---------------------------------------------------------------------- against an account that is the truth

CCYS = "ABCDEF"
STEP = st.one_of(
    st.tuples(st.just("change"), st.sampled_from(CCYS), st.integers(0, 9)),
    st.tuples(st.just("repeat"), st.integers(1, 4), st.just(None)),
    st.tuples(st.just("loss"), st.none(), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=60), st.integers(1, 4))
def test_whatever_happens_the_state_is_the_accounts(steps, size):
    """Changes at any moment, also between the pages; repeats cut off by a loss. Complete means: equal to the truth."""
    truth, now = {"A": 1}, 1
    found = Holdings(HOLDINGS["account"])
    pages = []

    def paged(size):
        rows = [detail(ccy, str(eq), str(now)) for ccy, eq in truth.items() if eq]
        parts = [rows[i : i + size] for i in range(0, len(rows), size)] or [[]]
        return [
            account("snapshot", *part, page=n, last=n == len(parts), uTime=str(now)) for n, part in enumerate(parts, 1)
        ]

    pages = paged(size)
    for kind, what, value in steps:
        now += 1
        if kind == "change":
            truth[what] = value
            found.apply(account("event_update", detail(what, str(value), str(now))))
        elif kind == "loss":
            found.restart()
            pages = paged(size)
        elif not pages:
            pages = paged(what)
        if pages and kind != "change":
            found.apply(pages.pop(0))
        if found.complete:
            assert amounts(found) == {ccy: str(eq) for ccy, eq in truth.items() if eq}
            assert len(found._updated) <= len(CCYS)
    for page in pages:
        found.apply(page)
    assert amounts(found) == {ccy: str(eq) for ccy, eq in truth.items() if eq}
