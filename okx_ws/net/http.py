"""`Lane`: one HTTP exchange after another, over requests, each within a deadline. Only this module imports requests.

Law. requests bounds each read, and a peer that sends a byte a second would never run out of it: here each read of the
socket gets what is left until the deadline, in the head of an answer as in its body.

It is imported with the first exchange: importing requests takes as long as all the rest, and what it brings into memory
slows every run of the cyclic collector, which decoded messages wake.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import requests
import urllib3  # what requests is made of, and whose errors it lets through
from requests.adapters import HTTPAdapter

from .proxy import is_loopback

__all__ = ["FAILURES", "Lane", "cleaned", "is_unsent", "told"]

#: Connecting takes at most this long, for each address of the host; so does any silence within an answer.
CONNECT_S = 2.0
SILENCE_S = 3.0

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


class Lane:
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

    def exchange(self, method: str, url: str, until: float, headers: Mapping[str, str], body: str) -> tuple[int, bytes]:
        """Send one request, once; return the status and the body of its answer. Raises one of `FAILURES`.

        Blocks until `until` (monotonic); a name lookup may add to it. A POST may be silent until then, a GET for 3 s.
        """
        left = max(0.001, until - time.monotonic())
        self.adapter.until = until
        self.adapter.silence_s = SILENCE_S if method == "GET" else left
        session = self.session
        asked = requests.Request(method, url, data=body.encode() or None)
        request = session.prepare_request(asked)
        if body:
            request.headers["Content-Type"] = "application/json"
        for name, value in headers.items():
            request.headers[name] = cast(Any, value.encode())  # any character, as it is
        found = session.merge_environment_settings(request.url or "", {}, True, None, None)
        timeouts = (min(CONNECT_S, left), min(self.adapter.silence_s, left))
        with session.send(request, timeout=timeouts, allow_redirects=False, **found) as answer:
            payload = bytearray()
            for chunk in answer.iter_content(CHUNK_BYTES):
                payload += chunk
                if len(payload) > MAX_ANSWER_BYTES:
                    raise OSError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            return answer.status_code, bytes(payload)


#: How urllib3 begins what it says of a connection.
CONNECTION = re.compile(r"\w+\(host='(?P<host>[^']*)', port=(?P<port>\d+)\): (?P<why>.*)", re.DOTALL)


def told(exc: Exception) -> str:
    """Return what an error says, without the layers that it has come through."""
    inner = getattr(exc.args[0] if exc.args else None, "reason", None) or exc
    if isinstance(inner, urllib3.exceptions.ProxyError):
        return f"the proxy cannot be used: {told(inner.original_error)}"
    found = CONNECTION.fullmatch(str(inner))
    return f"{found['host']} port {found['port']}: {found['why']}" if found is not None else str(inner)


def cleaned(exc: Exception, text: str) -> Exception:
    """Return an error of the same kind with this text, and without the request, or the frames that held it."""
    kind = type(exc) if isinstance(exc, (requests.RequestException, TimeoutError)) else ConnectionError
    try:
        return kind(text)
    except TypeError:  # some kinds want more than a text
        return ConnectionError(text)


def is_unsent(cause: BaseException | None) -> bool:
    """Tell whether a request that failed so has certainly not left: there was no connection to send it on."""
    if isinstance(cause, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return "NewConnectionError" in str(cause) or "NameResolutionError" in str(cause)
