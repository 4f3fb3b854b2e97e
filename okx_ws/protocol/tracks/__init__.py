"""What was delivered of one stream, and how a message of one of its lines stands to it. One track per kind of stream.

A track is asked two things: where a message stands (`place`; nothing changes), and to deliver it unless it was
delivered (`admit`). The line that delivered last is the *lead*: its own order is the truth, and what it says twice is
passed on twice, as over one line alone. Only what another line brings is compared.

A track that cannot read a message takes it for an event that only its text tells apart. It never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..identity import WHOLE_STATES, kind_of
from .books import Book
from .events import Events
from .states import Candles, State
from .track import GAP, RESTART, SETTLED, LineId, Track, Verdict
from .trades import Trades

__all__ = ["GAP", "RESTART", "SETTLED", "LineId", "Track", "Verdict", "track_of"]


def track_of(arg: Mapping[str, Any]) -> Track:
    """Return the track for a stream with this arg, with nothing delivered yet."""
    kind = kind_of(arg)
    if kind == "event":
        return Events(arg["channel"])
    if kind == "state":
        return State(paged=arg["channel"] in ("account", "positions"), repeated=arg["channel"] in WHOLE_STATES)
    if kind == "candle":
        return Candles(arg["channel"])
    return Book() if kind == "book" else Trades()
