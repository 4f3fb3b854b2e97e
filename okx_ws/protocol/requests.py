"""The requests of one link: what was asked, and whose each answer is.

OKX answers in the order of asking, one answer per arg. Acknowledgements carry the arg; errors do not. An error is
pinned, in this order:

1. by the arg its text names, if exactly that arg is in flight, or acknowledged (60011 has come after an ack);
2. by the id, where OKX repeats it, or by the id in a request that its text repeats;
3. by elimination: of a request with several args open, the refused ones are known once as many errors as open args are
   left; without an id, the oldest open request is meant.

An error that names or identifies something settled is never pinned on anything else. What elimination has guessed is
taken back if an acknowledgement proves it wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from . import codec
from .codes import WHOLE_REQUEST_CODES
from .subscriptions import Stream, Subscriptions

__all__ = ["Refusal", "Request", "Requests"]

#: Settled requests that are remembered, so that a late error about one is not pinned elsewhere.
REMEMBERED = 256

# 60012 repeats the request in its text; the id in it says which one, however the server spaced it.
REPEATED_ID = re.compile(r'"id"\s*:\s*"(\w+)"')


class Refusal(NamedTuple):
    """A stream that was refused, OKX's code and words, and whether that is a conclusion by elimination."""

    stream: Stream
    code: str
    msg: str
    guessed: bool = False


class Request:
    """One request: its streams, those still without an answer, and errors not yet pinned on one."""

    __slots__ = ("answer_by", "errors", "id", "op", "open", "streams")

    def __init__(self, id: str, op: str, streams: Iterable[Stream], answer_by: float) -> None:
        self.id = id
        self.op = op
        self.streams = list(streams)
        self.open = self.streams[:]
        self.errors: list[tuple[str, str]] = []
        self.answer_by = answer_by


class Requests:
    """The subscribe and unsubscribe requests of one link."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions
        #: In the order sent; the settled ones are dropped in time.
        self._requests: dict[str, Request] = {}
        self._numbers = 0

    def _open(self) -> Iterator[Request]:
        return (request for request in self._requests.values() if request.open)

    @property
    def waiting(self) -> bool:
        """A request is in flight."""
        return any(True for _ in self._open())

    def send(self, op: str, streams: list[Stream], now: float, answer_by: float) -> str:
        """Note a request for `streams` as sent, and return its text."""
        self._numbers += 1
        request = Request(f"{op[0]}{self._numbers}", op, streams, answer_by)
        self._requests[request.id] = request
        for settled in [known for known in self._requests.values() if not known.open][:-REMEMBERED]:
            del self._requests[settled.id]
        for stream in streams:
            stream.wire = "asked" if op == "subscribe" else "leaving"
            stream.asked_at = now
            stream.anew = stream.anew and op == "unsubscribe"
            stream.sure = False
            stream.begin_epoch()
        return codec.request(op, (stream.text for stream in streams), request.id)

    def next_overdue(self) -> float:
        """Return when the oldest answer in flight is overdue."""
        return min((request.answer_by for request in self._open()), default=float("inf"))

    def clear(self) -> None:
        """The link is gone."""
        self._requests.clear()

    def replace(self, twin: Stream, stream: Stream) -> None:
        """Answers that are the twin's are the stream's."""
        for request in self._requests.values():
            for streams in (request.streams, request.open):
                streams[:] = [stream if one is twin else one for one in streams]

    def forget(self, stream: Stream) -> None:
        """A stream is gone: no answer is its any more."""
        for request in self._open():
            if stream in request.open:
                request.open.remove(stream)

    # ------------------------------------------------------------------ acknowledgements

    def acked(self, op: str, id: str | None, arg: Mapping[str, Any]) -> Stream | None:
        """Settle an acknowledgement; return its stream, or None if nothing in flight fits."""
        key = codec.arg_key(arg)
        known = self._requests.get(id) if id is not None else None
        for request in [known, *self._open()] if known is not None else self._open():
            for stream in request.open:
                if stream.key == key and request.op == op:
                    request.open.remove(stream)
                    return stream
        if known is not None and known.op == op and len(known.open) == 1 and not self._subscriptions.with_key(key):
            return known.open.pop()  # the id says it, however the server wrote the arg
        return None

    # ------------------------------------------------------------------ refusals

    def refused(self, code: str, msg: str, id: str | None, logged_in: bool) -> list[Refusal]:
        """Settle an error; return the streams it is now known to concern. Nobody, if it is about something settled."""
        known = self._requests.get(id) if id is not None else None
        if id is not None and known is None:
            return []  # not a request of ours, or one of long ago
        named = codec.named_arg(msg)
        if named is not None:
            stream = self._named(named, known)
            if stream is not None:
                return [Refusal(stream, code, msg)]
            if known is None:
                return []
        if known is None and (repeated := REPEATED_ID.search(msg)):
            known = self._requests.get(repeated[1])
        if code == "60011" and not logged_in and (stream := self._unauthorised(known)) is not None:
            return [Refusal(stream, code, msg)]
        request = known or next(self._open(), None)
        if request is None or not request.open:
            return []
        if code in WHOLE_REQUEST_CODES:
            streams, request.open = request.open, []
            return [Refusal(stream, code, msg, guessed=known is None) for stream in streams]
        request.errors.append((code, msg))
        return self._eliminate(request)

    def eliminated(self) -> list[Refusal]:
        """Return refusals that became certain because every other arg of their request was answered."""
        return [hit for request in list(self._open()) if request.errors for hit in self._eliminate(request)]

    def overdue(self, now: float) -> list[tuple[list[Stream], list[tuple[str, str]]]]:
        """Give up answers that are overdue: return the streams without one, with the errors that may be theirs."""
        found = []
        for request in list(self._open()):
            if request.answer_by <= now:
                found.append((request.open, request.errors))
                request.open, request.errors = [], []
        return found

    def _eliminate(self, request: Request) -> list[Refusal]:
        if len(request.errors) < len(request.open):
            return []
        hits = [Refusal(s, *error, guessed=True) for s, error in zip(request.open, request.errors, strict=False)]
        request.open, request.errors = [], []
        return hits

    def _named(self, named: frozenset[tuple[str, str]], known: Request | None) -> Stream | None:
        """Find the stream an error names: exactly in flight, exactly acknowledged, or the only one it may mean."""
        requests = list(self._open()) if known is None else [known]
        in_flight = [(request, stream) for request in requests for stream in request.open]
        exact = [(request, stream) for request, stream in in_flight if stream.key == named]
        if not exact:
            for stream in self._subscriptions.with_key(named):
                if stream.wire == "on" and (known is None or stream in known.streams):
                    return stream
        near = exact or [(r, stream) for r, stream in in_flight if named < stream.key or stream.key < named]
        if not exact and len(near) != 1:
            return None
        request, stream = near[0]
        request.open.remove(stream)
        return stream

    def _unauthorised(self, known: Request | None) -> Stream | None:
        """Find the stream a "please log in" concerns: the first in flight that needs a login, else one acknowledged."""
        requests = list(self._open()) if known is None else [known]
        for request in requests:
            for stream in request.open:
                if stream.needs_login:
                    request.open.remove(stream)
                    return stream
        streams = self._subscriptions if known is None else known.streams
        return next((stream for stream in streams if stream.wire == "on" and stream.needs_login), None)
