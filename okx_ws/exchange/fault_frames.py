"""Faults of what is sent: frames that do not come, come late, twice, in another order, or are no JSON."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from .fault_kinds import OnFrames, Sent, Site, Strike, describe, named, option
from .line import Line, Payload, Raw
from .rest_server import Spoiled

__all__ = ["FRAME_FAULTS", "Held"]


class Held:
    """Texts of one connection that are kept back for a while; they go out in their order."""

    def __init__(self, line: Line, site: Site) -> None:
        self.line = line
        self._site = site
        self._texts: deque[str] = deque()
        self._out = 0
        self._due = 0.0

    def __bool__(self) -> bool:
        return bool(self._texts)

    def keep(self, text: str, delay_s: float) -> None:
        """Keep a text for so long, and for as long as those before it."""
        now = time.monotonic()
        self._due = max(self._due, now + delay_s)
        self._texts.append(text)
        number = self._out + len(self._texts)
        self._site.later(self._due - now, lambda: self._let_out(number))

    def _let_out(self, number: int) -> None:
        while self._texts and self._out < number:
            self._out += 1
            self.line.put(self._texts.popleft())

    def take(self) -> list[str]:
        """Return everything; nothing is kept any more."""
        taken = list(self._texts)
        self._texts.clear()
        self._out += len(taken)
        return taken

    def let_out(self) -> None:
        """Send everything now."""
        self._let_out(self._out + len(self._texts))


@dataclass
class Holding(OnFrames):
    """A kind that keeps texts back, by connection and by what else it likes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._site: Site | None = None
        self._held: dict[tuple[Line, str], Held] = {}

    def open(self, site: Site, strike: Strike) -> None:
        self._site = site

    @property
    def keeps(self) -> bool:
        return any(self._held.values())

    def held(self, line: Line, key: str = "") -> Held:
        """Return what is kept back."""
        assert self._site is not None  # it was opened before it struck
        return self._held.setdefault((line, key), Held(line, self._site))

    def gone(self, line: Line) -> None:
        for key in [key for key in self._held if key[0] is line]:
            del self._held[key]

    def stopped(self) -> None:
        for held in self._held.values():
            held.let_out()
        self._held.clear()


@dataclass
class Stall(OnFrames):
    """Push nothing any more, on a link that is up and answers pings."""

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return ()


@dataclass
class Gap(OnFrames):
    """Leave out a push: an update of a book, whose chain breaks, or a trade."""

    once: ClassVar[bool] = True

    def concerns(self, line: Line, sent: Sent) -> bool:
        return super().concerns(line, sent) and sent.message.get("action") != "snapshot"

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return ()


@dataclass
class Corrupt(OnFrames):
    """Spoil a push: what comes instead is no JSON, no UTF-8, or no text."""

    once: ClassVar[bool] = True

    how: str = option(
        "json",
        "json (cut off), utf8 (a byte that is none), binary (noise in a binary frame), empty, or other (JSON that is"
        " no message)",
        "json",
        "utf8",
        "binary",
        "empty",
        "other",
    )

    def open(self, site: Site, strike: Strike) -> None:
        self._rng = site.rng

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        data = sent.text.encode()
        at = self._rng.randrange(1, len(data))
        if self.how == "utf8":
            return (Raw(data[:at] + b"\xff" + data[at:], True),)
        if self.how == "binary":
            return (Raw(self._rng.randbytes(64), False),)
        if self.how == "empty":
            return ("",)
        if self.how == "other":
            return (self._rng.choice(("null", "[]", "42", '"pong"', "{}", '{"arg":{}}', "NaN")),)
        return (sent.text[: min(at, len(sent.text) - 1)],)


@dataclass
class Duplicate(OnFrames):
    """Send a push or an acknowledgement twice."""

    once: ClassVar[bool] = True

    what: str = option("push", "push or ack", "push", "ack")

    def concerns(self, line: Line, sent: Sent) -> bool:
        return sent.kind == self.what and self.selects(line, sent.arg)

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return (sent, sent)


@dataclass
class Reorder(Holding):
    """Let a push come after the next one of its arg; or the answer to an order after the next push or answer."""

    once: ClassVar[bool] = True

    what: str = option("push", "push or reply", "push", "reply")
    hold_s: float = option(1.0, "if nothing follows within so many seconds, it comes then")

    def outgoing(self, line: Line, sent: Sent, strike: Strike) -> Iterable[Sent | Payload]:
        reply = self.what == "reply"
        if sent.kind not in (("push", "reply") if reply else ("push",)) or not self.selects(line, sent.arg):
            return (sent,)
        key = "" if reply else repr(sorted(sent.arg.items()))
        if (line, key) in self._held and self._held[line, key]:
            return (sent, *self._held.pop((line, key)).take())
        if sent.kind == self.what and strike(line, describe(sent)):
            self.held(line, key).keep(sent.text, self.hold_s)
            return ()
        return (sent,)


@dataclass
class Slow(Holding):
    """Be late with what is sent, in its order; with REST, too."""

    what: str = option(
        "all",
        "all, or only: push, ack, login, pong, reply, rest",
        "all",
        "push",
        "ack",
        "login",
        "pong",
        "reply",
        "rest",
    )
    delay_s: float = option(0.5, "seconds")
    spread: float = option(0.0, "0.2: up to a fifth more or less, by chance")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.spread <= 1:
            raise ValueError(f"slow: spread is from 0 to 1, not {self.spread}")

    def concerns(self, line: Line, sent: Sent) -> bool:
        whose = self.selects(line, sent.arg) if sent.arg or self.one else True
        return self.what in ("all", sent.kind) and whose

    def outgoing(self, line: Line, sent: Sent, strike: Strike) -> Iterable[Sent | Payload]:
        if not self.concerns(line, sent):
            return (sent,)
        held = self._held.get((line, ""))
        if strike(line, describe(sent)):
            self.held(line).keep(sent.text, self._delay())
        elif held:
            held.keep(sent.text, 0.0)  # what was kept back goes first
        else:
            return (sent,)
        return ()

    def asked(self, method: str, target: str, strike: Strike) -> Spoiled | None:
        named = self.endpoint or self.channel or self.instId
        if self.what not in ("all", "rest") or self.what == "all" and named or not strike(None, f"{method} {target}"):
            return None
        return Spoiled(delay_s=self._delay())

    def _delay(self) -> float:
        assert self._site is not None  # it was opened before it struck
        return self.delay_s * (1 + self.spread * self._site.rng.uniform(-1, 1))


@dataclass
class LoginSilence(OnFrames):
    """Log clients in, and never say so."""

    def concerns(self, line: Line, sent: Sent) -> bool:
        return sent.kind == "login" and self.endpoint in ("", line.endpoint)

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return ()


@dataclass
class AckLost(OnFrames):
    """Do what was asked for, and never say so."""

    once: ClassVar[bool] = True

    what: str = option(
        "subscribe", "subscribe, unsubscribe, or reply (to an order)", "subscribe", "unsubscribe", "reply"
    )

    def concerns(self, line: Line, sent: Sent) -> bool:
        asked = sent.kind if self.what == "reply" else sent.message.get("event")
        return asked == self.what and self.selects(line, sent.arg)

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        return ()


FRAME_FAULTS = named(Stall, Gap, Corrupt, Duplicate, Reorder, Slow, LoginSilence, AckLost)
