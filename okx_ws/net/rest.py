"""`RestTransport`: questions to OKX's REST API over one address, each within a deadline.

Law. No error keeps what requests' own errors carry: the request with its headers, which hold a key, a passphrase and a
signature. requests is imported with the first question, see `http`.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import Credentials
from ..errors import ConnectionLost, RestError
from ..protocol.rest import read_answer

if TYPE_CHECKING:
    from .http import Lane

__all__ = ["RestTransport", "is_lasting", "is_unsent"]

log = logging.getLogger(__name__)

#: A question about the clock that takes longer tells nothing.
CLOCK_S = 5.0


class RestTransport:
    """HTTP to one address. Thread-safe: each exchange has a session of its own while it lasts.

    Args:
        url: The address of OKX's REST API; a path in it belongs to a gateway, and is not signed.
        tls: Verifies https.
        proxy: As the manager's.
        sandbox: Say that demo trading is meant.
        credentials: What must not appear in an error.
    """

    def __init__(
        self,
        url: str,
        tls: ssl.SSLContext,
        proxy: str | bool | None = None,
        sandbox: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._blot = (credentials or Credentials()).blot
        self._lane_of = (url, tls, proxy, sandbox)
        # Taken and put back by atomic operations of a list, without a lock: close() may come from a signal handler.
        self._idle: list[Lane] = []
        self._closed = False

    def ask(
        self, method: str, target: str, until: float, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> list[Any]:
        """Send one request, once, and return the rows of its answer; redirects are not followed.

        Blocks until `until` (monotonic) at the most; a name lookup, and further addresses of the host that do not
        answer, may add to it. A POST may be silent until then, a GET for 3 s.

        Raises:
            RestError: OKX answered with an error, or with something that is no answer.
            ConnectionLost: It could not be reached, or not in time.
        """
        from . import http

        path = target.partition("?")[0]
        sent = headers or {}
        started = time.monotonic()
        failure: Exception | None = None
        told = ""
        try:
            with self._lane(http.Lane) as lane:
                status, payload = lane.exchange(method, self.url + target, until, sent, body)
        except http.FAILURES as exc:
            failure = http.cleaned(exc, self._clean(str(exc), sent))
            told = self._clean(http.told(exc), sent)
        if failure is not None:
            log.debug("%s %s: %s", method, target, failure)
            # Raised out here: within, Python would chain the original one.
            raise ConnectionLost(f"REST {path}: {told}") from failure
        log.debug("%s %s: HTTP %d, %d bytes, %.3f s", method, target, status, len(payload), time.monotonic() - started)
        return read_answer(status, payload, path, partial(self._clean, headers=sent))

    def _clean(self, text: str, headers: Mapping[str, str]) -> str:
        """Return a text without secrets and signatures."""
        for name, value in headers.items():
            if name.startswith("OK-ACCESS-"):
                text = text.replace(value, "***")
        return self._blot(text)

    @contextlib.contextmanager
    def _lane(self, make: Callable[..., Lane]) -> Iterator[Lane]:
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = make(*self._lane_of)
        try:
            yield lane
        finally:
            self._idle.append(lane)
            if self._closed:
                self.close()

    def server_time_s(self) -> float:
        """Return OKX's clock, Unix seconds; one question, no retry, blocks up to 5 s.

        Source: OKX v5 docs, "Get system time", read June 2026.

        Raises:
            RestError, ConnectionLost: As `ask`.
        """
        path = "/api/v5/public/time"
        data = self.ask("GET", path, time.monotonic() + CLOCK_S)
        try:
            return int(data[0]["ts"]) / 1000
        except (IndexError, KeyError, TypeError, ValueError):
            raise RestError("", "no time in the answer", path=path) from None

    def close(self) -> None:
        """Release the connections; those in use go when their exchange is over. Idempotent."""
        self._closed = True
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._idle.pop().session.close()


def is_lasting(lost: ConnectionLost) -> bool:
    """Tell whether trying again is of no use: a certificate was refused, or an address or a proxy cannot be used."""
    cause = lost.__cause__
    return isinstance(cause, ValueError) or "CERTIFICATE_VERIFY_FAILED" in str(cause)


def is_unsent(lost: ConnectionLost) -> bool:
    """Tell whether the request has certainly not left: there was no connection to send it on."""
    from . import http

    return http.is_unsent(lost.__cause__) or is_lasting(lost)
