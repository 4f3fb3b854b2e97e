"""One link's socket as one object: file descriptor, TLS, out buffer, timers.

Law. One thread, the link's, calls everything here but `Wire.abort`: it reads, writes, encrypts and waits, so no lock
guards a TLS session and no write can tear another. It waits in one place, see `poller`. Sends never block: bytes go to
the out buffer and leave when the socket takes them. A failed write does not end the wire; reading does, so that what
has arrived is read first.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable

from .poller import NEVER, Poller, Waker, WireError
from .tls import Tls

__all__ = ["Wire"]

#: Bytes asked of the socket at once. A read lets go of the GIL, and a busy consumer keeps it for a while: with a
#: quarter of this, `get` over wss is a tenth slower (books: 115 instead of 131 thousand a second).
READ_BYTES = 262_144


class Wire:
    """A connected socket, plain or TLS.

    Attributes:
        buffer: Plain text that arrived and is not consumed before `position`.
        serve: Called between reads, also while the peer never pauses or never speaks, with the time, and whether the
            socket was just seen to hold nothing; returns when it wants to be called next. It may send, and may raise
            to end the link.
        deadline: Until when the present phase must be done; None: no limit.
        phase: What is under way, for the error when the deadline passes.

    Args:
        sock: Connected, non-blocking.
        poller: Waits for it.
        waker: Its wake-ups call `serve`.
        write_timeout: Seconds that bytes may wait in the out buffer without any progress.
    """

    def __init__(self, sock: socket.socket, poller: Poller, waker: Waker, write_timeout: float) -> None:
        self._sock = sock
        self._poller = poller
        self._waker = waker
        self._write_timeout = write_timeout
        # Read into one buffer: to make a new one of this size costs 6 µs a read.
        self._read_into = memoryview(bytearray(READ_BYTES))
        self._tls: Tls | None = None
        self._out = bytearray()
        #: When the out buffer last shrank, or began to fill.
        self._progress_at = 0.0
        #: Writing failed: what is sent from now on is dropped, and reading will tell why.
        self._mute = False
        #: The last read emptied the socket: wait before reading again.
        self._drained = True
        self._ended = False
        self._serve_at = 0.0
        self._closed = False
        self.buffer = b""
        self.position = 0
        self.bytes_in = 0
        #: When bytes last came (monotonic).
        self.read_at = time.monotonic()
        self.serve: Callable[[float, bool], float] | None = None
        self.deadline: float | None = None
        self.phase = ""
        poller.watch(sock, selectors.EVENT_READ)

    # ------------------------------------------------------------------ TLS

    def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Shake hands before `deadline`; then everything is encrypted.

        Raises:
            WireError: A certificate that cannot be trusted, with its fault, or a handshake that failed.
        """
        self.phase = "TLS handshake"
        tls = Tls(context, server_hostname)
        try:
            while not tls.shake_hands():
                self._queue(tls.outgoing())
                tls.feed(self._await_bytes())
        finally:
            self._queue(tls.outgoing())  # an alert too, which tells the peer why
        self._tls = tls

    def _await_bytes(self) -> memoryview:
        """Wait for bytes from the peer, and return them; none at its end."""
        while True:
            self._poller.check()  # here too, for a peer that never pauses
            size = self._receive()
            if size is not None:
                return self._read_into[:size]
            self._wait()

    # ------------------------------------------------------------------ in

    def fill(self) -> bool:
        """Append what the peer sent to `buffer`, waiting for it; return False at the end of the stream.

        Raises:
            Stopped: The owner asked the link to end.
            WireError: The connection broke, a limit ran out; whatever `serve` raises.
        """
        if self._waker.pending or time.monotonic() >= self._serve_at:
            self._do_serve(idle=False)  # also when the socket never is
        if self._tls is not None and self._tls.fault is not None:
            raise self._tls.fault
        while not self._ended:
            if not self._drained:
                self._poller.check()  # here too, for a peer that never pauses
            while self._drained:
                self._wait()
            size = self._receive()
            if size is None:
                continue
            came = self._read_into[:size]
            chunk = bytes(came) if self._tls is None else self._decrypt(self._tls, came)
            if chunk is None:
                continue
            if not chunk:
                self._ended = True
                break
            self.bytes_in += len(chunk)
            self.buffer = self.buffer[self.position :] + chunk if self.position < len(self.buffer) else chunk
            self.position = 0
            return True
        return False

    def _receive(self) -> int | None:
        """Read the socket; return how many bytes came (into `_read_into`), 0 at its end, None if none have yet."""
        if self._out:
            self._flush()
        if self._out or self.deadline is not None:
            self._limit(time.monotonic())
        try:
            size = self._sock.recv_into(self._read_into)
        except (BlockingIOError, InterruptedError):
            self._drained = True
            return None
        except OSError as exc:
            raise WireError(f"the connection broke: {exc.strerror or exc}") from exc
        self.read_at = time.monotonic()
        self._drained = size < READ_BYTES
        return size

    def _decrypt(self, tls: Tls, cipher: memoryview) -> bytes | None:
        """Return the plain text of whole records, b"" at the end of the stream, None if there is none yet."""
        tls.feed(cipher)
        plain = tls.read()
        self._ended = tls.ended
        self._queue(tls.outgoing())  # key updates and alerts are answered here
        return plain

    def take(self, size: int) -> bytes:
        """Consume and return up to `size` bytes, waiting for the first; b"" at the end of the stream."""
        if self.position >= len(self.buffer) and not self.fill():
            return b""
        start = self.position
        self.position = end = min(start + size, len(self.buffer))
        return self.buffer[start:end]

    # ------------------------------------------------------------------ out

    def send(self, data: bytes) -> int:
        """Queue `data` and write what the socket takes at once; never blocks, never fails."""
        if self._tls is None:
            self._queue(data)
        else:
            self._tls.write(data)
            self._queue(self._tls.outgoing())
        return len(data)

    def _queue(self, data: bytes) -> None:
        if self._mute or not data:
            return
        if not self._out:
            self._progress_at = time.monotonic()
        self._out += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
                self._progress_at = time.monotonic()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._mute = True
            self._out.clear()
        self._watch(reading=True)

    def _watch(self, reading: bool) -> None:
        events = (selectors.EVENT_READ if reading else 0) | (selectors.EVENT_WRITE if self._out else 0)
        self._poller.watch(self._sock, events)

    # ------------------------------------------------------------------ waiting

    def idle(self) -> None:
        """Wait once without reading: for a wake-up, room to write, or a timer."""
        self._watch(reading=False)
        try:
            self._wait()
        finally:
            self._watch(reading=True)

    def _limit(self, now: float) -> float:
        """Return when patience ends, with the present phase or with a peer that reads nothing; raise if it has."""
        limit = NEVER
        if self.deadline is not None:
            limit = self.deadline
            if now >= limit:
                raise WireError(f"timed out during the {self.phase}")
        if self._out:
            limit = min(limit, self._progress_at + self._write_timeout)
            if now >= limit:
                raise WireError(f"nothing could be written for {self._write_timeout:g} s")
        return limit

    def _wait(self) -> None:
        """Wait until something may have come, serving writes, wake-ups and timers."""
        until = NEVER if self.serve is None else self._serve_at
        if self._out or self.deadline is not None:
            until = min(until, self._limit(time.monotonic()))
        for _, mask in self._poller.wait(until):
            if mask & selectors.EVENT_WRITE:
                self._flush()
            if mask & ~selectors.EVENT_WRITE:
                self._drained = False
        if self._waker.pending or time.monotonic() >= self._serve_at:
            self._do_serve(idle=self._drained)

    def _do_serve(self, idle: bool) -> None:
        self._waker.clear()
        if self.serve is not None:
            self._serve_at = self.serve(time.monotonic(), idle)

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return len(self._out)

    def serve_soon(self) -> None:
        """Have `serve` called before the next read."""
        self._serve_at = 0.0

    # ------------------------------------------------------------------ the end

    def say_goodbye(self, limit: float) -> None:
        """Write what is queued, end our direction, and swallow the peer's rest, for `limit` seconds at the most.

        Without the swallowing, unread bytes would make the kernel reset the connection, and our close frame could be
        lost on the peer.
        """
        self.serve = None
        self.phase = "close"
        self._poller.unstoppable = True
        self.deadline = time.monotonic() + limit
        try:
            while self._out:
                self._wait()
            if self._tls is not None:
                self._tls.say_goodbye()
                self._queue(self._tls.outgoing())
            self._sock.shutdown(socket.SHUT_WR)
            while time.monotonic() < self.deadline and self._receive() != 0:
                if self._drained:
                    self._wait()
        except (OSError, WireError):
            pass  # the peer is gone or mute: that will do

    def abort(self) -> None:
        """Cut the connection under the link's thread. The one call that other threads may make."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket; idempotent."""
        if not self._closed:
            self._closed = True
            self._poller.watch(self._sock, 0)
            self._sock.close()
            self._read_into = memoryview(b"")  # what is left waits for the cyclic collector, perhaps for long
