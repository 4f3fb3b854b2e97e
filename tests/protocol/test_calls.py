"""`protocol.calls`: each call ends once, with what is certain; pure, with a time the test moves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws import ConnectionLost, ExchangeError, LoginError, ManagerClosed, OutcomeUnknown, UsageError
from okx_ws.protocol import calls
from okx_ws.protocol.calls import Call, Calls, is_own
from okx_ws.protocol.windows import Cost
from tests.protocol.wired import TICKERS, Wired

ORDER = {"instIdCode": 10459, "clOrdId": "a1"}


class Desk:
    """`Calls` with a clock, and what each call ended with, by its id."""

    def __init__(self):
        self.calls, self.now, self.ends = Calls(), 1000.0, {}

    def call(self, timeout=5.0, **options):
        call = Call("order", [ORDER], self.now + timeout, lambda call, outcome: None, **options)
        self.calls.add(call)
        return call

    def sent(self, ready=True, room=True):
        return [json.loads(text)["id"] for text in self.calls.pump(self.now, ready, room)]

    def reply(self, call):
        return self.calls.replied({"id": call.id, "op": call.op, "code": "0", "data": []}, self.now)

    def refuse(self, code, msg, id):
        return self.calls.refused(code, msg, id, self.now)

    def told(self):
        settled, self.calls.settled = self.calls.settled, []
        for call, outcome in settled:
            assert call.id not in self.ends, "a call ends once"
            self.ends[call.id] = outcome
        return [outcome for _, outcome in settled]


def test_a_request_is_what_okx_wants():
    """okx-protocol 7.2: id, op, expTime at the root, args; the id alphanumeric, 32 characters at the most."""
    call = Call("order", [ORDER], 5.0, lambda call, outcome: None, expTime="1779000005000")
    assert json.loads(call.text) == {"id": call.id, "op": "order", "expTime": "1779000005000", "args": [ORDER]}
    assert call.id.isalnum() and len(call.id) <= 32 and is_own(call.id)
    assert "expTime" not in Call("order", [ORDER], 5.0, lambda call, outcome: None).text
    assert not any(map(is_own, ("s17", "o1", None, 5)))


def test_a_reply_settles_its_own_call_and_no_other():
    """Acceptance 74, 81: by id, in whatever order."""
    desk = Desk()
    made = [desk.call() for _ in range(100)]
    assert desk.sent() == [call.id for call in made] and len({call.id for call in made}) == 100
    for call in reversed(made):
        assert desk.reply(call)
        assert desk.told()[0]["id"] == call.id
    assert not desk.reply(made[0]) and not desk.told() and len(desk.calls) == 0


def test_a_call_waits_for_the_login_and_is_sent_once():
    """Acceptance 82: nothing before the login."""
    desk = Desk()
    call = desk.call()
    assert desk.sent(ready=False) == [] and desk.calls.due == desk.now + 5
    assert desk.sent() == [call.id] and desk.sent() == []


def test_what_was_not_sent_in_time_is_withdrawn():
    """Design 3.4: it was certainly not carried out, and never will be."""
    desk = Desk()
    desk.call()
    desk.now += 5
    assert desk.sent() == []
    (error,) = desk.told()
    assert isinstance(error, ConnectionLost) and "withdrawn" in str(error)
    assert desk.calls.due == float("inf")


def test_calls_that_were_looked_at_from_outside_are_due_once():
    """Whoever ends calls in place of the link has it look itself, once: a link that is due all the time never rests."""
    desk = Desk()
    desk.calls.due = 0.0
    assert desk.sent() == [] and desk.calls.due == float("inf")


def test_what_was_sent_and_not_answered_in_time_is_unknown():
    """Acceptance 78: and its reply, when it comes, is nobody's."""
    desk = Desk()
    call = desk.call()
    desk.sent()
    desk.now += 5
    later = desk.call()
    assert desk.sent() == [later.id]
    assert isinstance(desk.told()[0], OutcomeUnknown)
    assert not desk.reply(call) and desk.told() == [] and len(desk.calls) == 1


def test_a_lost_link_makes_what_was_sent_unknown_and_lets_the_rest_wait():
    """Acceptance 79: nothing is sent a second time."""
    desk = Desk()
    first = desk.call()
    desk.sent()
    second = desk.call()
    desk.calls.link_lost()
    assert [type(error) for error in desk.told()] == [OutcomeUnknown]
    assert first.id in desk.ends and desk.sent() == [second.id]


def test_the_end_of_the_endpoint_ends_everything():
    """What was not sent gets the reason; what was sent is unknown."""
    desk = Desk()
    desk.call()
    desk.sent()
    desk.call()
    desk.calls.end(LoginError("60009", "no", "look"))
    unknown, refused = desk.told()
    assert isinstance(unknown, OutcomeUnknown) and (refused.code, refused.remedy) == ("60009", "look")
    assert desk.sent() == [] and len(desk.calls) == 0
    desk.calls.end(ManagerClosed("over"))
    assert desk.told() == []


def test_an_error_with_its_id_fails_that_call_alone():
    """Acceptance 77."""
    desk = Desk()
    call, other = desk.call(), desk.call()
    desk.sent()
    assert desk.refuse("60012", "Invalid request", call.id)
    (error,) = desk.told()
    assert type(error) is ExchangeError and error.code == "60012"
    assert desk.reply(other)


def test_an_error_that_repeats_the_request_fails_that_call():
    """okx-protocol 4.4: 60012 has the request in its words, and not always an id."""
    desk = Desk()
    call, other = desk.call(), desk.call()
    desk.sent()
    assert desk.refuse("60012", f"Illegal request: {call.text}", None)
    assert [type(error) for error in desk.told()] == [ExchangeError] and desk.reply(other)


def test_please_log_in_fails_what_was_sent():
    """okx-protocol 7.3: without an id. Of several it cannot be told which one was kept from being carried out."""
    desk = Desk()
    desk.call()
    assert not desk.refuse("60011", "Please log in", None)
    desk.sent()
    assert desk.refuse("60011", "Please log in", None)
    assert [error.code for error in desk.told()] == ["60011"]
    for _ in range(2):
        desk.call()
    desk.sent()
    waiting = desk.call()
    assert desk.refuse("60011", "Please log in", None)
    assert [type(error) for error in desk.told()] == [OutcomeUnknown] * 2
    assert desk.sent() == [waiting.id]


@pytest.mark.parametrize("error", [("60018", "channel:orders doesn't exist", None), ("60014", "slow down", None)])
def test_an_error_about_something_else_fails_no_call(error):
    """A guess could call an order refused that stands."""
    desk = Desk()
    desk.call()
    desk.sent()
    assert not desk.refuse(*error) and not desk.refuse("60012", "no", "s1") and desk.told() == []


def test_calls_of_one_instrument_are_paced_and_keep_their_order():
    """OKX's 60 orders in 2 s; others do not wait for them."""
    desk = Desk()
    one, other = [Cost(("order", "1"), 3)], [Cost(("order", "2"), 3)]
    made = [desk.call(costs=one) for _ in range(5)]
    free = desk.call(costs=other)
    assert desk.sent() == [*(call.id for call in made[:3]), free.id]
    assert desk.sent() == [] and desk.calls.due == pytest.approx(desk.now + 2.2)
    desk.now = desk.calls.due
    assert desk.sent() == [call.id for call in made[3:]]


def test_a_batch_takes_as_many_places_as_it_has_orders():
    """300 orders in 2 s, however they are packed; a batch of more than fits waits for an empty window."""
    desk = Desk()
    batches = [desk.call(costs=[Cost(("b", "1"), 300, n=20)]) for _ in range(16)]
    assert desk.sent() == [call.id for call in batches[:15]]
    huge = desk.call(costs=[Cost(("c", "1"), 4, n=20)])
    assert desk.sent() == [huge.id]


def test_a_call_whose_turn_does_not_come_in_time_is_withdrawn():
    """It waits as long as it was told to, and no longer."""
    desk = Desk()
    for _ in range(2):
        desk.call(timeout=1.0, costs=[Cost(("order", "1"), 1)])
    desk.sent()
    desk.now += 1
    desk.sent()
    assert [type(error) for error in desk.told()] == [OutcomeUnknown, ConnectionLost]


@pytest.mark.parametrize("where", ["reply", "row", "error"])
@pytest.mark.parametrize("code", ["50011", "50061", "60014"])
def test_what_okx_found_too_many_has_the_others_wait(where, code):
    """Somebody else trades with the same key: our own count says nothing then."""
    desk = Desk()
    first = desk.call(costs=[Cost(("order", "1"), 60)])
    assert desk.sent() == [first.id]
    if where == "error":
        desk.refuse(code, "Too many", first.id)
    else:
        whole = {"code": code, "data": []} if where == "reply" else {"code": "1", "data": [{"sCode": code}]}
        desk.calls.replied({"id": first.id, "op": "order", **whole}, desk.now)
    behind, other = desk.call(costs=first.costs), desk.call(costs=[Cost(("order", "2"), 60)])
    assert desk.sent() == [other.id] and desk.calls.due == pytest.approx(desk.now + 2.2)
    desk.now = desk.calls.due
    assert desk.sent() == [behind.id]


def test_calls_are_held_back_while_the_socket_takes_nothing():
    """So that they can be withdrawn, instead of reaching the market minutes later."""
    desk = Desk()
    call = desk.call()
    assert desk.sent(room=False) == [] and desk.calls.due == pytest.approx(desk.now + calls.HELD_S)
    assert desk.sent() == [call.id]


def test_there_is_a_bound(monkeypatch):
    """A loop that has run away is told so."""
    monkeypatch.setattr(calls, "MOST_OPEN", 3)
    desk = Desk()
    for _ in range(3):
        desk.call()
    with pytest.raises(UsageError, match="3 calls"):
        desk.call()


@given(st.lists(st.tuples(st.sampled_from("call sent reply error lost end time please".split()), st.integers(0, 5))))
def test_whatever_happens_each_call_ends_once_and_is_sent_once(steps):
    """Random lives: no call is sent twice, none is forgotten, none withdrawn that was sent."""
    desk, made, sent = Desk(), [], []
    for step, number in steps:
        call = made[-1 - number % len(made)] if made else None
        if step == "call":
            made.append(desk.call(timeout=1 + number, costs=[Cost(("order", ""), 2)]))
        elif step == "sent":
            sent += desk.sent(ready=number > 1, room=number > 2)
        elif step == "reply" and call:
            desk.reply(call)
        elif step == "error" and call:
            desk.refuse("60012", "no", call.id)
        elif step == "lost":
            desk.calls.link_lost()
        elif step == "end" and number == 0:
            desk.calls.end(ManagerClosed("over"))
        elif step == "please":
            desk.refuse("60011", "Please log in", None)
        elif step == "time":
            desk.now += number
        desk.told()
    desk.now += 100
    sent += desk.sent()
    desk.told()
    assert len(sent) == len(set(sent)) and set(desk.ends) == {call.id for call in made} and len(desk.calls) == 0
    for id, outcome in desk.ends.items():
        assert (id in sent) != isinstance(outcome, (ConnectionLost, ManagerClosed))


# ---------------------------------------------------------------------------------------------------- in a session


def logged_in():
    wired = Wired(credentials=True)
    wired.session.login_wanted = True
    assert wired.sent() == [{"op": "login"}]
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    return wired


def ask(wired, timeout=5.0):
    call = Call("order", [ORDER], wired.now + timeout, lambda call, outcome: None)
    wired.session.calls.add(call)
    return call


def test_a_session_sends_calls_only_when_logged_in():
    """Acceptance 82."""
    wired = Wired(credentials=True)
    wired.session.login_wanted = True
    call = ask(wired)
    assert wired.sent() == [{"op": "login"}]
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    assert wired.session.due == 0.0
    assert [request["id"] for request in wired.sent()] == [call.id]
    wired.get({"id": call.id, "op": "order", "code": "0", "data": []})
    assert [outcome["code"] for _, outcome in wired.session.calls.settled] == ["0"]
    assert not [event for event in wired.events() if event[0] != "notice"]


def test_a_late_reply_is_told_with_its_frame():
    """Acceptance 78."""
    wired = logged_in()
    call = ask(wired)
    wired.sent()
    wired.now += 5
    wired.sent()
    wired.told()
    late = {"id": call.id, "op": "order", "code": "0", "data": [{"ordId": "7"}]}
    wired.get(late)
    (event,) = wired.told()
    assert (event.type, event.code, event.data) == ("late_reply", "0", late) and call.id in event.msg
    wired.get({"id": call.id, "event": "error", "code": "60012", "msg": "no"})
    assert [event.type for event in wired.told()] == ["late_reply"]


def test_a_reply_to_what_was_sent_by_hand_is_a_notice():
    """It is not one of ours, so it is not late either."""
    wired = logged_in()
    wired.told()
    wired.get({"id": "o1", "op": "order", "code": "0", "data": []})
    assert [event.type for event in wired.told()] == ["notice"]


def test_please_log_in_has_the_session_log_in_again():
    """Else every further call would be refused as well."""
    wired = logged_in()
    ask(wired)
    assert wired.sent()[0]["op"] == "order"
    wired.refuse("60011", "Please log in")
    assert wired.session.calls.settled[0][1].code == "60011"
    next_call = ask(wired)
    assert wired.sent() == [{"op": "login"}]
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    assert wired.sent()[0]["id"] == next_call.id


def test_a_refused_login_ends_what_waits():
    """With the reason; nothing was sent."""
    wired = Wired(credentials=True)
    wired.session.login_wanted = True
    ask(wired)
    wired.sent()
    wired.refuse("60009", "Login failed.")
    (_, error), *_ = wired.session.calls.settled
    assert isinstance(error, LoginError) and error.code == "60009"


def test_a_refused_subscription_beside_a_call_stays_the_subscription():
    """Its error has no id of ours."""
    wired = logged_in()
    call = ask(wired)
    wired.want(TICKERS)
    order, subscribe = sorted(wired.sent(), key=lambda request: request["op"])
    wired.refuse("60018", "Wrong URL or channel:tickers, instId:BTC-USDT doesn't exist.", subscribe["id"])
    assert ("subscribe_failed", TICKERS, "60018") in wired.events()
    assert wired.session.calls.settled == [] and order["id"] == call.id


def test_a_lost_link_lets_calls_that_were_not_sent_go_over_the_next():
    """Within their time; those that were sent are unknown."""
    wired = logged_in()
    ask(wired)
    wired.sent()
    waiting = ask(wired)
    wired.reconnect()
    assert [type(outcome) for _, outcome in wired.session.calls.settled] == [OutcomeUnknown]
    assert wired.sent() == [{"op": "login"}]
    wired.get({"event": "login", "code": "0", "msg": "", "connId": "c0"})
    assert [request["id"] for request in wired.sent()] == [waiting.id]
