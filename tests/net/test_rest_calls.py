"""`net.rest_calls`: retries, limits and signatures, in a time of their own; nobody sleeps."""

import itertools

import pytest
import requests

from okx_ws import ConnectionLost, ManagerClosed, RestError, UsageError
from okx_ws.config import Credentials
from okx_ws.net.rest_calls import RestCalls

KEY = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}

PATH = "/api/v5/market/ticker"
BALANCE = "/api/v5/account/balance"


class Script:
    """A transport that plays outcomes (the last one for ever), and a time that only waits move."""

    numbers = itertools.count()

    def __init__(self, *outcomes, clock=None, draw=1.0, took=0.0):
        self.url = f"https://rest{next(self.numbers)}.invalid"  # limits are counted per address
        self.outcomes, self.asked, self.waits, self.time = list(outcomes), [], [], 1000.0
        self.took = took
        self.stopped = False
        self.calls = RestCalls(
            self, Credentials(**KEY), clock, now=lambda: self.time, wait=self.wait, draw=lambda: draw
        )

    def wait(self, seconds):
        self.waits.append(round(seconds, 3))
        self.time += seconds
        return self.stopped

    def ask(self, method, target, until, headers=None, body=""):
        self.asked.append((method, target, until, headers, body))
        self.time += self.took
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def get(self, path=PATH, timeout=10.0, **params):
        return self.calls.call("GET", path, params, timeout=timeout)

    def post(self, path="/api/v5/trade/order", body=None, timeout=10.0):
        return self.calls.call("POST", path, {}, body, timeout=timeout)


BUSY = RestError("50001", "Service temporarily unavailable", status=503)
FULL = RestError("50011", "Too Many Requests", status=429)
LATE = RestError("50102", "Timestamp request expired", status=401)
LOST = ConnectionLost("REST /x: reset")
WRONG = RestError("51001", "Instrument ID doesn't exist.", status=200)


@pytest.mark.parametrize("failure", [BUSY, LOST, RestError("", "html", status=502)])
def test_a_question_is_asked_again_with_growing_pauses(failure):
    """Acceptance 89: a bounded retry; the ceiling doubles, up to 4 s."""
    script = Script(*[failure] * 5, [{"last": "1"}])
    assert script.get(timeout=60, instId="X") == [{"last": "1"}]
    assert script.waits == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert [asked[1] for asked in script.asked] == [f"{PATH}?instId=X"] * 6


def test_pauses_have_full_jitter():
    """From none at all to the ceiling, so that a thousand clients do not come back at once."""
    for draw, waits in ((0.0, []), (0.5, [0.125])):
        script = Script(BUSY, [{}], draw=draw)
        script.get()
        assert script.waits == waits


def test_retries_end_with_the_deadline_and_tell_the_last_error():
    """Acceptance 89: a total bound; every attempt gets what is left of it."""
    script = Script(BUSY, took=0.3)
    with pytest.raises(RestError) as caught:
        script.get(timeout=3)
    assert caught.value is BUSY and script.time <= 1003.0
    assert {asked[2] for asked in script.asked} == {1003.0} and len(script.asked) > 2


@pytest.mark.parametrize(
    "failure", [WRONG, RestError("50113", "Invalid Sign", status=401), RestError("", "", status=200)]
)
def test_a_refusal_is_told_at_once(failure):
    """Acceptance 89: what cannot become right is not tried again."""
    script = Script(failure)
    with pytest.raises(RestError) as caught:
        script.get()
    assert caught.value is failure and len(script.asked) == 1


def test_a_certificate_that_was_refused_is_not_tried_again():
    """It would be refused again."""
    lost = ConnectionLost("x")
    lost.__cause__ = requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")
    script = Script(lost)
    with pytest.raises(ConnectionLost):
        script.get()
    assert len(script.asked) == 1


@pytest.mark.parametrize("failure", [BUSY, FULL, LOST, LATE, RestError("", "html", status=502)])
def test_what_is_posted_is_sent_once(failure):
    """Acceptance 89: never an order twice, whatever the answer."""
    script = Script(failure)
    with pytest.raises((RestError, ConnectionLost)) as caught:
        script.post(body={"instId": "X"})
    assert len(script.asked) == 1 and script.waits == []
    unsure = failure is LOST or failure.status >= 500
    assert ("not known whether OKX has carried it out" in str(caught.value)) == unsure


def test_what_was_never_connected_was_not_carried_out():
    """The doubt is told only where there is one."""
    lost = ConnectionLost("refused")
    lost.__cause__ = requests.ConnectionError("Caused by NewConnectionError: refused")
    with pytest.raises(ConnectionLost) as caught:
        Script(lost).post(body={})
    assert caught.value is lost


def test_a_full_window_is_waited_for():
    """429 or 50011: nothing goes until OKX's window is over, in no other call either."""
    script = Script(FULL, [{}], draw=0.0)
    script.get()
    assert script.waits == [2.2]
    script.get()
    assert script.waits == [2.2]


def test_a_window_that_stays_full_is_the_errors_own():
    """The answer of OKX is told, not a time-out of ours."""
    with pytest.raises(RestError) as caught:
        Script(FULL, draw=0.0).get(timeout=2)
    assert caught.value is FULL


def test_okxs_limits_are_kept_by_waiting():
    """okx-protocol 10.3: twenty tickers in two seconds; the twenty-first waits, if it has the time."""
    script = Script([{}])
    for _ in range(20):
        script.get()
    with pytest.raises(RestError, match="no room before the time is up; nothing was sent"):
        script.get(timeout=2)
    assert len(script.asked) == 20 and script.waits == []
    script.get(timeout=3)
    assert script.waits == [2.2]
    script.get(path="/api/v5/market/books")
    assert script.waits == [2.2], "other endpoints have limits of their own"


def test_posted_fields_count_as_parameters():
    """cancel-all-after is counted by its tag, which stands in the body."""
    script = Script([{}])
    for tag in ("a", "b", "a"):
        script.post("/api/v5/trade/cancel-all-after", {"timeOut": "10", "tag": tag})
    assert script.waits == [1.1]


class Clock:
    """OKX's clock, as far as a call sees it."""

    def __init__(self):
        self.told = []

    def now_s(self):
        return 1607418537.715 + 60 * self.told.count("doubt")

    def want(self):
        self.told.append("want")

    def doubt(self):
        self.told.append("doubt")

    def wait(self, timeout):
        self.told.append(timeout)
        return True


def test_signatures_are_dated_with_okxs_clock_and_anew_each_time():
    """Acceptance 23: the clock is asked for first; each attempt has a timestamp of its own."""
    clock = Clock()
    script = Script(LATE, [{}], clock=clock)
    script.get(BALANCE)
    assert clock.told == ["want", 2.0, "doubt", "want", 2.0]
    stamps = [asked[3]["OK-ACCESS-TIMESTAMP"] for asked in script.asked]
    assert stamps == ["2020-12-08T09:08:57.715Z", "2020-12-08T09:09:57.715Z"]


def test_a_timestamp_is_doubted_once():
    """The second time it is not the clock; without a clock of OKX's, the first time."""
    for clock, attempts in ((Clock(), 2), (None, 1)):
        script = Script(LATE, clock=clock)
        with pytest.raises(RestError) as caught:
            script.get(BALANCE)
        assert caught.value is LATE and len(script.asked) == attempts


def test_only_what_needs_it_is_signed():
    """Market data goes without a key, also where there is one; `signed` overrules."""
    script = Script([{}])
    script.get(PATH)
    script.get(BALANCE)
    script.calls.call("GET", PATH, {}, timeout=1, signed=True)
    script.calls.call("GET", "/api/v5/some/thing", {}, timeout=1, signed=False)
    assert [asked[3] is not None for asked in script.asked] == [False, True, True, False]


def test_a_signed_call_without_a_key_or_in_the_clear_is_refused():
    """Before anything is sent; loopback is not the network."""
    script = Script([{}])
    script.calls._credentials = Credentials()
    with pytest.raises(UsageError, match="needs a login"):
        script.get(BALANCE)
    script = Script([{}])
    script.url = "http://rest.invalid"
    with pytest.raises(UsageError, match="the key would travel in the clear"):
        script.get(BALANCE)
    with pytest.raises(UsageError, match="in the clear"):
        script.post(body={})
    assert script.asked == []
    script.get(PATH)
    script.url = "http://127.0.0.1:8080"
    script.get(BALANCE)
    assert len(script.asked) == 2


def test_a_wait_ends_when_the_client_is_stopped():
    """Within a pause, too."""
    script = Script(BUSY)
    script.stopped = True
    with pytest.raises(ManagerClosed):
        script.get()
    assert len(script.waits) == 1


def test_time_that_is_up_sends_nothing():
    """OKX's clock may take all there is: an order that leaves in the last moment would have an unknown end."""
    clock = Clock()
    script = Script([{}], clock=clock)
    clock.wait = lambda timeout: script.wait(timeout)
    with pytest.raises(RestError, match="before anything was sent"):
        script.post(body={}, timeout=1.5)
    assert script.asked == [] and script.time == 1001.5


def test_a_very_long_time_is_a_day():
    """The system's own waits have a bound; nobody waits for 1e300 seconds."""
    script = Script([{}])
    script.get(timeout=1e300)
    assert script.asked[0][2] == 1000.0 + 86_400


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "1", None])
def test_a_time_out_is_a_number(timeout):
    """There is no call without one."""
    script = Script([{}])
    with pytest.raises(UsageError, match="timeout"):
        script.get(timeout=timeout)
    assert script.asked == []
