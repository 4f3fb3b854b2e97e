"""What listening takes besides asyncio: an end without stragglers, and a certificate made on the fly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import trustme
from websockets.asyncio.server import Server, ServerConnection

from .hub import CLOSE_S

__all__ = ["Tracked", "hang_up", "make_certificate", "stop_accepting"]


async def stop_accepting(listeners: Iterable[Any]) -> None:
    """Accept no more, and let what was just accepted arrive: asyncio loses a connection it accepts while closing."""
    loop = asyncio.get_running_loop()
    for listener in listeners:
        with contextlib.suppress(NotImplementedError):  # Windows; its loop accepts otherwise
            loop.remove_reader(listener.fileno())
    for _ in range(3):  # the accepting task, its transport, its protocol
        await asyncio.sleep(0)


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


async def hang_up(server: Server, transports: set[asyncio.Transport]) -> None:
    """Close every connection, and cut those that do not follow."""
    server.close()
    for patience in (CLOSE_S, None):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), patience)
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
