"""What happens at the exchange, told to whoever watches: what connects, subscribes, fails, and which faults strike."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from .line import Line

__all__ = ["Happening", "Happenings"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Happening:
    """One thing that happened.

    Attributes:
        at_ms: When, Unix ms.
        kind: ``connected``, ``disconnected``, ``login``, ``subscribe``, ``unsubscribe``, ``refused``, ``notice``,
            ``rest``, ``fault``, or the name of another event of OKX's (``channel-conn-count``).
        endpoint: Where; ``rest`` for REST, empty if everywhere.
        connId: On which connection; empty if on none.
        text: What.
    """

    at_ms: int
    kind: str
    endpoint: str
    connId: str
    text: str


Watcher = Callable[[Happening], None]

#: Event → kind; the others are told by their own name.
KINDS = {"error": "refused"}


class Happenings:
    """Tells watchers, on the exchange's thread; one that raises is logged and told no more."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []

    def tell(self, kind: str, endpoint: str, connId: str, text: str = "") -> None:
        """Tell that something happened."""
        if not self.watchers:
            return
        happening = Happening(time.time_ns() // 1_000_000, kind, endpoint, connId, text)
        for watcher in list(self.watchers):
            try:
                watcher(happening)
            except Exception:
                log.exception("%r raised; it is told no more", watcher)
                self.watchers.remove(watcher)

    def sent(self, line: Line, text: str) -> None:
        """See a text that goes to a client: events are told, pushes are not."""
        if not self.watchers or text.startswith('{"arg"') or text == "pong":
            return
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            return
        event = message.get("event") if isinstance(message, dict) else None
        if isinstance(event, str):
            self.tell(KINDS.get(event, event), line.endpoint, line.desk.connId, told(message))

    def asked(self, request: str, status: int, code: str) -> None:
        """See a REST request answered."""
        self.tell("rest" if code == "0" else "refused", "rest", "", f"{request} → {status} {code}".rstrip())


def told(message: dict[str, Any]) -> str:
    """Return what an event says, in a few words."""
    if "arg" in message:
        return " ".join(message["arg"].values())
    words = (message.get(key, "") for key in ("code", "msg", "channel", "connCount"))
    return " ".join(word for word in words if word not in ("", "0"))
