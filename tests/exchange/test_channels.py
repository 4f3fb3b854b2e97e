"""Every family of channels: which endpoint takes it, with what in its arg, before and after a login."""

import pytest

from okx_ws.exchange import Account, LocalExchange
from okx_ws.exchange.instruments import make_instruments
from okx_ws.exchange.markets import World
from okx_ws.exchange.rows import interest_row, ticker_row
from okx_ws.exchange.rules import OPERATIONS
from tests.exchange.client import talk

SPOT, SWAP, INDEX = {"instId": "BTC-USDT"}, {"instId": "BTC-USDT-SWAP"}, {"instId": "BTC-USD"}
SPREAD = {"sprdId": "BTC-USDT_BTC-USDT-SWAP"}
ANY = {"instType": "ANY"}
FAMILY = {"instFamily": "BTC-USD"}
UNKNOWN = {"instId": "X"}

#: okx-protocol 5.1 and 5.2, row by row: endpoint, channel, args that are taken, args that are refused.
PUBLIC = [
    *(("public", name, [SPOT, SWAP], [{}, UNKNOWN]) for name in ("tickers", "trades", "books", "books5", "bbo-tbt")),
    *(("public", name, [SPOT], [{}, UNKNOWN]) for name in ("books-rpi", "call-auction-details")),
    *(("public", name, [SWAP], [{}, UNKNOWN, {"instId": ""}]) for name in ("price-limit", "mark-price")),
    ("public", "open-interest", [SWAP], [SPOT, {}]),
    ("public", "funding-rate", [SWAP], [SPOT, {}]),
    ("public", "index-tickers", [SPOT, INDEX], [SWAP, {}]),
    (
        "public",
        "option-trades",
        [{"instType": "OPTION", **FAMILY}],
        [{"instType": "OPTION"}, {"instType": "SWAP", **FAMILY}],
    ),
    *(
        ("public", "instruments", [{"instType": kind}], [{}, {"instType": "ANY"}])
        for kind in ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")
    ),
    ("public", "opt-summary", [FAMILY], [{}, {"instFamily": "BTC-USDT"}, SPOT]),
    (
        "public",
        "estimated-price",
        [{"instType": "OPTION", **FAMILY}, {"instType": "SWAP", **SWAP}],
        [FAMILY, {"instType": "SPOT", **SPOT}],
    ),
    ("public", "status", [{}], []),
    ("public", "liquidation-orders", [{"instType": "SWAP"}, {"instType": "MARGIN"}], [{}, {"instType": "SPOT"}]),
    ("public", "adl-warning", [{"instType": "SWAP"}, {"instType": "SWAP", **FAMILY}], [{}, {"instType": "MARGIN"}]),
    ("public", "event-contract-markets", [{"instType": "EVENTS"}], [{}, {"instType": "SWAP"}]),
    *(("business", name, [SPOT], [{}, UNKNOWN]) for name in ("trades-all", "block-tickers", "public-block-trades")),
    ("business", "public-struc-block-trades", [{}], []),
    *(("business", f"candle{bar}", [SPOT, SWAP], [{}, UNKNOWN]) for bar in ("1s", "1m", "4H", "1Dutc", "3Mutc")),
    ("business", "mark-price-candle1Yutc", [SWAP], [{}]),
    ("business", "mark-price-candle1m", [SWAP], [{}]),
    ("business", "index-candle1m", [INDEX], [SWAP]),
    *(
        ("business", f"sprd-{name}", [SPREAD], [{}, {"sprdId": "X"}, SPOT])
        for name in ("bbo-tbt", "books5", "books-l2-tbt", "public-trades", "tickers", "candle1m")
    ),
]
PRIVATE = [
    *(("public", name, [SPOT], [{}, UNKNOWN]) for name in ("books-l2-tbt", "books50-l2-tbt")),
    ("business", "economic-calendar", [{}], []),
    ("private", "account", [{}, {"ccy": "BTC"}], [{"ccy": ""}]),
    (
        "private",
        "positions",
        [ANY, {"instType": "OPTION"}, {**ANY, **FAMILY}, {**ANY, **SWAP}],
        [{}, {"instType": "SPOT"}],
    ),
    ("private", "balance_and_position", [{}], []),
    (
        "private",
        "orders",
        [ANY, {"instType": "SPOT"}, {"instType": "EVENTS"}, {**ANY, **SPOT}],
        [{}, {"instType": "X"}],
    ),
    ("private", "fills", [{}, SPOT], [UNKNOWN]),
    ("private", "liquidation-warning", [ANY, {**ANY, **SWAP}], [{}]),
    ("private", "account-greeks", [{}, {"ccy": "BTC"}], []),
    ("business", "orders-algo", [ANY, {**ANY, **FAMILY}, {**ANY, **SPOT}], [{}, {"instType": "OPTION"}]),
    ("business", "algo-advance", [ANY, {**ANY, "algoId": "1"}], [{}, {"instType": "OPTION"}]),
    ("business", "grid-orders-spot", [ANY, {"instType": "SPOT"}], [{}, {"instType": "SWAP"}]),
    ("business", "grid-orders-contract", [ANY, {"instType": "SWAP"}], [{}, {"instType": "SPOT"}]),
    *(("business", name, [{"algoId": "1"}], [{}]) for name in ("grid-positions", "grid-sub-orders")),
    ("business", "algo-recurring-buy", [ANY, {"instType": "SPOT"}], [{}, {"instType": "SWAP"}]),
    ("business", "copytrading-lead-notification", [{"instType": "SWAP"}], [{}, ANY]),
    *(("business", name, [{}], []) for name in ("rfqs", "quotes", "struc-block-trades")),
    *(("business", name, [{}, {"ccy": "BTC"}], []) for name in ("deposit-info", "withdrawal-info")),
    *(("business", name, [{}, SPREAD], [{"sprdId": "X"}]) for name in ("sprd-orders", "sprd-trades")),
]


@pytest.fixture(scope="module")
def shared():
    """One exchange for all families; its second account is of a low level."""
    with LocalExchange(accounts=[Account(), Account(apiKey="low", level=0)]) as running:
        yield running


def ask(client, channel, arg):
    """Subscribe, and return the event that answers."""
    client.subscribe({"channel": channel, **arg})
    return next(m for m in iter(client.get, None) if m.get("event") in ("subscribe", "error"))


def wrong(channel, arg):
    named = ", ".join(f"{key}:{value}" for key, value in {"channel": channel, **arg}.items())
    advice = "Please use the correct URL, channel and parameters referring to API document."
    return ("60018", f"Wrong URL or {named} doesn't exist. {advice}")


@pytest.mark.parametrize(("endpoint", "channel", "taken", "refused"), PUBLIC + PRIVATE)
def test_a_family_is_taken_and_refused_as_okx_does(endpoint, channel, taken, refused, shared):
    """With these args on its own endpoint, and with none of them elsewhere; a refusal names what was asked for."""
    for place in ("public", "private", "business"):
        with talk(shared, place) as client:
            client.login(shared.accounts[0])
            for arg in taken:
                answer = ask(client, channel, arg)
                if place == endpoint:
                    assert answer["event"] == "subscribe" and answer["arg"] == {"channel": channel, **arg}
                else:
                    assert (answer["code"], answer["msg"]) == wrong(channel, arg)
            for arg in refused:
                answer = ask(client, channel, arg)
                assert (answer["code"], answer["msg"]) == wrong(channel, arg)
            assert client.ask("ping")


@pytest.mark.parametrize(("endpoint", "channel", "taken", "refused"), PRIVATE)
def test_a_private_family_wants_a_login_and_perhaps_a_level(endpoint, channel, taken, refused, shared):
    """60011 before it, 64003 after that of an account whose level is too low."""
    with talk(shared, endpoint) as client:
        assert ask(client, channel, taken[0])["code"] == "60011"
        client.login(shared.accounts[1])
        leveled = channel in ("books-l2-tbt", "books50-l2-tbt", "fills", "economic-calendar")
        assert ask(client, channel, taken[0]).get("code") == ("64003" if leveled else None)


@pytest.mark.parametrize(
    "channel", ["", "x", "Tickers", "candle1", "candle1h", "candle2Y", "index-candle1s", "books-elp"]
)
def test_other_channels_are_none(channel, shared):
    """Names count to the letter."""
    for endpoint in ("public", "private", "business"):
        with talk(shared, endpoint) as client:
            assert ask(client, channel, SPOT)["code"] == "60018"


def test_the_refusal_names_the_channel_first(shared):
    """Wherever it stands in the arg; extraParams are not repeated."""
    with talk(shared) as client:
        client.subscribe({"instId": "X", "extraParams": "{}", "channel": "tickers"})
        assert "Wrong URL or channel:tickers, instId:X doesn't exist." in client.get()["msg"]


def test_opt_summary_pushes_the_options_of_a_family(shared):
    """All of them in one push."""
    with talk(shared) as client:
        client.subscribe({"channel": "opt-summary", **FAMILY})
        rows = client.pushes(1)[0]["data"]
        assert [row["instId"][-1] for row in rows] == ["C", "P"] * 3
        assert {len(row) for row in rows} == {19} and all(row["ts"].isdigit() for row in rows)


def test_status_pushes_what_is_announced(exchange):
    """To who is subscribed, and to who comes later; nothing before."""
    with talk(exchange) as client, talk(exchange) as late:
        assert ask(client, "status", {})["event"] == "subscribe"
        exchange.announce("upgrade")
        (row,) = client.pushes(1)[0]["data"]
        late.subscribe({"channel": "status"})
        assert {**late.pushes(1)[0]["data"][0], "ts": ""} == {**row, "ts": ""}
        assert len(row) == 12 and (row["title"], row["state"]) == ("upgrade", "scheduled")
        exchange.announce("upgrade", "completed", -120, -60)
        assert client.pushes(1)[0]["data"][0]["state"] == "completed"


@pytest.mark.parametrize(
    ("instId", "volumes"),
    [("BTC-USDT", ("1", "64000")), ("BTC-USDT-SWAP", ("100", "1")), ("BTC-USD-SWAP", ("640", "1"))],
)
def test_a_tickers_volumes_have_okxs_units(instId, volumes):
    """Contracts and base coin for derivatives, base and quote for spot."""
    world = World(make_instruments(1_784_000_000_000, False), 1_784_000_000_000, 1)
    market = world.markets[instId]
    market.last_ticks = 640_000
    market.vol24h = round(float(volumes[0]) * 10**market.instrument.lot_places)
    row = ticker_row(market)
    assert row["vol24h"] == volumes[0] and float(row["volCcy24h"]) == float(volumes[1])


@pytest.mark.parametrize("narrow", ["instId", "instFamily"])
def test_option_trades_come_one_by_one(narrow):
    """Of one option or of a family; with every field OKX documents."""
    with LocalExchange(speed=50) as exchange, talk(exchange) as client:
        options = [m.instrument for m in exchange.world.markets.values() if m.instrument.instType == "OPTION"]
        client.subscribe({"channel": "option-trades", "instType": "OPTION", narrow: getattr(options[0], narrow)})
        pushes = client.pushes(10)
        assert all(len(push["data"]) == 1 and len(push["data"][0]) == 12 for push in pushes)
        seen = {push["data"][0]["instId"] for push in pushes}
        assert seen <= {o.instId for o in options} and (len(seen) == 1) == (narrow == "instId")


@pytest.mark.parametrize(("op", "endpoint"), OPERATIONS.items())
def test_operations_are_refused_elsewhere_and_before_a_login(op, endpoint, shared):
    """okx-protocol 7.3: elsewhere a reply with 60028; on their own endpoint an error event without id."""
    for place in ("public", "private", "business"):
        with talk(shared, place) as client:
            answer = client.ask({"id": "o1", "op": op, "args": [{}]})
            if place == endpoint:
                assert {**answer, "connId": ""} == {
                    "event": "error",
                    "msg": "Please log in",
                    "code": "60011",
                    "connId": "",
                }
            else:
                assert list(answer) == ["id", "op", "code", "msg"]
                assert (answer["id"], answer["op"], answer["code"]) == ("o1", op, "60028")


@pytest.mark.parametrize(
    ("instId", "row"),
    [("BTC-USDT-SWAP", ("200", "2", "128000")), ("BTC-USD-SWAP", ("640", "1", "64000"))],
)
def test_open_interest_is_in_contracts_coins_and_dollars(instId, row):
    """A linear contract is so much coin, an inverse one so many dollars."""
    world = World(make_instruments(1_784_000_000_000, False), 1_784_000_000_000, 1)
    market = world.markets[instId]
    market.last_ticks = 640_000
    market.openInterest = int(row[0]) * 10**market.instrument.lot_places
    found = interest_row(world, market)
    assert (found["oi"], float(found["oiCcy"]), float(found["oiUsd"])) == (row[0], float(row[1]), float(row[2]))
