"""What an answer does to a stream, or the want of one: the columns of the table in `subscriptions`, and what they tell.

Law. A refusal that is worth a retry is one of the moment (too many requests, a service that is busy, an answer that did
not come): it is sent again after a while that grows, for ever. Any other rejects the stream, for good: its holders are
told why. An answer about a stream that nobody holds any more has it forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ExchangeError, SubscribeError
from .codes import CROWDED, RETRY_CODES, remedy
from .holes import Holes
from .login import Login, retry_delay
from .requests import Refusal, Requests
from .routing import Routes
from .silence import Silence
from .subscriptions import Stream, Subscriptions
from .telling import Teller

__all__ = ["HEALTHY_S", "Standing"]

#: A subscription that stood this long and is then lost starts its retries anew.
HEALTHY_S = 60.0


class Standing:
    """How the present link stands with each stream of an endpoint.

    Args:
        subscriptions: The streams.
        routes: Where their messages go.
        requests: Where answers are awaited.
        login: Streams that need one fail when it is refused.
        holes: What is missing when a stream is lost.
        silence: Listens from each acknowledgement on.
        teller: Told what becomes of streams that somebody holds.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        routes: Routes,
        requests: Requests,
        *,
        login: Login,
        holes: Holes,
        silence: Silence,
        teller: Teller,
    ) -> None:
        self._subscriptions = subscriptions
        self._routes = routes
        self._requests = requests
        self._login = login
        self._holes = holes
        self._silence = silence
        self._teller = teller

    # ------------------------------------------------------------------ acknowledged

    def active(self, stream: Stream, now: float) -> None:
        """The server has it: it said so, or its data flows."""
        stream.wire, stream.alone = "on", False
        stream.on_since, stream.active_ms = now, self._holes.now_ms
        stream.snapshot_by = now + stream.snapshot_s
        self._silence.acknowledged(stream, now)
        if stream.refusal is None:
            self._teller.tell("subscribed", stream.arg)
        self._holes.acknowledged(stream)

    def left(self, stream: Stream) -> None:
        """The server has it no longer, as it was asked."""
        stream.wire = "off"
        if stream.anew:  # until it is subscribed again nothing comes, for whoever else reads it, too
            for one in [stream, *self._subscriptions.siblings(stream)]:
                self._holes.begin(one, "stall" if stream.stalls else "sequence", told=not stream.broken)
        if stream.holders:
            self._routes.reconnect([stream])  # what comes is for them again, see `Stream.swallowed`
        else:
            self.forget(stream)

    def dropped(self, streams: Iterable[Stream], now: float) -> None:
        """The server unsubscribed something by itself: it is lost, and asked for again if it is wanted."""
        for stream in streams:
            if stream.wire == "on" or (stream.wire == "asked" and stream.flows):
                self._holes.begin(stream, "disconnect")
                self._requests.forget(stream)  # its acknowledgement was lost
                self.later(stream, "", "the server unsubscribed it", now)

    def found(self, streams: list[Stream], arg: Mapping[str, Any], now: float) -> None:
        """The server has something that was not in flight: given up meanwhile, refused by a guess, or forgotten."""
        for stream in streams:
            if stream.wire == "off" and (stream.refusal is None or stream.guessed):
                stream.refusal, stream.guessed = None, False
                self.active(stream, now)
        if not streams and arg and all(isinstance(value, str) and value for value in arg.values()):
            self._subscriptions.adopt(arg)  # nobody wants it: it will be unsubscribed

    # ------------------------------------------------------------------ refused

    def refused(self, refusals: Iterable[Refusal], now: float) -> None:
        """Requests were refused: ask again later, or reject the stream."""
        for stream, code, msg, guessed in refusals:
            leaving = stream.wire == "leaving"
            if code in RETRY_CODES or (leaving and not stream.attempts):
                self.later(stream, code, msg, now)
            elif leaving and stream.anew:
                self.left(stream)  # to subscribe once more may do as well
            elif leaving:
                # Refused twice: nobody wants it, and a new link will not have it. Its pushes are swallowed till then.
                stream.wire = "on"
                stream.not_before = float("inf")
                self._routes.reconnect([stream])
            elif code == "60011" and self._login.possible and self._login.state != "done":
                stream.wire, stream.needs_login = "off", True
            else:
                self._reject(stream, code, self._teller.blot(msg), guessed)

    def later(self, stream: Stream, code: str, msg: str, now: float) -> None:
        """A request failed that is worth sending again, after a while."""
        if stream.wire == "on" and now >= stream.on_since + HEALTHY_S:
            stream.attempts = 0
        stream.attempts += 1
        delay = retry_delay(stream.attempts)
        stream.not_before = now + delay
        if stream.wire == "leaving":
            stream.wire = "on"  # still subscribed: asked to leave again later, unless it is wanted by then
            self._routes.reconnect([stream])
            return
        stream.wire = "off"
        if stream.holders:
            self._teller.tell("subscribe_failed", stream.arg, code or None, self._teller.blot(msg), delay_s=delay)
        else:
            self.forget(stream)

    def _reject(self, stream: Stream, code: str, msg: str, guessed: bool) -> None:
        stream.wire = "off"
        if not stream.holders:
            self.forget(stream)
            return
        stream.guessed = guessed
        self._fail(stream, SubscribeError(code, msg, remedy(code), stream.arg))

    def crowded(self, channel: Any, msg: str) -> None:
        """More than 30 connections on one private channel: every arg of it on this link is dead, ack or not."""
        for stream in list(self._subscriptions):
            if stream.arg["channel"] == channel and stream.wanted:
                error = SubscribeError(CROWDED, msg, "close some of them", stream.arg)
                if stream.wire == "on":
                    stream.wire = "off"  # one that is still in flight is unsubscribed after its ack
                self._fail(stream, error)

    def login_refused(self, error: ExchangeError) -> None:
        """The key is of no use: what needs a login fails."""
        for stream in self._subscriptions:
            if stream.needs_login and stream.wanted:
                self._fail(stream, error)

    def _fail(self, stream: Stream, error: ExchangeError) -> None:
        """Reject a stream: its holders' `wait` raises this, unless its twin goes on."""
        self._holes.end(stream)
        stream.refusal = error
        self._routes.changed()
        if stream.rejected:
            self._teller.tell("subscribe_failed", stream.arg, error.code, error.msg)
        else:
            self._teller.tell("notice", stream.arg, error.code, f"one of two links cannot have it: {error.msg}")

    # ------------------------------------------------------------------ wanted, or not

    def wanted(self, stream: Stream) -> None:
        """Somebody has come to want a stream: it fails at once if it needs a login that was refused."""
        if stream.needs_login and self._login.error is not None and stream.refusal is None:
            self._fail(stream, self._login.error)

    def holders_changed(self, stream: Stream) -> None:
        """Who holds a stream has changed."""
        if not stream.holders:  # who comes next has neither the hole, nor asked for a new snapshot
            stream.hole_since_ms, stream.anew, stream.filling = None, False, False
        self._routes.reconnect([stream])
        if not stream.holders:
            self._routes.changed()
            if stream.wire == "off":
                self.forget(stream)

    def forget(self, stream: Stream) -> None:
        """Nobody wants a stream, and the server does not have it."""
        self._routes.removed(stream)
        self._routes.changed()
        self._requests.forget(stream)
        self._subscriptions.forget(stream)
