"""One stream out of several lines: what comes over two or more links, each message once, in order, nothing lost.

A *line* is the same subscription on one of several links: the old and the new one of a hand-over, or those of redundant
lines. Each brings the messages of the stream in their order, from where it began; what the others brought before is not
repeated. So the first to bring a message is right, if it is proven that it has not run ahead of one that is still under
way on another line.

Law. At any time the lines that are *joined* are those proven to continue what was delivered. The others' messages are
held.

    state   | event                                           | what follows
    --------+-------------------------------------------------+-----------------------------------------------------
    –       | `enter`, and no line is joined                  | → joined: it leads, since nobody else does
    –       | `enter`                                         | → holding
    holding | it brings what was delivered, or the very next  | → joined; what it held and nobody has delivered, is
    holding | what was delivered reaches what it holds        | → joined; what it holds beyond that is delivered
    holding | `flushed`: nothing from before it is under way  | → joined; the same. Where numbers speak against it, it
            |                                                 |   holds on for `PATIENCE_MS`; then a hole is told, or
            |                                                 |   where they need not count one by one, suspected
    holding | no line is joined any more                      | → joined (the first that entered, of those that hold
            |                                                 |   something): a hole is told, unless it is the very next
    joined  | the last one that had brought all that was    | its next message is looked at: if something may be
            | delivered, has ended                          |   missing before it, a hole is told
    joined  | it has a hole: a marker, a number left out      | → holding, if another is joined, or can be; else the
            |                                                 |   hole is told, and it leads on
    any     | `lost`                                          | –

What proves that a message is the next, or that it was delivered, depends on the channel: see `identity` and `tracks`.
A hole is told by a marker (`gaps.marker`) in its place, with bounds that contain all that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import codec, gaps
from .line import PATIENCE_MS, Edge, Line, LineUp
from .tracks import RESTART, SETTLED, LineId, Verdict, track_of

__all__ = ["Merge"]


class Merge:
    """Makes one stream of several lines.

    Lines are named by anything hashable. Not thread-safe: the owner locks. Memory is bounded: 10,000 messages a
    line that is not joined, and identities of the last some 20,000 messages that were delivered.

    Args:
        arg: The arg of the stream, as it was subscribed: what markers carry, and what tells how to compare.

    Attributes:
        holes: How many holes were told: that many markers are in what was returned.
    """

    def __init__(self, arg: Mapping[str, Any]) -> None:
        self._arg = dict(arg)
        self._track = track_of(arg)
        self._lines = LineUp(self._track)
        self._edge: Edge | None = None
        #: What the first line had delivered before it entered.
        self._newest: bytes | None = None
        #: All that was joined has ended, so the next message may have a hole before it: why.
        self._cause: str | None = None
        #: What is joined need not have brought all that was delivered: why that matters. Its next message will tell.
        self._doubt: str | None = None
        self.holes = 0

    # ------------------------------------------------------------------ lines

    @property
    def lines(self) -> tuple[LineId, ...]:
        """The lines, in the order in which they entered."""
        return self._lines.ids

    @property
    def caught_up(self) -> bool:
        """Every line is joined: any of them may go, and nothing will be missing."""
        return not self._lines.holding

    @property
    def has_begun(self) -> bool:
        """A line has entered, ever."""
        return self._edge is not None

    @property
    def newest(self) -> bytes | None:
        """What was delivered last."""
        return None if self._edge is None else self._edge.last

    @property
    def pending(self) -> tuple[str, int] | None:
        """Why, and since when (Unix ms), what was not delivered is missing, untold; None: nothing is."""
        edge = self._edge
        return None if self._cause is None or edge is None else (self._cause, edge.time_ms())

    @property
    def doubtful(self) -> bool:
        """What is joined has not brought all that was delivered, as if it was behind, or mute."""
        return self._doubt is not None

    @property
    def held(self) -> int:
        """How many messages wait for proof."""
        return self._lines.held

    @property
    def until_ms(self) -> int | None:
        """When `expire` has something to do, Unix ms; None: nothing is waited for."""
        return self._lines.until_ms

    def joined(self, line: LineId) -> bool:
        """Tell whether a line is proven to continue what was delivered; an unknown one is not."""
        known = self._lines.get(line)
        return known is not None and known.joined

    def enter(self, line: LineId, since_ms: int, newest: bytes | None = None) -> None:
        """Add a line. Call it before its first message: when the subscription is acknowledged on its link.

        Ask for the first line first: what another, which began earlier, has brought before is out of its order.

        Args:
            line: Any name that is not in use.
            since_ms: Of the first line: from when on there are messages for it, or (if `newest` is given) when that was
                delivered; Unix ms. The lower bound of a hole, if no message names a time.
            newest: Of the first line: the newest message of it that was delivered before this object was made.

        Raises:
            ValueError: The line has entered already.
        """
        one = self._lines.enter(line)  # if it is joined, `_cause` tells whether something may be missing before it
        if self._edge is None:
            self._edge = Edge(since_ms)
            if newest is not None and not gaps.is_marker(newest):
                self._track.begin(line, newest, [])
                self._edge.last = self._newest = one.last = newest
                one.fresh, one.doubtful = False, True

    # ------------------------------------------------------------------ what happens

    def receive(self, line: LineId, payloads: list[bytes], now_ms: int) -> list[bytes]:
        """Take what a line has brought, in order; return what is to be delivered now, in order.

        Args:
            line: A line that has entered; of any other nothing is taken.
            payloads: Messages (JSON texts as they came), and markers where the line has a hole.
            now_ms: Now, Unix ms: bounds of holes between messages that name no time.
        """
        one, edge = self._lines.get(line), self._edge
        if one is None or edge is None:
            return []
        out: list[bytes] = []
        admit = self._track.admit
        if payloads:
            one.last = payloads[-1]
        for number, payload in enumerate(payloads):
            if payload.startswith(gaps.MARKER_START):
                self._hole(one, payload, out, now_ms, followed=number + 1 < len(payloads))
            elif not one.joined or one.doubtful or self._cause is not None or self._doubt is not None:
                self._take(one, payload, out, now_ms)
            elif (verdict := admit(line, payload, out)) is not SETTLED:
                self._unsettled(one, payload, verdict, out, now_ms)
        if out and not self._lines.holding:
            edge.move(out, now_ms)
            return out
        return self._settled(out, now_ms)

    def flushed(self, line: LineId, now_ms: int) -> list[bytes]:
        """Take note that nothing from before `line` began is under way on the others; return what that sets free.

        The owner has proved it, for instance by a ping that was sent on each joined line after `line` had entered, and
        answered: what those lines had sent before has arrived, and was given to `receive`. A line that had to drop of
        what it held, or of a chained book (whose numbers are the only proof), goes on holding. So does, for a while,
        one whose first message is not the next by its number.
        """
        one = self._lines.get(line)
        out: list[bytes] = []
        if one is not None and not one.joined and not one.torn and not self._track.chained:
            if one.recalled is not None and self._edge_after(out, now_ms).is_before(one.recalled):
                one.held.appendleft(one.recalled)
            if one.held and self._track.skips(one.held[0]):
                one.until_ms = now_ms + PATIENCE_MS
            else:
                one.doubtful = not one.held
                if one.doubtful:
                    one.last = self._edge_after(out, now_ms).last
                self._free(one, out, now_ms)
        return self._settled(out, now_ms)

    def expire(self, now_ms: int) -> list[bytes]:
        """Wait no longer for what numbers say is missing before what a line holds; return what that sets free."""
        out: list[bytes] = []
        for one in self._lines:
            if one.held and not one.joined and one.until_ms is not None and now_ms >= one.until_ms:
                self._promote(one, self._cause or self._skipping, out, now_ms)
        return self._settled(out, now_ms)

    @property
    def _skipping(self) -> str:
        """Return the cause of a hole that only skipped numbers show."""
        return "sequence" if self._track.gapless else gaps.SUSPICION

    def lost(self, line: LineId, now_ms: int, cause: str | None = "disconnect") -> list[bytes]:
        """Remove a line: it has ended; return what that sets free.

        If no line is joined any more, the first one that holds something takes its place: after a marker, unless it is
        proven that nothing is missing. If none holds anything, that is decided by the next message.

        Args:
            line: The line; it may be unknown.
            now_ms: Now, Unix ms.
            cause: The marker's cause, see `gaps.marker`; None: it was not wanted any more, so nothing is missing.
        """
        out: list[bytes] = []
        one = self._lines.remove(line)
        if one is None or not one.joined:
            return self._settled(out, now_ms)
        if self._lines.none_joined:
            self._cause = self._cause or cause
            heir = self._lines.heir() or next(iter(self._lines), None)
            if heir is not None:
                self._promote(heir, self._cause, out, now_ms)
        else:
            self._doubt_rest(cause)
        return self._settled(out, now_ms)

    def _doubt_rest(self, cause: str | None) -> None:
        """One that was joined is not any more: see whether another one has brought as much."""
        assert self._edge is not None  # a line has entered
        last = self._edge.last
        joined = [line.last for line in self._lines if line.joined]
        rest = [one for one in joined if one is not None and not gaps.is_marker(one)]
        if last is not None and not any(one == last or self._track.reaches(one) for one in rest):
            self._doubt = self._doubt or cause

    def suspect(self, cause: str | None) -> None:
        """Something may be missing that no line has brought, for this reason: the next message will tell."""
        if self._edge is not None:
            self._cause = self._cause or cause or self._doubt

    def renew(self) -> None:
        """Deliver the next snapshot of a chained book, whoever brings it: the consumer has to begin anew.

        The owner asks for that snapshot, on any line. Without this call a snapshot is dropped while a line continues
        the chain.
        """
        self._track.renew()

    # ------------------------------------------------------------------ one message

    def _take(self, one: Line, payload: bytes, out: list[bytes], now_ms: int) -> None:
        """Do with a message what its line's state wants."""
        if gaps.is_marker(payload):
            self._hole(one, payload, out, now_ms)
            return
        if one.joined and self._doubt is not None:
            doubt, self._doubt = self._doubt, None
            self._cause = self._cause or (doubt if self._track.lacks(payload) else None)
        if not one.joined:
            self._prove(one, payload, out, now_ms)
        elif self._cause is not None:
            self._resume(one, payload, out, now_ms)
        elif one.doubtful:
            self._confirm(one, payload, out, now_ms)
        else:
            verdict = self._track.admit(one.id, payload, out)
            if verdict is not SETTLED:
                self._unsettled(one, payload, verdict, out, now_ms)

    def _prove(self, one: Line, payload: bytes, out: list[bytes], now_ms: int) -> None:
        """Let a line join by this message, or hold it."""
        track = self._track
        fresh, one.fresh = one.fresh, False
        if track.renewing and track.whole(payload):
            self._lines.join(one)
            track.begin(one.id, payload, out)
        elif fresh and track.recalling:
            one.recalled = payload
        elif (place := track.place(payload)) == "ahead":
            if track.whole(payload):
                one.release()  # nobody will need what came before it
            one.hold(payload)
        else:
            self._part_defaults()
            items = self._lines.join(one)
            # What preceded was delivered: by the first line, before it entered. Or it is missing there, and comes late.
            for item in () if track.chained or payload == self._newest else items:
                self._take(one, item, out, now_ms)
            if place == "next" or not track.whole(payload):
                self._take(one, payload, out, now_ms)

    def _confirm(self, one: Line, payload: bytes, out: list[bytes], now_ms: int) -> None:
        """Take the first message of a line that had brought nothing when it joined."""
        one.doubtful = False
        if self._track.skips(payload):
            if self._lines.alone:
                self._cause = self._skipping
            else:
                self._lines.part(one)
                one.until_ms = now_ms + PATIENCE_MS
        self._take(one, payload, out, now_ms)

    def _resume(self, one: Line, payload: bytes, out: list[bytes], now_ms: int) -> None:
        """Take the first message of a line that leads since the last joined one has ended."""
        assert self._cause is not None
        track = self._track
        place = track.place(payload)
        edge = self._edge_after(out, now_ms)
        if place == "ahead" and track.recalling and not edge.is_before(payload):
            return
        cause, self._cause, one.fresh = self._cause, None, False
        if place == "ahead":
            out.append(edge.marker(self._arg, cause, payload, now_ms))
            self.holes += 1
            track.hole()
        if place == "ahead" or (track.renewing and track.whole(payload)):
            track.begin(one.id, payload, out)
        elif place == "next" or not track.whole(payload):
            self._take(one, payload, out, now_ms)

    def _unsettled(self, one: Line, payload: bytes, verdict: Verdict, out: list[bytes], now_ms: int) -> None:
        """Do what a joined line's message demands that is not simply the next."""
        track = self._track
        if verdict is RESTART:
            for other in self._lines:
                if other.joined and other is not one:
                    self._lines.part(other)
            return
        if track.renewing and track.whole(payload):
            track.begin(one.id, payload, out)
            return
        heir = None if track.whole(payload) else self._lines.heir(whole=True)
        if not self._lines.alone or heir is not None:
            self._lines.part(one)
            if heir is not None and self._lines.none_joined:
                self._promote(heir, "sequence", out, now_ms)
            self._prove(one, payload, out, now_ms)
        else:
            track.begin(one.id, payload, out)  # as over one line alone: the consumer sees what does not fit

    def _hole(self, one: Line, marker: bytes, out: list[bytes], now_ms: int, followed: bool = False) -> None:
        """Take a marker: the line has a hole here. If more is missing than that, what follows it tells."""
        if not one.joined:
            one.hold(marker)
            return
        told = codec.decode(marker)
        cause = told["cause"]
        if one.doubtful and cause != "malformed" and self._cause is None:
            return  # from before it began, which others cover
        heir = self._lines.heir()
        behind = self._cause is not None or self._doubt is not None
        if behind and followed and self._edge_after(out, now_ms).last is not None:
            return  # what the line lacks others may have brought
        if not self._lines.alone:
            self._lines.part(one)
            self._doubt_rest(cause)
        elif heir is not None:
            self._lines.part(one)
            self._promote(heir, self._cause or cause, out, now_ms)
        else:
            out.append(self._edge_after(out, now_ms).widened(marker, begins_here=behind))
            self.holes += 1
            self._cause, self._doubt, one.doubtful = None, None, False
            self._track.hole()
            self._track.dropped(one.id)

    # ------------------------------------------------------------------ lines, inside

    def _part_defaults(self) -> None:
        """Part from lines that lead since nobody else did, and have brought nothing: another one is proven."""
        for one in self._lines:
            if one.joined and (self._cause is not None or (one.last is not None and gaps.is_marker(one.last))):
                self._lines.part(one)

    def _promote(self, heir: Line, cause: str | None, out: list[bytes], now_ms: int) -> None:
        """Let a line lead, since none is joined any more."""
        recalled = heir.recalled
        items = self._lines.join(heir)
        self._cause = cause
        for payload in [recalled, *items] if recalled is not None else items:
            self._take(heir, payload, out, now_ms)

    def _settled(self, out: list[bytes], now_ms: int) -> list[bytes]:
        """Let lines join whose messages were reached by what was delivered; return all of it."""
        if out:
            while self._lines.holding and self._reached(out, now_ms):
                pass
            self._edge_after(out, now_ms)
        return out

    def _edge_after(self, out: list[bytes], now_ms: int) -> Edge:
        """Return how far the stream is delivered, once `out` is."""
        assert self._edge is not None  # a line has entered
        self._edge.move(out, now_ms)
        return self._edge

    def _reached(self, out: list[bytes], now_ms: int) -> bool:
        """Let one line join whose messages were reached; tell whether there was one."""
        for one in self._lines:
            while one.held and gaps.is_marker(one.held[0]):
                one.held.popleft()
            if one.joined or not one.held:
                continue
            reached = self._track.place(one.held[0]) != "ahead"
            proven = one.until_ms is not None and not self._track.skips(one.held[0])
            # What was delivered last is looked for, too: the line may have begun before the one that leads.
            if reached or proven or (out[-1] in one.held and not gaps.is_marker(out[-1])):
                self._free(one, out, now_ms)
                return True
        return False

    def _free(self, one: Line, out: list[bytes], now_ms: int) -> None:
        """Let a line join, and deliver what it holds beyond what was delivered."""
        items = self._lines.join(one)
        if items and self._track.whole(items[0]):
            items.popleft()  # the chain goes on without it
        for payload in items:
            self._take(one, payload, out, now_ms)
