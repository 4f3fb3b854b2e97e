"""`Subscribing`: the part of `Manager` that subscribes, unsubscribes, and registers handlers.

Law. Nothing here waits for the network. What cannot be right is refused before anything is changed; what is subscribed
together is handed to its endpoint all at once, under the manager's lock; what that brings about is told outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from .config import GIVE_A_KEY, check_callable, silence
from .endpoints import ENDPOINTS, endpoint_of, login_needed
from .errors import ManagerClosed, UsageError
from .handlers import EventHandler, EventSink, Handler
from .net.lines import Lines
from .net.site import Wish
from .orderbook import SNAPSHOT_S, OrderBook, book_arg
from .sinks import InlineSink
from .subscription import Subscription, check_arg, check_fields
from .switchboard import Registration
from .wiring import Wiring

__all__ = ["Subscribing"]


class Subscribing(Wiring):
    """Subscriptions, order books and handlers."""

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
                subscribed anew, and if that was in vain, its link is given up. None: what the channel is known for
                (books of 50 and 400 levels 300, mark-price and account 60, funding-rate 600, once a message has come,
                and no link is given up for it), other channels may be silent for ever, as with False.
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
        check_callable("handler", handler, optional=True)
        if handler is not None and queue:
            raise UsageError("handler and queue=True exclude each other: a subscription has one sink")
        if inline and handler is None:
            raise UsageError("inline=True is about a handler, and there is none")
        if endpoint is not None and endpoint not in ENDPOINTS:
            raise UsageError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}")
        patience = silence(max_silence)
        checked = [check_arg(arg) for arg in args]
        placed = [(endpoint or endpoint_of(arg["channel"]), arg) for arg in checked]
        for where, arg in placed:
            self._check_login(where, arg)
        self._check_open()
        with self._manager_lock:
            self._check_open()
            made = [self._make(where, arg, handler, inline, queue) for where, arg in placed]
            for where in dict.fromkeys(where for where, _ in placed):
                self._ask(self._lines[where], [s for s in made if s.endpoint == where], patience)
            if self._closing:  # by a signal handler that interrupted us: it may not have seen these lines
                self._stop_all()
        for lines in {subscription.lines for subscription in made}:
            lines.tell_pending()
        return made

    def _ask(
        self,
        lines: Lines,
        subscriptions: list[Subscription],
        max_silence: float | None = None,
        snapshot_s: float | None = None,
    ) -> None:
        """Hand new subscriptions to their endpoint, all at once."""
        where = lines.endpoint
        wishes = [Wish(s.arg, login_needed(s.channel, where), s, max_silence, snapshot_s) for s in subscriptions]
        try:
            streams = lines.subscribe(wishes)
        except BaseException:  # no thread could be started, for example
            for subscription in subscriptions:
                self._switchboard.leave(subscription)
            raise
        for subscription, stream in zip(subscriptions, streams, strict=True):
            subscription.stream = stream
        if lines.failure is None:
            self._shared.reopen()  # it ended if all endpoints so far had failed
        for arg in [subscription.arg for subscription in subscriptions if subscription.own_queue is not None]:
            self._settle_own_queues(lines, arg)

    def _make(
        self, where: str, arg: dict[str, str], handler: Handler | InlineSink | None, inline: bool, queue: bool
    ) -> Subscription:
        lines = self._lines.get(where)
        if lines is None:
            lines = self._lines[where] = self._connect(where)
        subscription = Subscription(
            self,
            lines,
            arg,
            sink=self._switchboard.sink(handler, inline) if handler is not None else None,
            own_queue=self._switchboard.new_queue(arg) if queue else None,
        )
        self._switchboard.enter(subscription)
        return subscription

    def _check_login(self, endpoint: str, arg: Mapping[str, str]) -> None:
        """Refuse what needs a login and cannot have one, or not safely."""
        needed = login_needed(arg["channel"], endpoint)
        # A VIP book without a key: public data elsewhere and in recordings, so OKX itself may refuse it (60011).
        if needed and not self._credentials and endpoint != "public":
            raise UsageError(f"{arg['channel']} needs a login: {GIVE_A_KEY}")
        self._check_link(endpoint, login=needed and bool(self._credentials))

    def _settle_own_queues(self, lines: Lines, arg: Mapping[str, str]) -> None:
        """See that nobody waits for messages of a refused arg; and that a later acceptance lets them wait again."""
        with lines.mutex:
            stream = lines.find(arg)
            queues = [holder.own_queue for holder in stream.holders] if stream is not None else []
            reason = lines.failure or (stream.refusal if stream is not None and stream.rejected else None)
        for queue in queues:
            if queue is not None and reason is not None:
                queue.end(reason)
            elif queue is not None:
                queue.reopen()

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
            if self._lines.get(channel.endpoint) is not channel.lines:
                raise UsageError(f"{channel!r} is a subscription of another manager")
            self.end_subscription(channel)
            return
        checked = check_arg({"channel": channel, **arg})
        with self._manager_lock:
            for lines in self._lines.values():
                with lines.mutex:
                    stream = lines.find(checked)
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
            subscription.lines.unsubscribe(subscription.stream, subscription)
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
                promise a sign of life of each book about once a minute; by default five of them may be missing.

        Returns:
            The book at once; `OrderBook.wait_ready` waits for its first snapshot. Where the arg is subscribed already,
            it is subscribed anew for that, and whoever reads it sees a second snapshot.

        Raises:
            UsageError: The arg cannot be right, or it needs a key and there is none.
            ManagerClosed: The manager is closed.
        """
        arg = book_arg(instId, channel)
        check_callable("on_update", on_update, optional=True)
        patience = silence(max_silence)
        where = endpoint_of(channel)
        self._check_login(where, arg)
        self._check_open()
        book = OrderBook(self, self._settings, self._reporter, arg, on_update, verify_checksum)
        with self._manager_lock:
            self._check_open()
            book.live.subscription = self._make(where, arg, book.live.sink, True, False)
            self._ask(self._lines[where], [book.subscription], patience, SNAPSHOT_S)
            if self._closing:  # see `_subscribe`
                self._stop_all()
        book.subscription.lines.tell_pending()
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
        check_callable("handler", handler)
        check_fields(arg)
        self._check_open()
        with self._manager_lock:
            self._check_open()
            pattern = self._switchboard.add_handler(channel_pattern, arg, handler, inline)
            self._reconnect_outlets()
        return Registration(handler, lambda: self._remove_pattern(pattern))

    def on_event(self, handler: EventHandler) -> Registration:
        """Call `handler` with every `Event`, on the thread ``okx-ws:handlers``, before data; also a decorator."""
        check_callable("handler", handler)
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
