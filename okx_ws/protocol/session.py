"""One endpoint's conversation with OKX: login, subscriptions, heartbeat, and the sorting of what arrives.

Law. The caller tells what arrived (`receive`) and what time it is (`pump`); the session answers with batches for
outlets, with texts to send, and with events. It keeps its wishes over lost links and says everything anew on the next
one: at once what needs no login, and after the login's answer what needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config import Credentials, Settings
from ..errors import ExchangeError, LoginError, SubscribeError
from ..events import Event
from . import codec, gaps
from .budget import RequestBudget, chunks
from .calls import Calls, is_own
from .codes import RETRY_CODES, remedy
from .heartbeat import Heartbeat
from .login import ClockState, Login, retry_delay
from .requests import Refusal, Requests
from .routing import Outlet, Routes
from .sorting import Batch, Control, Sorter, end_hole
from .subscriptions import Stream, Subscriptions

__all__ = ["LOGIN", "PING", "LinkFault", "Session", "first_words"]

#: An answer (to a login, a subscribe, an unsubscribe) that has not come by then will not come; captures show 2-600 ms.
ANSWER_S = 10.0

#: The code of the notice that the link will be closed for an upgrade, about a minute before it is.
CLOSING = "64008"

PING = "ping"
LOGIN = "login"

#: A subscription that stood this long and is then lost starts its retries anew.
HEALTHY_S = 60.0

#: Room for the envelope around the args of a request.
ENVELOPE_BYTES = 100


def id_of(message: Mapping[str, Any]) -> str | None:
    """Return the id of a request that a frame answers, if it names one."""
    id = message.get("id")
    return id if isinstance(id, str) else None


def first_words(payload: bytes, credentials: Credentials) -> str:
    """Return the beginning of a payload, without secrets: blotted before it is cut, lest half of one stays."""
    return credentials.blot(payload[:4096].decode("utf-8", "replace"))[:80]


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
        clock: What logins are signed with; None: the local clock.
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
    ) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._credentials = credentials or Credentials()
        self._login = Login(bool(credentials), hint, clock)
        self.subscriptions = Subscriptions()
        self._asked = Requests(self.subscriptions)
        #: Requests that are answered by a reply: orders and the like.
        self.calls = Calls()
        self.routes = Routes(self.subscriptions, outlet_of)
        self._sorter = Sorter(self.routes, settings.markers, self._malformed)
        #: Told and not yet taken by the owner.
        self.events: list[Event] = []
        #: Markers of holes that no message ends: an acknowledgement did, or nothing will. Not yet taken by the owner.
        self.marked: list[Batch] = []
        #: A link is up.
        self.up = False
        #: OKX's name of the present link; None until its first event.
        self.conn_id: str | None = None
        self.heartbeat = Heartbeat(settings.ping_interval, settings.pong_timeout, 0.0)
        self._budget = RequestBudget(settings.limits)
        self._outbox: list[str] = []
        self._up_since = 0.0
        #: The wall clock when something last arrived, Unix ms.
        self._now_ms = 0
        #: Something may have to be sent.
        self._dirty = False
        #: When the streams are to be looked at again, dirty or not.
        self._look_at = 0.0
        self._told_waiting = False
        #: When the silence of streams is to be looked at.
        self._silence_at = float("inf")
        #: Pings sent and pongs received on this link.
        self.pings = self.pongs = 0
        #: OKX has said that it will close this link (64008).
        self.notice = False
        #: A login is wanted even if nothing that is subscribed needs one.
        self.login_wanted = False
        #: The key was replaced while this link was logged in with the old one: it is ended once its calls are answered.
        self._outdated = False
        #: The present or last link knew only a key that was replaced: what OKX said of its key says nothing any more.
        self.old_key = False
        self._last_op = ""
        #: Messages that could not be read, over all links.
        self.malformed = 0

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
            self._silence_at = 0.0
        if stream.needs_login and self._login.error is not None:
            self._fail(stream, self._login.error)
        self._dirty = True
        return stream

    def unsubscribe(self, stream: Stream, holder: Any) -> None:
        """`holder` no longer wants `stream`; told to the server when the last one leaves."""
        if holder in stream.holders:
            stream.holders.remove(holder)
            self.holders_changed(stream)

    def holders_changed(self, stream: Stream) -> None:
        """Who holds a stream has changed."""
        self.routes.reconnect([stream])
        if not stream.holders:
            self.routes.changed()
            if stream.wire == "off":
                self._forget(stream)
        self._dirty = True

    def want_twin(self, stream: Stream) -> None:
        """Want what another session's stream wants, as its twin."""
        twin = self.subscriptions.want_twin(stream)
        if twin.max_silence is not None:
            self._silence_at = 0.0
        self.routes.changed()
        self.holders_changed(twin)
        if twin.needs_login and self._login.error is not None and twin.refusal is None:
            self._fail(twin, self._login.error)

    def take_over(self, stream: Stream) -> None:
        """A stream of another session, whose link is gone, takes the place of its twin here."""
        twin, routes = stream.twin, stream.routes[:]
        assert twin is not None
        told = any(route.last_at for route in [*routes, *twin.routes])  # by whoever merges the two
        self._asked.replace(twin, stream)
        self.subscriptions.replace(twin, stream)
        if told or stream.covered:
            stream.hole_since_ms = None
        stream.take_over(twin)
        self.routes.inherit(stream, routes)
        self._silence_at, self._dirty = 0.0, True

    def give(self, stream: Stream, other: Session) -> None:
        """Have `other` carry on with a stream, its hole with it; only while this session has no link.

        A twin is left behind: what it would bring until the stream is active again counts as missing.
        """
        twin = stream.twin
        if twin is not None:
            self._begin_hole(stream, "disconnect")
            stream.twin = twin.twin = None
        routes = stream.routes[:]
        self.routes.removed(stream)
        self.subscriptions.forget(stream)
        other.subscriptions.add(stream)
        other.routes.changed()
        other.routes.inherit(stream, routes)
        other._silence_at = 0.0
        other._dirty = True

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
        if stream.wire != "on" or not stream.wanted or stream.anew:
            return False
        if now >= stream.on_since + HEALTHY_S:
            stream.attempts = 0
        stream.not_before = now + retry_delay(stream.attempts) if stream.attempts else 0.0
        stream.attempts += 1
        stream.anew, stream.snapshot_by, stream.broken = True, float("inf"), told
        self._dirty = True
        return True

    def send(self, text: str) -> bool:
        """Send a text as it is with the next `pump`; False, and nothing is sent, without a link."""
        if self.up:
            self._outbox.append(text)
        return self.up

    def ping(self) -> int:
        """Have a ping sent; when `pongs` is the number returned, all has come that OKX had sent before it saw it."""
        self._outbox.append(PING)
        return self.pings + self._outbox.count(PING)

    def mark_holes(self, always: bool) -> None:
        """Put markers before messages that follow a hole: always, for who merges them; or as the settings say."""
        self._sorter.markers = always or self._settings.markers

    def nudge(self) -> None:
        """Something outside has changed that requests may have waited for."""
        self._dirty = True

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
        self.up, self.conn_id, self.old_key = True, None, False
        self.pings = self.pongs = 0
        self.notice = False
        self._up_since = now
        self.heartbeat = Heartbeat(ping_interval, self._settings.pong_timeout, now)
        self._budget = RequestBudget(self._settings.limits)
        self._dirty = True

    def link_down(self) -> None:
        """The link is gone: nothing is acknowledged, nobody is logged in; what was active has a hole from here on."""
        self.up = False
        for stream in self.subscriptions:
            # Data counts as much as an acknowledgement, which may have been lost.
            if not stream.covered and (stream.acked or any(route.last_at >= self._up_since for route in stream.routes)):
                self._begin_hole(stream, "disconnect")
        self._outbox.clear()
        self._login.link_lost()
        if self._outdated:
            self.login_again()
        self._asked.clear()
        self.calls.link_lost()
        for stream in self.subscriptions.link_lost():
            self.routes.removed(stream)

    def share_hole(self, stream: Stream) -> None:
        """What is missing from the twin, is missing: whichever is first to bring something tells it."""
        twin = stream.twin
        if twin is not None and stream.hole_since_ms is None:
            stream.hole_since_ms, stream.hole_cause = twin.hole_since_ms, twin.hole_cause
            self.routes.forget_heads(stream)

    def _begin_hole(self, stream: Stream, cause: str, since_ms: int | None = None, told: bool = True) -> None:
        """What a stream sends from here on until its next message is missing; its outlets are made anew."""
        if stream.hole_since_ms is not None:
            return
        newest = stream.newest
        seen_ms = None if newest is None else gaps.time_of(newest, newest=True)
        stream.hole_since_ms = since_ms = since_ms or seen_ms or stream.active_ms or self._now_ms
        quiet = stream.covered and cause != "stall"  # the twin brings it: nothing is missing
        told = told and not quiet
        stream.gaps += not quiet
        stream.hole_cause, stream.hole_told, stream.hole_last = cause, told, newest
        self.routes.forget_heads(stream)
        if not stream.holders:
            return
        if not stream.routes:
            self.routes.of_arg(stream.arg)  # there may never come a message that would make it
        self.routes.reconnect([stream])
        if told:
            hole = {"cause": cause, "since_ms": since_ms}
            self._tell("gap", stream, msg=f"{cause}: what came after {since_ms} (Unix ms) is missing", data=hole)

    def _malformed(self, stream: Stream, payload: bytes, now_ms: int) -> None:
        self._begin_hole(stream, "malformed", gaps.time_of(payload) or now_ms)

    def _hole_over(self, stream: Stream, marker: bytes) -> None:
        """A hole has ended with what came: tell how, unless somebody else does, later."""
        stalled, stream.stalls = stream.stalls > 0, 0
        told = codec.decode(marker)
        if stream.held:
            return
        stream.repairs += told["repaired"]
        if not stream.hole_told:
            return
        if told["repaired"] or stalled:
            msg = "messages flow again" if stalled else "the newest message holds the whole state"
            self._tell("repaired", stream, msg=msg, data=told)
        else:
            bounds = f"between {told['since_ms']} and {told['until_ms']} (Unix ms)"
            self._tell("gap", stream, msg=f"not repaired: what came {bounds} stays missing", data=told)

    def refuse_login(self, code: str, msg: str) -> None:
        """The key is of no use (refused, changed or deleted): fail what needs a login, for good."""
        error = self._login.give_up(code, msg)
        told = f"{msg} ({error.remedy})" if error.remedy else msg
        self.events.append(Event("login_failed", self.endpoint, code=code, msg=told, conn_id=self.conn_id))
        for stream in self.subscriptions:
            if stream.needs_login and stream.wanted:
                self._fail(stream, error)
        self.calls.end(error)

    def login_again(self) -> None:
        """There is a new key: log in with it, and ask again for what the old one was refused.

        OKX knows no second login on a link: one that is logged in is ended as soon as no call on it is under way.
        """
        self._outdated = self.up and self._login.state in ("asked", "done")
        self.old_key = self._outdated or not self.up
        self._dirty = True
        if self._outdated:
            return
        self._login.renew()
        for stream in self.subscriptions:
            if isinstance(stream.refusal, LoginError):
                stream.refusal = None
        self.routes.changed()

    @property
    def logged_in(self) -> bool:
        """With the present key, or nothing asks for it."""
        asked = self.login_wanted or any(stream.needs_login and stream.wanted for stream in self.subscriptions)
        return not self._outdated and (not asked or self._login.state == "done")

    @property
    def login_pending(self) -> bool:
        """The last login was refused with a code that is worth a retry, and has not succeeded since."""
        return self._login.retrying

    @property
    def login_error(self) -> LoginError | None:
        """Why the login was refused for good, or None."""
        return self._login.error

    # ------------------------------------------------------------------ what arrives

    def receive(self, payloads: list[bytes], now: float, now_ms: int) -> list[Batch]:
        """Sort whole text messages that arrived together; return batches for outlets, in order.

        Acknowledgements, errors, pongs and the like are settled here and show in `events`.
        """
        batches, controls = self._sorter.sort(payloads, now, now_ms)
        self._now_ms = now_ms
        for control in controls:
            self._settle(control, now)
        self.heartbeat.life(now)
        return batches + self.take_marked() if self.marked else batches

    def take_marked(self) -> list[Batch]:
        """Hand over the markers of holes that no message ends."""
        taken, self.marked = self.marked, []
        return taken

    @property
    def messages(self) -> int:
        """How many messages came, over all links."""
        return self._sorter.messages

    def _settle(self, control: Control, now: float) -> None:
        kind, content, why = control
        if kind == "event":
            self._event(content, now)
        elif kind == "pong":
            self.pongs += 1
            self.heartbeat.pong(now)
        elif kind == "ping":
            self._outbox.append("pong")
        elif kind == "reply":
            self._replied(content, now)
        elif kind == "over":
            self._hole_over(*content)
        elif kind == "unmatched":
            arg = self._credentials.blot_frame(content)
            self.events.append(
                Event("unmatched", self.endpoint, arg, msg="data for no subscription", conn_id=self.conn_id)
            )
        else:
            self.malformed += 1
            arg = self._credentials.blot_frame(codec.data_head_arg(content.partition(codec.HEAD_END)[0]))
            told = f"{why}: {first_words(content, self._credentials)!r}"
            self.events.append(Event("malformed", self.endpoint, arg, msg=told, conn_id=self.conn_id))

    def _replied(self, message: dict[str, Any], now: float) -> None:
        if self.calls.replied(message, now):
            self._dirty = self._dirty or self._outdated  # which waits for the last reply
            return
        if is_own(message.get("id")):
            self._late_reply(message)
        else:  # sent by hand
            self._notice(message, f"a reply nobody waits for: op {message['op']}")

    def _late_reply(self, message: dict[str, Any]) -> None:
        """An answer to a call that is over: its outcome was told as unknown, and now it is known."""
        code = str(message.get("code", ""))
        op = self._credentials.blot(str(message.get("op", "a call")))
        told = f"the answer to {op} {message['id']} came when its call was over"
        data = self._credentials.blot_frame(message)
        self.events.append(Event("late_reply", self.endpoint, code=code, msg=told, conn_id=self.conn_id, data=data))

    # ------------------------------------------------------------------ events of the server

    def _event(self, message: dict[str, Any], now: float) -> None:
        self.conn_id = message.get("connId") or self.conn_id
        self._dirty = True
        event = message["event"]
        if event in ("subscribe", "unsubscribe") and isinstance(message.get("arg"), dict):
            self._acked(event, message, now)
        elif event == "login" and str(message.get("code", "0")) == "0":
            self._login.accepted()
            self._notice({}, "logged in")
        elif event == "login":
            self._login_refused(str(message["code"]), str(message.get("msg", "")), now)
        elif event == "error":
            self._error(message, now)
        elif event == "channel-conn-count-error":
            self._over_count(message)
        else:
            self._notice(message, str(message.get("msg") or event))

    def _acked(self, op: str, message: dict[str, Any], now: float) -> None:
        stream = self._asked.acked(op, id_of(message), message["arg"])
        if stream is not None and op == "subscribe":
            self._active(stream, now)
        elif stream is not None:
            self._left(stream)
        else:
            known = self.subscriptions.with_key(codec.arg_key(message["arg"]))
            if op == "unsubscribe":
                self._dropped(known, now)
            else:
                self._late_ack(known, message["arg"], now)
        self._refuse_all(self._asked.eliminated(), now)

    def _active(self, stream: Stream, now: float) -> None:
        stream.wire, stream.alone = "on", False
        stream.on_since, stream.active_ms = now, self._now_ms
        stream.snapshot_by = now + stream.snapshot_s
        if stream.max_silence is not None:
            self._silence_at = min(self._silence_at, now + stream.max_silence)
        if stream.refusal is None:
            self._tell("subscribed", stream)
        if stream.held and stream.hole_since_ms is not None and stream.routes:
            # What fills it need not wait for a message: there may be none for long.
            self.marked.append((stream.routes[0].outlet, [end_hole(stream, self._now_ms)]))

    def _left(self, stream: Stream) -> None:
        stream.wire = "off"
        if stream.anew:  # until it is subscribed again nothing comes, for whoever else reads it, too
            for one in [stream, *self.subscriptions.siblings(stream)]:
                self._begin_hole(one, "stall" if stream.stalls else "sequence", told=not stream.broken)
        if not stream.holders:
            self._forget(stream)

    def _dropped(self, streams: list[Stream], now: float) -> None:
        """The server unsubscribed something by itself: it is lost, and asked for again if it is wanted."""
        for stream in streams:
            if stream.wire == "on":
                self._begin_hole(stream, "disconnect")
                self._later(stream, "", "the server unsubscribed it", now)

    def _late_ack(self, streams: list[Stream], arg: Mapping[str, Any], now: float) -> None:
        """The server has something that was not in flight: given up meanwhile, refused by a guess, or forgotten."""
        for stream in streams:
            if stream.wire == "off" and (stream.refusal is None or stream.guessed):
                stream.refusal, stream.guessed = None, False
                self._active(stream, now)
        if not streams and arg and all(isinstance(value, str) and value for value in arg.values()):
            self.subscriptions.adopt(arg)  # nobody wants it: it will be unsubscribed

    def _over_count(self, message: dict[str, Any]) -> None:
        """More than 30 connections on one private channel: every arg of it on this link is dead, ack or not."""
        msg = f"too many connections on this channel: {message.get('connCount')}"
        for stream in list(self.subscriptions):
            if stream.arg["channel"] == message.get("channel") and stream.wanted:
                error = SubscribeError("channel-conn-count-error", msg, "close some of them", stream.arg)
                if stream.wire == "on":
                    stream.wire = "off"  # one that is still in flight is unsubscribed after its ack
                self._fail(stream, error)

    def _notice(self, message: dict[str, Any], msg: str) -> None:
        code = message.get("code")
        self.notice = self.notice or str(code) == CLOSING
        self.events.append(
            Event(
                "notice",
                self.endpoint,
                code=None if code is None else str(code),
                msg=self._credentials.blot(msg),
                conn_id=self.conn_id,
                data=self._credentials.blot_frame(message),
            )
        )

    # ------------------------------------------------------------------ refusals

    def _error(self, message: dict[str, Any], now: float) -> None:
        # The text is searched as it came, and blotted when it is told: a secret may look like a name.
        code, msg, id = str(message.get("code", "")), str(message.get("msg", "")), id_of(message)
        if self._login.is_answer(code, msg, id, self._asked.waiting):
            self._login_refused(code, msg, now)
            return
        if self.calls.refused(code, self._credentials.blot(msg), id, now):
            if code == "60011":
                self._login.link_lost()  # whatever we thought, nobody is logged in
            return
        if is_own(id):
            self._late_reply(message)
            return
        hits = self._asked.refused(code, msg, id, self._login.state == "done")
        if not hits and not self._asked.waiting:
            self._notice(message, msg)
        self._refuse_all(hits + self._asked.eliminated(), now)

    def _login_refused(self, code: str, msg: str, now: float) -> None:
        if self._outdated:  # it was about the old key
            return
        if code == "60031":  # "no multiple or repeated login": we are logged in already
            self._login.accepted()
            return
        msg = self._credentials.blot(msg)
        delay = self._login.rejected(code, msg, now)
        if delay is None:
            self.refuse_login(code, msg)
        else:
            self.events.append(
                Event("login_failed", self.endpoint, code=code, msg=msg, conn_id=self.conn_id, delay_s=delay)
            )

    def _refuse_all(self, refusals: list[Refusal], now: float) -> None:
        for stream, code, msg, guessed in refusals:
            leaving = stream.wire == "leaving"
            if code in RETRY_CODES or (leaving and not stream.attempts):
                self._later(stream, code, msg, now)
            elif leaving and stream.anew:
                self._left(stream)  # to subscribe once more may do as well
            elif leaving:
                # Refused twice: nobody wants it, and a new link will not have it. Its pushes are swallowed till then.
                stream.wire = "on"
                stream.not_before = float("inf")
            elif code == "60011" and self._login.possible and self._login.state != "done":
                stream.wire, stream.needs_login = "off", True
            else:
                self._reject(stream, code, self._credentials.blot(msg), guessed)

    def _later(self, stream: Stream, code: str, msg: str, now: float) -> None:
        """A request failed that is worth sending again, after a while."""
        if stream.wire == "on" and now >= stream.on_since + HEALTHY_S:
            stream.attempts = 0
        stream.attempts += 1
        delay = retry_delay(stream.attempts)
        stream.not_before = now + delay
        if stream.wire == "leaving":
            stream.wire = "on"  # still subscribed: asked to leave again later, unless it is wanted by then
            return
        stream.wire = "off"
        if stream.holders:
            self._tell("subscribe_failed", stream, code or None, self._credentials.blot(msg), delay_s=delay)
        else:
            self._forget(stream)

    def _reject(self, stream: Stream, code: str, msg: str, guessed: bool) -> None:
        stream.wire = "off"
        if not stream.holders:
            self._forget(stream)
            return
        stream.guessed = guessed
        self._fail(stream, SubscribeError(code, msg, remedy(code), stream.arg))

    def _fail(self, stream: Stream, error: ExchangeError) -> None:
        """Reject a stream: its holders' `wait` raises this. A hole it has will not end with a message any more."""
        if stream.live:
            self._begin_hole(stream, "disconnect")
        if stream.hole_since_ms is not None:
            marker = end_hole(stream, self._now_ms)
            if self._sorter.markers or stream.held:
                self.marked += [(route.outlet, [marker]) for route in stream.routes if route.outlet is not None]
            self._hole_over(stream, marker)
        stream.refusal = error
        self.routes.changed()
        self._tell("subscribe_failed", stream, error.code, error.msg)

    # ------------------------------------------------------------------ silence

    def _listen(self, now: float) -> None:
        """Look for streams that have been silent for too long: subscribe them anew, or, if that was in vain, the link.

        The patience doubles with every stall in a row, up to 16 times `max_silence`.

        Raises:
            LinkFault: A stream stayed silent though it was subscribed anew.
        """
        self._silence_at = float("inf")
        in_vain = None
        for stream in self.subscriptions:
            if stream.max_silence is None or stream.wire != "on" or not stream.wanted:
                continue
            heard = max((route.last_at for route in stream.routes), default=0.0)
            patience = stream.max_silence * min(2**stream.stalls, 16)
            at = max(heard, stream.on_since, stream.stalled_at) + patience
            if now < at:
                self._silence_at = min(self._silence_at, at)
                continue
            stream.stalls, stream.stalled_at = stream.stalls + 1, now
            self._begin_hole(stream, "stall")
            if stream.stalls % 2:
                self.resubscribe(stream, now)
                stream.not_before = 0.0  # at once: its patience was the pause
                self._tell("stalled", stream, msg=f"no message for {patience:g} s: it is subscribed anew")
            else:
                in_vain = stream
                self._tell("stalled", stream, msg=f"no message for {patience:g} s more: the link is given up")
        if in_vain is not None:
            raise LinkFault(f"stalled: {in_vain.text} stayed silent, though it was subscribed anew")

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
        beat = self.heartbeat.check(now, idle)
        if beat == "dead":
            raise LinkFault(f"no sign of life for {self._settings.pong_timeout:g} s after a ping")
        if beat == "ping":
            texts.append(PING)
        self.pings += texts.count(PING)
        if idle and now >= self._login.answer_by:
            self._login_overdue(now)
        if idle and now >= self._silence_at:
            self._listen(now)
        if self._dirty or now >= self._look_at:
            texts += self._requests(now)
        texts += self.calls.pump(now, self._login.state == "done" and not self._outdated, room)
        if self._outdated and not self.calls.in_flight:
            raise LinkFault("the key was replaced: a new link logs in with the new one")
        if self._login.error is not None and not self.needed:
            raise LinkFault("the login was refused, and nothing else is wanted here")
        return texts

    def _login_overdue(self, now: float) -> None:
        """The login was not answered: end the link, unless it serves others who need none."""
        told = f"no answer to the login in {ANSWER_S:g} s"
        if not any(stream.acked and not stream.needs_login for stream in self.subscriptions):
            raise LinkFault(told)
        delay = self._login.unanswered(now)
        self._dirty = True
        self.events.append(Event("login_failed", self.endpoint, msg=told, conn_id=self.conn_id, delay_s=delay))

    @property
    def due(self) -> float:
        """When `pump` has something to do, if nothing happens before."""
        if self._dirty or self._outbox:
            return 0.0
        return min(self.heartbeat.due, self._look_at, self._login.answer_by, self._silence_at, self.calls.due)

    def _requests(self, now: float) -> list[str]:
        """Bring wishes and wire together: give up overdue answers, then log in, unsubscribe, subscribe."""
        self._overdue(now)
        self._look_at = float("inf")
        self._missing_snapshots(now)
        self._dirty = False
        texts: list[str] = []
        ready = [stream for stream in self.subscriptions if stream.unsettled]
        for stream in ready:
            if stream.not_before > now:
                self._look_at = min(self._look_at, stream.not_before)
        ready = [stream for stream in ready if stream.not_before <= now]
        locked = self._login.possible and self._login.state != "done"
        asking = self.login_wanted or any(s.wire == "off" and s.needs_login for s in ready)
        if locked and self._login.state == "none" and asking:
            if self._may_send(now, self._login.ready_at(now)):
                self._budget.take(now)
                if self._login.on_local_time:
                    self._notice({}, "OKX's clock is not known yet: this login is signed with the local one")
                self._login.asked(now + ANSWER_S)
                texts.append(LOGIN)
        work = {
            "subscribe": [s for s in ready if s.wire == "off" and not (s.needs_login and locked)],
            "unsubscribe": self._leaving([s for s in ready if s.wire == "on"]),
        }
        # In turns, so that neither starves the other when the budget lets one request through at a time.
        for op in sorted(work, key=lambda op: op == self._last_op):
            texts += self._send(op, work[op], now)
        self._look_at = min(self._look_at, self._asked.next_overdue())
        return texts

    def _leaving(self, streams: list[Stream]) -> list[Stream]:
        """Return those the server is to be told of: not one whose key is still wanted with other extraParams."""
        told = []
        for stream in streams:
            if not stream.anew and any(sibling.wanted for sibling in self.subscriptions.siblings(stream)):
                self._left(stream)
            else:
                told.append(stream)
        return told

    def _send(self, op: str, streams: list[Stream], now: float) -> list[str]:
        together = {stream.text: stream for stream in streams if not stream.alone}
        room = self._settings.limits.frame_bytes - ENVELOPE_BYTES
        batches = [[together[text] for text in chunk] for chunk in chunks(together, room)]
        texts = []
        for batch in [*batches, *([stream] for stream in streams if stream.alone)]:
            if not self._may_send(now):
                break
            self._budget.take(now)
            self._last_op = op
            texts.append(self._asked.send(op, batch, now, now + ANSWER_S))
        return texts

    def _may_send(self, now: float, not_before: float = 0.0) -> bool:
        """Tell whether a request may go now; if not, note when to look again, and tell a long wait once."""
        if not_before > now:
            self._look_at = min(self._look_at, not_before)
            return False
        at = self._budget.ready_at(now)
        if at <= now:
            self._told_waiting = False
            return True
        self._look_at = min(self._look_at, at)
        if at > now + 1 and not self._told_waiting:
            self._told_waiting = True
            limit = self._settings.limits.requests_per_h
            self._notice({}, f"requests wait {at - now:.1f} s: OKX allows {limit} an hour and connection")
        return False

    def _overdue(self, now: float) -> None:
        """Settle what has not been answered in time: by the data that flows, else by asking again."""
        for streams, errors in self._asked.overdue(now):
            silent = []
            for stream in streams:
                if stream.wire == "leaving":
                    self._left(stream)
                elif any(route.last_at >= stream.asked_at for route in stream.routes):
                    self._active(stream, now)  # its data flows: what was lost is the acknowledgement
                else:
                    silent.append(stream)
            if len(silent) <= len(errors):
                self._refuse_all([Refusal(s, *e, guessed=True) for s, e in zip(silent, errors, strict=False)], now)
                continue
            for stream in silent:
                stream.alone = bool(errors)  # one of them was refused: the next answers will tell which
                self._later(stream, "", f"no answer in {ANSWER_S:g} s", now)

    def _missing_snapshots(self, now: float) -> None:
        """Ask anew for what was acknowledged long ago and has brought nothing since."""
        for stream in self.subscriptions:
            if stream.snapshot_by > now or stream.wire != "on":
                continue
            stream.snapshot_by = float("inf")
            if not any(route.last_at >= stream.on_since for route in stream.routes):
                self.resubscribe(stream, now)
                told = f"acknowledged, but no snapshot in {stream.snapshot_s:g} s; attempt {stream.attempts} to mend it"
                self._tell("subscribe_failed", stream, msg=told, delay_s=max(0.0, stream.not_before - now))
        awaited = [stream.snapshot_by for stream in self.subscriptions if stream.wire == "on"]
        self._look_at = min([self._look_at, *awaited])

    # ------------------------------------------------------------------ inside

    def _forget(self, stream: Stream) -> None:
        self.routes.removed(stream)
        self.routes.changed()
        self._asked.forget(stream)
        self.subscriptions.forget(stream)

    def _tell(self, type: str, stream: Stream, code: str | None = None, msg: str = "", **more: Any) -> None:
        self.events.append(Event(type, self.endpoint, stream.arg, code=code, msg=msg, conn_id=self.conn_id, **more))
