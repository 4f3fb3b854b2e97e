"""What OKX answers, each brought to what it answers: a request, the login, or a call.

Law. An acknowledgement names its arg and is the stream's; what fits nothing in flight is the server's own doing. An
error is asked about in this order, and belongs to the first that knows it: the login, while its answer is due; the
calls, by their id; calls that are over; requests, by the rules of `requests`. What belongs to nothing is a notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import codec
from .calls import Calls, codes_in, is_own
from .login import Login
from .requests import Requests
from .standing import Standing
from .subscriptions import Subscriptions
from .telling import Teller

__all__ = ["Answers"]


def id_of(message: Mapping[str, Any]) -> str | None:
    """Return the id of a request that a frame answers, if it names one."""
    id = message.get("id")
    return id if isinstance(id, str) else None


class Answers:
    """Settles the events and replies of one endpoint. Calls go from session to session: they are given each time.

    Args:
        subscriptions: The streams.
        requests: Knows what was asked of the link.
        standing: Told what became of streams.
        login: Told what became of the login.
        teller: Told what is nobody's answer.
    """

    def __init__(
        self, subscriptions: Subscriptions, requests: Requests, standing: Standing, login: Login, teller: Teller
    ) -> None:
        self._subscriptions = subscriptions
        self._requests = requests
        self._standing = standing
        self._login = login
        self._teller = teller

    def event(self, message: dict[str, Any], calls: Calls, now: float) -> None:
        """Settle an event of the server."""
        self._teller.learn_link(message)
        event = message["event"]
        if event in ("subscribe", "unsubscribe") and isinstance(message.get("arg"), dict):
            self._acked(event, message, now)
        elif event == "login" and str(message.get("code", "0")) == "0":
            self._login.accepted()
            self._teller.notice("logged in")
        elif event == "login":
            self._login_refused(self._teller.code_of(message), str(message.get("msg", "")), calls, now)
        elif event == "error":
            self._error(message, calls, now)
        elif event == "channel-conn-count-error":
            msg = f"too many connections on this channel: {self._teller.blot(str(message.get('connCount')))}"
            self._standing.crowded(message.get("channel"), msg)
        else:
            self._teller.notice(str(message.get("msg") or event), message)

    def reply(self, message: dict[str, Any], calls: Calls, now: float) -> bool:
        """Settle the reply to a call; return whether somebody waited for it."""
        # What is refused is told in an error; accepted orders, which are many, need not be searched for secrets.
        told = message if codes_in(message) == {"0"} else self._teller.blot_frame(message)
        if calls.replied(told, now):
            return True
        if is_own(message.get("id")):
            self._teller.late_reply(message)
        else:  # sent by hand
            self._teller.notice(f"a reply nobody waits for: op {message['op']}", message)
        return False

    def _acked(self, op: str, message: dict[str, Any], now: float) -> None:
        stream = self._requests.acked(op, id_of(message), message["arg"])
        if stream is not None and op == "subscribe":
            self._standing.active(stream, now)
        elif stream is not None:
            self._standing.left(stream)
        else:
            known = self._subscriptions.with_key(codec.arg_key(message["arg"]))
            if op == "unsubscribe":
                self._standing.dropped(known, now)
            else:
                self._standing.found(known, message["arg"], now)
        self._standing.refused(self._requests.eliminated(), now)

    def _error(self, message: dict[str, Any], calls: Calls, now: float) -> None:
        code, msg, id = self._teller.code_of(message), str(message.get("msg", "")), id_of(message)
        if self._login.is_answer(code, msg, id, self._requests.waiting):
            self._login_refused(code, msg, calls, now)
            return
        if calls.refused(code, self._teller.blot(msg), id, now):
            if code == "60011":
                self._login.link_lost()  # whatever we thought, nobody is logged in
            return
        if is_own(id):
            self._teller.late_reply(message)
            return
        hits = self._requests.refused(code, msg, id, self._login.state == "done")
        if not hits and not self._requests.waiting:
            self._teller.notice(msg, message)
        self._standing.refused(hits + self._requests.eliminated(), now)

    # ------------------------------------------------------------------ the login

    def _login_refused(self, code: str, msg: str, calls: Calls, now: float) -> None:
        if self._login.outdated:  # it was about the old key
            return
        if code == "60031":  # "no multiple or repeated login": we are logged in already
            self._login.accepted()
            return
        msg = self._teller.blot(msg)
        delay = self._login.rejected(code, msg, now)
        if delay is None:
            self.refuse_login(code, msg, calls)
        else:
            self._teller.tell("login_failed", code=code, msg=msg, delay_s=delay)

    def refuse_login(self, code: str, msg: str, calls: Calls) -> None:
        """The key is of no use (refused, changed or deleted): fail what needs a login, for good."""
        error = self._login.give_up(code, msg)
        told = f"{msg} ({error.remedy})" if error.remedy else msg
        self._teller.tell("login_failed", code=code, msg=told)
        self._standing.login_refused(error)
        calls.end(error)
