"""An HTTP/1.1 server for the REST endpoints: h11 on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import h11
import orjson

from .rest import RestDesk

__all__ = ["HttpServer", "Page", "Spoiled"]


@dataclass(frozen=True)
class Page:
    """An answer as it goes out."""

    status: int
    type: str
    body: bytes


@dataclass(frozen=True)
class Spoiled:
    """What a fault makes of a request.

    Attributes:
        delay_s: The answer comes so much later.
        page: Answered instead; None for what is true.
        target: Asked instead.
        cut: The connection ends without an answer.
    """

    delay_s: float = 0.0
    page: Page | None = None
    target: str | None = None
    cut: bool = False


class HttpServer:
    """Serves a `RestDesk` over HTTP/1.1 with keep-alive.

    Args:
        desk: Answers.
        tamper: (method, target) → what a fault makes of the request; None: nothing.
        watch: Told (method and target, HTTP status, code) of every answer.
    """

    #: Requests of this API are small.
    MAX_BODY = 1 << 20

    def __init__(
        self,
        desk: RestDesk,
        tamper: Callable[[str, str], Spoiled | None] = lambda method, target: None,
        watch: Callable[[str, int, str], None] = lambda request, status, code: None,
    ) -> None:
        self._desk = desk
        self._tamper = tamper
        self._watch = watch
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends; for `asyncio.start_server`."""
        self._writers.add(writer)
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, reader, writer):
                pass
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError):
            pass  # the client is gone, or speaks no HTTP: nothing to answer
        except asyncio.CancelledError:
            pass  # the exchange ends while an answer is late; asyncio's own callback would log it as an error
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Read one request and answer it; return whether another may follow."""
        found = await self._read(connection, reader, writer)
        if found is None:
            return False
        request, body = found
        page = await self._page(request, body)
        if page is None:
            writer.transport.abort()
            return False
        headers = [("content-type", page.type), ("content-length", str(len(page.body)))]
        for part in (
            h11.Response(status_code=page.status, headers=headers),
            h11.Data(data=page.body),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(part) or b"")
        await writer.drain()
        if connection.our_state is h11.MUST_CLOSE:
            return False
        connection.start_next_cycle()
        return True

    async def _read(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[h11.Request, bytes] | None:
        """Read one request with its body; None if there is no other, or it is too long."""
        request: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    writer.write(connection.send(go_on) or b"")
                connection.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self.MAX_BODY:
                    return None
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None  # h11 gives a Request before its EndOfMessage
                return request, body
            else:  # ConnectionClosed, PAUSED
                return None

    async def _page(self, request: h11.Request, body: bytes) -> Page | None:
        """Answer a request; None for no answer."""
        method, target = request.method.decode(), request.target.decode()
        spoiled = self._tamper(method, target) or Spoiled()
        if spoiled.delay_s:
            await asyncio.sleep(spoiled.delay_s)
        if spoiled.cut:
            return None
        if spoiled.page is not None:
            self._watch(f"{method} {target}", spoiled.page.status, "by a fault")
            return spoiled.page
        asked = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in request.headers}
        status, answer = self._desk.answer(method, spoiled.target or target, asked, body)
        self._watch(f"{method} {target}", status, str(answer.get("code", "")))
        return Page(status, "application/json", orjson.dumps(answer))

    def close(self) -> None:
        """Cut the connections that are kept alive; over TLS, a polite end would wait for the client's answer."""
        for writer in list(self._writers):
            writer.transport.abort()
