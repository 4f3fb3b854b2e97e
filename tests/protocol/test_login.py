"""`protocol.login`: the login state machine."""

import pytest

from okx_ws.protocol.login import Login


@pytest.fixture
def login():
    """A login with credentials, on the local clock."""
    return Login(True, "tried wss://ws.okx.com")


def test_a_lost_link_forgets_a_login_but_not_its_back_off(login):
    """Nobody is logged in on a new link; a busy server is not asked earlier because of it."""
    login.asked(10)
    login.rejected("63999", "busy", now=5)
    login.link_lost()
    assert login.state == "none" and login.ready_at(5) == 6
    login.asked(20)
    login.accepted()
    login.link_lost()
    assert login.state == "none" and login.answer_by == float("inf")


@pytest.mark.parametrize("code", ["60005", "60007", "60009", "60024", "60032", "50101", "50110", "60004"])
def test_a_bad_key_is_given_up_for_good(login, code):
    """Acceptance 20: no retry with the same wrong credentials, not on the next link either."""
    login.asked(10)
    assert login.rejected(code, "no", now=1) is None
    assert (login.error.code, login.error.msg) == (code, "no")
    assert "tried wss://ws.okx.com" in str(login.error)
    login.link_lost()
    assert login.state == "refused" and not login.possible


def test_a_busy_server_is_asked_again_later(login):
    """63999 and the like are worth a retry, at growing distances, for ever."""
    delays = []
    for _ in range(8):
        login.asked(10)
        delays.append(login.rejected("63999", "busy", now=5))
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]
    assert login.not_before == 35


class Clock:
    """A clock whose readiness the test sets; notes what it was asked."""

    def __init__(self, known=False):
        self.known = self.settled = known
        self.asked = []

    def want(self):
        self.asked.append("want")

    def doubt(self):
        self.asked.append("doubt")
        self.known = self.settled = False


def test_the_first_login_waits_for_the_clock_but_not_for_long():
    """Two seconds; once it is known, nothing waits."""
    clock = Clock()
    login = Login(True, "", clock)
    assert login.ready_at(100) == 102 and login.ready_at(101) == 102
    assert clock.asked == ["want"]
    assert login.ready_at(102) <= 102 and login.on_local_time
    clock.settled = True
    assert login.ready_at(101) <= 101 and login.on_local_time, "it could not be asked: no reason to wait"
    clock.known = True
    assert login.ready_at(101) <= 101 and not login.on_local_time


def test_a_stale_timestamp_has_the_clock_asked_anew_and_is_retried_once():
    """60006: one resync, one retry; a second one in a row is final."""
    clock = Clock(known=True)
    login = Login(True, "", clock)
    login.asked(10)
    assert login.rejected("60006", "expired", now=5) == 0
    assert clock.asked == ["doubt"] and login.ready_at(5) == 7
    clock.known = clock.settled = True
    assert login.ready_at(5.1) <= 5.1
    login.asked(10)
    assert login.rejected("60006", "expired", now=6) is None
    assert login.state == "refused"


def test_a_stale_timestamp_without_a_clock_is_final(login):
    """Acceptance 23: nothing would be different the next time."""
    login.asked(10)
    assert login.rejected("60006", "expired", now=0) is None
    assert "clock_sync" in str(login.error)


@pytest.mark.parametrize(
    ("code", "msg", "id", "others", "answer"),
    [
        ("60009", "Login failed.", None, True, True),
        ("60012", "Illegal request", None, False, True),
        ("60012", 'Illegal request: {"op":"login","args":[', None, True, True),
        ("60012", 'Illegal request: {"op":"subscribe","args":[', None, True, False),
        ("60099", "Invalid apiKey", None, True, True),
        ("60018", "wrong", None, True, False),
        ("60018", "wrong", None, False, False),
        ("60099", "channel:orders doesn't exist", None, False, False),
        ("60009", "Login failed.", "s1", False, False),
    ],
)
def test_which_errors_answer_a_login(login, code, msg, id, others, answer):
    """No id comes back with a login: its answer is told by its code, its words, or being alone in flight."""
    assert not login.is_answer(code, msg, id, others), "nothing was asked"
    login.asked(10)
    assert login.is_answer(code, msg, id, others) is answer
    login.accepted()
    assert not login.is_answer(code, msg, id, others)
