"""What to ask of OKX next, and when: login, unsubscribe and subscribe, until wire and wishes agree.

Law. A stream is asked for when its wish and its wire differ, no answer about it is due, and its pause after a refusal
is over; what needs a login, after the login. Requests go within the budget, as many streams in each as a frame holds;
what the budget does not let through, goes later. An answer that is overdue is given up: what flows is there, whatever
became of its acknowledgement, and all else is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..config import Limits
from .budget import RequestBudget, chunks
from .login import Login, retry_delay
from .requests import Refusal, Requests
from .standing import HEALTHY_S, Standing
from .subscriptions import Stream, Subscriptions
from .telling import Teller

__all__ = ["ANSWER_S", "LOGIN", "Asking"]

#: An answer (to a login, a subscribe, an unsubscribe) that has not come by then will not come; captures show 2-600 ms.
ANSWER_S = 10.0

#: Stands for a login among the texts to send, see `Session.pump`.
LOGIN = "login"

#: Room for the envelope around the args of a request.
ENVELOPE_BYTES = 100


class Asking:
    """The asking of one endpoint, over all its links.

    Args:
        limits: OKX's limits.
        subscriptions: The streams, with their wishes.
        requests: Notes what was asked.
        standing: Told what became of streams without an answer.
        login: The login of the link.
        teller: Told of long waits.

    Attributes:
        due: When `texts` has something to do, if nothing happens before.
    """

    def __init__(
        self,
        limits: Limits,
        subscriptions: Subscriptions,
        requests: Requests,
        *,
        standing: Standing,
        login: Login,
        teller: Teller,
    ) -> None:
        self._limits = limits
        self._subscriptions = subscriptions
        self._requests = requests
        self._standing = standing
        self._login = login
        self._teller = teller
        self._budget = RequestBudget(limits)
        self._told_waiting = False
        self._last_op = ""
        self.due = 0.0

    def link_up(self) -> None:
        """A link is open: OKX counts requests a connection."""
        self._budget = RequestBudget(self._limits)
        self.nudge()

    def nudge(self) -> None:
        """Something has changed that may have to be sent, or that requests have waited for."""
        self.due = 0.0

    def resubscribe(self, stream: Stream, now: float, told: bool = False) -> bool:
        """Have a stream unsubscribed and subscribed again, see `Session.resubscribe`."""
        if stream.wire != "on" or not stream.wanted or stream.anew:
            return False
        if now >= stream.on_since + HEALTHY_S:
            stream.attempts = 0
        stream.not_before = now + retry_delay(stream.attempts) if stream.attempts else 0.0
        stream.attempts += 1
        stream.anew, stream.snapshot_by, stream.broken = True, float("inf"), told
        self.nudge()
        return True

    def texts(self, now: float, login_wanted: bool) -> list[str]:
        """Give up overdue answers, then return what to send now; `LOGIN` stands for a login.

        Args:
            now: The time, monotonic.
            login_wanted: A login is wanted even if nothing that is subscribed needs one.
        """
        self._overdue(now)
        self._missing_snapshots(now)
        self.due = min((s.snapshot_by for s in self._subscriptions if s.wire == "on"), default=float("inf"))
        ready = []
        for stream in self._subscriptions:
            if stream.unsettled and stream.not_before > now:
                self._look_at(stream.not_before)
            elif stream.unsettled:
                ready.append(stream)
        locked = self._login.possible and self._login.state != "done"
        texts: list[str] = []
        if locked and self._login.state == "none":
            if login_wanted or any(stream.wire == "off" and stream.needs_login for stream in ready):
                texts += self._ask_login(now)
        work = {
            "subscribe": [s for s in ready if s.wire == "off" and not (s.needs_login and locked)],
            "unsubscribe": self._leaving([s for s in ready if s.wire == "on"]),
        }
        # In turns, so that neither starves the other when the budget lets one request through at a time.
        for op in sorted(work, key=lambda op: op == self._last_op):
            texts += self._ask(op, work[op], now)
        self._look_at(self._requests.next_overdue())
        return texts

    def _ask_login(self, now: float) -> list[str]:
        at = self._login.ready_at(now)
        if at > now:
            self._look_at(at)
        elif self._may_ask(now):
            self._budget.take(now)
            if self._login.on_local_time:
                self._teller.notice("OKX's clock is not known yet: this login is signed with the local one")
            self._login.asked(now + ANSWER_S)
            return [LOGIN]
        return []

    def _leaving(self, streams: Iterable[Stream]) -> list[Stream]:
        """Return those the server is to be told of: not one whose key is still wanted with other extraParams."""
        told = []
        for stream in streams:
            if not stream.anew and any(sibling.wanted for sibling in self._subscriptions.siblings(stream)):
                self._standing.left(stream)
            else:
                told.append(stream)
        return told

    def _ask(self, op: str, streams: list[Stream], now: float) -> list[str]:
        together = {stream.text: stream for stream in streams if not stream.alone}
        room = self._limits.frame_bytes - ENVELOPE_BYTES
        batches = [[together[text] for text in chunk] for chunk in chunks(together, room)]
        texts = []
        for batch in [*batches, *([stream] for stream in streams if stream.alone)]:
            if not self._may_ask(now):
                break
            self._budget.take(now)
            self._last_op = op
            texts.append(self._requests.send(op, batch, now, now + ANSWER_S))
        return texts

    def _may_ask(self, now: float) -> bool:
        """Tell whether the budget has room for a request; if not, look again when it has, and tell a long wait once."""
        at = self._budget.ready_at(now)
        if at <= now:
            self._told_waiting = False
            return True
        self._look_at(at)
        if at > now + 1 and not self._told_waiting:
            self._told_waiting = True
            limit = self._limits.requests_per_h
            self._teller.notice(f"requests wait {at - now:.1f} s: OKX allows {limit} an hour and connection")
        return False

    def _look_at(self, at: float) -> None:
        self.due = min(self.due, at)

    # ------------------------------------------------------------------ what did not come

    def _overdue(self, now: float) -> None:
        """Settle what has not been answered in time: by the data that flows, else by asking again."""
        for streams, errors in self._requests.overdue(now):
            silent = []
            for stream in streams:
                if stream.wire == "leaving":
                    self._standing.left(stream)
                elif stream.flows:
                    self._standing.active(stream, now)  # its data flows: what was lost is the acknowledgement
                else:
                    silent.append(stream)
            if len(silent) <= len(errors):
                refusals = [Refusal(s, *e, guessed=True) for s, e in zip(silent, errors, strict=False)]
                self._standing.refused(refusals, now)
                continue
            for stream in silent:
                stream.alone = bool(errors)  # one of them was refused: the next answers will tell which
                self._standing.later(stream, "", f"no answer in {ANSWER_S:g} s", now)

    def _missing_snapshots(self, now: float) -> None:
        """Ask anew for what was acknowledged long ago and has brought nothing since."""
        for stream in self._subscriptions:
            if stream.snapshot_by > now or stream.wire != "on":
                continue
            stream.snapshot_by = float("inf")
            if not any(route.last_at >= stream.on_since for route in stream.routes):
                self.resubscribe(stream, now)
                told = f"acknowledged, but no snapshot in {stream.snapshot_s:g} s; attempt {stream.attempts} to mend it"
                delay_s = max(0.0, stream.not_before - now)
                self._teller.tell("subscribe_failed", stream.arg, msg=told, delay_s=delay_s)
