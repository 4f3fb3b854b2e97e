"""`RestCalls`: from a request to its rows: checks, OKX's limits, the signature, and trying again where it is harmless.

Law. Only what changes nothing (GET) is tried again, with full jitter, until the call's deadline; what is posted is sent
once. A request leaves when OKX's limit has room for it, and is signed when it leaves. All waits of a call share its
deadline, and end with the client.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from ..config import GIVE_A_KEY, Backoff, Credentials, positive
from ..errors import ConnectionLost, ManagerClosed, OkxWsError, RestError, UsageError
from ..protocol.auth import rest_headers
from ..protocol.backoff import delay_before
from ..protocol.rest import Verdict, body_of, is_public, target_of, texts_of, verdict_on
from ..protocol.rest_limits import LimitKey, RestBudget, limit_key
from .proxy import is_loopback
from .rest import is_lasting, is_unsent

__all__ = ["RestCalls", "Transport"]

log = logging.getLogger(__name__)

#: Between two attempts; shorter than a link's, for somebody is waiting.
BACKOFF = Backoff(first_s=0.25, cap_s=4.0)

#: How long OKX's clock is waited for before a request is signed with ours.
CLOCK_PATIENCE_S = 2.0

#: No call lasts longer, whatever it was told: the system's own waits have a bound.
LONGEST_S = 86_400.0

#: Limits are counted per address of OKX's, whichever manager of this process asks.
_budgets: dict[str, RestBudget] = {}
_budgets_lock = threading.RLock()


def _forget_budgets() -> None:
    global _budgets_lock
    _budgets_lock = threading.RLock()  # a thread that the child does not have may hold the old one
    _budgets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_budgets)


class Transport(Protocol):
    """Sends one request, once; `RestTransport`."""

    url: str

    def ask(
        self, method: str, target: str, until: float, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> list[Any]:
        """Return the rows of the answer; see `RestTransport.ask`."""


class Time(Protocol):
    """OKX's clock; `Clock`."""

    def now_s(self) -> float:
        """Return it, Unix seconds."""

    def want(self) -> None:
        """Synchronise in the background."""

    def doubt(self) -> None:
        """Synchronise anew."""

    def wait(self, timeout: float) -> bool:
        """Wait until there is nothing to wait for."""


class LocalTime:
    """This machine's clock, as it is."""

    def now_s(self) -> float:
        return time.time_ns() / 1e9  # Unix time is what is signed: no deadline is measured with it

    def want(self) -> None:
        """There is nothing to ask."""

    def doubt(self) -> None:
        """There is nothing to ask."""

    def wait(self, timeout: float) -> bool:
        return True


class _Ask(NamedTuple):
    """One call: what is sent, whether it is signed, what it is counted under, and when its time is up."""

    method: str
    path: str
    target: str
    body: str
    signed: bool
    key: LimitKey
    until: float


class RestCalls:
    """Makes calls; thread-safe.

    Args:
        transport: Sends.
        credentials: Whose calls they are; empty for public data only.
        clock: What signatures are dated with; None: this machine's.
        guard: Raises if a call must not be made now: on a link's thread, once closed, in a forked child.
        now: The time, monotonic seconds.
        wait: Waits so many seconds and returns whether the client has been stopped; None: really waits.
        draw: A number from 0 to 1, for the jitter.
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        clock: Time | None = None,
        guard: Callable[[], None] = lambda: None,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock: Time = clock or LocalTime()
        self._local = clock is None
        #: Raises if no call may be made now.
        self.guard = guard
        self._now = now
        self._wait = wait or self._really_wait
        self._draw = draw
        # Re-entrant: `stop` may come from a signal handler that interrupted this very thread inside.
        self._stopping = threading.Condition(threading.RLock())
        self._stopped = False

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        body: object = None,
        *,
        timeout: float,
        signed: bool | None = None,
    ) -> list[Any]:
        """Make one call and return the rows of its answer.

        Args:
            method: ``"GET"`` or ``"POST"``.
            path: OKX's, from ``/api/v5/`` on.
            params: For the query.
            body: For the body.
            timeout: Seconds for everything: limits, attempts, pauses.
            signed: None: as the path needs it.

        Raises:
            UsageError, ManagerClosed, RestError, ConnectionLost: See `RestClient`.
        """
        until = self._now() + min(positive("timeout", timeout), LONGEST_S)
        texts = texts_of(params)
        target, text = target_of(path, texts), body_of(body)
        if signed is None:
            signed = not is_public(path)
        key = limit_key(method, path, {**texts, **_texts_in(body)}, self._user())
        ask = _Ask(method, path, target, text, signed, key, until)
        self.guard()
        if signed:
            self._check_key(path)
        error: ConnectionLost | RestError | None = None
        doubted = self._local  # nothing comes of doubting our own clock
        for attempt in itertools.count(1):
            self._wait_for_room(ask, error)
            try:
                return self._send(ask)
            except (ConnectionLost, RestError) as exc:
                error = exc
            verdict = self._heed(ask, error)
            if verdict == "final" or (verdict == "clock" and doubted):
                break
            doubted = doubted or verdict == "clock"
            delay = 0.0 if verdict == "clock" else delay_before(attempt, BACKOFF, self._draw())
            if self._now() + delay >= until:
                break
            log.info("%s; again in %.2f s", error, delay)
            self._pause(delay)
        assert error is not None  # only a failure leads here
        raise error

    def _user(self) -> str:
        """Return whose requests are counted; not the key itself, which stays where it is."""
        credentials = self._credentials
        return hashlib.sha256(credentials.apiKey.encode()).hexdigest() if credentials else ""

    def room_in(self, path: str, params: Mapping[str, object], left: float = 0.0) -> float:
        """Return in how many seconds OKX's limit has room for such a GET; 0 if it has now: see `RestClient.room_in`."""
        key, now = limit_key("GET", path, texts_of(params), self._user()), self._now()
        with _budgets_lock:
            return self._budget().ready_at(key, now, left) - now

    def _send(self, ask: _Ask) -> list[Any]:
        headers = None
        if ask.signed:
            self._clock.want()
            self._clock.wait(max(0.0, min(CLOCK_PATIENCE_S, ask.until - self._now())))
        self.guard()  # a wait may have ended because of close()
        if self._now() >= ask.until:
            raise RestError("", "the time was up before anything was sent", path=ask.path)
        if ask.signed:
            headers = rest_headers(self._credentials, self._clock.now_s(), ask.method, ask.target, ask.body)
        return self._transport.ask(ask.method, ask.target, ask.until, headers, ask.body)

    def _heed(self, ask: _Ask, error: ConnectionLost | RestError) -> Verdict:
        """Take note of what a failure says; return what can be done. What was posted raises: it is sent once."""
        verdict: Verdict = verdict_on(error)
        if isinstance(error, ConnectionLost) and is_lasting(error):
            verdict = "final"
        if verdict == "full":
            with _budgets_lock:
                self._budget().full(ask.key, self._now())
        if verdict == "clock":
            self._clock.doubt()
        if ask.method != "GET":
            raise _with_doubt(error)
        return verdict

    def _check_key(self, path: str) -> None:
        if not self._credentials:
            raise UsageError(f"{path} needs a login: {GIVE_A_KEY}")
        parts = urlsplit(self._transport.url)
        if parts.scheme == "http" and not is_loopback(str(parts.hostname)):
            raise UsageError(
                f"no signed request over http://{parts.hostname}: without TLS the key would travel in the clear;"
                " use https://"
            )

    def _budget(self) -> RestBudget:
        return _budgets.setdefault(self._transport.url, RestBudget())

    def _wait_for_room(self, ask: _Ask, error: OkxWsError | None) -> None:
        """Wait until OKX's limit has room, if it has some in time; `error` is that of the last attempt."""
        with _budgets_lock:
            at = self._budget().reserve(ask.key, self._now(), ask.until)
        if at is None:
            told = "OKX's limit for it has no room before the time is up; nothing was sent"
            raise error or RestError("", told, "ask less often, or give it a longer timeout", path=ask.path)
        self._pause(at - self._now())

    def _pause(self, seconds: float) -> None:
        if seconds > 0 and self._wait(seconds):
            raise ManagerClosed("the manager is closed")

    def _really_wait(self, seconds: float) -> bool:
        with self._stopping:
            return self._stopping.wait_for(lambda: self._stopped, seconds)

    def stop(self) -> None:
        """End all waits with `ManagerClosed`; safe from a signal handler."""
        with self._stopping:
            self._stopped = True
            self._stopping.notify_all()


def _with_doubt(error: ConnectionLost | RestError) -> ConnectionLost | RestError:
    """Return the error of something that was posted; it says so if it may have been carried out."""
    told = "it is not known whether OKX has carried it out; ask for it"
    if isinstance(error, ConnectionLost):
        if is_unsent(error):
            return error
        unsure = ConnectionLost(f"{error}; {told}")
        unsure.__cause__ = error.__cause__
        return unsure
    if error.status is not None and error.status >= 500 and not error.remedy:
        return RestError(error.code, error.msg, told, error.status, error.path, error.data)
    return error


def _texts_in(body: object) -> dict[str, str]:
    """Return the fields of a body that a limit may be counted by."""
    fields = body if isinstance(body, Mapping) else {}
    return {name: value for name, value in fields.items() if isinstance(value, str)}
