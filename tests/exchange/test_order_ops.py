"""Operations on orders: requests, replies and refusals, on a desk alone and over real sockets."""

import json
import threading

import pytest

from okx_ws.exchange import Account, LocalExchange
from okx_ws.exchange.book_feeds import BookFeed
from okx_ws.exchange.rows import ticker_row
from tests.exchange.client import talk
from tests.exchange.traders import NOW_MS, Still
from tests.watch import eventually

#: The keys of a reply.
REPLY = ["code", "data", "id", "inTime", "msg", "op", "outTime"]


@pytest.fixture
def still():
    market = Still()
    market.lay("BTC-USDT", [("99", "1"), ("98", "2")], [("101", "1"), ("102", "2")])
    return market


@pytest.fixture
def trader(still):
    return still.traders[0]


LIMIT = {"tdMode": "cash", "side": "buy", "ordType": "limit", "px": "90", "sz": "1"}


def test_a_reply_has_its_keys_in_the_order_of_captures(still, trader):
    """okx-protocol 7.3: alphabetical; times in microseconds; a row per order."""
    trader.ask("order", {"instIdCode": still.code("BTC-USDT"), **LIMIT, "clOrdId": "a1", "tag": "t"})
    (text,) = [text for text in trader.texts if '"op"' in text]
    reply = json.loads(text)
    assert list(reply) == REPLY and list(reply["data"][0]) == sorted(reply["data"][0])
    assert reply["inTime"] == reply["outTime"] == str(still.now_us)
    ordId = trader.account.log.open[0].ordId
    assert reply["data"] == [
        {"clOrdId": "a1", "ordId": ordId, "sCode": "0", "sMsg": "", "subCode": "", "tag": "t", "ts": str(NOW_MS)}
    ]
    assert (reply["id"], reply["op"], reply["code"], reply["msg"]) == ("o1", "order", "0", "")


def test_a_batch_has_a_row_for_each_in_order(still, trader):
    """0 if all are well, 1 if none is, 2 if some are."""
    code = still.code("BTC-USDT")
    good, poor = {"instIdCode": code, **LIMIT}, {"instIdCode": code, **LIMIT, "sz": "9999", "clOrdId": "x"}
    assert trader.ask("batch-orders", good, good)["code"] == "0"
    assert trader.ask("batch-orders", poor, poor)["code"] == "1"
    reply = trader.ask("batch-orders", good, poor, good)
    assert reply["code"] == "2" and [row["sCode"] for row in reply["data"]] == ["0", "51008", "0"]
    assert reply["data"][1]["sMsg"] == "Order failed. Insufficient USDT balance in account"
    assert (reply["data"][1]["subCode"], reply["data"][1]["clOrdId"]) == ("1000", "x")
    ids = [order.ordId for order in trader.account.log.open]
    assert len(ids) == 4
    reply = trader.ask("batch-amend-orders", *({"instIdCode": code, "ordId": id, "newPx": "91"} for id in [*ids, "7"]))
    assert reply["code"] == "2" and [row["sCode"] for row in reply["data"]] == ["0"] * 4 + ["51503"]
    reply = trader.ask("batch-cancel-orders", *({"instIdCode": code, "ordId": id} for id in ids))
    assert reply["code"] == "0" and trader.account.log.open == []
    assert list(reply["data"][0]) == ["clOrdId", "ordId", "sCode", "sMsg", "ts"]


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("order", [], "60013"),
        ("order", [LIMIT, LIMIT], "60013"),
        ("order", LIMIT, "60013"),
        ("order", [1], "60013"),
        ("batch-orders", [LIMIT] * 21, "60013"),
        ("cancel-order", None, "60013"),
    ],
)
def test_args_are_a_list_of_orders(op, args, code, still, trader):
    """One, or up to twenty; else the whole request is refused."""
    still.desk.operate(trader, {"id": "o1", "op": op, "args": args})
    assert {**trader.sent[-1], "inTime": "", "outTime": ""} == {
        "code": code,
        "data": [],
        "id": "o1",
        "inTime": "",
        "msg": "Invalid args",
        "op": op,
        "outTime": "",
    }


@pytest.mark.parametrize(
    ("change", "sCode", "sMsg"),
    [
        ({"instIdCode": None}, "50014", "Parameter instIdCode can not be empty"),
        ({"instIdCode": None, "instId": "BTC-USDT"}, "50014", "Parameter instIdCode can not be empty"),
        ({"instIdCode": 1}, "51001", "Instrument ID, Instrument ID code or Spread ID doesn't exist."),
        ({"instIdCode": "10459"}, "51000", "Parameter instIdCode error"),
        ({"instIdCode": 19_001}, "51021", None),
        ({"clOrdId": "a-b"}, "51000", "Parameter clOrdId  error"),
        ({"clOrdId": "a" * 33}, "51000", "Parameter clOrdId  error"),
        ({"tag": "a_b"}, "51000", "Parameter tag error"),
        ({"side": None}, "50014", "Parameter side can not be empty"),
        ({"side": "up"}, "51000", "Parameter side error"),
        ({"ordType": "limitt"}, "51000", "Parameter ordType error"),
        ({"ordType": "optimal_limit_ioc"}, "51000", "Parameter ordType error"),
        ({"ordType": "mmp"}, "51000", "Parameter ordType error"),
        ({"ordType": "rpi"}, "54109", None),
        ({"tdMode": None}, "50014", "Parameter tdMode can not be empty"),
        ({"tdMode": "cross"}, "51010", "You can't complete this request under your current account mode."),
        ({"posSide": "long"}, "51000", "Parameter posSide error"),
        ({"stpMode": "cancel"}, "51000", "Parameter stpMode error"),
        ({"reduceOnly": "yes"}, "51000", "Parameter reduceOnly error"),
        ({"px": None}, "50014", "Parameter px can not be empty"),
        ({"px": "0"}, "51000", "Parameter px error"),
        ({"px": "90.05"}, "51000", "Parameter px error"),
        ({"px": "1e2"}, "51000", "Parameter px error"),
        ({"px": True}, "51000", "Parameter px error"),
        ({"px": "106"}, "51137", "The highest price limit for buy orders is 105."),
        ({"side": "sell", "px": "94"}, "51138", "The lowest price limit for sell orders is 95."),
        ({"sz": None}, "50014", "Parameter sz can not be empty"),
        ({"sz": "-1"}, "51000", "Parameter sz error"),
        ({"sz": "0.000000001"}, "51020", "Your order should meet or exceed the minimum order amount."),
        ({"sz": "1.000000001"}, "51121", "Order quantity must be a multiple of the lot size."),
        ({"sz": "1000"}, "51008", "Order failed. Insufficient USDT balance in account"),
        ({"side": "sell", "px": "110", "sz": "1000"}, "51008", "Order failed. Insufficient BTC balance in account"),
        (
            {"ordType": "market", "sz": "0.0000001"},
            "51020",
            "Your order should meet or exceed the minimum order amount.",
        ),
    ],
)
def test_an_order_that_is_not_taken_says_why(change, sCode, sMsg, still, trader):
    """okx-protocol 7.2 and 7.3: the reason stands in the row; instId counts for nothing; nothing is told on orders."""
    reply = trader.ask("order", {"instIdCode": still.code("BTC-USDT"), **LIMIT, **change})
    (row,) = reply["data"]
    assert (reply["code"], reply["msg"], row["ordId"]) == ("1", "", "")
    assert row["sCode"] == sCode and sMsg in (None, row["sMsg"])
    assert trader.rows("orders") == [] and trader.account.log.open == []


def test_numbers_may_be_numbers(still, trader):
    """OKX reads 1 as "1"."""
    assert trader.order(px=90, sz=1)["sCode"] == "0"
    assert trader.last(trader.account.log.open[0].ordId)["px"] == "90"


@pytest.mark.parametrize(
    ("instId", "row", "sCode"),
    [
        ("BTC-USDT-SWAP", {"tdMode": "cash"}, "51010"),
        ("BTC-USDT-SWAP", {"px": "90000", "sz": "1"}, "51006"),
        ("BTC-USDT-SWAP", {"px": "64000", "sz": "99999"}, "51008"),
        ("BTC-USDT-SWAP", {"px": "64000", "sz": "1"}, "0"),
        ("BTC-USDT-SWAP", {"px": "64000", "sz": "1", "tdMode": "isolated", "posSide": "net"}, "0"),
        ("BTC-USDT-SWAP", {"ordType": "optimal_limit_ioc", "sz": "1"}, "0"),
        ("option", {"ordType": "market", "sz": "1"}, "51000"),
        ("option", {"ordType": "mmp", "px": "0.0005", "sz": "1"}, "0"),
    ],
)
def test_derivatives_have_rules_of_their_own(instId, row, sCode, still, trader):
    """Margin modes, margin, limits; no market orders for options, and protected ones only there."""
    if instId == "option":
        instId = next(name for name, market in still.world.markets.items() if market.instrument.instType == "OPTION")
    assert trader.order(instId, **row)["sCode"] == sCode


@pytest.mark.parametrize("op", ["cancel-order", "amend-order"])
def test_an_order_is_named_by_either_id(op, still, trader):
    """The ordId counts more; neither is refused; an order of another instrument is none."""
    change = {"newSz": "2"} if op == "amend-order" else {}
    ordId = trader.order(px="90", sz="1", clOrdId="a")["ordId"]
    assert trader.do(op, **change)["sCode"] == "50014"
    assert trader.do(op, ordId="x", **change)["sCode"] == "51000"
    gone = trader.do(op, ordId="5", clOrdId="a", **change)
    assert gone["sCode"] in ("51400", "51503") and (gone["ordId"], gone["clOrdId"]) == ("5", "a")
    assert trader.do(op, "ETH-USDT", ordId=ordId, **change)["sCode"] in ("51400", "51503")
    assert trader.do(op, clOrdId="a", **change)["ordId"] == ordId


@pytest.mark.parametrize(
    ("change", "sCode"),
    [({}, "50014"), ({"newSz": "0.5", "reqId": "-"}, "51000"), ({"newPx": "200"}, "51137"), ({"newSz": "1"}, "51000")],
)
def test_an_amendment_is_checked(change, sCode, still, trader):
    """It changes something, within the limits, and to more than is filled already."""
    ordId = trader.order(px="101", sz="2")["ordId"]
    before = trader.last(ordId)
    assert trader.do("amend-order", ordId=ordId, **change)["sCode"] == sCode
    assert trader.last(ordId) == before


def test_a_late_request_is_not_carried_out(still, trader):
    """okx-protocol 7.2: 50036 if it is late when it comes, 50037 if it is late when it is carried out."""
    row = {"instIdCode": still.code("BTC-USDT"), **LIMIT}
    assert trader.ask("order", row, expTime=str(NOW_MS - 1))["code"] == "50036"
    assert trader.ask("order", row, expTime="soon")["code"] == "51000"
    assert trader.ask("order", row, expTime=str(NOW_MS))["code"] == "0"
    still.settle()
    still.desk.delay_s = 1.0
    still.desk.operate(trader, {"id": "o2", "op": "order", "args": [row], "expTime": str(NOW_MS + 500)})
    assert trader.sent[-1].get("id") != "o2", "it is on its way"
    still.now_us += 1_000_000
    still.settle()
    (reply,) = [message for message in trader.sent if message.get("id") == "o2"]
    assert (reply["code"], reply["data"][0]["sCode"]) == ("1", "50037")
    assert int(reply["outTime"]) - int(reply["inTime"]) == 1_000_000
    assert len(trader.account.log.open) == 1


def test_three_amendments_of_an_order_may_be_under_way(still, trader):
    """The fourth is refused with 51513; when they are through, another one is welcome."""
    ordId = trader.order(px="90", sz="1")["ordId"]
    still.desk.delay_s = 1.0
    for number in range(4):
        row = {"instIdCode": still.code("BTC-USDT"), "ordId": ordId, "newSz": str(number + 2)}
        still.desk.operate(trader, {"id": f"m{number}", "op": "amend-order", "args": [row]})
    still.settle()
    codes = {m["id"]: m["data"][0]["sCode"] for m in trader.sent if m.get("op") == "amend-order"}
    assert codes == {"m0": "0", "m1": "0", "m2": "0", "m3": "51513"}
    still.desk.delay_s = 0.0
    assert trader.do("amend-order", ordId=ordId, newSz="9")["sCode"] == "0"


@pytest.mark.parametrize(("order", "kinds"), [("after", ["reply", "push"]), ("before", ["push", "reply"])])
def test_pushes_come_before_the_reply_or_after_it(order, kinds, still, trader):
    """okx-protocol 5.4: they travel independently; here it is a switch."""
    still.desk.push_order = order
    trader.order(px="90", sz="1")
    assert ["reply" if "op" in message else "push" for message in trader.sent[:2]] == kinds


def test_either_order_of_pushes_is_seen(still, trader):
    """As it comes."""
    still.desk.push_order = "either"
    for _ in range(20):
        trader.order(px="90", sz="0.001")
    kinds = "".join("r" if "op" in m else "p" for m in trader.sent if "op" in m or m["arg"]["channel"] == "orders")
    assert kinds.count("r") == kinds.count("p") == 20 and kinds not in ("rp" * 20, "pr" * 20)


def test_pushes_can_come_twice(still, trader):
    """What a client must tell apart by tradeId, ordId and reqId."""
    still.desk.pushes.copies = 1
    trader.order(px="101", sz="1")
    rows = trader.rows("orders")
    assert [row["state"] for row in rows] == ["live", "live", "filled", "filled"] and rows[2] == rows[3]
    assert len(trader.rows("fills")) == 1


def test_limits_are_kept_if_they_are_asked_for():
    """okx-protocol 7.1: 60 in two seconds for each operation and instrument; a batch counts its orders apart."""
    still = Still(strict=True)
    trader = still.traders[0]
    row = {"instIdCode": still.code("BTC-USDT"), **LIMIT, "px": "62000", "sz": "0.0001"}
    codes = [trader.ask("order", row)["code"] for _ in range(61)]
    assert codes == ["0"] * 60 + ["50011"] and trader.sent[-1]["data"] == []
    assert trader.ask("batch-orders", row)["code"] == "50011", "a batch of one is a single order"
    assert trader.do("cancel-order", ordId=trader.account.log.open[0].ordId)["sCode"] == "0", "another bucket"
    assert trader.order("ETH-USDT", px="1700", sz="0.001")["sCode"] == "0", "another instrument"
    found = [one["sCode"] for _ in range(16) for one in trader.ask("batch-orders", *[row] * 20)["data"]]
    assert found == ["0"] * 300 + ["50011"] * 20
    still.now_us += 2_000_000
    assert trader.ask("order", row)["code"] == "0"


def test_a_mass_cancel_is_of_protected_options(still, trader):
    """okx-protocol 7.1: replied to with its result; nothing else is touched."""
    option = next(m.instrument for m in still.world.markets.values() if m.instrument.instType == "OPTION")
    mine = trader.order(option.instId, ordType="mmp", px="0.0005", sz="1")["ordId"]
    plain = trader.order(option.instId, px="0.0005", sz="1")["ordId"]
    assert trader.ask("mass-cancel", {"instType": "SWAP", "instFamily": "BTC-USD"})["code"] == "51000"
    reply = trader.ask("mass-cancel", {"instType": "OPTION", "instFamily": option.instFamily})
    assert reply == {"code": "0", "data": [{"result": True}], "id": "o1", "msg": "", "op": "mass-cancel"}
    assert (trader.last(mine)["state"], trader.last(mine)["cancelSource"]) == ("canceled", "38")
    assert trader.states(plain) == ["live"]


def test_spread_orders_are_placed_changed_and_canceled(still, trader):
    """okx-protocol 7.2: no instIdCode; replies without times; their own channel."""
    place = {
        "sprdId": "BTC-USDT_BTC-USDT-SWAP",
        "side": "buy",
        "ordType": "limit",
        "px": "-2.1",
        "sz": "2",
        "clOrdId": "b",
    }
    reply = trader.ask("sprd-order", place)
    assert list(reply) == ["code", "data", "id", "msg", "op"] and reply["code"] == "0"
    (row,) = reply["data"]
    assert list(row) == ["clOrdId", "ordId", "sCode", "sMsg", "tag"]
    assert trader.ask("sprd-order", place)["data"][0]["sCode"] == "51016"
    assert trader.ask("sprd-order", {**place, "sprdId": "X_Y"})["data"][0]["sCode"] == "51001"
    assert trader.ask("sprd-amend-order", {"clOrdId": "b", "newPx": "3", "reqId": "r"})["data"][0]["reqId"] == "r"
    assert trader.ask("sprd-cancel-order", {"ordId": row["ordId"]})["code"] == "0"
    assert trader.ask("sprd-cancel-order", {"ordId": row["ordId"]})["data"][0]["sCode"] == "51400"
    assert trader.ask("sprd-order", {**place, "ordType": "ioc", "clOrdId": "c"})["code"] == "0"
    trader.ask("sprd-order", place)
    assert trader.ask("sprd-mass-cancel", {})["data"] == [{"result": True}]
    told = [(row["clOrdId"], row["state"], row["px"]) for row in trader.rows("sprd-orders")]
    assert told == [
        ("b", "live", "-2.1"),
        ("b", "live", "3"),
        ("b", "canceled", "3"),
        ("c", "live", "-2.1"),
        ("c", "canceled", "-2.1"),
        ("b", "live", "-2.1"),
        ("b", "canceled", "-2.1"),
    ]


def test_the_public_book_shows_what_rests(still, trader):
    """With the world's levels, and gone with the order; its sequence number goes on."""
    market = still.book()
    before, seqId = market.rows(market.bids, 3), market.seqId
    ordId = trader.order(px="100", sz="1")["ordId"]
    trader.order(px="99", sz="0.5")
    rows = market.rows(market.bids, 2)
    assert rows == [["100", "1", "0", "1"], ["99", "1.5", "0", "2"]] and market.seqId > seqId
    assert ticker_row(market)["bidPx"] == "100" and ticker_row(market)["bidSz"] == "1"
    feed = BookFeed(still.world, market, 2, 100)
    trader.do("amend-order", ordId=ordId, newPx="98")
    still.world.now_ms += 100
    (push,) = feed.due({})
    assert push["data"][0]["bids"] == [["100", "0", "0", "0"], ["98", "3", "0", "2"]]
    for order in trader.account.log.open:
        trader.do("cancel-order", ordId=order.ordId)
    assert market.rows(market.bids, 3) == before


# ---------------------------------------------------------------------- over real sockets


@pytest.fixture(scope="module")
def frozen():
    """An exchange whose world stands still."""
    with LocalExchange(speed=0.001) as running:
        yield running


def logged_in(client, exchange):
    assert client.login(exchange.accounts[0])["code"] == "0"
    return client


def test_orders_over_a_socket(frozen):
    """Placed, amended, canceled; the pushes carry the uid; the truth says the same."""
    code = frozen.world.markets["BTC-USDT"].instrument.instIdCode
    with talk(frozen, "private") as client:
        logged_in(client, frozen).subscribe({"channel": "orders", "instType": "SPOT", "instId": "BTC-USDT"})
        assert client.get()["event"] == "subscribe" and client.get()["event"] == "channel-conn-count"
        order = {
            "instIdCode": code,
            "tdMode": "cash",
            "side": "buy",
            "ordType": "post_only",
            "px": "60000",
            "sz": "0.1",
        }
        client.send({"id": "1", "op": "order", "args": [{**order, "clOrdId": "sock"}]})
        reply, push = client.get(), client.get()
        ordId = reply["data"][0]["ordId"]
        assert push["arg"]["uid"] == frozen.accounts[0].uid and push["data"][0]["ordId"] == ordId
        truth = frozen.truth()
        assert truth.order("sock")["state"] == "live" and truth.frozen == {"USDT": 6000}
        assert [row["ordId"] for row in truth.open] == [ordId]
        amended = client.ask(
            {"id": "2", "op": "amend-order", "args": [{"instIdCode": code, "ordId": ordId, "newPx": "59000"}]}
        )
        assert amended["data"][0]["sCode"] == "0" and client.get()["data"][0]["px"] == "59000"
        assert (
            client.ask({"id": "3", "op": "cancel-order", "args": [{"instIdCode": code, "ordId": ordId}]})["code"] == "0"
        )
        assert client.get()["data"][0]["state"] == "canceled"
        assert frozen.truth().open == [] and frozen.truth().order("sock")["state"] == "canceled"


def test_an_operation_needs_an_id(frozen):
    """okx-protocol 7.2: it is required here."""
    with talk(frozen, "private") as client:
        answer = logged_in(client, frozen).ask({"op": "order", "args": [{}]})
        assert (answer["event"], answer["code"]) == ("error", "60027")


def test_an_order_is_carried_out_though_its_connection_is_gone():
    """What a client whose link falls cannot know."""
    with LocalExchange(speed=0.001) as exchange:
        exchange.orders.delay_s = 0.2
        code = exchange.world.markets["BTC-USDT"].instrument.instIdCode
        with talk(exchange, "private") as client:
            logged_in(client, exchange)
            client.send(
                {
                    "id": "1",
                    "op": "order",
                    "args": [{"instIdCode": code, **LIMIT, "px": "60000", "sz": "0.1", "clOrdId": "g"}],
                }
            )
            eventually(lambda: any(request.get("id") == "1" for request in exchange.desks[-1].requests))
            exchange.drop()
        eventually(lambda: exchange.truth().order("g") is not None)


def test_a_key_that_is_removed_closes_what_it_opened():
    """okx-protocol 2.2: 4007, and nobody logs in with it again; the account and its orders stay."""
    with LocalExchange(accounts=[Account(), Account(apiKey="b", uid="2")]) as exchange:
        with talk(exchange, "private") as client, talk(exchange, "private") as other:
            logged_in(client, exchange)
            assert other.login(exchange.accounts[1])["code"] == "0"
            assert exchange.remove_key() == 1
            with pytest.raises(Exception) as caught:
                client.get()
            assert caught.value.rcvd.code == 4007
            assert other.ask("ping") == "pong"
        with talk(exchange, "private") as client:
            assert client.login(exchange.accounts[0])["code"] == "60032"
            key = {"apiKey": "new", "secretKey": "s", "passphrase": "p"}
            assert exchange.replace_key(exchange.accounts[0], key) == 0
            assert exchange.credentials == key and client.login(exchange.accounts[0])["code"] == "0"


def test_the_truth_can_be_asked_from_many_threads(frozen):
    """It is a copy, taken between two events."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(frozen.truth())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 and all(truth == found[0] for truth in found)
