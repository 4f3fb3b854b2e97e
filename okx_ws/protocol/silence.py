"""Streams that may not be silent for long: when one has stalled, and what is done about it.

Law. Patience is `max_silence` seconds without a message, from the newest message, the acknowledgement or the last stall
on, whichever is latest. It doubles with every stall in a row, up to 16 times.

    stalls in a row | what is done
    ----------------+-------------------------------------------------
    1st, 3rd, 5th … | a hole begins, the stream is subscribed anew
    2nd, 4th, 6th … | that was in vain: the link has to end

Any message ends the row. Only a stream that is wanted and acknowledged can stall.

Channels of which OKX promises a sign of life have a patience of their own (`USUAL_S`) where users give none. Promises
are not always kept: it begins with the first message after the acknowledgement, and no link ends for it.
"""

from __future__ import annotations

from collections.abc import Callable

from .holes import Holes
from .subscriptions import Stream, Subscriptions
from .telling import Teller

__all__ = ["Silence"]

#: Seconds, several times those after which OKX documents another message though nothing has changed: 60 for books,
#: 10 for mark prices, 90 for funding rates, about 5 for the account.
USUAL_S = {
    **dict.fromkeys(("books", "books-l2-tbt", "books50-l2-tbt"), 300.0),
    "mark-price": 60.0,
    "funding-rate": 600.0,
    "account": 60.0,
}

#: The patience grows no further than this, times `max_silence`.
MOST_PATIENCE = 16


class Silence:
    """The silence of one endpoint's streams.

    Args:
        subscriptions: The streams.
        holes: Where what a stalled one has not sent is missing.
        teller: Told of each stall.
        subscribe_anew: Has a stream subscribed anew, see `Asking.resubscribe`.

    Attributes:
        due: When `check` has something to do, if nothing happens before.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        holes: Holes,
        teller: Teller,
        subscribe_anew: Callable[[Stream, float], bool],
    ) -> None:
        self._subscriptions = subscriptions
        self._holes = holes
        self._teller = teller
        self._subscribe_anew = subscribe_anew
        self.due = float("inf")

    def look(self) -> None:
        """Which streams there are, or how long they may be silent, has changed."""
        self.due = 0.0

    def acknowledged(self, stream: Stream, now: float) -> None:
        """The patience with a stream begins."""
        patience = patience_with(stream)
        if patience is not None:
            self.due = min(self.due, now + patience)

    def check(self, now: float) -> str:
        """Have streams that were silent for too long subscribed anew; return why the link has to end, or nothing."""
        self.due = float("inf")
        in_vain = None
        for stream in self._subscriptions:
            patience = patience_with(stream)
            if patience is None or not stream.wanted:
                continue
            heard = max((route.last_at for route in stream.routes), default=0.0)
            patience *= min(2**stream.stalls, MOST_PATIENCE)
            flows = stream.wire == "asked" and heard > stream.asked_at  # the acknowledgement was lost
            mute = stream.max_silence is None and heard < stream.on_since  # of a promise that may not be kept
            if (stream.wire != "on" and not flows) or mute:
                self.due = min(self.due, now + patience)
                continue
            at = max(heard, stream.on_since, stream.stalled_at) + patience
            if now < at:
                self.due = min(self.due, at)
            elif self._stalled(stream, now, patience):
                in_vain = stream
        return "" if in_vain is None else f"stalled: {in_vain.text} stayed silent, though it was subscribed anew"

    def withheld(self, stream: Stream, now: float) -> None:
        """Have a stream subscribed anew that is far behind its twin."""
        stream.stalls, stream.stalled_at = stream.stalls + 1, now
        self._holes.begin(stream, "stall")
        self._subscribe_anew(stream, now)
        msg = "what another link had brought has not come over this one: it is subscribed anew"
        self._teller.tell("stalled", stream.arg, msg=msg)

    def _stalled(self, stream: Stream, now: float, patience: float) -> bool:
        """Do what there is to do about a stall; return whether that was done before, in vain."""
        stream.stalls, stream.stalled_at = stream.stalls + 1, now
        self._holes.begin(stream, "stall")
        in_vain = stream.stalls % 2 == 0 and stream.max_silence is not None
        if in_vain:
            msg = f"no message for {patience:g} s more: the link is given up"
        else:
            self._subscribe_anew(stream, now)
            stream.not_before = 0.0  # at once: its patience was the pause
            msg = f"no message for {patience:g} s: it is subscribed anew"
        self._teller.tell("stalled", stream.arg, msg=msg)
        return in_vain


def patience_with(stream: Stream) -> float | None:
    """Return how many seconds a stream may be silent, before it has stalled; None: for ever."""
    if stream.max_silence is not None:
        return stream.max_silence
    events_only = '"updateInterval":"0"' in stream.arg.get("extraParams", "").replace(" ", "")
    return None if events_only else USUAL_S.get(stream.arg["channel"])
