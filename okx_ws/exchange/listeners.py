"""What listening takes besides asyncio: doors that can be shut, an end without stragglers, a certificate on the fly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, cast

import trustme
from websockets.asyncio.server import Server, ServerConnection

from .line import CLOSE_S

__all__ = ["Door", "Tracked", "hang_up", "make_certificate", "stop_accepting"]


async def stop_accepting(listeners: Iterable[Any]) -> None:
    """Accept no more, and let what was just accepted arrive: asyncio loses a connection it accepts while closing."""
    loop = asyncio.get_running_loop()
    for listener in listeners:
        with contextlib.suppress(NotImplementedError):  # Windows; its loop accepts otherwise
            loop.remove_reader(listener.fileno())
    for _ in range(3):  # the accepting task, its transport, its protocol
        await asyncio.sleep(0)


class Door:
    """A port, at which connections are accepted, or refused while it is shut; those that are open go on.

    Shut twice, it is shut until it was opened twice.

    While it is shut a socket that does not listen holds the port: nobody else gets it, and no client that dials it
    is given that very port to dial from, which on loopback would connect the client with itself.

    Args:
        listen: Starts a server at a port; 0 for a free one.
        port: Where.
    """

    def __init__(self, listen: Callable[[int], Awaitable[Any]], port: int) -> None:
        self._listen = listen
        self.port = port
        #: All servers there have been: what a shut one has accepted is still served.
        self.servers: list[Any] = []
        self._keeper: socket.socket | None = None
        self._turn = asyncio.Lock()
        self._shut = 0

    @property
    def sockets(self) -> tuple[Any, ...]:
        """What listens now."""
        return tuple(self.servers[-1].sockets) if self.servers and self._keeper is None else ()

    async def open(self) -> None:
        """Accept connections.

        Raises:
            OSError: The port cannot be had.
        """
        async with self._turn:
            self._shut = max(0, self._shut - 1)
            if self._shut or self.sockets:
                return
            self.servers.append(await self._listen(self.port))
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None
            self.port = self.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse connections."""
        async with self._turn:
            self._shut += 1
            if not self.sockets:
                return
            server, (first, *_) = self.servers[-1], self.sockets
            family, address = first.family, first.getsockname()
            await stop_accepting(self.sockets)
            if isinstance(server, Server):
                server.close(close_connections=False)
                await asyncio.sleep(0)  # it does so one turn later
            else:
                server.close()
            self._keeper = socket.socket(family)
            if os.name == "posix":
                self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._keeper.bind(address)

    def close(self) -> None:
        """Let go of the port."""
        for server in self.servers:
            server.close()
        if self._keeper is not None:
            self._keeper.close()


class Tracked(ServerConnection):
    """A connection whose transport can be cut in any state: nothing of it may outlive the loop."""

    def __init__(self, transports: set[asyncio.Transport], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._transports = transports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transports.add(cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transports.discard(self.transport)
        super().connection_lost(exc)


async def hang_up(servers: Iterable[Server], transports: set[asyncio.Transport]) -> None:
    """Close every connection, and cut those that do not follow."""
    for server in servers:
        server.close()
    for patience in (CLOSE_S, None):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(server.wait_closed() for server in servers)), patience)
        for transport in list(transports):
            transport.abort()
    await asyncio.sleep(0)  # a transport that was cut is gone one turn later


def make_certificate(host: str) -> tuple[ssl.SSLContext, Path]:
    """Make an authority and a certificate for a host; return a server's context, and the file clients trust."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, "localhost").configure_cert(context)
    with tempfile.NamedTemporaryFile(prefix="okx-ws-ca-", suffix=".pem", delete=False) as file:
        file.write(authority.cert_pem.bytes())
    return context, Path(file.name)
