"""`Manager`: owns the lines, the queues and the handlers, and wires them together; knows no protocol.

Law. It owns objects, never their states: how a link, a queue or a handler stands, that one says itself. Locks are taken
in the order manager, endpoint, queue; no user code runs under one. Its methods are in parts, a file each, which share
what `Wiring` names: `Subscribing`, `Views`, `Reading`, `Trading`, `Safeguards`, `Closing`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from . import process
from .closing import Closing
from .config import Backoff, Credentials, Limits, Settings, tls_context
from .endpoints import ENDPOINTS, resolve_urls
from .errors import ManagerClosed, UsageError
from .events import Event
from .net.clock import Clock
from .net.lines import Lines
from .net.pacing import OrderPace
from .net.proxy import check_proxy
from .net.rest import RestTransport
from .net.rest_client import RestClient
from .net.site import Site
from .net.worker import RestWorker
from .protocol.auth import login_request
from .protocol.routing import Outlet
from .protocol.subscriptions import Stream
from .reading import Reading
from .recovery import Recovery
from .reporting import Reporter
from .safeguards import Safeguards
from .statistics import by_name, endpoint_stats, queue_stats
from .subscribing import Subscribing
from .switchboard import Switchboard, Tap
from .trading import Trading
from .views import Views

__all__ = ["Manager"]

MiB = 1024 * 1024

Self = TypeVar("Self", bound="Manager")


class Manager(Views, Subscribing, Reading, Trading, Safeguards, Closing):
    """OKX's v5 WebSocket API for ordinary threads: subscribe, then read a queue or register handlers.

    Nothing is connected, and no thread started, before the first subscription. Links are kept up for ever: pinged,
    reconnected with back-off, subscribed anew. Every method may be called from any thread, and from handlers.

    Args:
        apiKey, secretKey, passphrase: An API key; not needed for public data.
        sandbox: Demo trading instead of live.
        region: Where the account was opened: ``"global"``, ``"us"`` (with Australia), ``"eea"`` or ``"tr"``.
        urls: Addresses to use instead, by ``"public"``, ``"private"``, ``"business"``, ``"rest"``.
        ping_interval: Seconds without a message until a ping; under 30, when OKX closes.
        pong_timeout: Seconds after that ping, without a message, until a link counts as dead.
        connect_timeout: Seconds for lookup, TCP, TLS and upgrade together.
        write_timeout: Seconds a send may make no progress.
        reconnect: False: a lost link ends its endpoint, and what waits gets `ConnectionLost`.
        backoff: Delays between attempts.
        limits: OKX's limits, kept on our side.
        queue_size, queue_bytes: Bounds of each queue: messages, bytes.
        overflow: What a full queue does: ``"drop_oldest"`` or ``"drop_newest"`` drops, counts and tells; ``"error"``
            does so too, and the next `get` raises `QueueOverflow`; ``"latest"`` keeps only the newest message of each
            arg, at all times; ``"block"`` has the link stop reading until there is room (for recorders; beyond the
            socket's buffers OKX cuts with 4005).
        block_timeout: Seconds a link may be stopped so before it falls.
        max_message_bytes: A longer message ends the link (close code 1009).
        markers: Put a marker into queues (and before handlers) where messages are missing:
            ``{"event": "gap", "arg": {…}, "cause": …, "since_ms": …, "until_ms": …, "lost": n or None,
            "repaired": …}``. What is missing lies between the two times, Unix ms. Causes: ``"disconnect"``,
            ``"overflow"``, ``"malformed"``, ``"stall"``, and ``"sequence"``: it was subscribed anew for an order book.
            Repaired: nothing is missing after all, it follows (see `backfill`), or the next message makes up for it;
            where REST was asked in vain, ``"missing"`` says what could not be had.
        subscriptions_per_link: Beyond, an endpoint's subscriptions are spread over further links. Of order books of 50
            or 400 levels, OKX wants fewer than 30 on a link, and gets that.
        redundancy: 2: hold each subscription on two links, and take each message from the one that brings it first: the
            loss of one link costs nothing. What both miss is a hole as of one link. Order calls use one of them.
        max_link_age: Seconds after which a link is handed over to a new one, as `rotate` does; None: never.
        proxy: None: the environment's (``https_proxy``, ``all_proxy``, ``no_proxy``); False: none; or
            ``"http://[user:password@]host:port"``, ``"socks5h://…"`` (the proxy looks up names), ``"socks5://…"``.
        sslopt: See `config.tls_context`: ``ca_certs`` and the like, or a ``context``. Verification is always on.
        clock_sync: Sign logins with OKX's clock, asked over REST; False: with the local one, as it is.
        order_prefix: Begins each clOrdId that is made for an order without one: up to 12 letters and digits.
        backfill: Fill holes over REST: trades, candles, orders, fills and funding rates that were missed come at their
            place, each once, marked ``"backfill": true``. False: holes are told and stay holes.
        backfill_timeout: Seconds that a stream waits for that at the most (or 10,000 messages); others never wait.
        fallback_after: Without a link for so many seconds, tickers, ``books``, ``books5``, ``mark-price`` and candles
            are polled over REST, and delivered marked ``"fallback": true``, until it is back. None or False: never.

    Raises:
        UsageError: A value is wrong; the text names the parameter.
    """

    def __init__(
        self,
        apiKey: str = "",
        secretKey: str = "",
        passphrase: str = "",
        sandbox: bool = False,
        *,
        region: str = "global",
        urls: Mapping[str, str] | None = None,
        ping_interval: float = 15.0,
        pong_timeout: float = 10.0,
        connect_timeout: float = 10.0,
        write_timeout: float = 10.0,
        reconnect: bool = True,
        backoff: Backoff | None = None,
        limits: Limits | None = None,
        queue_size: int = 100_000,
        queue_bytes: int = 256 * MiB,
        overflow: str = "drop_oldest",
        block_timeout: float = 30.0,
        max_message_bytes: int = 64 * MiB,
        markers: bool = False,
        subscriptions_per_link: int = 240,
        max_link_age: float | None = None,
        redundancy: int = 1,
        proxy: str | bool | None = None,
        sslopt: Mapping[str, Any] | None = None,
        clock_sync: bool = True,
        backfill: bool = True,
        backfill_timeout: float = 3.0,
        fallback_after: float | None = 5.0,
        order_prefix: str = "",
    ) -> None:
        self._credentials = Credentials(apiKey, secretKey, passphrase)
        check_proxy(proxy)
        if not isinstance(clock_sync, bool):
            raise UsageError(f"clock_sync must be True or False, not {clock_sync!r}")
        self._urls = resolve_urls(region, sandbox, urls)
        self._settings = Settings(
            ping_interval=ping_interval,
            pong_timeout=pong_timeout,
            connect_timeout=connect_timeout,
            write_timeout=write_timeout,
            reconnect=reconnect,
            backoff=backoff if backoff is not None else Backoff(),
            limits=limits if limits is not None else Limits(),
            queue_size=queue_size,
            queue_bytes=queue_bytes,
            overflow=overflow,
            block_timeout=block_timeout,
            max_message_bytes=max_message_bytes,
            markers=markers,
            subscriptions_per_link=subscriptions_per_link,
            max_link_age=max_link_age,
            redundancy=redundancy,
            backfill=backfill,
            backfill_timeout=backfill_timeout,
            fallback_after=None if fallback_after is False else fallback_after,
            proxy=proxy,
            tls=tls_context(sslopt),
        )
        self._manager_lock = threading.RLock()
        self._lines: dict[str, Lines] = {}
        self._reporter = Reporter(self._credentials, self._resume, self.check_may_block, self._exit)
        #: Told in the errors of refused logins, whose cause is most often here.
        self._where = f", region {region!r}, {'demo' if sandbox else 'live'}"
        self._worker = RestWorker()
        self._transport = RestTransport(self._urls["rest"], self._settings.tls, proxy, sandbox, self._credentials)
        self._clock: Clock | None = None
        if self._credentials and clock_sync:
            self._clock = Clock(self._transport, self._worker, self._reporter.tell, self._clock_ready)
        self._rest = RestClient(self._transport, self._credentials, self._clock, self._check_rest)
        self._order_pace = OrderPace(self._urls["private"], self._credentials)
        self._switchboard = Switchboard(self._settings, self._reporter)
        self._switchboard.add_tap("instruments", {}, Tap(self._rest.heard))
        self._live_views = {}
        #: For `Site`.
        self._raw: Outlet | None = None
        self._pong: Callable[[bytes], None] = lambda payload: None
        self._closing = False
        self._leave_at = 0.0
        self._pid = os.getpid()
        self._shared = self._switchboard.shared
        self._take = self._shared.take
        #: Demo trading.
        self.sandbox = sandbox
        self._prepare_trading(order_prefix)
        self._dead_mans_switches = {}
        self._prepare()

    def _prepare(self) -> None:
        """For subclasses, which need no constructor of their own: everything is set."""

    @classmethod
    def from_env(cls: type[Self], **settings: Any) -> Self:
        """Make a manager with the key in ``OKX_API_KEY``, ``OKX_SECRET_KEY`` and ``OKX_PASSPHRASE``.

        Also read: ``OKX_API_SECRET``, ``OKX_API_SECRET_KEY``, ``OKX_API_PASSPHRASE``. Without any, the manager has no
        key and serves public data.

        Args:
            **settings: As for the constructor, but the key.
        """
        found = Credentials.from_env()
        return cls(found.apiKey, found.secretKey, found.passphrase, **settings)

    def _connect(self, endpoint: str) -> Lines:
        process.watch(self)
        site = Site(
            endpoint=endpoint,
            url=self._urls[endpoint],
            settings=self._settings,
            outlet_of=self._outlet_of,
            tell=self._tell,
            raw=self._raw,
            pong=lambda payload: self._pong(payload),
            login=self._login_request if self._credentials else None,
            credentials=self._credentials,
            hint=self._where,
            clock=self._clock,
            pace=self._order_pace,
            keeper=partial(Recovery, self._rest, self._worker, self._settings, self._tell, self._outlet_of),
        )
        return Lines(site, self._endpoint_failed)

    def _outlet_of(self, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Return where pushes with this arg go, which belong to these streams. Called under the endpoint's mutex."""
        holders = [holder for stream in streams for holder in stream.holders]
        return self._switchboard.outlet_of(holders, arg) if holders else None

    def _login_request(self) -> str:
        """Return a login signed now. Called under the endpoint's mutex."""
        # Unix time, as OKX wants it; with clock_sync=False the local clock as it is.
        now_s = self._clock.now_s() if self._clock is not None else time.time_ns() / 1e9
        return login_request(self._credentials, now_s)

    def _clock_ready(self) -> None:
        for lines in list(self._lines.values()):
            lines.nudge()

    def stats(self) -> dict[str, Any]:
        """Return counts and states, a plain dict of plain values; a snapshot, cheap enough for once a second."""
        self._check_process()
        with self._manager_lock:
            endpoints = {name: endpoint_stats(lines) for name, lines in self._lines.items()}
            own, handlers = self._switchboard.own_queues, self._switchboard.handler_queues
        for queue in (self._shared, *own.values(), *handlers):
            queue.tell_losses()
        return {
            "endpoints": endpoints,
            "queue": queue_stats(self._shared),
            "own_queues": by_name((str(holder.arg), queue) for holder, queue in own.items()),
            "handlers": by_name((queue.name, queue) for queue in handlers),
            "malformed": self._reporter.malformed_count + sum(e["malformed"] for e in endpoints.values()),
            "handler_errors": self._reporter.handler_error_count,
            "events_dropped": self._reporter.thread.events_dropped,
        }

    @property
    def rest(self) -> RestClient:
        """OKX's REST API: market data, and with a key the account; see `RestClient`. Its calls block.

        They raise `UsageError` on a link's own thread (inline), and `ManagerClosed` once the manager is closed.
        """
        return self._rest

    def rotate(self, endpoint: str | None = None) -> int:
        """Have new links take the place of those that are up, while both live: nothing is lost, doubled or reordered.

        Returns at once. Each new link is told as ``connected``; the old one is closed, without ``disconnected``, once
        the new one has everything. If that is not so within 45 s, the old link goes on. The same happens by itself when
        OKX gives notice of an upgrade (64008), and at `max_link_age`.

        Args:
            endpoint: ``"public"``, ``"private"`` or ``"business"``; None: all.

        Returns:
            How many links are being handed over because of this call.

        Raises:
            UsageError: There is no such endpoint.
            ManagerClosed: The manager is closed.
        """
        if endpoint is not None and endpoint not in ENDPOINTS:
            raise UsageError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}")
        self._check_open()
        with self._manager_lock:
            self._check_open()
            return sum(lines.rotate() for name, lines in self._lines.items() if endpoint in (None, name))

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<{type(self).__name__} {state} {', '.join(self._lines) or 'not connected'}>"

    # ------------------------------------------------------------------ inside

    def _check_rest(self) -> None:
        """Raise if no REST call may be made now. Its clock may start a thread, so the end of the process matters."""
        self.check_may_block()
        self._check_open()
        process.watch(self)

    def _tell(self, event: Event) -> None:
        """Pass on what a link tells; called outside every lock."""
        self._reporter.tell(event)
        self._tell_views(event)
        if event.type in ("subscribed", "subscribe_failed") and event.delay_s is None and event.arg is not None:
            self._settle_own_queues(self._lines[str(event.endpoint)], event.arg)

    def _endpoint_failed(self) -> None:
        """An endpoint has become of no use: readers must not wait for what cannot come."""
        with self._manager_lock:
            failures = [lines.failure for lines in self._lines.values()]
            for holder, queue in self._switchboard.own_queues.items():
                failure = self._lines[holder.endpoint].failure
                if failure is not None:
                    queue.end(failure)
            if None in failures:
                return
            if not self._closing:
                self._shared.end(failures[-1] or ManagerClosed())
                return
        self._finish()
