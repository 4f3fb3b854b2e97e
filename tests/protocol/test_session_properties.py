"""Random interleavings of wishes, answers, refusals and lost links: wish and wire always come together."""

import json
from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from okx_ws.config import Credentials, Settings
from okx_ws.protocol.session import LOGIN as LOGIN_DUE
from okx_ws.protocol.session import PING, Session

ARGS = [{"channel": channel, "instId": inst} for channel in ("tickers", "trades") for inst in ("A", "B", "C")]
#: Refused for good, and refused as long as the server is busy.
BAD, LOGIN = ARGS[5], {"channel": "orders", "instType": "ANY"}


class Outlet:
    congested = False


class Conversation(RuleBasedStateMachine):
    """A session and a model of the server that answers in order, when it likes, with or without ids."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        outlet = Outlet()
        self.session = Session(
            "public", Settings(), lambda holders, arg: outlet, credentials=Credentials("KEY", "SECRET", "PHRASE")
        )
        self.holders = {}
        self.names = 0
        self.inbox, self.has = deque(), set()
        self.logged_in = self.busy = False
        self.links = 0

    @initialize(echo=st.booleans(), naming=st.booleans())
    def choose_server(self, echo, naming):
        self.echo, self.naming = echo, naming

    # ---- the user

    @rule(arg=st.sampled_from([*ARGS, LOGIN]))
    def subscribe(self, arg):
        self.names += 1
        stream = self.session.subscribe(arg, arg == LOGIN, f"h{self.names}")
        self.holders[f"h{self.names}"] = (stream, arg)

    @rule(data=st.data())
    def unsubscribe(self, data):
        if self.holders:
            name = data.draw(st.sampled_from(sorted(self.holders)))
            stream, _ = self.holders.pop(name)
            self.session.unsubscribe(stream, name)

    # ---- the link

    @rule()
    def connect(self):
        if not self.session.up:
            self.inbox.clear()
            self.has.clear()
            self.logged_in = False
            self.links += 1
            self.session.link_up(self.now, 15)

    @rule()
    def lose(self):
        self.session.link_down()

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0]))
    def pump(self, seconds):
        self.now += seconds
        # An answer that is overdue is asked for again: that is another test's business.
        while self.inbox and self.inbox[0][0] + 9 < self.now:
            self.answer()
        if self.session.up:
            self.session.receive([b"pong"], self.now, 0)  # alive: death is the heartbeat's test
        for text in self.session.pump(self.now):
            if text == LOGIN_DUE:
                self.inbox.append((self.now, {"op": "login"}))
            elif text != PING:
                self.inbox.append((self.now, json.loads(text)))

    # ---- the server

    @rule(busy=st.booleans())
    def be_busy(self, busy):
        self.busy = busy

    @rule()
    def answer(self):
        """Answer the next request, arg by arg, as one batch."""
        if not self.inbox:
            return
        _, request = self.inbox.popleft()
        if not self.session.up:
            return
        id = {"id": request["id"]} if self.echo and "id" in request else {}
        if request["op"] == "login":
            self.logged_in = True
            return self.say({"event": "login", "code": "0"})
        if self.busy:
            return self.say({**id, "event": "error", "code": "60014", "msg": "Requests too frequent"})
        out = []
        for arg in request["args"]:
            key = json.dumps(arg)
            if request["op"] == "unsubscribe":
                assert key in self.has, "unsubscribed what the server does not have"
                self.has.discard(key)
            elif arg == BAD:
                named = f"channel:{arg['channel']}, instId:{arg['instId']}" if self.naming else "something"
                out.append({**id, "event": "error", "code": "60018", "msg": f"Wrong URL or {named} doesn't exist."})
                continue
            else:
                assert arg != LOGIN or self.logged_in, "subscribed before the login's answer"
                assert key not in self.has, "subscribed twice on one link"
                self.has.add(key)
            out.append({**id, "event": request["op"], "arg": arg})
        self.say(*out)

    def say(self, *messages):
        self.session.receive([json.dumps(message).encode() for message in messages], self.now, 0)

    # ---- what must hold

    @invariant()
    def every_holder_is_known(self):
        for name, (stream, arg) in self.holders.items():
            assert name in stream.holders and stream.arg == arg

    def teardown(self):
        """Left alone, with a willing server, wish and wire come together."""
        self.busy = False
        self.connect()
        for _ in range(40):
            self.pump(31.0)
            while self.inbox:
                self.answer()
        wanted = {json.dumps(arg) for _, arg in self.holders.values()}
        refused = {json.dumps(stream.arg) for stream, _ in self.holders.values() if stream.refusal is not None}
        assert refused <= {json.dumps(BAD)}
        assert self.has == wanted - refused
        assert {json.dumps(stream.arg) for stream in self.session.subscriptions} == wanted
        assert all(stream.wire == "on" for stream in self.session.subscriptions if stream.refusal is None)


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
