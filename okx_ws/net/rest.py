"""`RestTransport`: one HTTP exchange, over requests, within a deadline. Only this module imports requests.

Law. requests bounds each read, and a peer that sends a byte a second would never run out of it: here each read of the
socket gets what is left until the deadline, in the head of an answer as in its body. No error keeps what requests'
own errors carry: the request with its headers, which hold a key, a passphrase and a signature.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import urllib3  # what requests is made of, and whose errors it lets through
from requests.adapters import HTTPAdapter

from ..config import Credentials
from ..errors import ConnectionLost, RestError
from ..protocol.rest import read_answer
from .proxy import is_loopback

__all__ = ["RestTransport", "is_lasting", "is_unsent"]

log = logging.getLogger(__name__)

#: Connecting takes at most this long, for each address of the host; so does any silence within an answer.
CONNECT_S = 2.0
SILENCE_S = 3.0

#: A question about the clock that takes longer tells nothing.
CLOCK_S = 5.0

#: Many times the largest answer OKX gives (all options), and little enough for memory.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 65_536

#: What requests, and what it is made of, raise; ValueError: for an address or a proxy it cannot use.
FAILURES = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
)


class _Bounded(io.RawIOBase):
    """The reading end of a socket, each of whose reads ends at the adapter's deadline."""

    def __init__(self, raw: Any, sock: socket.socket, adapter: _Adapter) -> None:
        self._raw = raw
        self._sock = sock
        self._adapter = adapter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._adapter.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(min(left, self._adapter.silence_s))
        return int(self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that is read within the adapter's deadline."""

    def __init__(self, adapter: _Adapter, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Bounded(self.fp.detach(), sock, adapter))


class _Adapter(HTTPAdapter):
    """Keeps the deadline; verifies as the WebSocket does, by our context alone, without requests' own authorities."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        #: When the exchange under way must be over, monotonic; and the longest silence in it.
        self.until, self.silence_s = 0.0, SILENCE_S
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: its context says it all."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        return self._bound(super().get_connection(url, proxies))  # requests 2.31 asks this one

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        return self._bound(super().get_connection_with_tls_context(*args, **kwargs))

    def _bound(self, pool: Any) -> Any:
        """Have every connection of a pool read within the deadline, whatever way it takes: TLS, proxies."""
        if "ConnectionCls" not in vars(pool):
            make = pool.ConnectionCls

            def connection(*args: Any, **kwargs: Any) -> Any:
                made = make(*args, **kwargs)
                made.response_class = partial(_Answer, self)
                return made

            pool.ConnectionCls = connection
        return pool


class _Lane:
    """A session with its adapter: its connection is kept alive. One thread uses it at a time."""

    def __init__(self, url: str, tls: ssl.SSLContext, proxy: str | bool | None, sandbox: bool) -> None:
        self.adapter = _Adapter(tls)
        self.session = requests.Session()
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, self.adapter)
        self.session.headers["User-Agent"] = "okx-ws"
        if sandbox:
            self.session.headers["x-simulated-trading"] = "1"
        self.session.auth = lambda request: request  # nothing from a .netrc
        self.session.trust_env = proxy is None and not is_loopback(str(urlsplit(url).hostname))
        if isinstance(proxy, str):
            self.session.proxies = {"http": proxy, "https": proxy}


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
        self._make_lane = partial(_Lane, url, tls, proxy, sandbox)
        # Taken and put back by atomic operations of a list, without a lock: close() may come from a signal handler.
        self._idle: list[_Lane] = []
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
        path = target.partition("?")[0]
        sent = headers or {}
        started = time.monotonic()
        failure: Exception | None = None
        try:
            with self._lane() as lane:
                lane.adapter.until = until
                lane.adapter.silence_s = SILENCE_S if method == "GET" else max(0.001, until - started)
                status, payload = self._exchange(lane, method, target, sent, body)
        except FAILURES as exc:
            failure = self._told(exc, sent)
        if failure is not None:
            log.debug("%s %s: %s", method, target, failure)
            # Raised out here: within, Python would chain the original one.
            raise ConnectionLost(f"REST {path}: {failure}") from failure
        log.debug("%s %s: HTTP %d, %d bytes, %.3f s", method, target, status, len(payload), time.monotonic() - started)
        return read_answer(status, payload, path, partial(self._clean, headers=sent))

    def _exchange(
        self, lane: _Lane, method: str, target: str, headers: Mapping[str, str], body: str
    ) -> tuple[int, bytes]:
        left = max(0.001, lane.adapter.until - time.monotonic())
        session = lane.session
        asked = requests.Request(method, self.url + target, data=body.encode() or None)
        request = session.prepare_request(asked)
        if body:
            request.headers["Content-Type"] = "application/json"
        for name, value in headers.items():
            request.headers[name] = cast(Any, value.encode())  # any character, as it is
        found = session.merge_environment_settings(request.url or "", {}, True, None, None)
        timeouts = (min(CONNECT_S, left), min(lane.adapter.silence_s, left))
        with session.send(request, timeout=timeouts, allow_redirects=False, **found) as answer:
            payload = bytearray()
            for chunk in answer.iter_content(CHUNK_BYTES):
                payload += chunk
                if len(payload) > MAX_ANSWER_BYTES:
                    raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            return answer.status_code, bytes(payload)

    def _clean(self, text: str, headers: Mapping[str, str]) -> str:
        """Return a text without secrets and signatures."""
        for name, value in headers.items():
            if name.startswith("OK-ACCESS-"):
                text = text.replace(value, "***")
        return self._blot(text)

    def _told(self, exc: Exception, headers: Mapping[str, str]) -> Exception:
        """Return an error of the same kind without the request in it, and without the frames that held it."""
        text = self._clean(str(exc), headers)
        kind = type(exc) if isinstance(exc, (requests.RequestException, TimeoutError)) else ConnectionError
        try:
            return kind(text)
        except TypeError:  # some kinds want more than a text
            return ConnectionError(text)

    @contextlib.contextmanager
    def _lane(self) -> Iterator[_Lane]:
        try:
            lane = self._idle.pop()
        except IndexError:
            lane = self._make_lane()
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
    cause = lost.__cause__
    connecting = isinstance(cause, (requests.ConnectTimeout, requests.exceptions.ProxyError))
    return connecting or is_lasting(lost) or "NewConnectionError" in str(cause) or "NameResolutionError" in str(cause)
