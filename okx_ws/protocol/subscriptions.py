"""Which args are wanted on one endpoint, and where the present link stands with each.

A `Stream` is one arg. `wanted` is the users' wish; `wire` is where the present link stands with it. Wish and wire are
brought together by sending, and only an answer (or a lost link) moves the wire on: one request per arg is in flight at
any time, so an unsubscribe and a subscribe of the same arg cannot overtake each other.

    wire     | wanted                          | not wanted
    ---------+---------------------------------+--------------------------------
    off      | subscribe → asked               | forgotten
    asked    | ack → on, refusal → off         | ack → on, refusal → forgotten
    on       | –                               | unsubscribe → leaving
    leaving  | ack → off (subscribed again)    | ack → forgotten

A stream that is wanted `anew` goes from on to leaving as if it was not wanted. A lost link turns every wire off. A
refusal that retrying cannot mend rejects the stream: it stays known, is never replayed, and comes back only if a user
subscribes anew. Pushes of a stream that is leaving are swallowed: they are not for who wants it again meanwhile, since
more will be missing before the first of his own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ..errors import ExchangeError
from . import codec

__all__ = ["Stream", "Subscriptions"]

Wire = Literal["off", "asked", "on", "leaving"]

#: What tells how a link stands with a stream.
STANDING = (
    *("wire", "attempts", "not_before", "asked_at", "on_since", "anew", "snapshot_by", "alone", "guessed"),
    *("active_ms", "stalls", "stalled_at"),
)


class Stream:
    """One arg: who wants it, and where the link stands with it.

    Attributes:
        arg: The arg as it was asked for; every value a str.
        text: Its JSON text, as sent.
        key: Its identity in acks and pushes (see `codec.arg_key`).
        holders: The users' subscriptions that want it; opaque here.
        needs_login: It may be asked for only after a login.
        wire: See the table above.
        refusal: Why it was rejected; None unless it was.
        attempts: Refusals in a row that were worth a retry.
        not_before: A retry may not go out earlier.
        asked_at: When it was last asked for (monotonic).
        on_since: When it was last acknowledged (monotonic).
        anew: It shall be unsubscribed and subscribed again, for a new snapshot.
        epoch: Counts requests for it, and lost links: what came in one epoch says nothing about the next. While a twin
            continues it, none begins.
        twin: The same arg on another link, whose messages are merged with this one's; None: there is none.
        sure: Nothing that the twin's link was to bring from before this one's acknowledgement is under way any more.
        snapshot_s: Its first message must come within so many seconds of the acknowledgement, or it is asked for anew.
        snapshot_by: Until then (monotonic), if one is awaited.
        broken: An order book has told that it broke, and has the stream asked for anew.
        alone: Ask for it in a request of its own: which of several was refused could not be told.
        memory: What was learnt from its messages, for repairs; it goes from link to link with it, and its twin has the
            same. Opaque here.
        max_silence: Seconds without a message until it counts as stalled; None: it may be silent for ever.
        stalls: Stalls in a row, without a message in between.
        stalled_at: When it was last found stalled (monotonic).
        guessed: `refusal` is a conclusion by elimination; an acknowledgement would take it back.
        active_ms: When it was last acknowledged, Unix ms.
        hole_since_ms: The link was lost (or it stalled, or was subscribed anew) while it was active, and no message
            has come since: what is missing begins here (Unix ms); None if nothing is missing.
        hole_cause: Why: ``"disconnect"``, ``"stall"``, ``"sequence"`` or ``"malformed"``.
        hole_last: The newest message before the hole.
        hole_told: Events tell of the hole; else an order book does, which found it.
        filling: The newest hole is being filled: its end is not told yet.
        grew: It has grown since, which nobody was told: it may turn out to be another one.
        gaps, repairs: How many holes it had, and how many of them were filled or made up for.
        held: An outlet holds back what comes after the hole until that is filled: it wants the marker.
        routes: What feeds it (see `routing.Route`).
        link: The link it is on; opaque here.
        past: Messages of routes that are gone.
    """

    __slots__ = (
        "active_ms",
        "alone",
        "anew",
        "arg",
        "asked_at",
        "attempts",
        "broken",
        "epoch",
        "filling",
        "grew",
        "gaps",
        "guessed",
        "held",
        "hole_cause",
        "hole_last",
        "hole_since_ms",
        "hole_told",
        "holders",
        "key",
        "link",
        "max_silence",
        "memory",
        "needs_login",
        "not_before",
        "on_since",
        "past",
        "refusal",
        "repairs",
        "routes",
        "snapshot_by",
        "snapshot_s",
        "stalled_at",
        "stalls",
        "sure",
        "text",
        "twin",
        "wire",
    )

    def __init__(self, arg: Mapping[str, str], needs_login: bool) -> None:
        self.arg = dict(arg)
        self.text = codec.arg_text(self.arg)
        self.key = codec.arg_key(self.arg)
        self.holders: list[Any] = []
        self.needs_login = needs_login
        self.wire: Wire = "off"
        self.refusal: ExchangeError | None = None
        self.attempts = 0
        self.not_before = 0.0
        self.asked_at = 0.0
        self.on_since = 0.0
        self.anew = False
        self.epoch = 0
        self.snapshot_s = self.snapshot_by = float("inf")
        self.alone = False
        self.guessed = False
        self.memory: Any = None
        self.max_silence: float | None = None
        self.stalls = 0
        self.stalled_at = 0.0
        self.active_ms = 0
        self.hole_since_ms: int | None = None
        self.hole_cause = "disconnect"
        self.hole_last: bytes | None = None
        self.hole_told = True
        self.filling = self.grew = False
        self.held = False
        self.gaps = self.repairs = 0
        self.broken = False
        self.routes: list[Any] = []
        self.link: Any = None
        self.twin: Stream | None = None
        self.sure = False
        self.past = 0

    @property
    def wanted(self) -> bool:
        """Somebody holds it, and it was not rejected."""
        return bool(self.holders) and self.refusal is None

    @property
    def acked(self) -> bool:
        """The server has it, on the present link."""
        return self.wire == "on"

    @property
    def flows(self) -> bool:
        """Something has come since it was last asked for: the server has it, acknowledged or not."""
        return any(route.last_at >= self.asked_at for route in self.routes)

    @property
    def live(self) -> bool:
        """The server has it, and is not to be asked for it anew."""
        return self.wire == "on" and not self.anew

    @property
    def goes_on(self) -> bool:
        """It is live, or it flows, though it was not acknowledged."""
        return self.live or (self.wire == "asked" and self.flows)

    @property
    def stands(self) -> bool:
        """It is live, or its twin is."""
        return self.live or (self.twin is not None and self.twin.live)

    @property
    def rejected(self) -> bool:
        """It was refused for good, and its twin neither has it nor has been asked for it."""
        twin = self.twin
        return self.refusal is not None and (twin is None or not (twin.live or twin.wire == "asked"))

    @property
    def swallowed(self) -> bool:
        """What comes is for those who have left."""
        return self.wire == "leaving" and not self.anew

    @property
    def takes(self) -> bool:
        """What comes is not of a chain that has ended."""
        both = (self,) if self.twin is None else (self, self.twin)
        return any(one.wire in ("asked", "on") and not one.anew for one in both)

    @property
    def covered(self) -> bool:
        """Its twin brings all that it would."""
        return self.twin is not None and self.twin.live and self.twin.sure

    @property
    def outdone(self) -> bool:
        """Its twin has gone on bringing messages while it was silent: not both have stalled."""
        twin = self.twin
        if twin is None:
            return False
        mine, its = (max((float(r.last_at) for r in one.routes), default=0.0) for one in (self, twin))
        return its > max(mine, self.on_since) + (self.max_silence or 0.0) / 2

    @property
    def settled(self) -> bool:
        """Its wish and its wire agree: there is nothing to wait for."""
        return self.live if self.wanted else self.wire == "off"

    def leave_link(self) -> None:
        """The link does not have it any more."""
        self.wire, self.attempts, self.not_before, self.alone = "off", 0, 0.0, False
        self.anew = self.sure = False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """What came until now says nothing about what will come, unless the twin goes on."""
        if self.twin is None:
            self.epoch += 1
        elif not self.twin.live:
            self.epoch = self.twin.epoch = max(self.epoch, self.twin.epoch) + 1

    def take_over(self, twin: Stream) -> None:
        """Stand where the twin stands, on its link."""
        for name in STANDING:
            setattr(self, name, getattr(twin, name))
        self.refusal = None if twin.live else self.refusal or twin.refusal
        self.gaps, self.repairs = self.gaps + twin.gaps, self.repairs + twin.repairs
        self.past = self.messages
        self.routes, twin.routes = twin.routes, []
        for route in self.routes:
            route.streams[:] = [self if stream is twin else stream for stream in route.streams]
        self.twin = twin.twin = None

    @property
    def unsettled(self) -> bool:
        """Something has to be sent for it: wish and wire differ."""
        return not self.in_flight and ((self.wire == "on") != self.wanted or (self.wire == "on" and self.anew))

    @property
    def in_flight(self) -> bool:
        """An answer of the server is due."""
        return self.wire in ("asked", "leaving")

    @property
    def newest(self) -> bytes | None:
        """The newest message, undecoded."""
        routes = self.routes if self.twin is None else self.routes + self.twin.routes
        last = max(routes, key=lambda route: float(route.last_at), default=None)
        return None if last is None else last.last

    @property
    def newest_at(self) -> float:
        """When it came (monotonic); 0 before the first."""
        routes = self.routes if self.twin is None else self.routes + self.twin.routes
        return max((float(route.last_at) for route in routes), default=0.0)

    @property
    def messages(self) -> int:
        """How many messages came for it, over all links."""
        return self.past + sum(int(route.messages) for route in self.routes)

    def __repr__(self) -> str:
        return f"<Stream {self.text} {self.wire}>"


class Subscriptions:
    """The streams of one endpoint."""

    def __init__(self) -> None:
        #: By identity: every key and value that was asked for, so extraParams tell streams apart.
        self._streams: dict[frozenset[tuple[str, str]], Stream] = {}
        #: By what pushes show of it; streams that differ only in extraParams share a key.
        self._by_key: dict[frozenset[tuple[str, Any]], list[Stream]] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def __len__(self) -> int:
        return len(self._streams)

    # ------------------------------------------------------------------ wishes

    def want(self, arg: Mapping[str, str], needs_login: bool, holder: Any) -> tuple[Stream, bool]:
        """Add `holder` to the stream of `arg`; return it, and whether it is new. A rejected one gets a fresh start."""
        identity = frozenset(arg.items())
        stream = self._streams.get(identity)
        new = stream is None
        if stream is None:
            stream = self.add(Stream(arg, needs_login))
        elif stream.refusal is not None:
            stream.refusal = None
            stream.attempts, stream.not_before, stream.hole_since_ms = 0, 0.0, None
        stream.holders.append(holder)
        return stream, new

    def want_twin(self, stream: Stream) -> Stream:
        """Want what another link's stream wants: for the same holders, for as long as there are any."""
        twin = self.find(stream.arg)
        if twin is None:
            twin = self.add(Stream(stream.arg, stream.needs_login))
        elif stream.refusal is None and twin.refusal is not None:
            twin.refusal, twin.attempts, twin.not_before = None, 0, 0.0  # a fresh start, as the stream has had it
        twin.holders = stream.holders
        twin.max_silence, twin.snapshot_s = stream.max_silence, stream.snapshot_s
        twin.epoch = stream.epoch
        stream.twin, twin.twin = twin, stream
        return twin

    def replace(self, twin: Stream, stream: Stream) -> None:
        """Let `stream` take the place of its twin."""
        self._streams[frozenset(stream.arg.items())] = stream
        siblings = self._by_key[stream.key]
        siblings[siblings.index(twin)] = stream

    def adopt(self, arg: Mapping[str, str]) -> Stream:
        """Add a stream that nobody wants but the server has, so that it can be told."""
        stream = self.add(Stream(arg, False))
        stream.wire = "on"
        return stream

    def add(self, stream: Stream) -> Stream:
        """Know a stream."""
        self._streams[frozenset(stream.arg.items())] = stream
        self._by_key.setdefault(stream.key, []).append(stream)
        return stream

    def find(self, arg: Mapping[str, str]) -> Stream | None:
        """Return the stream of exactly this arg."""
        return self._streams.get(frozenset(arg.items()))

    def siblings(self, stream: Stream) -> list[Stream]:
        """Return the other streams of the same key: for the server they are the same subscription."""
        return [other for other in self._by_key[stream.key] if other is not stream]

    def forget(self, stream: Stream) -> None:
        """Remove a stream that nobody wants and the server no longer has."""
        del self._streams[frozenset(stream.arg.items())]
        siblings = self._by_key[stream.key]
        siblings.remove(stream)
        if not siblings:
            del self._by_key[stream.key]

    # ------------------------------------------------------------------ routing

    def receivers(self, arg: Mapping[str, Any]) -> tuple[list[Stream], bool]:
        """Return the streams a push with this arg belongs to, and whether the arg matched exactly.

        Exact keys first (uid aside); else the streams whose arg is contained in the push's; else the only one of that
        channel, since some pushes leave out keys that were subscribed.
        """
        key = codec.arg_key(arg)
        exact = self._by_key.get(key)
        if exact:
            return exact[:], True
        channel = ("channel", arg.get("channel"))
        near = [s for known, streams in self._by_key.items() if channel in known for s in streams if s.wanted]
        contained = [stream for stream in near if stream.key <= key]
        if contained or len(near) != 1:
            return contained, False
        # What both name must agree: a push for another instrument is not the only one's.
        return [s for s in near if all(arg.get(name, value) == value for name, value in s.arg.items())], False

    def with_key(self, key: frozenset[tuple[str, Any]]) -> list[Stream]:
        """Return the streams that acks and pushes with this key belong to."""
        return list(self._by_key.get(key, ()))

    def has_key(self, key: frozenset[tuple[str, Any]]) -> bool:
        """Tell whether there are any."""
        return key in self._by_key

    def link_lost(self) -> list[Stream]:
        """Turn every wire off; forget and return the streams that nobody wants."""
        gone = [stream for stream in self if not stream.holders]
        for stream in self:
            stream.leave_link()
        for stream in gone:
            self.forget(stream)
        return gone
