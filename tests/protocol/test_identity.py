"""`protocol.identity`: which messages are the same one."""

import orjson
import pytest

from okx_ws.protocol.identity import key_of, kind_of, order_key, trade_ids

KINDS = {
    "book": "books books-l2-tbt books50-l2-tbt books-rpi books-elp books-elp-all sprd-books-l2-tbt books-of-tomorrow",
    "trade": "trades trades-all",
    "candle": "candle1m candle1Dutc mark-price-candle1m index-candle3M sprd-candle1H",
    "state": "tickers mark-price index-tickers funding-rate price-limit open-interest estimated-price bbo-tbt books5 "
    "sprd-bbo-tbt sprd-books5 sprd-tickers block-tickers call-auction-details",
    "event": "option-trades public-block-trades public-struc-block-trades struc-block-trades sprd-public-trades fills "
    "orders orders-algo algo-advance sprd-orders sprd-trades instruments liquidation-orders rfqs quotes new-channel",
}


@pytest.mark.parametrize(("kind", "channel"), [(kind, name) for kind, names in KINDS.items() for name in names.split()])
def test_each_channel_has_a_kind(kind, channel):
    """By rule: bars and books of tomorrow too."""
    assert kind_of({"channel": channel, "instId": "BTC-USDT"}) == kind


@pytest.mark.parametrize("channel", ["account", "positions", "balance_and_position", "account-greeks", "status"])
def test_what_is_about_one_account_needs_no_instrument_to_be_a_state(channel):
    """Its newest message replaces all before it."""
    assert kind_of({"channel": channel}) == "state"


@pytest.mark.parametrize("channel", ["estimated-price", "block-tickers", "opt-summary", "adl-warning"])
def test_of_a_whole_family_a_message_replaces_nothing(channel):
    """It is about some of its instruments."""
    assert kind_of({"channel": channel, "instType": "FUTURES", "instFamily": "BTC-USD"}) == "event"


def order(**fields):
    row = {"instId": "BTC-USDT", "ordId": "1", "state": "live", "tradeId": "", "reqId": "", "uTime": "5", "px": "1"}
    return order_key({**row, **fields})


def test_orders_are_told_apart_by_okxs_rules():
    """okx-protocol.md 5.4: a fill by its tradeId, the end of an order by its state, an amendment by its reqId."""
    assert order(tradeId="7", uTime="5") == order(tradeId="7", uTime="6") != order(tradeId="8")
    assert order(tradeId="7", instId="ETH-USDT") != order(tradeId="7")
    assert order(tradeId="7", ordId="2") != order(tradeId="7"), "both sides of a trade with oneself"
    assert order(state="filled", uTime="5") == order(state="filled", uTime="6") != order(state="filled", ordId="2")
    assert order(state="canceled") == order(state="mmp_canceled", uTime="6") != order(state="filled")
    assert order(reqId="a") == order(reqId="a", px="2") != order(reqId="b")
    assert order(reqId="a") != order(reqId="a", uTime="6"), "orders keep the reqId of their last amendment"
    assert order(state="canceled", reqId="a") == order(state="canceled")


def test_other_states_of_an_order_differ_by_what_changes():
    """The two `live` of a reduce-only override or of a rounded price are two."""
    assert order() == order() != order(amendSource="4", amendResult="0")
    assert order() != order(uTime="6") and order() != order(px="2") and order() != order(accFillSz="1")


def test_a_trade_stands_for_as_many_as_it_counts():
    """The tradeId is the last of them; trades-all has no count."""
    assert trade_ids({"tradeId": "123", "count": "3"}) == (121, 123)
    assert trade_ids({"tradeId": "123"}) == trade_ids({"tradeId": "123", "count": ""}) == (123, 123)


def test_rows_of_the_stream_and_of_rest_have_the_same_keys():
    """Candles by start and end; trades by instrument and tradeId."""
    assert key_of("candle1m")(["1", "2", "3", "1", "2", "5", "6", "7", "1"]) == ("1", "1")
    stream = {"instId": "A", "tradeId": "3", "px": "1", "count": "1", "source": "0", "seqId": 4}
    assert key_of("trades")(stream) == key_of("trades")({"instId": "A", "tradeId": "3", "side": "buy"})
    assert key_of("something-new") is None


def test_captured_rows_have_keys(frames):
    """Every row of every channel that has them."""
    seen = set()
    for path in sorted(frames.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            message = orjson.loads(line) if line else None
            if isinstance(message, dict) and isinstance(message.get("arg"), dict) and "data" in message:
                key = key_of(message["arg"]["channel"])
                if key is not None:
                    hash(tuple(map(key, message["data"])))
                    seen.add(message["arg"]["channel"])
    assert {"trades", "trades-all", "candle1m", "fills", "orders", "orders-algo", "algo-advance"} <= seen
