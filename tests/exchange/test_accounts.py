"""What an account's channels push, and how OKX counts their connections."""

import contextlib
import json

import pytest

from okx_ws.exchange import Account, LocalExchange, Position
from okx_ws.exchange.holdings import position_rows
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from okx_ws.exchange.private_feeds import make_private_feed
from okx_ws.exchange.rows import interest_row, limit_row, summary_row, ticker_row
from okx_ws.exchange.rules import COUNTED, MOST_CONNECTIONS
from tests.exchange.client import talk

NOW_MS = 1_784_000_000_000

ARGS = {"positions": {"instType": "ANY"}, "orders": {"instType": "ANY"}, "liquidation-warning": {"instType": "ANY"}}


@pytest.fixture(scope="module")
def fast():
    """An exchange whose world runs fifty times faster, and whose account fills several pages."""
    account = Account(
        page_rows=2, positions=[Position(f"{coin}-USDT-SWAP", "1", "100") for coin in ("BTC", "ETH", "SOL")]
    )
    with LocalExchange(speed=50, accounts=[account]) as running:
        yield running


@contextlib.contextmanager
def logged_in(exchange, endpoint="private"):
    with talk(exchange, endpoint) as client:
        assert client.login(exchange.accounts[0])["code"] == "0"
        yield client


@pytest.mark.parametrize(
    ("arg", "sizes"),
    [
        ({"channel": "account"}, [2, 1]),
        ({"channel": "account", "ccy": "ETH"}, [1]),
        ({"channel": "positions", "instType": "ANY"}, [2, 1]),
        ({"channel": "positions", "instType": "FUTURES"}, [0]),
    ],
)
def test_states_come_in_pages_and_again_on_a_timer(arg, sizes, fast):
    """okx-protocol 5.2: curPage counts up to the one with lastPage; the uid stands in the arg; nothing is one page."""
    with logged_in(fast) as client:
        client.subscribe(arg)
        for _ in range(3):
            pages = client.pushes(len(sizes))
            assert [list(page) for page in pages] == [["arg", "eventType", "curPage", "lastPage", "data"]] * len(pages)
            assert {page["eventType"] for page in pages} == {"snapshot"}
            assert [page["curPage"] for page in pages] == list(range(1, len(sizes) + 1))
            assert [page["lastPage"] for page in pages] == [False] * (len(sizes) - 1) + [True]
            assert all(page["arg"] == {**arg, "uid": fast.accounts[0].uid} for page in pages)
            rows = [page["data"][0]["details"] if arg["channel"] == "account" else page["data"] for page in pages]
            assert [len(part) for part in rows] == sizes


def test_args_of_several_currencies_live_side_by_side(fast):
    """Each is pushed on its own, and left on its own."""
    args = [{"channel": "account"}, {"channel": "account", "ccy": "BTC"}, {"channel": "account", "ccy": "ETH"}]
    with logged_in(fast) as client:
        client.subscribe(*args)
        seen = {push["arg"].get("ccy") for push in client.pushes(12)}
        assert seen == {None, "BTC", "ETH"}
        client.send({"op": "unsubscribe", "args": args[1:2]})
        while client.get().get("event") != "unsubscribe":
            pass
        assert {push["arg"].get("ccy") for push in client.pushes(9)} == {None, "ETH"}


@pytest.mark.parametrize(
    ("channel", "interval", "expected"),
    [
        ("account", None, 5000),
        ("account", "0", None),
        ("account", 0, None),
        ("account", "2000", 5000),
        ("positions", None, 5000),
        ("positions", "0", None),
        ("positions", "2000", 2000),
        ("positions", "3000", 3000),
        ("positions", "4000", 4000),
        ("positions", "77", 5000),
    ],
)
def test_update_interval_says_how_often(channel, interval, expected):
    """ "0": only what happens; else a channel's own cadence, or one of those it may be asked for."""
    world = World(make_instruments(NOW_MS, False), NOW_MS, 1)
    extra = {} if interval is None else {"extraParams": json.dumps({"updateInterval": interval})}
    feed = make_private_feed(world, {"channel": channel, "instType": "ANY", **extra}, Account())
    assert len(feed.first()) == 1
    times = []
    for _ in range(130):
        world.now_ms += 100
        times += [world.now_ms - NOW_MS] * len(feed.due({}))
    assert times == ([] if expected is None else list(range(expected, 13_001, expected)))


@pytest.mark.parametrize("extra", ["", "x", "[]", "5", {"updateInterval": "0"}, None])
def test_extra_params_are_a_json_text(extra, fast):
    """Anything else is refused."""
    with logged_in(fast) as client:
        client.subscribe({"channel": "account", "extraParams": extra})
        assert client.get()["code"] == ("60018" if extra == "" else "60013")


def test_positions_are_narrowed_by_their_arg(fast):
    """The instId counts more than the instFamily."""
    narrow = {
        "BTC-USDT-SWAP": {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "instFamily": "ETH-USDT"},
        "ETH-USDT-SWAP": {"instType": "ANY", "instFamily": "ETH-USDT"},
    }
    for instId, keys in narrow.items():
        with logged_in(fast) as client:
            client.subscribe({"channel": "positions", **keys})
            (push,) = client.pushes(1)
            (row,) = push["data"]
            assert row["instId"] == instId and row["pos"] == "1" and row["pTime"].isdigit()


def test_balance_and_position_and_greeks_start_with_everything(fast):
    """The first names its eventType inside; neither is paged."""
    with logged_in(fast) as client:
        client.subscribe({"channel": "balance_and_position"}, {"channel": "account-greeks"})
        pushes = {push["arg"]["channel"]: push for push in client.pushes(2)}
        (row,) = pushes["balance_and_position"]["data"]
        assert row["eventType"] == "snapshot" and row["trades"] == []
        assert [b["ccy"] for b in row["balData"]] == ["BTC", "ETH", "USDT"] and len(row["posData"]) == 3
        assert [greek["ccy"] for greek in pushes["account-greeks"]["data"]] == ["BTC", "ETH", "USDT"]
        assert all(list(push) == ["arg", "data"] for push in pushes.values())


@pytest.mark.parametrize("channel", COUNTED)
def test_connections_are_counted_after_the_ack(channel, exchange):
    """okx-protocol 2.1: the count is a string, told to the new subscriber only, before any data."""
    arg = {"channel": channel, **ARGS.get(channel, {})}
    with logged_in(exchange) as one, logged_in(exchange) as two:
        for number, client in enumerate((one, two), 1):
            client.subscribe(arg, id="s1")
            assert client.get()["event"] == "subscribe"
            event = client.get()
            connId = event.pop("connId")
            assert event == {"event": "channel-conn-count", "channel": channel, "connCount": str(number)}
            assert len(connId) == 8
        assert one.ask("ping")  # whatever comes, it is no second count
    with logged_in(exchange) as client:
        client.subscribe(arg, {**arg, "ccy" if "instType" not in arg else "instId": "BTC-USDT"})
        counts = [m["connCount"] for m in (client.get() for _ in range(4)) if m.get("event") == "channel-conn-count"]
        assert set(counts) == {"1"}, "args of one connection count once"


def test_more_than_thirty_connections_of_a_channel_are_cut_off():
    """After an ordinary ack; nothing of that channel lives on there, everything else does."""
    with LocalExchange(speed=50) as exchange, contextlib.ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            client = stack.enter_context(logged_in(exchange))
            client.subscribe({"channel": "orders", "instType": "ANY"})
            assert client.get()["event"] == "subscribe" and client.get()["event"] == "channel-conn-count"
        with logged_in(exchange) as client:
            client.subscribe({"channel": "orders", "instType": "ANY"}, {"channel": "account"})
            assert client.get()["event"] == "subscribe"
            event = client.get()
            assert {**event, "connId": ""} == {
                "event": "channel-conn-count-error",
                "channel": "orders",
                "connCount": "30",
                "connId": "",
            }
            assert client.get()["arg"] == {"channel": "account"}
            assert client.pushes(1)[0]["arg"]["channel"] == "account"
            assert [arg["channel"] for arg in exchange.desks[-1].args.values()] == ["account"]


@pytest.mark.parametrize(("pos", "avgPx"), [("x", "1"), ("nan", "1"), ("1", "0"), ("1", "-1"), ("1", "nan"), ("1", "")])
def test_a_position_is_checked_when_it_is_made(pos, avgPx):
    """Not when the world first pushes it."""
    with pytest.raises(ValueError):
        Position("BTC-USDT-SWAP", pos, avgPx)


@pytest.mark.parametrize(
    ("position", "upl", "usd"),
    [
        (Position("BTC-USDT-SWAP", "100", "50000"), 14_000.0, 64_000.0),
        (Position("BTC-USDT-SWAP", "-100", "50000"), -14_000.0, 64_000.0),
        (Position("BTC-USD-SWAP", "640", "32000"), 1.0, 64_000.0),
    ],
)
def test_a_position_is_worth_what_its_contracts_are(position, upl, usd):
    """At a mark price of 64000: linear in quote currency, inverse in coin."""
    world = World(make_instruments(NOW_MS, False), NOW_MS, 1)
    market = world.markets[position.instId]
    market.fair = 64_000.0
    market.asks.put(640_001, 1, 1), market.bids.put(639_999, 1, 1)
    for side, beyond in ((market.asks, lambda t: t < 640_000), (market.bids, lambda t: t > 640_000)):
        for ticks in [t for t in side.levels if beyond(t)]:
            side.put(ticks, 0, 0)
    (row,) = position_rows(Account(positions=[position]), world, {"instType": "ANY"})
    assert (float(row["markPx"]), float(row["upl"]), float(row["notionalUsd"])) == (64_000.0, upl, usd)


def test_a_world_that_outlives_its_options_goes_on():
    """Ten years on: every row can still be made."""
    world = World(make_instruments(NOW_MS, False), NOW_MS, 1)
    world.step(3650 * 86_400_000.0)
    world.step(100)
    for market in world.markets.values():
        assert ticker_row(market)["last"] and interest_row(world, market)["oi"] and limit_row(market)["buyLmt"]
        if market.instrument.instType == "OPTION":
            assert summary_row(world, market)["delta"]
    assert position_rows(Account(), world, {"instType": "ANY"})


def test_no_key_appears_in_the_exchanges_own_log(caplog):
    """Acceptance 94: at no level; the library under it would write every frame."""
    with caplog.at_level(1), LocalExchange() as exchange, talk(exchange, "private") as client:
        client.login(exchange.accounts[0])
        client.subscribe({"channel": "account"})
    told = [
        record.getMessage() for record in caplog.records if record.name.startswith("okx_ws")
    ]  # the client has its own
    assert told
    for secret in exchange.credentials.values():
        assert not any(secret in text for text in told)
