"""What a session tells its owner: events, with OKX's words in them and the name of the link.

Law. What OKX sends may repeat what it was sent, a key or a passphrase too: whatever is told of it is blotted here. Who
looks for something in a text (a name, an id) looks before, in the text as it came: a secret may look like a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..config import Credentials
from ..events import Event
from . import codec

__all__ = ["Teller", "first_words", "hole_began", "hole_ended"]

#: The code of the notice that the link will be closed for an upgrade, about a minute before it is.
CLOSING = "64008"


def first_words(payload: bytes, credentials: Credentials) -> str:
    """Return the beginning of a payload, without secrets: blotted before it is cut, lest half of one stays."""
    return credentials.blot(payload[:4096].decode("utf-8", "replace"))[:80]


def hole_began(cause: str, since_ms: int) -> dict[str, Any]:
    """Return what is told as a hole begins: what an event has beside its endpoint and arg."""
    msg = f"{cause}: what came after {since_ms} (Unix ms) is missing"
    return {"type": "gap", "msg": msg, "data": {"cause": cause, "since_ms": since_ms}}


def hole_ended(marker: Mapping[str, Any], stalled: bool) -> dict[str, Any]:
    """Return what is told when a hole has ended, with this marker, decoded; or the stall that it was."""
    if marker["repaired"] or stalled:
        msg = "messages flow again" if stalled else "the newest message holds the whole state"
        return {"type": "repaired", "msg": msg, "data": marker}
    bounds = f"between {marker['since_ms']} and {marker['until_ms']} (Unix ms)"
    return {"type": "gap", "msg": f"not repaired: what came {bounds} stays missing", "data": marker}


class Teller:
    """Makes the events of one endpoint.

    Args:
        endpoint: Its name, in every event.
        credentials: What never appears in one.
        keep: Given each event.

    Attributes:
        conn_id: OKX's name of the present link; None until its first event.
        closing: OKX has said that it will close this link (64008).
    """

    def __init__(self, endpoint: str, credentials: Credentials, keep: Callable[[Event], None]) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._keep = keep
        self.conn_id: str | None = None
        self.closing = False

    def link_up(self) -> None:
        """A link is open, of which OKX has said nothing yet."""
        self.conn_id, self.closing = None, False

    def learn_link(self, message: Mapping[str, Any]) -> None:
        """Learn the name of the link from an event of the server."""
        self.conn_id = message.get("connId") or self.conn_id

    def heeded(self) -> None:
        """Whoever heeds `closing` has done what there is to do."""
        self.closing = False

    def blot(self, text: str) -> str:
        """Return a text of OKX's without secrets."""
        return self._credentials.blot(text)

    def blot_frame(self, frame: Mapping[str, Any]) -> dict[str, Any]:
        """Return a frame of OKX's without secrets."""
        blotted: dict[str, Any] = self._credentials.blot_frame(frame)
        return blotted

    def code_of(self, message: Mapping[str, Any]) -> str:
        """Return the code of a frame; one that is no number may be anything, a key too."""
        code = str(message.get("code", ""))
        return code if code.isdecimal() else self.blot(code)

    def tell(
        self, type: str, arg: Mapping[str, Any] | None = None, code: str | None = None, msg: str = "", **more: Any
    ) -> None:
        """Tell an event; its texts are our own, or were blotted."""
        self._keep(Event(type, self._endpoint, arg, code=code, msg=msg, conn_id=self.conn_id, **more))

    def notice(self, msg: str, message: Mapping[str, Any] | None = None) -> None:
        """Tell what is good to know, or what OKX has said (`message`) that has no other event."""
        said = message or {}
        code = said.get("code")
        self.closing = self.closing or str(code) == CLOSING
        told = None if code is None else str(code)
        self.tell("notice", code=told, msg=self.blot(msg), data=self._credentials.blot_frame(said))

    def unmatched(self, arg: Mapping[str, Any]) -> None:
        """Tell of data that nobody has asked for."""
        self.tell("unmatched", self._credentials.blot_frame(arg), msg="data for no subscription")

    def malformed(self, payload: bytes, why: str) -> None:
        """Tell of a message that could not be read."""
        arg = self._credentials.blot_frame(codec.data_head_arg(payload.partition(codec.HEAD_END)[0]))
        self.tell("malformed", arg, msg=f"{why}: {first_words(payload, self._credentials)!r}")

    def late_reply(self, message: Mapping[str, Any]) -> None:
        """Tell an answer to a call that is over: its outcome was told as unknown, and now it is known."""
        code, op = self.code_of(message), self.blot(str(message.get("op", "a call")))
        msg = f"the answer to {op} {message['id']} came when its call was over"
        self.tell("late_reply", code=code, msg=msg, data=self._credentials.blot_frame(message))
