"""The REST endpoints: requests to answers (pure), and an HTTP/1.1 server for them (h11 on asyncio)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import h11
import orjson

from .markets import World
from .recent import Recent

__all__ = ["HttpServer", "RestDesk"]

log = logging.getLogger(__name__)

Answer = tuple[int, dict[str, Any]]

#: Requests that are remembered.
REQUESTS = 10_000

INST_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS")


def ok(data: list[Any]) -> Answer:
    """Return a successful answer."""
    return 200, {"code": "0", "msg": "", "data": data}


def failed(code: str, msg: str, status: int = 200) -> Answer:
    """Return OKX's envelope of an error."""
    return status, {"code": code, "msg": msg, "data": []}


class RestDesk:
    """Answers requests; told everything, does no I/O.

    Args:
        world: What there is.
        clock_ms: The server's clock, Unix milliseconds.
    """

    def __init__(self, world: World, clock_ms: Callable[[], int]) -> None:
        self._world = world
        #: The newest requests, as "METHOD target", for tests.
        self.requests: list[str] = Recent(REQUESTS)
        self._clock_ms = clock_ms
        self._paths: dict[tuple[str, str], Callable[[dict[str, str]], Answer]] = {
            ("GET", "/api/v5/public/time"): self._time,
            ("GET", "/api/v5/public/instruments"): self._instruments,
        }

    def answer(self, method: str, target: str) -> Answer:
        """Return status and body for a request; `target` is path and query as they came.

        Whatever they are, there is an answer: a failure of ours is logged, and answered with OKX's 50026.
        """
        self.requests.append(f"{method} {target}")
        try:
            return self._answer(method, target)
        except Exception:
            log.exception("the exchange failed at a request: %s %s", method, target)
            return failed("50026", "System error, please try again later.", 500)

    def _answer(self, method: str, target: str) -> Answer:
        try:
            parts = urlsplit(target)
        except ValueError:  # such as "//["
            return failed("50404", "no such path", 404)
        found = self._paths.get((method, parts.path))
        if found is None:
            return failed("50404" if method == "GET" else "50405", f"no {method} {parts.path} here", 404)
        return found(dict(parse_qsl(parts.query)))

    def _time(self, query: dict[str, str]) -> Answer:
        return ok([{"ts": str(self._clock_ms())}])

    def _instruments(self, query: dict[str, str]) -> Answer:
        instType = query.get("instType")
        if not instType:
            return failed("50014", "Parameter instType can not be empty.", 400)
        if instType not in INST_TYPES:
            return failed("51000", "Parameter instType error")
        if instType == "OPTION" and not (query.get("instFamily") or query.get("uly")):
            return failed("50014", "Parameter instFamily can not be empty.", 400)
        rows = [market.instrument.row() for market in self._world.markets.values()]
        wanted = {key: value for key, value in query.items() if key in ("instType", "instId", "instFamily", "uly")}
        found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        if not found and query.get("instId"):
            return failed("51001", "Instrument ID, Instrument ID code or Spread ID doesn't exist.")
        return ok(found)


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
        size = 0
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
                size += len(event.data)
                if size > self.MAX_BODY:
                    return False
            elif isinstance(event, h11.EndOfMessage):
                break
            else:  # ConnectionClosed, PAUSED
                return False
        assert request is not None  # h11 gives a Request before its EndOfMessage
        status, body = self._desk.answer(request.method.decode(), request.target.decode())
        text = orjson.dumps(body)
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
