"""`deadman`: the switch is renewed while all is well, and what goes wrong with that is told."""

import queue
import threading

import pytest

from okx_ws import ConnectionLost, ManagerClosed, OutcomeUnknown, RestError, UsageError, deadman, safeguards
from okx_ws.protocol.rest_limits import LIMITS
from tests.trading import KEY, Rest, accepted, answering
from tests.watch import Watch, eventually


@pytest.fixture
def rest(peer):
    return Rest(peer)


@pytest.fixture
def trade(peer, connect, rest):
    """Make a manager on an exchange with this script, and REST as `rest` does."""

    def make(script=answering(lambda talk, request: accepted(request))):
        return connect(urls={**peer(script).urls, "rest": rest.url}, clock_sync=False, **KEY)

    return make


@pytest.fixture
def quick(monkeypatch):
    """Renewals in quick succession, which OKX's limit of one a second would hold up."""
    monkeypatch.setattr(deadman, "RENEW_S", 0.05)
    monkeypatch.setitem(LIMITS, PATH, LIMITS[PATH]._replace(most=1000))


PATH = "/api/v5/trade/cancel-all-after"


def test_the_switch_is_renewed_until_it_is_ended(trade, rest, quick):
    """okx-protocol 10.3: about each second; 0 ends it."""
    answers = queue.Queue()
    rest.rows[PATH] = lambda query, body: answers.put(body) or [{"triggerTime": "1", "tag": "", "ts": "0"}]
    ws = trade()
    assert ws.cancel_all_after(30)["triggerTime"] == "1"
    assert [answers.get(timeout=5) for _ in range(3)] == [{"timeOut": "30"}] * 3
    ws.cancel_all_after(0)
    while answers.get(timeout=5) != {"timeOut": "0"}:
        pass
    with pytest.raises(queue.Empty):
        answers.get(timeout=0.5)
    assert ws.stats()["endpoints"] == {}, "it needs no link"


def test_renewals_that_fail_are_told_and_the_lapse_too(trade, rest, quick, monkeypatch):
    """And it is armed again as soon as OKX can be asked."""
    monkeypatch.setattr(safeguards, "check_seconds", lambda seconds: seconds)
    good = [{"triggerTime": "1", "tag": "bot", "ts": "0"}]
    rest.rows[PATH] = good
    ws = trade()
    watch = Watch(ws)
    ws.cancel_all_after(1, tag="bot")
    rest.rows[PATH] = {"code": "50026", "msg": "System error", "data": []}
    failed = watch.wait("switch_failed")
    assert failed.code == "50026" and "50026" in failed.msg and 0 < failed.delay_s <= 1
    assert watch.wait("switch_lapsed", timeout=10).code == "50026"
    rest.rows[PATH] = good
    assert "armed again" in watch.wait("notice").msg
    assert len(watch.of("switch_lapsed")) == 1 and rest.of("after")[0][3] == {"timeOut": "1", "tag": "bot"}


def test_it_is_not_renewed_while_all_is_not_well(trade, rest, quick):
    """A private link that is down, or the user's own function: OKX shall cancel."""
    rest.rows[PATH] = [{"triggerTime": "1", "tag": "", "ts": "0"}]
    fine = threading.Event()
    fine.set()
    up = threading.Event()
    up.set()

    def script(talk):
        if up.is_set():
            answering(lambda talk, request: up.clear() or talk.reset())(talk)

    ws = trade(script=script)
    watch = Watch(ws)
    ws.cancel_all_after(30, healthy=fine.is_set)
    eventually(lambda: len(rest.of("after")) > 1)
    fine.clear()
    assert "not well" in watch.wait("switch_failed").msg
    ws.cancel_all_after(30, healthy=lambda: 1 / 0)
    eventually(lambda: any("ZeroDivisionError" in event.msg for event in watch.of("switch_failed")))
    ws.cancel_all_after(30)
    with pytest.raises(OutcomeUnknown):
        ws.cancel_order(instIdCode=1, ordId="1")
    eventually(lambda: any("private link is down" in event.msg for event in watch.of("switch_failed")))
    up.set()


def test_close_leaves_the_switch_armed(trade, rest, quick):
    """Documented: what is open is cancelled within so many seconds; nothing is renewed any more."""
    rest.rows[PATH] = [{"triggerTime": "1", "tag": "", "ts": "0"}]
    ws = trade()
    ws.cancel_all_after(10)
    ws.close()
    count = len(rest.of("after"))
    threading.Event().wait(0.5)
    assert len(rest.of("after")) == count and all(asked[3] == {"timeOut": "10"} for asked in rest.of("after"))
    with pytest.raises(ManagerClosed):
        ws.cancel_all_after(0)


def test_a_switch_that_cannot_be_armed_says_so(trade, rest):
    """Nothing is renewed then."""
    rest.rows[PATH] = {"code": "50120", "msg": "no permission", "data": []}
    ws = trade()
    with pytest.raises(RestError, match="50120"):
        ws.cancel_all_after(30)
    for seconds in (5, 121, -1, 1.5, "30", True):
        with pytest.raises(UsageError, match="seconds must be"):
            ws.cancel_all_after(seconds)
    for wrong in ({"tag": "a-b"}, {"tag": 5}, {"healthy": 5}, {"timeout": "5"}):
        with pytest.raises(UsageError):
            ws.cancel_all_after(30, **wrong)
    assert len(rest.of("after")) == 1


def test_the_switch_works_on_the_local_exchange(exchange, connect):
    """Its signature is checked there."""
    ws = connect(exchange, **exchange.credentials)
    answer = ws.cancel_all_after(10)
    assert int(answer["triggerTime"]) - int(answer["ts"]) == 10
    assert ws.cancel_all_after(0)["triggerTime"] == "0"
    with pytest.raises(UsageError, match="needs a login"):
        connect(exchange).cancel_all_after(10)


def test_an_unreachable_rest_is_told(trade, peer):
    """In the caller's time."""
    ws = trade()
    ws.close()
    with pytest.raises((ConnectionLost, ManagerClosed)):
        ws.cancel_all_after(10)
