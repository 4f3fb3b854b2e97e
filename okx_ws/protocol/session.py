"""One endpoint's conversation with OKX: login, subscriptions, heartbeat, and the sorting of what arrives.

Law. The caller tells what arrived (`receive`) and what time it is (`pump`); the session answers with batches for
outlets, with texts to send, and with events. It keeps its wishes over lost links and says everything anew on the next
one: at once what needs no login, and after the login's answer what needs it.

It is put together from parts, each in a file of its own name with a law of its own. A part knows some of those above it
and none below:

    `Subscriptions`            the streams: who wants each, and where the link stands with it
    `Routes` (routing)         from the head of a message to its outlet
    `Login`                    the login of the link, and the key
    `Requests`                 what was asked, and whose each answer is
    `Calls`                    requests that are answered by a reply: orders and the like
    `Teller` (telling)         events, without secrets
    `Holes`                    what is missing from a stream, and what ends that
    `Sorter` (sorting)         what arrived: data to its outlet, the rest to us
    `Silence`                  streams that have stalled
    `Standing`                 what an answer does to a stream, or the want of one
    `Asking`                   what to ask of OKX next, and when
    `Answers`                  what each answer of OKX's is about
    `Twins`                    the same arg on two sessions, and streams that move
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config import Credentials, Settings
from ..errors import LoginError
from ..events import Event
from .answers import Answers
from .asking import ANSWER_S, LOGIN, Asking
from .calls import Calls, Pace
from .heartbeat import Heartbeat
from .holes import Holes
from .login import ClockState, Login
from .requests import Requests
from .routing import Batch, Outlet, Routes
from .silence import Silence
from .sorting import Control, Sorter
from .standing import Standing
from .subscriptions import Stream, Subscriptions
from .telling import Teller
from .twins import Twins

__all__ = ["ANSWER_S", "LOGIN", "PING", "LinkFault", "Session"]

PING = "ping"


class LinkFault(Exception):
    """The link has to be ended: its text says why."""


class Session:
    """The conversation on one endpoint; lives longer than any link.

    Not thread-safe: its owner calls it under one mutex, never during I/O, a wait, or user code.

    Args:
        endpoint: ``"public"``, ``"private"`` or ``"business"``.
        settings: Times and limits.
        outlet_of: Makes the outlet of a route, see `Routes`.
        credentials: With them logins are asked for; they are taken out of what OKX says before it is told.
        hint: Added to the remedy of a refused login: where it was tried.
        clock: OKX's, which logins are signed with; None: the local clock.
        pace: Says when calls may go; see `Calls`.
    """

    def __init__(
        self,
        endpoint: str,
        settings: Settings,
        outlet_of: Callable[[list[Stream], Mapping[str, Any]], Outlet | None],
        *,
        credentials: Credentials | None = None,
        hint: str = "",
        clock: ClockState | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        #: Told and not yet taken by the owner, who leaves another list.
        self.events: list[Event] = []
        #: A link is up.
        self.up = False
        #: Pings sent and pongs received on this link.
        self.pings = self.pongs = 0
        #: A login is wanted even if nothing that is subscribed needs one.
        self.login_wanted = False
        #: Messages that could not be read, over all links.
        self.malformed = 0
        self.heartbeat = Heartbeat(settings.ping_interval, settings.pong_timeout, 0.0)
        self._outbox: list[str] = []
        self._up_since = 0.0

        self.subscriptions = streams = Subscriptions()
        self.routes = routes = Routes(streams, outlet_of)
        self.login = login = Login(bool(credentials), hint, clock)
        self._requests = requests = Requests(streams)
        self.calls = Calls(pace)
        self.teller = teller = Teller(endpoint, credentials or Credentials(), self._keep)
        self.holes = holes = Holes(routes, teller, settings.markers, clock)
        self._sorter = Sorter(routes, settings.markers, holes.malformed)
        self._silence = silence = Silence(streams, holes, teller, self.resubscribe)
        self._standing = standing = Standing(
            streams, routes, requests, login=login, holes=holes, silence=silence, teller=teller
        )
        self._asking = asking = Asking(
            settings.limits, streams, requests, standing=standing, login=login, teller=teller
        )
        self._answers = Answers(streams, requests, standing, login, teller)
        self._twins = Twins(streams, routes, requests, holes=holes, silence=silence, standing=standing, asking=asking)

    def _keep(self, event: Event) -> None:
        self.events.append(event)

    # ------------------------------------------------------------------ wishes

    def subscribe(
        self, arg: Mapping[str, str], needs_login: bool, holder: Any, max_silence: float | None = None
    ) -> Stream:
        """Want `arg` for `holder`; sent with the next `pump`, if no stream of it is there already.

        Of several `max_silence` the shortest holds.
        """
        stream, new = self.subscriptions.want(arg, needs_login, holder)
        if new:
            for sibling in self.subscriptions.siblings(stream):
                self.routes.removed(sibling)  # their pushes are this one's too
        self.routes.changed()
        self.routes.reconnect([stream])
        if max_silence is not None:
            stream.max_silence = min(max_silence, stream.max_silence or max_silence)
            self._silence.look()
        self._standing.wanted(stream)
        self.nudge()
        return stream

    def unsubscribe(self, stream: Stream, holder: Any) -> None:
        """`holder` no longer wants `stream`; told to the server when the last one leaves."""
        if holder in stream.holders:
            stream.holders.remove(holder)
            self.holders_changed(stream)

    def holders_changed(self, stream: Stream) -> None:
        """Who holds a stream has changed."""
        self._standing.holders_changed(stream)
        self.nudge()

    def want_twin(self, stream: Stream) -> None:
        """Want what another session's stream wants, as its twin."""
        self._twins.want(stream)

    def take_over(self, stream: Stream) -> None:
        """A stream of another session, whose link is gone, takes the place of its twin here."""
        self._twins.take_over(stream)

    def give(self, stream: Stream, other: Session) -> None:
        """Have `other` carry on with a stream, its hole with it; with a link, the server is told that it leaves."""
        self._twins.give(stream, other._twins)

    def want_snapshots(self, stream: Stream, within_s: float, now: float) -> None:
        """Somebody needs a snapshot of `stream`, now and with each acknowledgement, `within_s` seconds after it."""
        stream.snapshot_s = within_s
        self.resubscribe(stream, now)

    def resubscribe(self, stream: Stream, now: float, told: bool = False) -> bool:
        """Unsubscribe `stream` and subscribe it again on this link, for a new snapshot.

        At once the first time; then after a while, growing until the stream has stood for `HEALTHY_S`. Does nothing,
        and returns False, if that is under way, or the next acknowledgement brings a snapshot anyway. `told`: whoever
        asks for it tells of the hole.
        """
        return self._asking.resubscribe(stream, now, told)

    def withheld(self, stream: Stream, now: float) -> None:
        """The twin has brought long ago what `stream` has not: have it subscribed anew, as if it was silent."""
        self._silence.withheld(stream, now)

    def send(self, text: str) -> bool:
        """Send a text as it is with the next `pump`; False, and nothing is sent, without a link."""
        if self.up:
            self._outbox.append(text)
        return self.up

    def ping(self) -> int:
        """Have a ping sent; when `pongs` is the number returned, all has come that OKX had sent before it saw it."""
        self._outbox.append(PING)
        return self.pings + self._outbox.count(PING)

    def merged(self, merged: bool) -> None:
        """Somebody merges the streams with their twins, or no longer: he wants all markers, and tells of the holes."""
        self._sorter.markers = self.holes.markers = merged or self._settings.markers
        self.holes.merged = merged

    def nudge(self) -> None:
        """Something has changed that may have to be sent, or that requests have waited for."""
        self._asking.nudge()

    def pass_calls(self, other: Session) -> None:
        """Have `other` send the calls that wait, and all to come; those in flight have their replies here."""
        here, moved = self.calls.split(), self.calls
        moved.absorb(other.calls)
        self.calls, other.calls = here, moved

    @property
    def needed(self) -> bool:
        """A link is needed: something is wanted that was not rejected."""
        return any(stream.wanted for stream in self.subscriptions)

    # ------------------------------------------------------------------ the link

    def link_up(self, now: float, ping_interval: float) -> None:
        """A link is open that pings after `ping_interval` seconds; what is wanted goes out with the next `pump`."""
        self.up, self._up_since = True, now
        self.pings = self.pongs = 0
        self.heartbeat = Heartbeat(ping_interval, self._settings.pong_timeout, now)
        self.teller.link_up()
        self.login.link_up()
        self._asking.link_up()

    def link_down(self) -> None:
        """The link is gone: nothing is acknowledged, nobody is logged in; what was active has a hole from here on."""
        self.up = False
        self.holes.link_lost(self.subscriptions, self._up_since)
        self._outbox.clear()
        self.login.link_lost()
        if self.login.outdated:
            self.login_again()
        self._requests.clear()
        self.calls.link_lost()
        swallowed = [stream for stream in self.subscriptions if stream.swallowed]
        for stream in self.subscriptions.link_lost():
            self.routes.removed(stream)
        self.routes.reconnect(swallowed)

    def has_begun(self, stream: Stream) -> bool:
        """Tell whether what a stream sends on this link is missing if it does not come."""
        return self.holes.has_begun(stream, self._up_since)

    def refuse_login(self, code: str, msg: str) -> None:
        """The key is of no use (refused, changed or deleted): fail what needs a login, for good."""
        self._answers.refuse_login(code, msg, self.calls)

    def login_again(self) -> None:
        """There is a new key: log in with it, and ask again for what the old one was refused.

        OKX knows no second login on a link: one that is logged in is ended as soon as no call on it is under way.
        """
        self.nudge()
        if self.login.key_replaced(self.up):
            for stream in self.subscriptions:
                if isinstance(stream.refusal, LoginError):
                    stream.refusal = None
            self.routes.changed()

    @property
    def logged_in(self) -> bool:
        """With the present key, or nothing asks for it."""
        asked = self.login_wanted or any(stream.needs_login and stream.wanted for stream in self.subscriptions)
        return not self.login.outdated and (not asked or self.login.state == "done")

    # ------------------------------------------------------------------ what arrives

    def receive(self, payloads: list[bytes], now: float, now_ms: int) -> list[Batch]:
        """Sort whole text messages that arrived together; return batches for outlets, in order.

        Acknowledgements, errors, pongs and the like are settled here and show in `events`.
        """
        self.holes.now, self.holes.now_ms = now, now_ms
        batches, controls = self._sorter.sort(payloads, now, now_ms)
        for control in controls:
            self._settle(control, now)
        self.heartbeat.life(now)
        return batches + self.holes.take_marked() if self.holes.marked else batches

    @property
    def messages(self) -> int:
        """How many messages came, over all links."""
        return self._sorter.messages

    def _settle(self, control: Control, now: float) -> None:
        kind, content, why = control
        if kind == "event":
            self.nudge()
            self._answers.event(content, self.calls, now)
        elif kind == "pong":
            self.pongs += 1
            self.heartbeat.pong(now)
        elif kind == "ping":
            self._outbox.append("pong")
        elif kind == "reply":
            if self._answers.reply(content, self.calls, now) and self.login.outdated:
                self.nudge()  # the end of the link waits for the last reply
        elif kind == "over":
            self.holes.over(*content)
        elif kind == "unmatched":
            self.teller.unmatched(content)
        else:
            self.malformed += 1
            self.teller.malformed(content, why)

    # ------------------------------------------------------------------ what to send

    def pump(self, now: float, idle: bool = True, room: bool = True) -> list[str]:
        """Return the texts to send now; `idle`: all that has arrived has been told; `room`: see `Calls.pump`.

        `PING` among them: a control ping goes with it. `LOGIN` stands for a login, signed when it is sent: making one
        may call users' code, which must not run under the owner's mutex.

        Raises:
            LinkFault: The link gives no sign of life, or no answer to the login.
        """
        if not self.up:
            return []
        texts, self._outbox = self._outbox, []
        beat = self.heartbeat.check(now, idle) if now >= self.heartbeat.due else ""
        if beat == "dead":
            raise LinkFault(f"no sign of life for {self._settings.pong_timeout:g} s after a ping")
        if beat == "ping":
            texts.append(PING)
        self.pings += texts.count(PING)
        if idle and now >= self.login.answer_by:
            self._login_overdue(now)
        if idle and now >= self._silence.due and (stalled := self._silence.check(now)):
            raise LinkFault(stalled)
        if now >= self._asking.due:
            texts += self._asking.texts(now, self.login_wanted)
        texts += self.calls.pump(now, self.login.state == "done" and not self.login.outdated, room)
        if self.login.outdated and not self.calls.in_flight:
            raise LinkFault("the key was replaced: a new link logs in with the new one")
        if self.login.error is not None and not self.needed:
            raise LinkFault("the login was refused, and nothing else is wanted here")
        return texts

    def _login_overdue(self, now: float) -> None:
        """The login was not answered: end the link, unless it serves others who need none."""
        told = f"no answer to the login in {ANSWER_S:g} s"
        if not any(stream.acked and not stream.needs_login for stream in self.subscriptions):
            raise LinkFault(told)
        delay = self.login.unanswered(now)
        self.nudge()
        self.teller.tell("login_failed", msg=told, delay_s=delay)

    @property
    def due(self) -> float:
        """When `pump` has something to do, if nothing happens before."""
        if self._outbox:
            return 0.0
        return min(self.heartbeat.due, self._asking.due, self.login.answer_by, self._silence.due, self.calls.due)
