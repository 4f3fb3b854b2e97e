"""`Manager`: owns the connections, the queues and the handlers, and wires them together; knows no protocol."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

from . import process
from .config import Backoff, Credentials, Limits, Settings, positive, tls_context
from .delivery import SLICE_S, MessageQueue
from .endpoints import ENDPOINTS, endpoint_of, login_needed, resolve_urls
from .errors import ManagerClosed, UsageError
from .events import Event
from .handlers import EventHandler, EventSink, Handler, InlineSink
from .net.clock import Clock
from .net.connection import Connection, Wish
from .net.proxy import check_proxy, is_loopback
from .net.rest import RestTransport
from .net.rest_client import RestClient
from .net.worker import RestWorker
from .orderbook import SNAPSHOT_S, OrderBook, book_arg
from .protocol import codec, gaps
from .protocol.auth import login_request
from .protocol.routing import Outlet
from .reporting import Reporter
from .statistics import by_name, endpoint_stats, queue_stats
from .subscription import Subscription, check_arg, check_fields
from .switchboard import Pattern, Registration, Switchboard, Tap

__all__ = ["Manager"]

log = logging.getLogger(__name__)

MiB = 1024 * 1024

#: A REST call under way is waited for this long at close, lest its thread outlive a program that ends in good order.
REST_PATIENCE_S = 0.5

Self = TypeVar("Self", bound="Manager")


class Manager:
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
            "repaired": False}``. What is missing lies between the two times, Unix ms. Causes: ``"disconnect"``,
            ``"overflow"``, ``"malformed"``, ``"stall"``, and ``"sequence"``: it was subscribed anew for an order book.
        proxy: None: the environment's (``https_proxy``, ``all_proxy``, ``no_proxy``); False: none; or
            ``"http://[user:password@]host:port"``, ``"socks5h://…"`` (the proxy looks up names), ``"socks5://…"``.
        sslopt: See `config.tls_context`: ``ca_certs`` and the like, or a ``context``. Verification is always on.
        clock_sync: Sign logins with OKX's clock, asked over REST; False: with the local one, as it is.
        backfill: False: holes are told and stay holes. True is refused: to fill them over REST is not offered yet.

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
        proxy: str | bool | None = None,
        sslopt: Mapping[str, Any] | None = None,
        clock_sync: bool = True,
        backfill: bool = False,
    ) -> None:
        self._credentials = Credentials(apiKey, secretKey, passphrase)
        check_proxy(proxy)
        if not isinstance(clock_sync, bool):
            raise UsageError(f"clock_sync must be True or False, not {clock_sync!r}")
        if backfill is not False:
            raise UsageError(f"backfill must be False, not {backfill!r}: holes cannot be filled over REST yet")
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
            proxy=proxy,
            tls=tls_context(sslopt),
        )
        # Re-entrant: close() may come from a signal handler that interrupted this very thread inside. Taken before a
        # connection's mutex, never after it.
        self._manager_lock = threading.RLock()
        self._connections: dict[str, Connection] = {}
        self._reporter = Reporter(self._credentials, self._resume, self.check_may_block, self._exit)
        #: Told in the errors of refused logins, whose cause is most often here.
        self._where = f", region {region!r}, {'demo' if sandbox else 'live'}"
        self._worker = RestWorker()
        self._transport = RestTransport(self._urls["rest"], self._settings.tls, proxy, sandbox, self._credentials)
        self._clock: Clock | None = None
        if self._credentials and clock_sync:
            self._clock = Clock(self._transport, self._worker, self._reporter.tell, self._clock_ready)
        self._rest = RestClient(self._transport, self._credentials, self._clock, self._check_rest)
        self._switchboard = Switchboard(self._settings, self._reporter)
        #: For `Connection`.
        self._raw: Outlet | None = None
        self._pong: Callable[[bytes], None] = lambda payload: None
        self._closing = False
        #: When handlers are left behind (monotonic), once it is closing.
        self._leave_at = 0.0
        #: The process it works in: threads and locks do not survive a fork.
        self._pid = os.getpid()
        self._shared = self._switchboard.shared
        self._take = self._shared.take
        #: Demo trading.
        self.sandbox = sandbox
        self._prepare()

    def _prepare(self) -> None:
        """For subclasses, which need no constructor of their own: everything is set."""

    @property
    def msgQueue(self) -> MessageQueue:
        """The shared queue: what no handler takes. Also `get`, iteration and `messages` read it."""
        return self._shared

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

    # ------------------------------------------------------------------ subscribing

    @overload
    def subscribe(
        self,
        channel: str,
        *,
        handler: Handler | None = None,
        inline: bool = False,
        queue: bool = False,
        max_silence: float | None = None,
        endpoint: str | None = None,
        **arg: Any,
    ) -> Subscription: ...

    @overload
    def subscribe(
        self,
        channel: list[dict[str, Any]],
        *,
        handler: Handler | None = None,
        inline: bool = False,
        queue: bool = False,
        max_silence: float | None = None,
        endpoint: str | None = None,
    ) -> list[Subscription]: ...

    def subscribe(
        self,
        channel: str | list[dict[str, Any]],
        *,
        handler: Handler | None = None,
        inline: bool = False,
        queue: bool = False,
        max_silence: float | None = None,
        endpoint: str | None = None,
        **arg: Any,
    ) -> Subscription | list[Subscription]:
        """Subscribe to one arg, or to a list of args in one request; never blocks.

        Args:
            channel: OKX's channel name, with the other fields of the arg as keywords (``instId="BTC-USDT"``), spelled
                as OKX spells them; or a list of args as OKX's docs write them
                (``[{"channel": "tickers", "instId": "BTC-USDT"}, …]``).
            handler: Called with each message (a dict as OKX sent it), on the thread ``okx-ws:handlers``.
            inline: Call `handler` on the link's own thread instead: the lowest delay, but it must return quickly and
                must not wait for anything.
            queue: Give the subscription a queue of its own, read with `Subscription.get` or by iterating over it.
            max_silence: Seconds without a message after which it counts as stalled (event ``stalled``): it is
                subscribed anew, and if that was in vain, its link is given up. None: it may be silent for ever.
            endpoint: Where to subscribe, if not where the channel's name says.
            **arg: OKX's fields; each a non-empty str (``extraParams`` may be a dict).

        Without `handler` and `queue`, messages go to the shared queue: `get`, iteration, `messages`.

        Returns:
            A `Subscription`, or a list of them in the order of the args.

        Raises:
            UsageError: An arg cannot be right, or it needs a key and there is none. Nothing was subscribed.
            ManagerClosed: The manager is closed.
        """
        if isinstance(channel, str):
            return self._subscribe([{"channel": channel, **arg}], handler, inline, queue, max_silence, endpoint)[0]
        if arg:
            raise UsageError(f"with a list of args, {', '.join(arg)} belong inside the args")
        if not isinstance(channel, (list, tuple)) or not channel:
            raise UsageError(f"subscribe takes a channel name or a non-empty list of args, not {channel!r}")
        return self._subscribe(list(channel), handler, inline, queue, max_silence, endpoint)

    def _subscribe(
        self,
        args: list[Any],
        handler: Handler | None,
        inline: bool,
        queue: bool,
        max_silence: float | None,
        endpoint: str | None,
    ) -> list[Subscription]:
        if handler is not None and not callable(handler):
            raise UsageError(f"handler must be callable, not {handler!r}")
        if handler is not None and queue:
            raise UsageError("handler and queue=True exclude each other: a subscription has one sink")
        if inline and handler is None:
            raise UsageError("inline=True is about a handler, and there is none")
        if endpoint is not None and endpoint not in ENDPOINTS:
            raise UsageError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}")
        if max_silence is not None:
            positive("max_silence", max_silence)
        checked = [check_arg(arg) for arg in args]
        placed = [(endpoint or endpoint_of(arg["channel"]), arg) for arg in checked]
        for where, arg in placed:
            self._check_login(where, arg)
        self._check_open()
        with self._manager_lock:
            self._check_open()
            made = [self._make(where, arg, handler, inline, queue) for where, arg in placed]
            for where in dict.fromkeys(where for where, _ in placed):
                self._ask(self._connections[where], [s for s in made if s.endpoint == where], max_silence)
            if self._closing:  # by a signal handler that interrupted us: it may not have seen these connections
                self._stop_all()
        for connection in {subscription.connection for subscription in made}:
            connection.tell_pending()
        return made

    def _ask(
        self,
        connection: Connection,
        subscriptions: list[Subscription],
        max_silence: float | None = None,
        snapshot_s: float | None = None,
    ) -> None:
        """Hand new subscriptions to their connection, all in one request."""
        where = connection.endpoint
        wishes = [Wish(s.arg, login_needed(s.channel, where), s, max_silence, snapshot_s) for s in subscriptions]
        try:
            streams = connection.subscribe(wishes)
        except BaseException:  # no thread could be started, for example
            for subscription in subscriptions:
                self._switchboard.leave(subscription)
            raise
        for subscription, stream in zip(subscriptions, streams, strict=True):
            subscription.stream = stream
        if connection.failure is None:
            self._shared.reopen()  # it ended if all endpoints so far had failed
        for arg in [subscription.arg for subscription in subscriptions if subscription.own_queue is not None]:
            self._settle_own_queues(connection, arg)

    def _make(
        self, where: str, arg: dict[str, str], handler: Handler | InlineSink | None, inline: bool, queue: bool
    ) -> Subscription:
        connection = self._connections.get(where)
        if connection is None:
            connection = self._connections[where] = self._connect(where)
        subscription = Subscription(
            self,
            connection,
            arg,
            sink=self._switchboard.sink(handler, inline) if handler is not None else None,
            own_queue=self._switchboard.new_queue(arg) if queue else None,
        )
        self._switchboard.enter(subscription)
        return subscription

    def _connect(self, endpoint: str) -> Connection:
        process.watch(self)
        return Connection(
            endpoint,
            self._urls[endpoint],
            self._settings,
            self._switchboard.outlet_of,
            tell=self._tell,
            failed=self._endpoint_failed,
            raw=self._raw,
            pong=lambda payload: self._pong(payload),
            login=self._login_request if self._credentials else None,
            credentials=self._credentials,
            hint=self._where,
            clock=self._clock,
        )

    def _login_request(self) -> str:
        """Return a login signed now. Called under a connection's mutex."""
        # Unix time, as OKX wants it; with clock_sync=False the local clock as it is.
        now_s = self._clock.now_s() if self._clock is not None else time.time_ns() / 1e9
        return login_request(self._credentials, now_s)

    def _clock_ready(self) -> None:
        for connection in list(self._connections.values()):
            connection.nudge()

    def _check_login(self, endpoint: str, arg: Mapping[str, str]) -> None:
        """Refuse what needs a login and cannot have one, or not safely."""
        needed = login_needed(arg["channel"], endpoint)
        # A VIP book without a key: public data elsewhere and in recordings, so OKX itself may refuse it (60011).
        if needed and not self._credentials and endpoint != "public":
            raise UsageError(
                f"{arg['channel']} needs a login: pass apiKey, secretKey and passphrase"
                " (from_env() reads OKX_API_KEY, OKX_SECRET_KEY and OKX_PASSPHRASE)"
            )
        self._check_link(endpoint, login=needed and bool(self._credentials))

    def _check_link(self, endpoint: str, login: bool) -> None:
        """Refuse a private link that might be paused, and a login in the clear."""
        if endpoint == "private" and self._settings.overflow == "block":
            raise UsageError(
                'overflow="block" is refused for private links: a full queue must not hold up your own orders'
            )
        parts = urlsplit(self._urls[endpoint])
        if login and parts.scheme == "ws" and not is_loopback(str(parts.hostname)):
            raise UsageError(
                f"no login over {self._urls[endpoint]}: without TLS the key would travel in the clear; use wss://"
            )

    def unsubscribe(self, channel: str | Subscription, **arg: Any) -> None:
        """End one subscription, or all subscriptions of an arg; never blocks.

        Args:
            channel: A `Subscription`; or a channel's name, with the other fields of the arg as keywords.
            **arg: OKX's fields, exactly as they were subscribed.

        Nothing new reaches a handler once this has returned. An arg that nobody subscribes is no error.

        Raises:
            UsageError: It is a subscription of another manager, or an arg that cannot be right.
        """
        self._check_process()
        if isinstance(channel, Subscription):
            if self._connections.get(channel.endpoint) is not channel.connection:
                raise UsageError(f"{channel!r} is a subscription of another manager")
            self.end_subscription(channel)
            return
        checked = check_arg({"channel": channel, **arg})
        with self._manager_lock:
            for connection in self._connections.values():
                with connection.mutex:
                    stream = connection.session.subscriptions.find(checked)
                    holders = list(stream.holders) if stream is not None else []
                for subscription in holders:
                    self.end_subscription(subscription)

    def end_subscription(self, subscription: Subscription) -> None:
        """For `Subscription.unsubscribe`; a subclass may give the name `unsubscribe` another meaning."""
        self._check_process()
        with self._manager_lock:
            if subscription.left or subscription.stream is None:
                return
            subscription.left = True
            losers = self._switchboard.leave(subscription)
            own = subscription.own_queue
            if own is not None:  # first, since the link may be paused for it
                own.end(ManagerClosed(f"{subscription.arg} was unsubscribed"))
            subscription.connection.unsubscribe(subscription.stream, subscription)
        for queue in losers if own is None else [own]:
            queue.tell_losses()

    def order_book(
        self,
        instId: str,
        channel: str = "books",
        on_update: Callable[[OrderBook], object] | None = None,
        *,
        verify_checksum: bool = False,
        max_silence: float | None = None,
    ) -> OrderBook:
        """Subscribe to an order book, and keep it: a live `OrderBook`, readable only while it is proven current.

        Args:
            instId: The instrument (of ``sprd-…`` channels: the spread, OKX's sprdId).
            channel: ``"books"`` (400 levels, each 100 ms), ``"books5"``, ``"bbo-tbt"``, ``"books-rpi"``, with a VIP
                key ``"books50-l2-tbt"`` and ``"books-l2-tbt"``; on /business ``"sprd-books-l2-tbt"`` and its like.
            on_update: Called with the book after each change, on the link's own thread: it must return quickly, and
                must not wait for anything. What it raises is told as ``handler_error``.
            verify_checksum: Compare checksums too, where OKX gives one (it has not since June 2026).
            max_silence: As for `subscribe`: a book that stalls cannot be read until it has a new snapshot. OKX's docs
                promise a sign of life of each book about once a minute.

        Returns:
            The book at once; `OrderBook.wait_ready` waits for its first snapshot. Where the arg is subscribed already,
            it is subscribed anew for that, and whoever reads it sees a second snapshot.

        Raises:
            UsageError: The arg cannot be right, or it needs a key and there is none.
            ManagerClosed: The manager is closed.
        """
        arg = book_arg(instId, channel)
        if on_update is not None and not callable(on_update):
            raise UsageError(f"on_update must be callable, not {on_update!r}")
        if max_silence is not None:
            positive("max_silence", max_silence)
        where = endpoint_of(channel)
        self._check_login(where, arg)
        self._check_open()
        book = OrderBook(self, self._settings, self._reporter, arg, on_update, verify_checksum)
        with self._manager_lock:
            self._check_open()
            book.subscription = self._make(where, arg, book.sink, True, False)
            self._ask(self._connections[where], [book.subscription], max_silence, SNAPSHOT_S)
            if self._closing:  # see `_subscribe`
                self._stop_all()
        book.subscription.connection.tell_pending()
        return book

    # ------------------------------------------------------------------ handlers

    def on(self, channel_pattern: str, handler: Handler | None = None, *, inline: bool = False, **arg: str) -> Any:
        """Call a handler for every message whose channel matches; also a decorator.

        Args:
            channel_pattern: A channel's name, or a shell pattern: ``"candle*"``, ``"*"``.
            handler: Called with each message (a dict), on the thread ``okx-ws:handlers``; leave it out to decorate.
            inline: Call it on the link's own thread instead; see `subscribe`.
            **arg: Only messages whose arg has these fields.

        It sees messages of subscriptions, it makes none. What it takes does not go to the shared queue.

        Returns:
            A `Registration` with ``remove()``; or, without `handler`, a decorator that returns one.
        """
        if not isinstance(channel_pattern, str) or not channel_pattern:
            raise UsageError(f"channel_pattern must be a non-empty str, not {channel_pattern!r}")
        if handler is None:
            return lambda function: self.on(channel_pattern, function, inline=inline, **arg)
        if not callable(handler):
            raise UsageError(f"handler must be callable, not {handler!r}")
        check_fields(arg)
        self._check_open()
        with self._manager_lock:
            self._check_open()
            pattern = self._switchboard.add_handler(channel_pattern, arg, handler, inline)
            self._reconnect_outlets()
        return Registration(handler, lambda: self._remove_pattern(pattern))

    def _remove_pattern(self, pattern: Pattern) -> None:
        self._check_process()
        with self._manager_lock:
            losers = self._switchboard.remove_pattern(pattern)
            self._reconnect_outlets()
        self._resume()  # a link may be paused for this very handler
        for queue in losers:
            queue.tell_losses()

    def on_event(self, handler: EventHandler) -> Registration:
        """Call `handler` with every `Event`, on the thread ``okx-ws:handlers``, before data; also a decorator."""
        if not callable(handler):
            raise UsageError(f"handler must be callable, not {handler!r}")
        self._check_open()
        with self._manager_lock:
            self._check_open()
            sink = self._reporter.add(handler)
            self._reporter.thread.start()
        return Registration(handler, lambda: self._remove_event_sink(sink))

    def _remove_event_sink(self, sink: EventSink) -> None:
        self._check_process()
        with self._manager_lock:
            self._reporter.remove(sink)

    def _reconnect_outlets(self) -> None:
        for connection in self._connections.values():
            connection.reconnect_outlets()

    # ------------------------------------------------------------------ consuming

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message of the shared queue, a dict as OKX sent it; see `MessageQueue.take`.

        Args:
            timeout: Seconds to wait at the most; None waits until a message comes or the manager is closed.

        Raises:
            queue.Empty: None came in time.
            ManagerClosed: The manager is closed and the queue is drained.
            ConnectionLost, LoginError: Every endpoint in use has failed for good, and the queue is drained.
            SystemExit: A handler has called `sys.exit`.
            UsageError: Called on a link's own thread with nothing queued.
        """
        return self._take(timeout)

    def messages(self, timeout: float | None = None) -> Iterator[Any]:
        """Iterate over the shared queue until the manager is closed, or until no message came for `timeout` seconds."""
        return self._shared.stream(timeout)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the shared queue; blocks for each message, ends once the manager is closed and it is drained."""
        return self._shared.stream()

    def wait_for(
        self, wanted: str | Callable[[dict[str, Any]], object], timeout: float = 10.0, **arg: str
    ) -> dict[str, Any]:
        """Wait for one message of what is subscribed, and return it; takes nothing from any queue or handler.

        Args:
            wanted: A channel's name (or shell pattern), or a function that is given each message and returns true for
                the wanted one. It runs on the link's thread: it must return quickly. What it raises is raised here.
            timeout: Seconds.
            **arg: Only messages whose arg has these fields.

        Raises:
            TimeoutError: None came in time.
            ManagerClosed, ConnectionLost, LoginError: None can come any more.
            UsageError: Called on a link's own thread, or `wanted` is neither.
        """
        self.check_may_block()
        check_fields(arg)
        if not callable(wanted) and not (isinstance(wanted, str) and wanted):
            raise UsageError(f"wanted must be a channel's name or a function, not {wanted!r}")
        channel, predicate = (wanted, lambda message: True) if isinstance(wanted, str) else ("*", wanted)
        until = time.monotonic() + positive("timeout", timeout, zero=True)
        tap = Tap(predicate)
        with self._manager_lock:
            self._check_open()
            pattern = self._switchboard.add_tap(channel, arg, tap)
            self._reconnect_outlets()
        try:
            while (message := tap.wait(min(until, time.monotonic() + SLICE_S))) is None:
                if self._shared.ended is not None:
                    raise type(self._shared.ended)(*self._shared.ended.args)
                if time.monotonic() >= until:
                    raise TimeoutError(f"no such message in {timeout:g} s: {wanted} {arg or ''}".rstrip())
            return message
        finally:
            self._remove_pattern(pattern)

    def latest(self, channel: str, **arg: Any) -> dict[str, Any] | None:
        """Return the newest message of a subscription, decoded; None if there is none. Takes nothing, never waits.

        Args:
            channel: The channel's name, with the other fields of the arg as keywords, as they were subscribed.

        Raises:
            UsageError: Nothing of that arg is subscribed.
        """
        self._check_process()
        checked = check_arg({"channel": channel, **arg})
        for connection in list(self._connections.values()):
            with connection.mutex:
                stream = connection.session.subscriptions.find(checked)
                payload = stream.newest if stream is not None else None
            if stream is not None:
                try:
                    return None if payload is None or gaps.is_marker(payload) else codec.decode(payload)
                except codec.DecodeError:
                    return None  # told by whoever it was for
        raise UsageError(f"{checked} is not subscribed")

    def stats(self) -> dict[str, Any]:
        """Return counts and states, a plain dict of plain values; a snapshot, cheap enough for once a second."""
        self._check_process()
        with self._manager_lock:
            endpoints = {name: endpoint_stats(connection) for name, connection in self._connections.items()}
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

    # ------------------------------------------------------------------ the end

    def close(self, timeout: float = 5.0) -> None:
        """End every link, let readers drain their queues, and finish what handlers have queued. Idempotent.

        Links end within a second from any state. Safe from handlers, from signal handlers, while connecting and while
        backing off. On a thread of ours, or inside a signal handler that interrupted one of our locks, it asks for the
        end and returns at once; the next `close` waits for it.

        Args:
            timeout: Seconds to wait for links and handlers at the most; then links are cut, and what handlers have
                not seen is counted in the event ``closed``.
        """
        self.end(timeout)

    def end(self, timeout: float) -> None:
        """As `close`, which a subclass may override to do more, or with other arguments."""
        until = time.monotonic() + positive("timeout", timeout, zero=True)
        if self._pid != os.getpid():
            self._closing = True  # a forked child: what lives of it lives in the parent, and locks may be held for ever
            return
        interrupted = self._holds_a_lock()
        with contextlib.nullcontext() if interrupted else self._manager_lock:  # so that no `subscribe` is half done
            self._leave_at = min(until, self._leave_at) if self._closing else until
            self._closing = True
        self._stop_all()
        if interrupted or self._is_own_thread():
            return  # the last link to end lets the readers go; what is left is the next close's
        connections = list(self._connections.values())
        for connection in [connection for connection in connections if not connection.join(until)]:
            connection.abort()
        self._worker.join(min(until, time.monotonic() + REST_PATIENCE_S))
        self._transport.close()
        self._finish()
        if not self._reporter.thread.join(until):
            log.warning("a handler is still running after %s s; it is left behind", timeout)
        process.forget(self)

    def _stop_all(self) -> None:
        """Ask every thread but that of the handlers to end; returns at once."""
        self._switchboard.cut_off_inline()
        connections = list(self._connections.values())
        for connection in connections:
            connection.stop()
        self._worker.stop()
        self._rest.stop()
        if self._clock is not None:
            self._clock.wake()  # the worker will not
        if all(connection.failure is not None for connection in connections):
            self._finish()  # no link is left to do it

    def _finish(self) -> None:
        """Nothing more will come: let readers and handlers finish what is queued."""
        for queue in [*self._switchboard.queues, *self._switchboard.handler_queues]:
            queue.tell_losses()
        for queue in self._switchboard.queues:
            queue.end(ManagerClosed("the manager is closed"))
        thread = self._reporter.thread
        if thread.started:
            thread.stop(self._leave_at)
        else:
            self._reporter.closed(0)

    def _is_own_thread(self) -> bool:
        """Tell whether this is a thread of ours: to wait for the others might be to wait for each other."""
        connections = list(self._connections.values())
        return self._reporter.thread.is_current() or any(connection.is_current() for connection in connections)

    def _holds_a_lock(self) -> bool:
        """Tell whether this thread holds a lock of ours: then a signal handler has interrupted us inside one.

        To join threads that need that lock would wait until the time is up.
        """
        locks: list[Any] = [self._manager_lock, self._reporter.thread.lock, self._worker.lock]
        locks += [connection.mutex for connection in list(self._connections.values())]
        locks += [queue.lock for queue in self._switchboard.queues + self._switchboard.handler_queues]
        locks += self._switchboard.tap_locks
        return any(lock._is_owned() for lock in locks)  # as threading.Condition asks it

    def wait_until_over(self) -> None:
        """Block until the manager is closed, or every endpoint in use has failed for good."""
        while self._shared.wait_end(time.monotonic() + SLICE_S) is None:
            pass

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<{type(self).__name__} {state} {', '.join(self._connections) or 'not connected'}>"

    # ------------------------------------------------------------------ inside

    def check_may_block(self) -> None:
        """Raise `UsageError` if called on a link's own thread: it would wait for itself; or in a forked child."""
        self._check_process()
        if any(connection.is_current() for connection in list(self._connections.values())):
            raise UsageError(
                "this call waits, and was made on a link's own thread (inline); use a handler without inline"
            )

    def _check_open(self) -> None:
        self._check_process()
        if self._closing:
            raise ManagerClosed("the manager is closed")

    def _check_rest(self) -> None:
        """Raise if no REST call may be made now. Its clock may start a thread, so the end of the process matters."""
        self.check_may_block()
        self._check_open()
        process.watch(self)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise UsageError(f"this manager belongs to process {self._pid}; make one after the fork")

    def _exit(self, reason: SystemExit) -> None:
        """A handler has called `sys.exit`: whoever waits for messages shall exit, and everything ends."""
        for queue in self._switchboard.queues:
            queue.end(reason)
        self.end(0.0)

    def _resume(self) -> None:
        for connection in list(self._connections.values()):
            connection.resume()

    def _tell(self, event: Event) -> None:
        """Pass on what a connection tells; called outside every lock."""
        self._reporter.tell(event)
        if event.type in ("subscribed", "subscribe_failed") and event.delay_s is None and event.arg is not None:
            self._settle_own_queues(self._connections[str(event.endpoint)], event.arg)

    def _settle_own_queues(self, connection: Connection, arg: Mapping[str, str]) -> None:
        """See that nobody waits for messages of a refused arg; and that a later acceptance lets them wait again."""
        with connection.mutex:
            stream = connection.session.subscriptions.find(arg)
            queues = [holder.own_queue for holder in stream.holders] if stream is not None else []
            reason = connection.failure or (stream.refusal if stream is not None else None)
        for queue in queues:
            if queue is not None and reason is not None:
                queue.end(reason)
            elif queue is not None:
                queue.reopen()

    def _endpoint_failed(self) -> None:
        """An endpoint has become of no use: readers must not wait for what cannot come."""
        with self._manager_lock:
            failures = [connection.failure for connection in self._connections.values()]
            for holder, queue in self._switchboard.own_queues.items():
                failure = self._connections[holder.endpoint].failure
                if failure is not None:
                    queue.end(failure)
            if None in failures:
                return
            if not self._closing:
                self._shared.end(failures[-1] or ManagerClosed())
                return
        self._finish()
