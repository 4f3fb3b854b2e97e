"""`protocol.routing` and `protocol.sorting`: whose a push is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws.protocol import routing
from okx_ws.protocol.routing import Routes
from okx_ws.protocol.sorting import Sorter
from okx_ws.protocol.subscriptions import Subscriptions


class Bench:
    """Subscriptions, their routes and a sorter; outlets are the holders' names."""

    def __init__(self):
        self.subscriptions = Subscriptions()
        self.outlets = {}
        self.routes = Routes(
            self.subscriptions,
            self.outlet_of,
        )
        self.sorter = Sorter(self.routes, markers=False, hole=lambda *hole: None)

    def outlet_of(self, streams, arg):
        name = "+".join(holder for stream in streams for holder in stream.holders)
        return self.outlets.setdefault(name, Named(name)) if name else None

    def want(self, name, **arg):
        stream, new = self.subscriptions.want(arg, False, name)
        if new:
            self.routes.changed()
        self.routes.reconnect([stream])
        return stream

    def sort(self, *args, head=""):
        """Let a push of each arg arrive; return (outlet's name, number) per batch."""
        payloads = [
            (json.dumps({"arg": arg}, separators=(",", ":"))[:-1] + head + ',"data":[1]}').encode() for arg in args
        ]
        batches, self.controls = self.sorter.sort(payloads, 1.0, 1000)
        return [(outlet.name, len(batch)) for outlet, batch in batches]


class Named:
    congested = False

    def __init__(self, name):
        self.name = name


BTC = {"channel": "tickers", "instId": "BTC-USDT"}
ETH = {"channel": "tickers", "instId": "ETH-USDT"}


def test_a_run_of_one_outlet_is_one_batch():
    """One delivery for all that arrived together."""
    bench = Bench()
    bench.want("a", **BTC)
    assert bench.sort(BTC, BTC, BTC) == [("a", 3)]
    assert bench.sort(BTC, BTC) == [("a", 2)], "now by its head"


def test_order_is_kept_between_outlets():
    """Batches alternate as the messages did."""
    bench = Bench()
    bench.want("a", **BTC)
    bench.want("b", **ETH)
    for _ in range(2):
        assert bench.sort(BTC, BTC, ETH, BTC) == [("a", 2), ("b", 1), ("a", 1)]


@given(st.lists(st.sampled_from([BTC, ETH, {"channel": "trades", "instId": "BTC-USDT"}]), min_size=1, max_size=9))
def test_messages_that_come_one_by_one_fare_like_those_that_come_together(args):
    """One message has a short way of its own, to the same outlets, counts, newest messages and times."""
    together, alone = Bench(), Bench()
    for bench in (together, alone):
        bench.want("a", **BTC)
        bench.want("b", **ETH)
    at_once = together.sort(*args)
    one_by_one = [batch for arg in args for batch in alone.sort(arg)]
    assert [name for name, n in at_once for _ in range(n)] == [name for name, _ in one_by_one]
    assert all(n == 1 for _, n in one_by_one) and alone.sorter.messages == together.sorter.messages == len(args)
    assert [(r.arg, r.messages, r.last, r.last_at) for r in alone.routes] == [
        (r.arg, r.messages, r.last, r.last_at) for r in together.routes
    ]


def test_messages_are_counted_per_stream():
    """Counts hold over mixed and single batches, and over a route that falls."""
    bench = Bench()
    btc, eth = bench.want("a", **BTC), bench.want("b", **ETH)
    bench.sort(BTC, ETH, BTC)
    bench.sort(BTC)
    assert (btc.messages, eth.messages, bench.sorter.messages) == (3, 1, 4)
    bench.routes._drop(btc.routes[:])
    bench.sort(BTC)
    assert btc.messages == 4


@pytest.mark.parametrize(
    ("asked", "pushed"),
    [
        (
            {"channel": "orders", "instType": "ANY"},
            {"channel": "orders", "instType": "ANY", "uid": "77982378738415879"},
        ),
        ({"channel": "account", "extraParams": "{}"}, {"channel": "account", "uid": "1"}),
        (
            {"channel": "positions", "instType": "ANY", "instFamily": "BTC-USD"},
            {"channel": "positions", "instType": "ANY", "uid": "1"},
        ),
        ({"channel": "block-tickers", "instId": "BTC-USDT"}, {"channel": "block-tickers"}),
        (
            {"channel": "orders", "instType": "SWAP"},
            {"channel": "orders", "instType": "SWAP", "instId": "BTC-USDT-SWAP", "uid": "1"},
        ),
    ],
)
def test_pushes_with_other_keys_than_subscribed_find_their_stream(asked, pushed):
    """uid is ignored; keys more or fewer fall back to containment, then to the only one of that channel."""
    bench = Bench()
    bench.want("a", **asked)
    bench.want("other", **BTC)
    assert bench.sort(pushed) == [("a", 1)]
    assert bench.sort(pushed) == [("a", 1)]


def test_two_of_a_channel_are_not_guessed_between():
    """A push that fits neither exactly nor by containment belongs to nobody then."""
    bench = Bench()
    bench.want("a", channel="block-tickers", instId="BTC-USDT")
    bench.want("b", channel="block-tickers", instId="ETH-USDT")
    assert bench.sort({"channel": "block-tickers"}) == []
    assert [control.kind for control in bench.controls] == ["unmatched"]


def test_args_that_differ_only_in_extra_params_both_get_the_push():
    """Acceptance 33: different subscriptions, the same arg on pushes."""
    bench = Bench()
    bench.want("a", channel="account")
    bench.want("b", channel="account", extraParams='{"updateInterval":"0"}')
    assert bench.sort({"channel": "account", "uid": "1"}) == [("a+b", 1)]


def test_an_exact_stream_takes_over_from_a_near_one():
    """What was routed by containment is looked at anew when a stream is added."""
    bench = Bench()
    bench.want("any", channel="orders", instType="ANY")
    pushed = {"channel": "orders", "instType": "ANY", "instId": "BTC-USDT"}
    assert bench.sort(pushed) == [("any", 1)]
    bench.want("btc", **pushed)
    assert bench.sort(pushed) == [("btc", 1)]


def test_a_forgotten_stream_gets_nothing_more():
    """Its heads are forgotten with it."""
    bench = Bench()
    stream = bench.want("a", **BTC)
    assert bench.sort(BTC) == [("a", 1)]
    stream.holders.clear()
    bench.routes.removed(stream)
    bench.subscriptions.forget(stream)
    assert bench.sort(BTC) == []


def test_each_head_of_an_arg_is_learnt():
    """Snapshots and updates of a book begin differently and are one route."""
    bench = Bench()
    stream = bench.want("a", **BTC)
    for head in (',"action":"snapshot"', ',"action":"update"', ',"action":"update"'):
        assert bench.sort(BTC, head=head) == [("a", 1)]
    assert len(stream.routes) == 1 and len(stream.routes[0].heads) == 2


def test_a_push_in_another_key_order_is_delivered_too():
    """It is decoded for routing, and goes on as it came."""
    bench = Bench()
    bench.want("a", **BTC)
    payload = b'{"data":[1], "arg" : {"instId":"BTC-USDT","channel":"tickers"}}'
    for _ in range(2):
        ((outlet, batch),), _ = bench.sorter.sort([payload], 1.0, 1000)
        assert outlet.name == "a" and batch == [payload]


def test_a_head_that_only_looks_like_one_is_not_learnt():
    """``,"data":`` inside a string does not cut a head; nor does a frame with other keys before it."""
    bench = Bench()
    bench.want("a", **BTC)
    tricky = b'{"arg":{"channel":"tickers","instId":"BTC-USDT"},"note":",\\"data\\":","data":[1]}'
    ((outlet, _),), _ = bench.sorter.sort([tricky], 1.0, 1000)
    assert outlet.name == "a"
    assert bench.routes.of_head(tricky.partition(b',"data":')[0]) is None


def test_the_table_of_heads_is_bounded(monkeypatch):
    """Full, it is emptied and learnt anew; nothing is misrouted."""
    monkeypatch.setattr(routing, "MAX_HEADS", 8)
    bench = Bench()
    bench.want("a", **BTC)
    for page in range(50):
        assert bench.sort(BTC, head=f',"curPage":{page}') == [("a", 1)]
    assert sum(len(r.heads) for s in bench.subscriptions for r in s.routes) <= 8
    for n in range(50):
        bench.sort({"channel": "tickers", "instId": f"X{n}", "uid": str(n)})
    assert bench.sort(BTC) == [("a", 1)]
