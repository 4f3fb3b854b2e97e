"""`LinkSocket`: what websocket-client takes for its socket, and all it sees of the answer to its upgrade.

Law. The library gets to see an answer that is a 101, and no other. It would follow a redirect anywhere, without our
limits and certificate checks; anything but 101 ends the attempt with that status.
"""

from __future__ import annotations

from .poller import WireError
from .wire import Wire

__all__ = ["LinkSocket"]

#: More than any honest answer to an upgrade.
MAX_ANSWER_BYTES = 65_536


class LinkSocket:
    """The face of a socket over our wire: the library asks for no more than this."""

    _closed = False  # the library looks at this name before it closes

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._upgraded = False

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, waiting for the first; b"" at the end of the stream."""
        if not self._upgraded:
            self._check_answer()
        return self._wire.take(size)

    def _check_answer(self) -> None:
        """Wait for the whole answer to the upgrade, and end the attempt if it is no 101."""
        wire = self._wire
        while b"\r\n\r\n" not in (answer := wire.buffer[wire.position :]):
            if len(answer) > MAX_ANSWER_BYTES:
                raise WireError("the answer to the upgrade has no end")
            if not wire.fill():
                raise WireError("the peer hung up during the upgrade")
        protocol, _, rest = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        status, _, phrase = rest.partition(" ")
        if not protocol.startswith("HTTP/"):
            raise WireError(f"the answer to the upgrade is not HTTP: {answer[:40]!r}")
        if status != "101":
            more = " (redirects are not followed)" if status.startswith("3") else ""
            raise WireError(f"the upgrade was answered with HTTP {status} {phrase}".rstrip() + more)
        self._upgraded = True

    def send(self, data: bytes) -> int:
        """Queue `data`; never blocks."""
        return self._wire.send(data)

    def gettimeout(self) -> float:
        """0: never retry for us; `recv` waits by itself and `send` never does."""
        return 0.0

    def settimeout(self, timeout: float | None) -> None:
        """Nothing: times are kept by the wire's deadline, its write limit, and its timers."""

    def shutdown(self, how: int) -> None:
        """Nothing: the wire's owner ends it."""

    def close(self) -> None:
        """Nothing: the wire's owner closes it."""
