"""The calls of one endpoint: requests with an id, each of whose replies somebody waits for.

Law. A call is sent once at the most, and ends once: with its reply, or with an error that says whether it can have been
carried out. What was not sent by its time is withdrawn: it has certainly not been carried out. What was sent and has no
answer, for whatever reason, may have been.

    state    | logged in, and it is its turn | reply, or error for it | link lost | its time is up | the endpoint ends
    ---------+-------------------------------+------------------------+-----------+----------------+------------------
    waiting  | → sent                        | –                      | waits on  | withdrawn      | withdrawn
    sent     | –                             | answered               | unknown   | unknown        | unknown

A reply is matched by its id alone. One that comes when its call is over is late: it is told, and given to nobody.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..errors import ConnectionLost, ExchangeError, OkxWsError, OutcomeUnknown, UsageError, copy_of
from . import codec
from .codes import TOO_MANY_CODES, remedy
from .requests import REPEATED_ID
from .windows import Cost, Windows

__all__ = ["Call", "Calls", "Outcome", "Pace", "codes_in", "is_own"]

#: An id is this and a number, of which there is one sequence in a process: no two calls ever share one.
ID_PREFIX = "call"
_numbers = itertools.count(1)

#: More calls than anybody means to have open: a loop has run away.
MOST_OPEN = 100_000

#: While the socket takes nothing, calls are held back, and can still be withdrawn; it is looked at again so soon.
HELD_S = 0.02

#: What a call ends with: OKX's reply, or an error.
Outcome = Mapping[str, Any] | OkxWsError


class Pace(Protocol):
    """Says when calls may go, within OKX's limits: `Windows`, or what shares them."""

    def reserve(self, costs: Sequence[Cost], now: float) -> float:
        """Take what a call costs, if there is room for all of it, and return `now`; else when there may be."""

    def full(self, costs: Sequence[Cost], now: float) -> None:
        """OKX has found too many: count as if all of it were taken."""


class Call:
    """One request.

    Args:
        op: OKX's name for it.
        args: What it is about: dicts of what JSON has words for.
        until: When its time is up (monotonic).
        done: Given its outcome, outside every lock, on whatever thread brought it about.
        costs: What it takes from OKX's limits; none: it is not held back.
        expTime: OKX shall not carry it out later than this, Unix ms.
    """

    __slots__ = ("costs", "done", "id", "op", "sent_at", "text", "until")

    def __init__(
        self,
        op: str,
        args: Sequence[Mapping[str, Any]],
        until: float,
        done: Callable[[Call, Outcome], None],
        *,
        costs: Iterable[Cost] = (),
        expTime: str | None = None,
    ) -> None:
        self.id = f"{ID_PREFIX}{next(_numbers)}"
        self.op = op
        self.until = until
        self.done = done
        self.costs = tuple(costs)
        self.text = codec.call_text(self.id, op, args, expTime)
        #: When it was handed to the link (monotonic); None while it is not.
        self.sent_at: float | None = None


class Calls:
    """The calls of one endpoint, over all its links. Told what happens and what time it is; not thread-safe.

    Args:
        pace: Says when they may go; None: they are counted here alone.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        #: In the order they were made.
        self._waiting: list[Call] = []
        #: By id.
        self._sent: dict[str, Call] = {}
        #: When their times are up; also those of calls that are over by now.
        self._times: list[tuple[float, str, Call]] = []
        self._pace = pace or Windows()
        #: Ended and not yet taken by the owner, who calls their `done`.
        self.settled: list[tuple[Call, Outcome]] = []
        #: When `pump` has something to do, if nothing happens before.
        self.due = float("inf")

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def in_flight(self) -> bool:
        """Something was sent and has no answer yet."""
        return bool(self._sent)

    def split(self) -> Calls:
        """Take out those that were sent, and return them: their replies come over the link that goes."""
        sent = Calls(self._pace)
        sent._sent, self._sent = self._sent, {}
        sent._times = sorted(entry for entry in self._times if entry[1] in sent._sent)
        sent.due = 0.0 if sent._times else float("inf")
        return sent

    def absorb(self, other: Calls) -> None:
        """Go on with those of another object, too."""
        self._waiting += other._waiting
        self._sent |= other._sent
        self._times = sorted(self._times + other._times)
        self.settled += other.settled
        self.due = 0.0 if self._times else float("inf")

    def add(self, call: Call) -> None:
        """Have `call` sent with the next `pump` that finds its turn has come.

        Raises:
            UsageError: Far too many are open.
        """
        if len(self) >= MOST_OPEN:
            raise UsageError(f"{MOST_OPEN} calls are open already: wait for their replies")
        self._waiting.append(call)
        heapq.heappush(self._times, (call.until, call.id, call))
        self.due = 0.0

    def pump(self, now: float, ready: bool, room: bool = True) -> list[str]:
        """Return the texts to send now.

        Args:
            now: The time, monotonic.
            ready: The link is up and logged in.
            room: The link takes what it is given; else calls are held back, so that they can be withdrawn.
        """
        if not self._times:
            self.due = float("inf")  # they may have ended meanwhile, and `due` asked for this look
            return []
        self.expire(now)
        if not (ready and self._waiting):
            return []
        if not room:
            self.due = min(self.due, now + HELD_S)
            return []
        kept: list[Call] = []
        texts: list[str] = []
        full: set[tuple[str, ...]] = set()
        for call in self._waiting:
            # Whoever waits behind one whose window is full waits too: orders of one instrument keep their order.
            if not full.isdisjoint(cost.key for cost in call.costs) or not self._take(call, now, full):
                kept.append(call)
                continue
            call.sent_at = now
            self._sent[call.id] = call
            texts.append(call.text)
        self._waiting = kept
        return texts

    def _take(self, call: Call, now: float, full: set[tuple[str, ...]]) -> bool:
        """Take what a call costs; if one of its windows has no room, note so, and when it has."""
        ready = self._pace.reserve(call.costs, now) if call.costs else now
        if ready > now:
            full.update(cost.key for cost in call.costs)
            self.due = min(self.due, ready)
        return ready <= now

    def expire(self, now: float) -> None:
        """End the calls whose time is up."""
        while self._times and (self._times[0][0] <= now or self._is_over(self._times[0][2])):
            call = heapq.heappop(self._times)[2]
            if self._sent.pop(call.id, None) is not None:
                self._settle(call, OutcomeUnknown(f"no reply to {call.op} in time"))
            elif call in self._waiting:
                self._waiting.remove(call)
                self._settle(call, ConnectionLost(f"{call.op} was not sent in time, and was withdrawn"))
        self.due = self._times[0][0] if self._times else float("inf")

    def _is_over(self, call: Call) -> bool:
        return call.sent_at is not None and call.id not in self._sent

    # ------------------------------------------------------------------ what arrives

    def replied(self, message: Mapping[str, Any], now: float) -> bool:
        """Give a reply to its call; return whether there was one."""
        id = message.get("id")
        call = self._sent.pop(id, None) if isinstance(id, str) else None
        if call is not None:
            self._heed(call, codes_in(message), now)
            self._settle(call, message)
        return call is not None

    def _heed(self, call: Call, codes: set[str], now: float) -> None:
        """Let the calls behind one wait that OKX found too many: somebody else may use up the same limit."""
        if not codes.isdisjoint(TOO_MANY_CODES):
            self._pace.full(call.costs, now)

    def refused(self, code: str, msg: str, id: str | None, now: float) -> bool:
        """Give an error to the call that it names by its id, or repeats; return whether it was about calls.

        "Please log in" comes without an id, and is about everything that was sent. Of several calls it cannot be told
        which of them it has kept from being carried out.
        """
        repeated = REPEATED_ID.search(msg) if id is None else None
        call = self._sent.pop(repeated[1] if repeated else id or "", None)
        if call is not None:
            self._heed(call, {code}, now)
            self._settle(call, ExchangeError(code, msg, remedy(code)))
            return True
        if code != "60011" or id is not None or not self._sent or codec.named_arg(msg) is not None:
            return False
        if len(self._sent) == 1:
            self._settle(self._sent.popitem()[1], ExchangeError(code, msg))
        else:
            self._give_up(f"OKX has refused some of what was sent ({code}: {msg})")
        return True

    # ------------------------------------------------------------------ ends

    def link_lost(self) -> None:
        """The link is gone, and with it the replies to what was sent over it."""
        self._give_up("the link was lost before the reply came")

    def end(self, error: OkxWsError) -> None:
        """The endpoint is of no use: what waits gets `error`."""
        self._give_up("the link was lost before the reply came")
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._settle(call, copy_of(error))

    def _give_up(self, reason: str) -> None:
        sent, self._sent = self._sent, {}
        for call in sent.values():
            self._settle(call, OutcomeUnknown(f"{reason}: {call.op} may have been carried out"))

    def _settle(self, call: Call, outcome: Outcome) -> None:
        if call.sent_at is None:
            call.sent_at = float("-inf")  # over: its entry among the times may go
        self.settled.append((call, outcome))


def codes_in(reply: Mapping[str, Any]) -> set[str]:
    """Return the codes of a reply and of its rows."""
    data = reply.get("data")
    rows = data if isinstance(data, list) else []
    return {str(reply.get("code")), *(str(row.get("sCode")) for row in rows if isinstance(row, dict))}


def is_own(id: object) -> bool:
    """Tell whether an id is one of a call of this process, open or over."""
    return isinstance(id, str) and id.startswith(ID_PREFIX)
