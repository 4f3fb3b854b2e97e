"""An HTTP/1.1 server for the REST endpoints: h11 on asyncio."""

from __future__ import annotations

import asyncio
import contextlib

import h11
import orjson

from .rest import RestDesk

__all__ = ["HttpServer"]


class HttpServer:
    """Serves a `RestDesk` over HTTP/1.1 with keep-alive.

    Args:
        desk: Answers.
    """

    #: Requests of this API are small.
    MAX_BODY = 1 << 20

    def __init__(self, desk: RestDesk) -> None:
        self._desk = desk
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
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Read one request and answer it; return whether another may follow."""
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
                    return False
            elif isinstance(event, h11.EndOfMessage):
                break
            else:  # ConnectionClosed, PAUSED
                return False
        assert request is not None  # h11 gives a Request before its EndOfMessage
        asked = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in request.headers}
        status, answer = self._desk.answer(request.method.decode(), request.target.decode(), asked, body)
        text = orjson.dumps(answer)
        headers = [("content-type", "application/json"), ("content-length", str(len(text)))]
        for part in (h11.Response(status_code=status, headers=headers), h11.Data(data=text), h11.EndOfMessage()):
            writer.write(connection.send(part) or b"")
        await writer.drain()
        if connection.our_state is h11.MUST_CLOSE:
            return False
        connection.start_next_cycle()
        return True

    def close(self) -> None:
        """Cut the connections that are kept alive; over TLS, a polite end would wait for the client's answer."""
        for writer in list(self._writers):
            writer.transport.abort()
