"""Serving: the listeners of a running exchange, and the tasks that turn its world; on the exchange's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .desk import Desk
from .faults import Faults
from .happenings import Happenings
from .hub import FAST_STEP_MS, Hub
from .line import CLOSE_S, Line
from .listeners import Door, Tracked, hang_up, stop_accepting
from .recent import Recent
from .rest import RestDesk
from .rest_server import HttpServer

__all__ = ["PATHS", "Serving"]

log = logging.getLogger("okx_ws.exchange.server")
#: At DEBUG, websockets writes every frame, a login with its key too.
frames = logging.getLogger("okx_ws.exchange.server.websockets")
frames.addFilter(lambda record: record.levelno > logging.DEBUG)

PATHS = {f"/ws/v5/{endpoint}": endpoint for endpoint in ("public", "private", "business")}

#: World milliseconds of a step.
STEP_MS = 100.0
#: No step comes sooner after the last one, however fast the world runs.
LEAST_SLEEP_S = 0.005

#: Connections that are remembered after their end.
REMEMBERED = 1_000

#: New connections OKX takes from one address.
CONNECTS_PER_S = 3

#: A request longer than this closes with 1009.
REQUEST_BYTES = 65_536

IDLE_REASON = "No data received in 30s."


class Serving:
    """What one run of an exchange serves.

    Args:
        hub: Who is subscribed to what.
        rest: Answers REST requests.
        faults: What is to go wrong.
        happenings: Told what connects, subscribes and fails.
        host: Address to listen on.
        ports: For WebSocket and for REST; 0 picks a free one.
        clock_ms: The server's clock, Unix ms.
        speed: How many times faster than the clock the world runs.
        idle_s: Seconds without traffic until a connection is closed with 4004.
    """

    def __init__(
        self,
        hub: Hub,
        rest: RestDesk,
        faults: Faults,
        happenings: Happenings,
        *,
        host: str,
        ports: tuple[int, int],
        clock_ms: Callable[[], int],
        speed: float,
        idle_s: float,
    ) -> None:
        self._hub, self._faults, self._happenings = hub, faults, happenings
        self._host = host
        self._tls: ssl.SSLContext | None = None
        self.door, self.rest_door = Door(self._listen, ports[0]), Door(self._listen_rest, ports[1])
        self._clock_ms = clock_ms
        self._speed, self._idle_s = speed, idle_s
        self._http = HttpServer(rest, faults.rest, happenings.asked)
        self._transports: set[asyncio.Transport] = set()
        #: Monotonic times of the newest WebSocket handshakes that succeeded.
        self.connects: list[float] = Recent(REMEMBERED)
        #: The newest desks there were, the newest last.
        self.desks: list[Desk] = Recent(REMEMBERED)

    async def run(self, tls: ssl.SSLContext | None, started: Callable[[], None], stopping: asyncio.Event) -> None:
        """Listen, call `started`, and serve until `stopping` is set.

        Raises:
            OSError: A port cannot be had.
            Exception: The world stands still, by a bug.
        """
        self._tls = tls
        jobs: list[asyncio.Future[Any]] = []
        try:
            await self.door.open()
            await self.rest_door.open()
            jobs = [asyncio.ensure_future(job) for job in (stopping.wait(), self._turn_world(), self._watch_idle())]
            self._faults.begin()
            started()
            (ended, *_), _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            self._faults.end()
            await stop_accepting([*self.door.sockets, *self.rest_door.sockets])
            ended.result()  # a world that stands still must not look like a quiet one
        finally:
            for job in jobs:
                job.cancel()
            self._faults.end()
            self.door.close()
            self.rest_door.close()
            self._http.close()
            for line in self._hub.lines:
                line.thaw()  # what waits for it could not end
            await hang_up(self.door.servers, self._transports)

    async def _listen(self, port: int) -> Server:
        return await serve(
            self._serve,
            self._host,
            port,
            ssl=self._tls,
            create_connection=cast(Any, partial(Tracked, self._transports)),  # it asks for a class, and only calls it
            process_request=self._admit,
            max_size=REQUEST_BYTES,
            ping_interval=None,  # OKX sends no control pings on its JSON endpoints
            close_timeout=CLOSE_S,
            logger=frames,
        )

    async def _listen_rest(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._http.serve, self._host, port, ssl=self._tls)

    def _admit(self, ws: ServerConnection, request: Request) -> Response | None:
        """Refuse the upgrade on a path that is none, too soon after others, or because a fault wants it."""
        endpoint = PATHS.get(request.path.partition("?")[0])
        if endpoint is None:
            return ws.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        newest = self.connects[-CONNECTS_PER_S:]
        if self._hub.strict and len(newest) == CONNECTS_PER_S and time.monotonic() < newest[0] + 1:
            self._happenings.tell("refused", endpoint, "", "HTTP 429: more than 3 connects a second")
            return ws.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many connections\n")
        status = self._faults.turns_away(endpoint)
        if status is not None:
            self._happenings.tell("refused", endpoint, "", f"HTTP {status.value} by a fault")
            return ws.respond(status, f"{status.phrase}\n")
        return None

    async def _serve(self, ws: ServerConnection) -> None:
        assert ws.request is not None  # the handshake is over
        endpoint = PATHS[ws.request.path.partition("?")[0]]
        line = Line(ws, endpoint, self._hub, watch=self._happenings.sent, tamper=self._faults.outgoing)
        self.connects.append(time.monotonic())
        self.desks.append(line.desk)
        self._hub.attach(line)
        self._happenings.tell("connected", endpoint, line.desk.connId)
        writer = asyncio.ensure_future(line.write())
        try:
            async for message in ws:
                await line.flowing()
                line.active_at = time.monotonic()
                text = message if isinstance(message, str) else message.decode("utf-8", "replace")
                line.desk.receive(text, self._clock_ms() / 1000)
        except ConnectionClosed:
            pass
        finally:
            self._hub.detach(line)
            self._faults.gone(line)
            self._happenings.tell("disconnected", endpoint, line.desk.connId, ending(ws))
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await writer

    async def _turn_world(self) -> None:
        last = time.monotonic()
        while True:
            step_ms = FAST_STEP_MS if self._hub.fast else STEP_MS
            await asyncio.sleep(max(LEAST_SLEEP_S, step_ms / self._speed / 1000))
            now = time.monotonic()
            self._hub.step((now - last) * 1000 * self._speed)
            last = now

    async def _watch_idle(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s / 100)
            for line in self._hub.lines:
                idle = time.monotonic() >= line.active_at + self._idle_s
                if line.frozen and (idle or line.left):
                    line.abort()  # nothing is read from it: its end would never be seen
                elif idle:
                    line.active_at = time.monotonic()
                    line.close(4004, IDLE_REASON)


def ending(ws: ServerConnection) -> str:
    """Tell how a connection ended: the code and the reason of who closed first."""
    by_client = ws.protocol.close_rcvd_then_sent
    if by_client is None:
        return "1006 cut"
    first = ws.protocol.close_rcvd if by_client else ws.protocol.close_sent
    assert first is not None  # who came first is known
    return f"{first.code} {first.reason}".rstrip() + f" by the {'client' if by_client else 'server'}"
