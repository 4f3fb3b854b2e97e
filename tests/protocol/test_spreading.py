"""Which line a subscription goes to: by examples, and by properties."""

from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol.spreading import DEPTH_PER_LINK, Load, excess, place
from okx_ws.protocol.subscriptions import Subscriptions


def tickers(n):
    return [({"channel": "tickers", "instId": f"I{i}"}, False) for i in range(n)]


def books(n, channel="books"):
    return [({"channel": channel, "instId": f"I{i}"}, False) for i in range(n)]


def line_of(*args):
    """A line that carries these."""
    subscriptions = Subscriptions()
    for arg, login in args:
        subscriptions.want(arg, login, "me")
    return Load(subscriptions)


def test_what_fits_stays_on_one_line():
    """No line is opened without need."""
    loads = [line_of()]
    assert set(place(tickers(240), loads, 240)) == set(loads) and len(loads) == 1


def test_a_list_that_outgrows_a_line_is_spread_evenly():
    """Two lines with half each, not a full one and a rest."""
    loads = [line_of()]
    place(tickers(260), loads, 240)
    assert [load.number for load in loads] == [130, 130]


def test_one_more_goes_to_the_line_with_the_fewest():
    """Balanced."""
    loads = [line_of(*tickers(5)), line_of(), line_of(*tickers(3))]
    assert place(books(1), loads, 240) == [loads[1]]


def test_fewer_than_30_books_are_on_a_line():
    """As OKX recommends; channels of five levels or one do not count."""
    loads = [line_of()]
    place(books(40) + books(40, "books5") + books(40, "bbo-tbt"), loads, 240)
    assert sorted(load.depth for load in loads) == [20, 20] and DEPTH_PER_LINK < 30


def test_what_is_one_subscription_for_the_server_stays_together():
    """Args that differ in extraParams only, also within one list, and however full the line is."""
    arg = {"channel": "account"}
    other = {**arg, "extraParams": '{"updateInterval":"0"}'}
    loads = [line_of(), line_of((arg, True))]
    assert place([(other, True)], loads, 1) == [loads[1]]
    loads = [line_of()]
    assert len(set(place([(arg, True), (other, True)], loads, 1))) == 1


def test_a_private_channel_has_one_connection():
    """OKX counts the connections of each: all args of one name are on one line."""
    orders = [({"channel": "orders", "instType": kind}, True) for kind in ("SPOT", "SWAP", "FUTURES")]
    loads = [line_of()]
    assert len(set(place(orders + [({"channel": "account"}, True)], loads, 2))) == 2
    assert len(set(place(orders, loads, 2))) == 1


def test_books_that_need_a_login_are_spread():
    """They are few a connection, whatever they need."""
    loads = [line_of()]
    place([(arg, True) for arg, _ in books(40, "books-l2-tbt")], loads, 240)
    assert sorted(load.depth for load in loads) == [20, 20]


def test_what_is_too_much_goes_by_whole_keys():
    """The newest first; what differs in extraParams only goes along."""
    subscriptions = Subscriptions()
    args = [{"channel": "a"}, {"channel": "b"}, {"channel": "c"}, {"channel": "b", "extraParams": "{}"}]
    streams = [subscriptions.want(arg, False, "me")[0] for arg in args]
    assert excess(subscriptions, 3) == [streams[3], streams[1]]
    assert excess(subscriptions, 4) == []


def test_what_stays_together_does_not_move():
    """Private channels stay where they are, even if it is too much."""
    subscriptions = Subscriptions()
    for kind in ("SPOT", "SWAP"):
        subscriptions.want({"channel": "orders", "instType": kind}, True, "me")
    assert excess(subscriptions, 1) == []


CHANNELS = st.sampled_from(["tickers", "books", "orders", "books-l2-tbt"])
ARGS = st.fixed_dictionaries({"channel": CHANNELS, "instId": st.sampled_from("ABCDEFGH")})


@given(st.lists(st.lists(ARGS, max_size=12), max_size=6), st.sets(CHANNELS), st.integers(1, 9))
def test_every_arg_has_one_line_and_no_line_too_much(calls, private, limit):
    """In whatever order: same arg, same line; and within the limit, but for what stays together."""
    lines, home = [Subscriptions()], {}
    for args in calls:
        call = [(arg, arg["channel"] in private) for arg in args]
        loads = [Load(subscriptions) for subscriptions in lines]
        places = place(call, loads, limit)
        lines += [Subscriptions() for _ in loads[len(lines) :]]
        for (arg, login), load in zip(call, places, strict=True):
            index = loads.index(load)
            assert home.setdefault(tuple(arg.values()), index) == index
            lines[index].want(arg, login, "me")
    for subscriptions in lines:
        apart = [s for s in subscriptions if not s.needs_login or s.arg["channel"].startswith("books")]
        assert len(apart) <= limit
