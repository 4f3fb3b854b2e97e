"""Subscribing and consuming through the public interface: queues, handlers, patterns, events, from every thread."""

import functools
import queue
import threading

import pytest

from okx_ws import AckTimeout, LoginError, ManagerClosed, QueueOverflow, SubscribeError, UsageError
from okx_ws.exchange import LocalExchange
from tests.watch import Watch, eventually

BTC = {"channel": "trades", "instId": "BTC-USDT"}
ETH = {"channel": "trades", "instId": "ETH-USDT"}


# ---------------------------------------------------------------------- the three ways to read


def test_three_lines_to_first_data(world):
    """The README's start."""
    from okx_ws import OkxWebSocketManager

    with OkxWebSocketManager(urls=world.urls) as ws:
        ws.subscribe("tickers", instId="BTC-USDT")
        for message in ws:
            assert message["arg"] == {"channel": "tickers", "instId": "BTC-USDT"} and message["data"][0]["last"]
            break


def test_get_returns_plain_dicts_as_okx_sends_them(ws):
    """Candles go to /business by themselves."""
    ws.subscribe("candle1m", instId="BTC-USDT")
    message = ws.get(timeout=5)
    assert type(message) is dict and message["arg"]["channel"] == "candle1m" and len(message["data"][0]) == 9


def test_messages_end_after_a_silence(ws):
    """`messages(timeout)`."""
    ws.subscribe("funding-rate", instId="BTC-USDT-SWAP")
    assert len(list(ws.messages(timeout=0.3))) == 1


def test_iteration_ends_when_the_manager_is_closed(ws):
    """By another thread, once what is queued is read."""
    ws.subscribe([BTC, ETH])
    ws.get(timeout=5)
    threading.Timer(0.2, ws.close).start()
    assert len(list(ws)) > 0


def test_msg_queue_is_the_same_queue(ws):
    """With `queue.Queue`'s get."""
    ws.subscribe([BTC, ETH])
    assert ws.msgQueue.get(True, 5)["data"] and ws.get(timeout=5)["data"]
    with pytest.raises(AttributeError):
        ws.msgQueue.task_done()


def test_a_subscription_with_its_own_queue(ws):
    """It gets its messages only; the shared queue does not."""
    mine = ws.subscribe("trades", instId="BTC-USDT", queue=True)
    ws.subscribe("trades", instId="ETH-USDT")
    assert {mine.get(timeout=5)["arg"]["instId"] for _ in range(5)} == {"BTC-USDT"}
    assert {ws.get(timeout=5)["arg"]["instId"] for _ in range(5)} == {"ETH-USDT"}
    for message in mine:
        assert message["arg"] == BTC
        break
    mine.unsubscribe()
    list(mine)
    with pytest.raises(ManagerClosed):
        mine.get()


def test_a_time_that_is_none_is_refused_and_one_that_is_over_is_not(ws):
    """Users compute it: `deadline - time.monotonic()` may be less than 0."""
    with pytest.raises(UsageError, match="timeout must be a number of seconds"):
        ws.subscribe("trades", instId="BTC-USDT").wait("10")
    with pytest.raises(queue.Empty):
        ws.subscribe("trades", instId="BTC-USDT", queue=True).get(timeout=-1)


def test_a_subscription_without_a_queue_says_how_to_get_one(ws):
    """A clear error, not an empty wait."""
    with pytest.raises(UsageError, match="queue=True"):
        ws.subscribe("trades", instId="BTC-USDT").get()


# ---------------------------------------------------------------------- handlers


def collect():
    """Return a queue and a handler that fills it."""
    got = queue.Queue()
    return got, got.put


def test_a_handler_gets_its_messages_and_the_queue_does_not(ws):
    """On the handlers' thread, in order."""
    got = queue.Queue()
    ws.subscribe("trades", instId="BTC-USDT", handler=lambda m: got.put((m, threading.current_thread().name)))
    seen = [got.get(timeout=5) for _ in range(30)]
    assert {name for _, name in seen} == {"okx-ws:handlers"}
    ids = [int(m["data"][0]["tradeId"]) for m, _ in seen]
    assert ids == sorted(set(ids))
    assert ws.msgQueue.empty()


def test_an_inline_handler_runs_on_the_links_thread(ws):
    """For the lowest delay."""
    got = queue.Queue()
    ws.subscribe("trades", instId="BTC-USDT", inline=True, handler=lambda m: got.put(threading.current_thread().name))
    assert got.get(timeout=5) == "okx-ws:public"


def test_one_handler_of_several_args_gets_them_in_the_order_they_came(ws):
    """One queue per handler, not per subscription."""
    got, handler = collect()
    everything = []
    ws.on("*", everything.append, inline=True)
    ws.subscribe([BTC, ETH, {"channel": "tickers", "instId": "BTC-USDT"}], handler=handler)
    seen = [got.get(timeout=5) for _ in range(60)]
    assert seen == everything[:60] and len({str(m["arg"]) for m in seen}) == 3


def test_on_sees_every_match_and_takes_it_from_the_queue(ws):
    """By pattern and by fields; what no handler took goes to the queue."""
    got, handler = collect()
    ws.on("trade*", handler, instId="BTC-USDT")
    ws.subscribe([BTC, ETH])
    assert {got.get(timeout=5)["arg"]["instId"] for _ in range(5)} == {"BTC-USDT"}
    assert {ws.get(timeout=5)["arg"]["instId"] for _ in range(5)} == {"ETH-USDT"}


def test_on_is_a_decorator_and_can_be_removed(ws):
    """The name stays callable; nothing new arrives after `remove`."""
    got = queue.Queue()

    @ws.on("trades")
    def on_trade(message):
        got.put(message)

    ws.subscribe("trades", instId="BTC-USDT")
    got.get(timeout=5)
    on_trade.remove()
    on_trade.remove()
    while not got.empty():
        got.get()
    ws.get(timeout=5)
    assert got.empty()
    on_trade({"called": "by hand"})
    assert got.get_nowait() == {"called": "by hand"}


def test_on_before_and_after_subscribing_are_alike(ws):
    """Handlers added to a live stream see what comes from then on."""
    ws.subscribe("trades", instId="BTC-USDT")
    ws.get(timeout=5)
    got, handler = collect()
    ws.on("trades", handler)
    assert got.get(timeout=5)["arg"] == BTC


def test_a_second_subscription_joins_and_the_last_one_leaves(world, ws):
    """Acceptance 31: one subscribe and one unsubscribe on the wire."""
    one, two = collect(), collect()
    first = ws.subscribe("trades", instId="BTC-USDT", handler=one[1]).wait(5)
    second = ws.subscribe("trades", instId="BTC-USDT", handler=two[1]).wait(5)
    one[0].get(timeout=5), two[0].get(timeout=5)
    first.unsubscribe()
    two[0].get(timeout=5)
    desk = world.desks[-1]
    assert [request["op"] for request in desk.requests] == ["subscribe"]
    second.unsubscribe()
    eventually(lambda: [request["op"] for request in desk.requests] == ["subscribe", "unsubscribe"])


def test_nothing_new_reaches_a_handler_after_unsubscribe(ws):
    """Also what was queued for it; another arg of the same handler goes on."""
    got, entered, release = [], threading.Event(), threading.Event()

    def handler(message):
        entered.set()
        release.wait(5)
        got.append(message["arg"]["instId"])

    btc, _ = ws.subscribe([BTC, ETH], handler=handler)
    entered.wait(5)
    eventually(lambda: {m["depth"] >= 20 for m in ws.stats()["handlers"].values()} == {True})
    btc.unsubscribe()
    release.set()
    eventually(lambda: got.count("ETH-USDT") >= 10)
    assert got.count("BTC-USDT") <= 1, "only the call in hand"


def test_unsubscribe_by_arg_drops_all_of_it(ws):
    """All subscriptions of that arg; an unknown arg is no error."""
    subscriptions = [ws.subscribe("trades", instId="BTC-USDT", handler=print) for _ in range(3)]
    ws.unsubscribe("trades", instId="BTC-USDT")
    ws.unsubscribe("trades", instId="NO-SUCH")
    assert [s.state for s in subscriptions] == ["closed"] * 3
    with pytest.raises(UsageError, match="unsubscribed"):
        subscriptions[0].wait(1)


# ---------------------------------------------------------------------- handlers that misbehave


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), GeneratorExit()])
def test_a_handler_that_raises_harms_nobody(error, inline, ws, caplog):
    """Acceptance 73: logged with its name, told, and everything goes on."""
    watch = Watch(ws)
    got, good = collect()

    def bad_handler(message):
        raise error

    ws.subscribe("trades", instId="BTC-USDT", handler=bad_handler, inline=inline)
    ws.subscribe("trades", instId="ETH-USDT", handler=good, inline=inline)
    told = [watch.wait("handler_error"), watch.wait("handler_error")]
    assert all("bad_handler" in event.msg and type(error).__name__ in event.msg for event in told)
    assert got.get(timeout=5) and got.get(timeout=5)
    assert "bad_handler" in caplog.text and "Traceback" in caplog.text
    assert ws.stats()["handler_errors"] >= 2
    assert ws.stats()["endpoints"]["public"]["connects"] == 1


def test_an_event_handler_that_raises_harms_nobody(ws):
    """Not even by raising about the error it caused."""

    def bad(event):
        raise RuntimeError("mine")

    ws.on_event(bad)
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    assert "bad" in watch.wait("handler_error").msg
    watch.wait("subscribed")


def test_a_blocking_handler_fills_its_own_queue_and_no_other(world, connect):
    """Acceptance 72: bounded, counted, told; the link, its pings and the other streams go on."""
    ws = connect(world, queue_size=20, ping_interval=0.2, pong_timeout=2)
    watch = Watch(ws)
    release = threading.Event()
    slow = ws.subscribe("trades", instId="BTC-USDT", handler=lambda m: release.wait(20))
    fast = ws.subscribe("trades", instId="ETH-USDT", queue=True)
    for _ in range(100):
        fast.get(timeout=5)
    stats = ws.stats()
    (blocked,) = stats["handlers"].values()
    assert blocked["dropped"] > 0 and blocked["depth"] == 20
    assert stats["endpoints"]["public"]["connects"] == 1 and slow.state == "active"
    release.set()
    lost = watch.wait("overflow")
    assert lost.arg == BTC and lost.lost >= 1 and "handler" in lost.msg


def test_handlers_may_call_back_from_inside(ws):
    """Subscribe, unsubscribe, wait, read stats; from the handlers' thread."""
    done = queue.Queue()

    def handler(message):
        first.unsubscribe()
        second = ws.subscribe("trades", instId="ETH-USDT", queue=True).wait(5)
        done.put((second.get(timeout=5)["arg"], ws.stats()["queue"], first.state))

    first = ws.subscribe("trades", instId="BTC-USDT", handler=handler)
    assert done.get(timeout=5) == (ETH, {"depth": 0, "dropped": 0}, "closed")


def test_on_the_links_thread_waiting_is_refused_at_once_and_the_rest_allowed(ws):
    """Inline: get, wait and the like would wait for themselves."""
    done = queue.Queue()

    def inline(message):
        if done.empty():
            errors = []
            for call in (lambda: ws.get(timeout=5), first.wait, lambda: own.get(timeout=5)):
                try:
                    call()
                except UsageError as exc:
                    errors.append(str(exc))
            second = ws.subscribe("trades", instId="SOL-USDT")
            second.unsubscribe()
            done.put((errors, second.state))

    own = ws.subscribe("status", queue=True)
    first = ws.subscribe("trades", instId="BTC-USDT", handler=inline, inline=True)
    errors, state = done.get(timeout=5)
    assert len(errors) == 3 and all("inline" in error for error in errors) and state == "closed"


# ---------------------------------------------------------------------- what cannot be right


async def forgotten(message):
    """Nobody would await it."""


class Forgetful:
    async def __call__(self, event):
        """Nor this."""


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda ws: ws.subscribe(""), "channel"),
        (lambda ws: ws.subscribe([]), "non-empty list"),
        (lambda ws: ws.subscribe(None), "channel name"),
        (lambda ws: ws.subscribe({"channel": "tickers"}), "list of args"),
        (lambda ws: ws.subscribe(["tickers"]), "mapping"),
        (lambda ws: ws.subscribe([{"instId": "BTC-USDT"}]), "names no channel"),
        (lambda ws: ws.subscribe("tickers", instId=""), "instId"),
        (lambda ws: ws.subscribe("tickers", instId=None), "instId"),
        (lambda ws: ws.subscribe("tickers", instId=["BTC-USDT", "ETH-USDT"]), "list of args"),
        (lambda ws: ws.subscribe("tickers", instid="BTC-USDT"), "instId, not instid"),
        (lambda ws: ws.subscribe("tickers", inst_id="BTC-USDT"), "instId, not inst_id"),
        (lambda ws: ws.subscribe([{"channel": "tickers", 5: "x"}]), "names in an arg"),
        (lambda ws: ws.subscribe([{"channel": "tickers"}], instId="X"), "inside the args"),
        (lambda ws: ws.subscribe("tickers", handler="print"), "callable"),
        (lambda ws: ws.subscribe("tickers", handler=print, queue=True), "exclude"),
        (lambda ws: ws.subscribe("tickers", inline=True), "inline"),
        (lambda ws: ws.subscribe("tickers", max_silence=0), "max_silence"),
        (lambda ws: ws.subscribe("tickers", max_silence=True), "max_silence"),
        (lambda ws: ws.subscribe("tickers", endpoint="pubic"), "endpoint"),
        (lambda ws: ws.subscribe([BTC, {"channel": "tickers", "instId": 5}]), "instId"),
        (lambda ws: ws.on("", print), "channel_pattern"),
        (lambda ws: ws.on("x", "print"), "callable"),
        (
            lambda ws: ws.subscribe("trades", instId="BTC-USDT", handler=forgotten),
            "handler must be an ordinary function",
        ),
        (lambda ws: ws.on("x", functools.partial(forgotten)), "nothing here awaits"),
        (lambda ws: ws.on_event(Forgetful()), "nothing here awaits"),
        (lambda ws: ws.order_book("BTC-USDT", on_update=forgotten), "on_update must be an ordinary function"),
        (lambda ws: ws.on("trades", print, inst_id="BTC-USDT"), "instId, not inst_id"),
        (lambda ws: ws.on("trades", print, instId=5), "instId"),
        (lambda ws: ws.wait_for("trades", 1, instid="BTC-USDT"), "instId, not instid"),
        (lambda ws: ws.subscribe("tickers", instId="\ud800"), "UTF-8"),
        (lambda ws: ws.subscribe("account", extraParams={"a": object()}), "extraParams"),
        (lambda ws: ws.on_event(None), "callable"),
        (lambda ws: ws.close(timeout="soon"), "timeout"),
        (lambda ws: ws.get(timeout="1"), "timeout must be a number of seconds, or None"),
        (lambda ws: ws.get(timeout=float("nan")), "timeout must be a number"),
        (lambda ws: next(ws.messages(True)), "timeout must be a number"),
    ],
)
def test_bad_calls_are_refused_at_once_with_nothing_half_done(call, named, ws):
    """A `UsageError` that names what is wrong; nothing was subscribed."""
    with pytest.raises(UsageError, match=named):
        call(ws)
    assert ws.stats()["endpoints"] == {}


def test_extra_params_may_be_a_dict(world, connect):
    """OKX wants a JSON text inside the string."""
    ws = connect(world, **world.credentials)
    subscription = ws.subscribe("account", extraParams={"updateInterval": "0"}).wait(5)
    assert subscription.arg["extraParams"] == '{"updateInterval":"0"}'


def test_wait_ends_with_a_time_out_that_says_why(connect, black_hole):
    """`AckTimeout`; the subscription stays wanted."""
    ws = connect(urls={"public": f"ws://127.0.0.1:{black_hole}/"}, connect_timeout=0.05)
    subscription = ws.subscribe("tickers", instId="BTC-USDT")
    with pytest.raises(AckTimeout, match="timed out"):
        subscription.wait(0.3)
    assert subscription.state == "pending" and isinstance(AckTimeout(), TimeoutError)


def test_stats_tell_what_flows(ws):
    """Per endpoint, per subscription, per queue."""
    ws.subscribe("trades", instId="BTC-USDT").wait(5)
    for _ in range(10):
        ws.get(timeout=5)
    stats = ws.stats()
    public = stats["endpoints"]["public"]
    (stream,) = public["subscriptions"]
    assert public["state"] == "up" and public["connects"] == 1 and public["bytes"] > 1000
    assert stream["arg"] == BTC and stream["state"] == "active" and stream["messages"] >= 10
    assert 0 <= stream["age_s"] < 5 and public["messages"] >= stream["messages"]
    assert stats["queue"]["dropped"] == 0


def test_a_closed_manager_refuses_new_work(ws):
    """Clearly, whatever is asked."""
    ws.close()
    for call in (lambda: ws.subscribe("status"), lambda: ws.on("*", print), lambda: ws.on_event(print), ws.get):
        with pytest.raises(ManagerClosed):
            call()
    assert list(ws) == [] and "closed" in repr(ws)


# ---------------------------------------------------------------------- taps, the newest, markers, policies


def test_wait_for_takes_nothing_from_anybody(ws):
    """By channel and fields, or by a function; queue and handlers get theirs all the same."""
    got, handler = collect()
    ws.subscribe("trades", instId="ETH-USDT", handler=handler)
    ws.subscribe("trades", instId="BTC-USDT")
    assert ws.wait_for("trades", timeout=5, instId="ETH-USDT")["arg"] == ETH
    big = ws.wait_for(lambda message: float(message["data"][0]["sz"]) > 0.01, timeout=10)
    assert float(big["data"][0]["sz"]) > 0.01
    wanted = ws.wait_for("tra*", timeout=5, instId="ETH-USDT")
    while got.get(timeout=5) != wanted:
        pass
    wanted = ws.wait_for("tra*", timeout=5, instId="BTC-USDT")
    while ws.get(timeout=5) != wanted:
        pass


def test_wait_for_ends_in_time(ws):
    """`TimeoutError`; `ManagerClosed` if closed meanwhile; and what the caller's function raises."""
    ws.subscribe("trades", instId="BTC-USDT")
    before = ws._switchboard._patterns
    with pytest.raises(TimeoutError, match="no such message in 0.2 s"):
        ws.wait_for("candle1m", timeout=0.2)
    with pytest.raises(ZeroDivisionError):
        ws.wait_for(lambda message: 1 / 0, timeout=5)
    with pytest.raises(UsageError, match="wanted"):
        ws.wait_for(7)
    threading.Timer(0.1, ws.close).start()
    with pytest.raises(ManagerClosed):
        ws.wait_for("candle1m", timeout=20)
    assert ws._switchboard._patterns == before


def test_latest_is_the_newest_message_of_a_subscription(ws):
    """Decoded, without taking it from a queue."""
    ws.subscribe("tickers", instId="BTC-USDT")
    first = ws.wait_for("tickers", timeout=5)
    assert ws.latest("tickers", instId="BTC-USDT")["arg"] == first["arg"]
    assert ws.get(timeout=5)["arg"] == first["arg"]
    ws.subscribe("public-struc-block-trades").wait(5)
    assert ws.latest("public-struc-block-trades") is None
    with pytest.raises(UsageError, match="not subscribed"):
        ws.latest("tickers", instId="ETH-USDT")


@pytest.mark.parametrize("sink", ["queue", "own", "handler", "inline"])
def test_iteration_goes_on_over_a_loss_and_the_marker_stands_between(sink, connect):
    """Acceptance 9: between the last message before and the first after, wherever messages go."""
    with LocalExchange(speed=10) as exchange:
        ws = connect(exchange, markers=True)
        got, handler = collect()
        options = {
            "queue": {},
            "own": {"queue": True},
            "handler": {"handler": handler},
            "inline": {"handler": handler, "inline": True},
        }[sink]
        subscription = ws.subscribe("trades", instId="BTC-USDT", **options)
        read = {"queue": ws.get, "own": subscription.get}.get(sink, got.get)
        before = [read(timeout=5) for _ in range(5)]
        exchange.drop()
        while True:
            message = read(timeout=5)
            if message.get("event") == "gap":
                break
            before.append(message)
        after = read(timeout=5)
        while after.get("backfill"):
            after = read(timeout=5)
        assert message["arg"] == BTC and message["cause"] == "disconnect" and message["lost"] is None
        assert message["since_ms"] == int(before[-1]["data"][0]["ts"])
        assert message["until_ms"] == int(after["data"][0]["ts"])
        assert int(after["data"][0]["tradeId"]) > int(before[-1]["data"][0]["tradeId"])
        assert ws.stats()["endpoints"]["public"]["subscriptions"][0]["messages"] >= len(before) + 1
        ws.close()


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "latest", "error", "block"])
def test_a_slow_reader_meets_the_policy(overflow, world, connect):
    """Acceptance 72: through the whole of it: bounded, counted, told, the link alive."""
    ws = connect(world, queue_size=10, overflow=overflow, block_timeout=20)
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT")
    other = ws.subscribe("trades", instId="ETH-USDT", handler=lambda m: None)
    if overflow == "block":
        eventually(lambda: ws.msgQueue.congested)
        assert ws.msgQueue.qsize() >= 10
        paused = other.stream.messages
        ids = [int(ws.get(timeout=5)["data"][0]["tradeId"]) for _ in range(60)]
        assert other.stream.messages > paused
    else:
        assert watch.wait("overflow", arg=BTC).lost >= 1
        eventually(lambda: ws.stats()["queue"]["dropped"] > 20)
        assert ws.msgQueue.qsize() <= 10
        if overflow == "error":
            with pytest.raises(QueueOverflow):
                ws.get(timeout=5)
        ids = [int(ws.get(timeout=5)["data"][0]["tradeId"]) for _ in range(1 if overflow == "latest" else 5)]
        ws.stats()
        eventually(lambda: sum(event.lost for event in watch.of("overflow")) > 20)
    assert ids == sorted(set(ids))
    assert watch.of("disconnected") == [] and other.state == "active"


def test_a_queue_that_stays_full_fells_the_link_in_the_end(world, connect):
    """`block`: after `block_timeout` the link falls, with the cause; it comes back once there is room."""
    ws = connect(world, queue_size=5, overflow="block", block_timeout=0.6, ping_interval=0.1, pong_timeout=0.2)
    watch = Watch(ws)
    ws.subscribe("trades", instId="BTC-USDT")
    lost = watch.wait("disconnected")
    assert "overflow" in lost.msg and "0.6 s" in lost.msg
    watch.wait("reconnecting")
    assert ws.stats()["endpoints"]["public"]["connects"] == 1
    while not ws.msgQueue.empty():
        ws.get()
    watch.wait("connected")
    watch.wait("connected")


def test_block_is_refused_for_private_links(world, connect):
    """Orders must not wait for a slow reader of market data."""
    ws = connect(world, overflow="block", **world.credentials)
    with pytest.raises(UsageError, match="block"):
        ws.subscribe("account")


# ---------------------------------------------------------------------- queues of what cannot come


def test_nobody_waits_for_messages_of_a_refused_arg(ws):
    """Its own queue ends with the refusal; subscribed anew it may flow."""
    refused = ws.subscribe("tickers", instId="NO-SUCH", queue=True)
    with pytest.raises(SubscribeError) as caught:
        refused.get(timeout=5)
    assert caught.value.code == "60018"
    with pytest.raises(SubscribeError):
        list(refused)
    again = ws.subscribe("tickers", instId="NO-SUCH", queue=True)
    with pytest.raises(SubscribeError):
        again.get(timeout=5)


def test_a_queue_made_after_the_refusal_or_failure_ends_at_once_too(world, connect):
    """No login, no link: known before the subscription is made."""
    ws = connect(world, **{**world.credentials, "passphrase": "wrong"})
    first = ws.subscribe("account", queue=True)
    for subscription in (first, ws.subscribe("positions", instType="ANY", queue=True)):
        with pytest.raises(LoginError):
            subscription.get(timeout=5)


def test_a_guessed_refusal_that_is_taken_back_reopens_the_queue(peer, connect):
    """What comes after all can be read."""
    go = threading.Event()

    def script(talk):
        talk.subscribed()  # of what keeps the link wanted
        arg = talk.read_request("subscribe")["args"][0]
        talk.json({"event": "error", "code": "60018", "msg": "Wrong URL or channel", "connId": "a4d3ae55"})
        go.wait(5)
        talk.json({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"})
        talk.json({"arg": arg, "data": [1]})
        talk.until_gone()

    ws = connect(urls=peer(script).urls)
    ws.subscribe("status").wait(5)
    mine = ws.subscribe("tickers", instId="BTC-USDT", queue=True)
    with pytest.raises(SubscribeError):
        mine.get(timeout=5)
    go.set()
    eventually(lambda: mine.state == "active")
    assert mine.get(timeout=5)["data"] == [1]


def test_queues_of_one_name_are_told_apart_in_the_stats(ws):
    """Two subscriptions to one arg have a queue each."""
    for _ in range(3):
        ws.subscribe("trades", instId="BTC-USDT", queue=True)
    assert list(ws.stats()["own_queues"]) == [str(BTC), f"{BTC} (2)", f"{BTC} (3)"]


def test_latest_never_raises_for_what_cannot_be_read(exchange, connect):
    """A newest message that is broken is none."""
    ws = connect(exchange)
    watch = Watch(ws)
    ws.subscribe("status").wait(5)
    exchange.say('{"arg":{"channel":"status"},"data":[1]}')
    eventually(lambda: ws.latest("status") == {"arg": {"channel": "status"}, "data": [1]})
    exchange.say('{"arg":{"channel":"status"},"data":[{broken')
    list(ws.messages(timeout=0.2))
    watch.wait("malformed")
    assert ws.latest("status") is None


def test_silence_may_be_of_no_interest(world, connect):
    """`max_silence=False`: not even what the channel is known for counts; a shorter wish of somebody else does."""
    ws = connect(world)
    subscription = ws.subscribe("books", instId="BTC-USDT", max_silence=False).wait(5)
    assert subscription.stream.max_silence == float("inf")
    ws.subscribe("books", instId="BTC-USDT", max_silence=30.0)
    assert subscription.stream.max_silence == 30.0
