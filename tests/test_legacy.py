"""The older class: programs written against it run with only their imports changed."""

import json
import queue
import threading
import time

import pytest

import okx_ws.consts as c
from okx_ws import ConnectionLost, LoginError, OkxWebSocketManager, QueueOverflow, UsageError
from tests.watch import Watch, eventually

SWAP = "BTC-USDT-SWAP"
MARK = {"channel": "mark-price", "instType": "SWAP", "instId": SWAP}
TICKERS = {"channel": "tickers", "instId": SWAP}


def args_of(desk, op="subscribe"):
    """Return the args the client asked for, in order."""
    return [arg for request in desk.requests if request["op"] == op for arg in request["args"]]


# ---------------------------------------------------------------------- the program shapes


def test_public_subscribe_and_a_loop_on_the_queue(older):
    """Mark price and ticker of the swap, as plain dicts."""
    ws = older()
    ws.public_subscribe("btc")
    seen = set()
    while len(seen) < 2:
        message = ws.msgQueue.get(timeout=5)
        seen.add(message["arg"]["channel"])
        assert message["arg"]["instId"] == SWAP and message["data"]
    assert seen == {"mark-price", "tickers"}
    assert ws.channels == [MARK, TICKERS] and ws.url == ws._urls["public"]


def test_a_second_public_subscribe_sends_only_the_new_args(world, older):
    """And nothing for an asset that is subscribed already."""
    ws = older()
    ws.public_subscribe("btc")
    ws.public_subscribe("BTC")
    ws.public_subscribe("eth")
    eventually(lambda: ws.stats()["endpoints"]["public"]["messages"])
    desk = world.desks[-1]
    eventually(lambda: len(args_of(desk)) == 4)
    assert [arg["instId"] for arg in args_of(desk)] == [SWAP, SWAP, "ETH-USDT-SWAP", "ETH-USDT-SWAP"]
    assert len(ws.channels) == 4


def test_private_subscribe_logs_in_and_subscribes_account_positions_orders(older):
    """The default three."""
    ws = older(key=True)
    watch = Watch(ws)
    ws.private_subscribe()
    got = [watch.wait("subscribed").arg for _ in range(3)]
    assert sorted(got, key=str) == sorted(
        [{"channel": "account"}, {"channel": "positions", "instType": "ANY"}, {"channel": "orders", "instType": "ANY"}],
        key=str,
    )
    assert ws.msgQueue.get(timeout=5)["arg"]["channel"] in ("account", "positions")


@pytest.mark.parametrize("given", ["parameter", "attribute", "name", "one"])
def test_private_subscribe_takes_other_channels(given, older):
    """As a parameter, or set by hand before; args or names."""
    ws = older(key=True)
    watch = Watch(ws)
    if given == "parameter":
        ws.private_subscribe([{"channel": "account"}])
    elif given == "attribute":
        ws.channels.append({"channel": "account"})
        ws.private_subscribe()
    elif given == "one":
        ws.private_subscribe({"channel": "account"})
    else:
        ws.private_subscribe(["account"])
    assert watch.wait("subscribed").arg == {"channel": "account"}
    assert ws.channels == [{"channel": "account"}] or ws.channels == ["account"]
    assert [len(e["subscriptions"]) for e in ws.stats()["endpoints"].values()] == [1]


def test_public_and_private_on_one_object(older):
    """What `public_subscribe` added is not taken for channels set by hand."""
    ws = older(key=True)
    watch = Watch(ws)
    ws.public_subscribe("btc")
    ws.private_subscribe()
    got = {watch.wait("subscribed").arg["channel"] for _ in range(5)}
    assert got == {"mark-price", "tickers", "account", "positions", "orders"}


class Publisher(OkxWebSocketManager):
    """Prints by channel, so to say."""

    def messagePublish(self, message):
        self.__dict__.setdefault("got", queue.Queue()).put((message["arg"]["channel"], threading.current_thread().name))


def test_an_overridden_messagePublish_gets_the_data_and_the_queue_does_not(older):
    """On the handlers' thread."""
    ws = older(Publisher)
    ws.got = queue.Queue()
    ws.public_subscribe("btc")
    seen = {ws.got.get(timeout=5) for _ in range(20)}
    assert seen == {("mark-price", "okx-ws:handlers"), ("tickers", "okx-ws:handlers")}
    assert ws.msgQueue.empty()


class One(OkxWebSocketManager):
    def on_message(self, msg):
        self.__dict__.setdefault("texts", queue.Queue()).put(msg)


class Two(One):
    def on_message(self, ws, msg):
        assert ws is self.ws
        super().on_message(msg)


class Many(One):
    def on_message(self, *args):
        assert args[0] is self.ws
        super().on_message(args[1])


@pytest.mark.parametrize("cls", [One, Two, Many])
def test_an_overridden_on_message_gets_every_text_and_nothing_is_published(cls, older):
    """Acks too, as str; whatever its signature."""
    ws = older(cls, ping_interval=0.1)
    ws.texts = queue.Queue()
    ws.public_subscribe("btc")
    texts = [ws.texts.get(timeout=5) for _ in range(30)]
    assert all(type(text) is str for text in texts) and "pong" not in texts
    events = [json.loads(text)["event"] for text in texts if "event" in json.loads(text)]
    assert events == ["subscribe", "subscribe"]
    assert ws.msgQueue.empty()


@pytest.mark.parametrize("with_ws", [False, True])
def test_super_on_message_publishes(with_ws, older):
    """With one argument or two; events go to `handle_ws_events`."""

    class Both(OkxWebSocketManager):
        events = queue.Queue()

        def on_message(self, ws, msg):
            super().on_message(*([ws, msg] if with_ws else [msg]))

        def handle_ws_events(self, message):
            self.events.put(message)

    ws = older(Both)
    ws.public_subscribe("btc")
    assert ws.events.get(timeout=5)["event"] == "subscribe"
    assert ws.msgQueue.get(timeout=5)["arg"]["instId"] == SWAP


def test_overridden_events_alone_do_not_cost_the_data(older):
    """`handle_ws_events` gets the acks, the queue the data."""

    class Events(OkxWebSocketManager):
        events = queue.Queue()

        def handle_ws_events(self, message):
            self.events.put(message)

    ws = older(Events)
    ws.public_subscribe("btc")
    assert ws.events.get(timeout=5)["arg"] == MARK
    assert ws.msgQueue.get(timeout=5)["data"]


def test_a_callback_set_on_the_instance_counts(older):
    """As code did that made no class."""
    ws, texts = older(), queue.Queue()
    ws.on_message = lambda text: texts.put(text)
    ws.public_subscribe("btc")
    assert "subscribe" in texts.get(timeout=5)
    assert ws.msgQueue.empty()


def test_url_and_channels_by_hand_then_listenStreams_on_a_thread(world, older):
    """The address wins over `urls`; it blocks until the close."""
    ws = older(exchange=None, urls={"public": "ws://127.0.0.1:9"})
    ws.url = world.urls["public"]
    ws.channels = [{"channel": "tickers", "instId": "BTC-USDT"}]
    thread = threading.Thread(target=ws.listenStreams)
    thread.start()
    assert ws.msgQueue.get(timeout=5)["arg"] == {"channel": "tickers", "instId": "BTC-USDT"}
    assert thread.is_alive()
    ws.close()
    thread.join(2)
    assert not thread.is_alive()


def test_the_host_of_a_hand_set_address_serves_every_endpoint(world, older):
    """Candles have moved to /business since."""
    ws = older(exchange=None)
    ws.url = world.urls["public"]
    ws.channels = [{"channel": "candle1m", "instId": "BTC-USDT"}, TICKERS]
    threading.Thread(target=ws.listenStreams, daemon=True).start()
    assert {ws.get(timeout=5)["arg"]["channel"] for _ in range(10)} == {"candle1m", "tickers"}
    ws.close()


def test_an_address_of_another_path_serves_everything_itself(peer, older):
    """A proxy of one's own, for example."""

    def script(talk):
        assert {arg["channel"] for arg in talk.subscribed()["args"]} == {"candle1m", "tickers"}
        talk.json({"arg": TICKERS, "data": [1]})
        talk.until_gone()

    server = peer(script)
    ws = older(exchange=None)
    ws.url = f"ws://127.0.0.1:{server.port}/my/okx"
    ws.channels = [{"channel": "candle1m", "instId": "BTC-USDT"}, TICKERS]
    threading.Thread(target=ws.listenStreams, daemon=True).start()
    assert ws.get(timeout=5)["data"] == [1]
    ws.close()


def test_listenStreams_connects_with_no_channels_at_all(world, older):
    """What is sent by hand then is delivered like the rest."""

    class Opener(OkxWebSocketManager):
        def on_open(self):
            self.ws.send(json.dumps({"op": "subscribe", "args": [TICKERS]}))

    ws = older(Opener, exchange=None)
    ws.url = world.urls["public"]
    threading.Thread(target=ws.listenStreams, daemon=True).start()
    assert ws.get(timeout=5)["arg"] == TICKERS
    ws.close()


def test_listenStreams_after_subscribing_only_waits(world, older):
    """It makes no second link."""
    ws = older()
    ws.public_subscribe("btc")
    ws.get(timeout=5)
    before = len(world.connects)
    threading.Timer(0.2, ws.close).start()
    ws.listenStreams()
    assert len(world.connects) == before


def test_listenStreams_raises_what_ended_it(world, older):
    """A key that is of no use, for example; acceptance 20."""
    ws = older(**{**world.credentials, "passphrase": "wrong"})
    ws.channels = ["account"]
    with pytest.raises(LoginError) as caught:
        ws.listenStreams()
    assert caught.value.code == "60024"


# ---------------------------------------------------------------------- login


def test_overridden_login_methods_are_used_for_real_logins(exchange, older):
    """`get_local_timestamp` is what the default signs; `login_params` may make it all."""

    class Slow(OkxWebSocketManager):
        def get_local_timestamp(self):
            return str(int(time.time()) - 5)

    class Own(OkxWebSocketManager):
        def login_params(self):
            self.asked = True
            return json.loads(super().login_params())

    slow = older(Slow, exchange, key=True, clock_sync=False)
    watch = Watch(slow)
    slow.private_subscribe()
    watch.wait("subscribed")
    login = exchange.desks[-1].requests[0]["args"][0]
    assert 4 <= time.time() - int(login["timestamp"]) < 8
    own = older(Own, exchange, key=True)
    watch = Watch(own)
    own.private_subscribe()
    watch.wait("subscribed")
    assert own.asked


def test_login_params_are_a_json_text_signed_with_okx_time(exchange, older):
    """As the older class sent it."""
    ws = older(exchange=exchange, key=True)
    request = json.loads(ws.login_params())
    assert request["op"] == "login" and request["args"][0]["apiKey"] == ws.apiKey
    assert abs(int(request["args"][0]["timestamp"]) - time.time()) < 2
    assert isinstance(ws.get_local_timestamp(), int)
    with pytest.raises(UsageError, match="apiKey"):
        older(exchange=exchange).login_params()


def test_secrets_are_attributes_and_show_nowhere(world, older):
    """Acceptance 25: not in `vars`, not in a repr."""
    ws = older(key=True)
    assert (ws.apiKey, ws.secretKey, ws.passphrase) == tuple(world.credentials.values())
    shown = repr(ws) + repr(vars(ws)) + repr(ws.ws)
    assert not any(secret in shown for secret in world.credentials.values())


# ---------------------------------------------------------------------- ws.ws


def test_what_is_sent_by_hand_is_subscribed_like_the_rest(exchange, older):
    """It survives a lost link; it can be unsubscribed; a login needs no sending, and harms nothing."""
    ws = older(exchange=exchange, key=True)
    watch = Watch(ws)
    ws.ws.send(ws.login_params())
    ws.ws.send(json.dumps({"op": "subscribe", "args": [{"channel": "account"}, TICKERS]}).encode())
    watch.wait("subscribed", arg={"channel": "account"})
    watch.wait("subscribed", arg=TICKERS)
    assert ws.ws.connected
    exchange.drop()
    watch.wait("subscribed", arg={"channel": "account"})
    watch.wait("subscribed", arg=TICKERS)
    ws.ws.send(json.dumps({"op": "unsubscribe", "args": [TICKERS]}))
    eventually(lambda: any("unsubscribe" in str(desk.requests) for desk in exchange.desks))
    logins = [r for desk in exchange.desks for r in desk.requests if r["op"] == "login"]
    assert len(logins) == 2


def test_other_texts_go_out_as_they_are(exchange, older):
    """Over the link they are for; without one, the error says so."""
    ws = older(exchange=exchange, key=True)
    watch = Watch(ws)
    with pytest.raises(ConnectionLost, match="not connected"):
        ws.ws.send('{"op":"order","id":"1","args":[]}')
    ws.private_subscribe(["account"])
    watch.wait("subscribed")
    ws.ws.send('{"op":"order","id":"1","args":[]}')
    private = exchange.desks[-1]
    eventually(lambda: private.requests[-1]["op"] == "order")
    with pytest.raises(UsageError, match=r"json\.dumps"):
        ws.ws.send({"op": "subscribe"})


def test_text_that_is_no_json_is_refused_and_the_link_goes_on(exchange, older):
    """Acceptance 30: 60012 names what was sent; the next subscribe succeeds."""
    ws = older(exchange=exchange)
    watch = Watch(ws)
    ws.public_subscribe("btc")
    watch.wait("subscribed")
    ws.ws.send('{"op":"subscribe",')
    refused = watch.wait("notice", code="60012")
    assert refused.msg == 'Illegal request: {"op":"subscribe",'
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    assert len(exchange.connects) == 1 and watch.of("subscribe_failed") == []


def test_closing_the_handle_closes_the_manager(older):
    """As older code ended everything."""
    ws = older()
    ws.public_subscribe("btc")
    ws.ws.close()
    assert not ws.ws.connected
    list(ws)


# ---------------------------------------------------------------------- what cannot be right, and constants


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda ws: ws.public_subscribe(""), "bassAsset"),
        (lambda ws: ws.public_subscribe(None), "bassAsset"),
        (lambda ws: ws.private_subscribe(), "apiKey"),
        (lambda ws: ws.private_subscribe([5]), "channels"),
        (lambda ws: ws.listenStreams(), "nothing to listen to"),
        (lambda ws: setattr(ws, "url", "ws.okx.com"), "url must look like"),
        (lambda ws: ws.ws.send('{"op":"login"}'), "login needs"),
    ],
)
def test_bad_calls_are_refused_at_once(call, named, older):
    """A `UsageError` that names what is wrong; nothing was connected."""
    ws = older()
    with pytest.raises(UsageError, match=named):
        call(ws)
    assert ws.stats()["endpoints"] == {}


def test_an_address_set_too_late_is_refused(older):
    """It would be ignored silently."""
    ws = older()
    ws.public_subscribe("btc")
    with pytest.raises(UsageError, match="before anything"):
        ws.url = c.WS_PUBLIC_URL


def test_the_port_that_okx_has_closed_is_left_out(older, caplog):
    """With a warning; other hosts keep theirs."""
    ws = older(exchange=None)
    ws.url = "wss://ws.okx.com:8443/ws/v5/public"
    assert ws.url == c.WS_PUBLIC_URL and "8443" in caplog.text
    ws.url = "wss://my.own:8443/ws/v5/public"
    assert ws.url == "wss://my.own:8443/ws/v5/public"


def test_the_constants():
    """Both spellings of the sandbox, no port."""
    assert c.WS_PUBLIC_URL == "wss://ws.okx.com/ws/v5/public"
    assert c.WS_PRIVATE_URL == "wss://ws.okx.com/ws/v5/private"
    assert c.WS_BUSINESS_URL == "wss://ws.okx.com/ws/v5/business"
    assert c.WS_SANBOX_PUBLIC_URL == c.WS_SANDBOX_PUBLIC_URL == "wss://wspap.okx.com/ws/v5/public"
    assert c.WS_SANBOX_PRIVATE_URL == c.WS_SANDBOX_PRIVATE_URL == "wss://wspap.okx.com/ws/v5/private"
    assert c.WS_SANBOX_BUSINESS_URL == c.WS_SANDBOX_BUSINESS_URL == "wss://wspap.okx.com/ws/v5/business"


# ---------------------------------------------------------------------- subclasses with names of their own


def test_a_login_is_refused_in_the_clear_however_it_is_asked_for(older):
    """Acceptance 95: not only by subscribing."""
    for begin in (lambda ws: ws.listenStreams(), lambda ws: ws.ws.send('{"op":"login"}')):
        ws = older(exchange=None, apiKey="k", secretKey="s", passphrase="p")
        ws.url = "ws://192.0.2.2:9/ws/v5/private"
        with pytest.raises(UsageError, match="in the clear"):
            begin(ws)
        assert ws.stats()["endpoints"] == {}


def test_a_subclass_may_use_names_of_ours(older):
    """Those it is likely to have chosen before there was this library."""

    class Crowded(OkxWebSocketManager):
        def __init__(self, **settings):
            super().__init__(**settings)
            self._lock = threading.Lock()
            self._url = self._open = self._lost = self._callbacks = None

        def subscribe(self, coin):
            self.public_subscribe(coin)

        def unsubscribe(self, coin):
            raise AssertionError

        def stats(self, what):
            raise AssertionError

        def close(self):
            self.ws.close()

    ws = older(Crowded)
    ws.subscribe("btc")
    assert ws.get(timeout=5)["arg"]["instId"] == SWAP
    assert ws.ws.connected
    ws.ws.send(json.dumps({"op": "unsubscribe", "args": [TICKERS]}))
    ws.close()
    list(ws)


def test_a_queue_of_ones_own_is_filled(older):
    """As older code replaced it; too late is refused."""
    ws = older()
    ws.msgQueue = queue.Queue(100)
    ws.public_subscribe("btc")
    assert ws.msgQueue.get(timeout=5)["arg"]["instId"] == SWAP
    for wrong in (queue.Queue(), None):
        with pytest.raises(UsageError, match="msgQueue"):
            ws.msgQueue = wrong


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "error", "latest"])
def test_what_is_published_by_hand_meets_the_policy(overflow, older):
    """With markers, and an error where there is to be one, as without an override."""

    class Through(OkxWebSocketManager):
        def on_message(self, msg):
            super().on_message(msg)

    ws = older(Through, queue_size=3, overflow=overflow, markers=True)
    ws.public_subscribe("btc")
    eventually(lambda: ws.msgQueue.dropped > 20)
    seen = []
    for _ in range(8):
        try:
            seen.append(ws.get(timeout=5).get("event", "data"))
        except QueueOverflow:
            seen.append("error")
    assert "data" in seen
    assert ("error" in seen) == (overflow == "error")
    assert ("gap" in seen) == (overflow != "latest") or overflow == "latest"


def test_on_message_of_the_base_takes_what_was_decoded_already(older):
    """A dict is published as it is."""
    ws = older()
    ws.on_message({"arg": TICKERS, "data": [1]})
    assert ws.get(timeout=1)["data"] == [1]
