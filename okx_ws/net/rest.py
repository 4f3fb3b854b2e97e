"""REST: a small client over requests, and the one thread for all REST in the background. Only this imports requests."""

from __future__ import annotations

import heapq
import itertools
import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from ..errors import ConnectionLost, RestError
from .proxy import is_loopback

__all__ = ["RestClient", "RestWorker"]

log = logging.getLogger(__name__)

#: A call cannot be interrupted: connecting and reading take at most this long each, 5 s together.
TIMEOUTS_S = (2.0, 3.0)

SLICE_S = 1.0


class _Adapter(HTTPAdapter):
    """Verifies as the WebSocket does: by our context alone, without the authorities requests would add to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
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


class RestClient:
    """OKX's REST API, as far as it is needed here. Not thread-safe: one thread uses it.

    Args:
        url: Its address, without a path.
        tls: Verifies https.
        proxy: As the manager's.
        sandbox: Say that demo trading is meant.
    """

    def __init__(self, url: str, tls: ssl.SSLContext, proxy: str | bool | None = None, sandbox: bool = False) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.mount("https://", _Adapter(tls))
        self._session.auth = lambda request: request  # nothing from a .netrc
        if sandbox:
            self._session.headers["x-simulated-trading"] = "1"
        self._session.trust_env = proxy is None and not is_loopback(str(urlsplit(url).hostname))
        if isinstance(proxy, str):
            self._session.proxies = {"http": proxy, "https": proxy}

    def server_time_s(self) -> float:
        """Return OKX's clock, Unix seconds; blocks up to 5 s.

        Source: OKX v5 docs, "Get system time", read June 2026.

        Raises:
            RestError: OKX answered with an error, or with something that is no answer.
            ConnectionLost: It could not be reached in time.
        """
        path = "/api/v5/public/time"
        data = self._get(path)
        try:
            return int(data[0]["ts"]) / 1000
        except (IndexError, KeyError, TypeError, ValueError):
            raise RestError("", "no time in the answer", path=path) from None

    def _get(self, path: str) -> list[Any]:
        try:
            answer = self._session.get(self._url + path, timeout=TIMEOUTS_S, allow_redirects=False)
        except requests.RequestException as exc:
            raise ConnectionLost(f"REST {path}: {exc}") from exc
        try:
            body = answer.json()
            code, msg, data = str(body["code"]), str(body.get("msg", "")), body.get("data")
        except (ValueError, KeyError, TypeError, AttributeError):
            told = f"the answer is not OKX's: {answer.text[:80]!r}"
            raise RestError("", told, status=answer.status_code, path=path) from None
        if code != "0" or not isinstance(data, list):
            raise RestError(code, msg, status=answer.status_code, path=path)
        return data

    def close(self) -> None:
        """Release the connections."""
        self._session.close()


class RestWorker:
    """The thread `okx-ws:rest`: runs jobs one after another, each at its time; started with the first.

    A daemon: a call under way cannot be interrupted, and touches nothing once the worker was stopped.
    """

    def __init__(self) -> None:
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside.
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._jobs: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self.stopped = False

    def submit(self, job: Callable[[], None], delay_s: float = 0.0) -> None:
        """Run `job` on the thread after `delay_s`; nothing once stopped."""
        with self._changed:
            if self.stopped:
                return
            heapq.heappush(self._jobs, (time.monotonic() + delay_s, next(self._numbers), job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="okx-ws:rest", daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """Run no further job."""
        with self._changed:
            self.stopped = True
            self._jobs.clear()
            self._changed.notify()

    def join(self, until: float) -> bool:
        """Wait for the thread to end, until `until` (monotonic); return whether it has."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, until - time.monotonic()))
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # a bug of ours must cost a job, not the thread
                log.exception("a REST job failed")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self.stopped:
                left = self._jobs[0][0] - time.monotonic() if self._jobs else SLICE_S
                if left <= 0:
                    return heapq.heappop(self._jobs)[2]
                self._changed.wait(min(left, SLICE_S))
        return None
