"""One link's socket as one object: file descriptor, TLS in memory, out buffer, wake-up pair, timers.

Law. One thread, the link's, calls everything here but `Waker.wake`: it reads, writes, encrypts and waits, so no lock
guards a TLS session and no write can tear another. It blocks in one place, `Poller.wait`, which ends at a point in
time, at a wake-up, or when a socket is ready. Sends never block: bytes go to the out buffer and leave when the socket
takes them. A failed write does not end the wire; reading does, so that what has arrived is read first.

TLS runs in memory (`ssl.MemoryBIO`): one large read of the socket feeds many TLS records, where an `ssl.SSLSocket`
costs a system call and two hand-overs of the interpreter lock for each (measured: three times the messages a second).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from typing import cast

__all__ = ["Poller", "Stopped", "Waker", "Wire", "WireError"]

#: Bytes asked of the socket at once. A read lets go of the GIL, and a busy consumer keeps it for a while: with a
#: quarter of this, `get` over wss is a tenth slower (books: 115 instead of 131 thousand a second).
READ_BYTES = 262_144

#: A TLS record holds no more plain text.
RECORD_BYTES = 16_384

#: No limit: later than any clock.
NEVER = float("inf")


class Stopped(Exception):
    """The owner asked the link to end."""


class WireError(Exception):
    """The link failed; the text names the cause. (Not an `OSError`: websocket-client would rewrite those.)"""


class Waker:
    """Wakes the link's thread out of its wait: a socket pair, since a lock cannot be waited for beside sockets.

    `wake` is safe from any thread and from a signal handler. Wake-ups while one is pending cost nothing.
    """

    def __init__(self) -> None:
        self._in, self._out = socket.socketpair()
        self._in.setblocking(False)
        self._out.setblocking(False)
        #: Set by `wake`, cleared by the link's thread *before* it looks at what it was woken for.
        self.pending = False

    def wake(self) -> None:
        """End the present or next wait of the link's thread."""
        if not self.pending:
            self.pending = True
            with contextlib.suppress(OSError):  # full: it is awake anyway; closed: there is nobody to wake
                self._out.send(b"\0")

    def clear(self) -> None:
        """Take the wake-up. What was asked for before it will be seen; what is asked for after it wakes again."""
        self.pending = False
        with contextlib.suppress(OSError):
            self._in.recv(4096)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._in.fileno()

    def close(self) -> None:
        """Release the pair."""
        self._in.close()
        self._out.close()


class Poller:
    """The one place where a link's thread waits.

    Args:
        waker: Ends a wait from outside.
        stopped: Asked around each wait; True raises `Stopped` in the waiting thread.
    """

    def __init__(self, waker: Waker, stopped: Callable[[], bool]) -> None:
        self._waker = waker
        self._stopped = stopped
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker, selectors.EVENT_READ)
        #: Set while the closing handshake is under way: it must not be stopped by what started it.
        self.unstoppable = False

    def watch(self, sock: socket.socket, events: int) -> None:
        """Wait for `events` of `sock` from now on; 0 forgets it."""
        known = self._selector.get_map().get(sock.fileno())
        if known is None:
            if events:
                self._selector.register(sock, events)
        elif not events:
            self._selector.unregister(sock)
        elif known.events != events:
            self._selector.modify(sock, events)

    def wait(self, until: float) -> list[tuple[socket.socket, int]]:
        """Return the sockets that are ready with their events, or nothing at `until` (monotonic) or when woken.

        Raises:
            Stopped: If the owner asked the link to end.
        """
        self.check()
        timeout = None if until == NEVER else max(0.0, until - time.monotonic())
        ready = self._selector.select(0 if self._waker.pending else timeout)
        self.check()
        sockets = []
        for key, mask in ready:
            if key.fileobj is self._waker:
                self._waker.pending = True  # a byte may be left there whose `wake` met a `clear`: it has to be taken
            else:
                sockets.append((cast(socket.socket, key.fileobj), mask))
        return sockets

    def check(self) -> None:
        """Raise `Stopped` if the owner asked the link to end."""
        if self._stopped() and not self.unstoppable:
            raise Stopped

    def close(self) -> None:
        """Release the selector; the sockets stay open."""
        self._selector.close()


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
        self._tls: ssl.SSLObject | None = None
        self._tls_in, self._tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._out = bytearray()
        #: Plain text that TLS would not take yet (a renegotiation under way wants to read first).
        self._held = bytearray()
        #: When the out buffer last shrank, or began to fill.
        self._progress_at = 0.0
        #: Writing failed: what is sent from now on is dropped, and reading will tell why.
        self._mute = False
        #: The last read emptied the socket: wait before reading again.
        self._drained = True
        self._ended = False
        #: TLS failed behind records that were whole: raised once they have been read.
        self._fault: WireError | None = None
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
        tls = context.wrap_bio(self._tls_in, self._tls_out, server_hostname=server_hostname)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush_tls()
                self._read_cipher()
            except ssl.SSLCertVerificationError as exc:
                self._flush_tls()  # the alert tells the peer why
                raise WireError(f"TLS: the certificate of {server_hostname} is refused: {exc.verify_message}") from exc
            except ssl.SSLError as exc:
                self._flush_tls()
                lost = isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
                reason = "the peer hung up during the handshake" if lost else exc.reason or str(exc)
                raise WireError(f"TLS with {server_hostname} failed: {reason}") from exc
        self._flush_tls()
        self._tls = tls

    def _flush_tls(self) -> None:
        if self._tls_out.pending:
            self._queue(self._tls_out.read())

    def _read_cipher(self) -> None:
        """Wait for bytes from the peer and hand them to TLS."""
        while True:
            self._poller.check()  # here too, for a peer that never pauses
            size = self._receive()
            if size is not None:
                self._feed_tls(size)
                return
            self._wait()

    def _feed_tls(self, size: int) -> None:
        if size:
            self._tls_in.write(self._read_into[:size])
        else:
            self._tls_in.write_eof()

    # ------------------------------------------------------------------ in

    def fill(self) -> bool:
        """Append what the peer sent to `buffer`, waiting for it; return False at the end of the stream.

        Raises:
            Stopped: The owner asked the link to end.
            WireError: The connection broke, a limit ran out; whatever `serve` raises.
        """
        if self._waker.pending or time.monotonic() >= self._serve_at:
            self._do_serve(idle=False)  # also when the socket never is
        if self._fault is not None:
            raise self._fault
        while not self._ended:
            if not self._drained:
                self._poller.check()  # here too, for a peer that never pauses
            while self._drained:
                self._wait()
            size = self._receive()
            if size is None:
                continue
            chunk = bytes(self._read_into[:size]) if self._tls is None else self._decrypt(size)
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

    def _decrypt(self, size: int) -> bytes | None:
        """Return the plain text of whole records, b"" at the end of the stream, None if there is none yet."""
        assert self._tls is not None
        self._feed_tls(size)
        records: list[bytes] = []
        read = self._tls.read
        ended = False
        try:
            while record := read(RECORD_BYTES):
                records.append(record)
                if not self._tls_in.pending:  # else one more read would say so with an exception, 3 µs a message
                    break
            else:
                ended = True  # close_notify: reads give b"" from now on
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # a bare FIN
            ended = True
        except ssl.SSLError as exc:
            self._fault = WireError(f"TLS failed: {exc.reason or exc}")
            if not records:
                raise self._fault from exc
        if self._held:  # a renegotiation may have just ended
            self._flush_held()
        if self._tls_out.pending:  # key updates and alerts are answered here
            self._queue(self._tls_out.read())
        if ended and records:
            self._ended = True
        return b"".join(records) if records else (b"" if ended else None)

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
            self._held += data
            self._flush_held()
            self._flush_tls()
        return len(data)

    def _flush_held(self) -> None:
        while self._held and self._tls is not None:
            try:
                written = self._tls.write(self._held)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError:
                self._held.clear()  # the reading side will tell
                return
            del self._held[:written]

    def _queue(self, data: bytes) -> None:
        if self._mute:
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
                with contextlib.suppress(ssl.SSLError):
                    self._tls.unwrap()  # close_notify; the peer's answer is not waited for
                self._flush_tls()
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
