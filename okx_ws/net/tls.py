"""`Tls`: one TLS session in memory, fed with what the peer sent and asked for what is to be sent.

Law. No socket is touched here: whoever owns one feeds (`feed`, then `read`), and sends what `outgoing` returns, after
each call. One large read of the socket so feeds many TLS records, where an `ssl.SSLSocket` costs a system call and two
hand-overs of the interpreter lock for each (measured: three times the messages a second).
"""

from __future__ import annotations

import contextlib
import ssl

from .poller import WireError

__all__ = ["Tls"]

#: A TLS record holds no more plain text.
RECORD_BYTES = 16_384


class Tls:
    """The client's side of a session.

    Attributes:
        ended: The peer has ended its direction: nothing comes behind what `read` has returned.
        fault: TLS failed behind records that were whole: to be raised once they have been used.

    Args:
        context: Whom it trusts.
        server_hostname: Whose certificate it has to be.
    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._in, self._out, server_hostname=server_hostname)
        self._server = server_hostname
        #: Plain text that the session would not take yet (a renegotiation under way wants to read first).
        self._held = bytearray()
        self.ended = False
        self.fault: WireError | None = None

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done, or else wants to be fed.

        Raises:
            WireError: A certificate that cannot be trusted, with its fault, or a handshake that failed.
        """
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as exc:
            raise WireError(f"TLS: the certificate of {self._server} is refused: {exc.verify_message}") from exc
        except ssl.SSLError as exc:
            lost = isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
            reason = "the peer hung up during the handshake" if lost else exc.reason or str(exc)
            raise WireError(f"TLS with {self._server} failed: {reason}") from exc
        return True

    def feed(self, cipher: memoryview) -> None:
        """Take what the peer sent; nothing is the end of the stream."""
        if cipher:
            self._in.write(cipher)
        else:
            self._in.write_eof()

    def outgoing(self) -> bytes:
        """Take out what is to be sent."""
        return self._out.read() if self._out.pending else b""

    def read(self) -> bytes | None:
        """Return the plain text of whole records, b"" at the end of the stream, None if there is none yet.

        Raises:
            WireError: TLS failed, and no record was whole before that.
        """
        records: list[bytes] = []
        read = self._session.read
        try:
            while record := read(RECORD_BYTES):
                records.append(record)
                if not self._in.pending:  # else one more read would say so with an exception, 3 µs a message
                    break
            else:
                self.ended = True  # close_notify: reads give b"" from now on
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):  # a bare FIN
            self.ended = True
        except ssl.SSLError as exc:
            self.fault = WireError(f"TLS failed: {exc.reason or exc}")
            if not records:
                raise self.fault from exc
        if self._held:  # a renegotiation may have just ended
            self._encrypt_held()
        return b"".join(records) if records else (b"" if self.ended else None)

    def write(self, data: bytes) -> None:
        """Encrypt; never blocks, never fails: what is wrong is told by reading."""
        self._held += data
        self._encrypt_held()

    def _encrypt_held(self) -> None:
        while self._held:
            try:
                written = self._session.write(self._held)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError:
                self._held.clear()  # the reading side will tell
                return
            del self._held[:written]

    def say_goodbye(self) -> None:
        """End our direction with a close_notify; the peer's answer is not waited for."""
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
