"""A line: one connection with its desk, its outbox and its idle timer; and what faults may do to it.

Everything here runs on the exchange's own thread.
"""

from __future__ import annotations

import asyncio
import logging
import select
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection

from .desk import Desk, Hub, frame

__all__ = ["CLOSE_S", "OUTBOX_FRAMES", "Line", "Payload", "Raw", "run_later"]

log = logging.getLogger(__name__)

#: Frames a client may lag behind; beyond, it is cut off with 4005, as OKX does.
OUTBOX_FRAMES = 50_000
#: A replay lets a client lag this far behind, then waits for it.
REPLAY_AHEAD = 2_000

#: A client that does not answer a close is cut after this long.
CLOSE_S = 0.5

UPGRADE = "The connection will soon be closed for a service upgrade. Please reconnect."


@dataclass(frozen=True)
class Raw:
    """A frame's payload as bytes: of a text frame, whether they are UTF-8 or not, or of a binary one."""

    data: bytes
    text: bool


Payload = str | Raw

_tasks: set[asyncio.Future[Any]] = set()


def run_later(work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
    """Run a coroutine in the background; the set keeps it from being collected before it is done."""
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Future[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and task.exception() is not None:
        log.error("the exchange failed in the background", exc_info=task.exception())


class Line:
    """One connection.

    Args:
        ws: The connection.
        endpoint: The path the client took.
        hub: The exchange behind it.
        watch: Sees every text that is sent, before any fault does.
        tamper: What faults make of a text: the payloads that are sent instead; None while there are none.
    """

    def __init__(
        self,
        ws: ServerConnection,
        endpoint: str,
        hub: Hub,
        *,
        watch: Callable[[Line, str], None] = lambda line, text: None,
        tamper: Callable[[Line, str], Iterable[Payload]] | None = None,
    ) -> None:
        self.ws = ws
        self.endpoint = endpoint
        self.desk = Desk(endpoint, hub, self.send, self.end)
        self._watch = watch
        self._tamper = tamper
        self._outbox: deque[Payload] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        #: It has lagged too far behind: nothing more is sent.
        self._cut = False
        #: How to close once the outbox is empty.
        self._last: tuple[int, str] | None = None
        self.active_at = time.monotonic()
        #: Frames it may lag behind, and the least seconds between two of them.
        self.most, self.pace_s = OUTBOX_FRAMES, 0.0

    def send(self, text: str) -> None:
        """Send a text, or what faults make of it."""
        self._watch(self, text)
        if self._tamper is None:
            self.put(text)
            return
        for payload in self._tamper(self, text):
            self.put(payload)

    def put(self, payload: Payload) -> None:
        """Queue a frame; a client too slow for what is queued already is cut off."""
        if self._cut:
            return
        if len(self._outbox) >= self.most:
            self._cut = True
            self._outbox.clear()
            self.close(4005, "Buffer is full")
            return
        self._outbox.append(payload)
        self._filled.set()

    def close(self, code: int, reason: str = "") -> None:
        """Close the connection; a client that does not follow in time, or does not even read, is cut."""
        run_later(self._close(code, reason))

    def end(self, code: int, reason: str) -> None:
        """Close the connection once what is queued is out."""
        self._last = (code, reason)
        self._filled.set()

    def announce_end(self, close_after_s: float) -> None:
        """Announce the end of the connection as OKX does before a service upgrade (64008), and end it then."""
        self.send(frame({"event": "notice", "code": "64008", "msg": UPGRADE, "connId": self.desk.connId}))
        asyncio.get_running_loop().call_later(close_after_s, self.close, 1001, "service upgrade")

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.ws.transport.abort()
        self._flowing.set()

    async def _close(self, code: int, reason: str) -> None:
        try:
            await asyncio.wait_for(self.ws.close(code, reason), 2 * CLOSE_S)
        except asyncio.TimeoutError:
            self.abort()

    # ------------------------------------------------------------------ half open

    @property
    def frozen(self) -> bool:
        """It neither reads nor writes."""
        return not self._flowing.is_set()

    def freeze(self) -> None:
        """Read and write nothing any more, control frames included, and do not even notice the client's end."""
        self._flowing.clear()
        self.ws.transport.pause_reading()

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        if self.frozen and not self.ws.transport.is_closing():
            self.ws.transport.resume_reading()
        self._flowing.set()

    @property
    def left(self) -> bool:
        """The client has ended a connection that is not read from; only Linux can tell."""
        if not hasattr(select, "POLLRDHUP") or self.ws.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.ws.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    async def flowing(self) -> None:
        """Wait while it is frozen."""
        await self._flowing.wait()

    # ------------------------------------------------------------------ writing

    async def write(self) -> None:
        """Send what is queued, for as long as the connection lasts."""
        while True:
            await self._filled.wait()
            while self._outbox:
                await self._flowing.wait()
                if not self._outbox:  # it has been cut off for lagging meanwhile
                    break
                await self._send(self._outbox.popleft())
                if self.pace_s:
                    await asyncio.sleep(self.pace_s)
            self._filled.clear()
            self._emptied.set()
            if self._last is not None:
                self.close(*self._last)
                return

    async def _send(self, payload: Payload) -> None:
        if isinstance(payload, Raw):
            await self.ws.send(payload.data, text=payload.text)
        else:
            await self.ws.send(payload)
        self.active_at = time.monotonic()

    async def room(self) -> None:
        """Wait until the client has caught up."""
        while len(self._outbox) >= REPLAY_AHEAD:
            self._emptied.clear()
            await self._emptied.wait()
