"""`OkxWebSocketManager`: `Manager` with the names of the older class, for code that was written against it.

What the older class did in its callbacks, the modern one does by itself: login, subscriptions, pings, reconnects. The
callbacks are called nevertheless, if a subclass (or an attribute of the instance) overrides them, on the thread
``okx-ws:handlers``; without overrides nothing here stands between the link and the queue.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from . import process
from .callbacks import CALLBACKS, Callback, Callbacks
from .endpoints import ENDPOINTS, check_url, endpoint_of, uses_8443
from .errors import ConnectionLost, ManagerClosed, UsageError, copy_of
from .handlers import EventSink
from .manager import Manager
from .net.lines import Lines
from .protocol.auth import login_request
from .subscription import check_arg

__all__ = ["OkxWebSocketManager"]

log = logging.getLogger(__name__)

#: What `private_subscribe` subscribes by itself.
PRIVATE_CHANNELS = (
    {"channel": "account"},
    {"channel": "positions", "instType": "ANY"},
    {"channel": "orders", "instType": "ANY"},
)

#: As long as `close` waits by itself.
CLOSE_S = 5.0

#: Requests that go to /private.
PRIVATE_OPS = ("order", "batch-", "cancel-", "amend-", "mass-")

Arg = Mapping[str, Any]


def as_arg(channel: Any) -> dict[str, Any]:
    """Return a channel of `channels` as an arg: its name alone will do."""
    if isinstance(channel, str):
        return {"channel": channel}
    if isinstance(channel, Mapping):
        return dict(channel)
    raise UsageError(f"channels hold args such as {{'channel': 'account'}}, or names, not {channel!r}")


class Links:
    """What the older class's code knows as ``ws``: the WebSocket, or here, all of them."""

    def __init__(self, manager: OkxWebSocketManager) -> None:
        self._manager = manager

    def send(self, text: str | bytes) -> None:
        """Send a text. Any thread; never blocks.

        Subscriptions that are made so are kept and delivered like the rest; a login is made by the manager itself,
        signed at the time.

        Raises:
            ConnectionLost: It is another text, and there is no link to send it over.
            UsageError: An arg cannot be right, or `text` is no text.
        """
        if isinstance(text, bytes):
            text = text.decode()
        if not isinstance(text, str):
            raise UsageError(f"send takes a text, not {type(text).__name__}: json.dumps makes one")
        self._manager.send_text(text)

    def close(self, **ignored: Any) -> None:
        """Close the manager."""
        self._manager.end(CLOSE_S)

    @property
    def connected(self) -> bool:
        """A link is up."""
        return any(endpoint["state"] == "up" for endpoint in Manager.stats(self._manager)["endpoints"].values())

    def __repr__(self) -> str:
        return f"<links of {self._manager!r}>"


class State:
    """What the older names need to remember; in one place, lest a subclass's own attributes collide with it."""

    def __init__(self) -> None:
        self.url = ""
        self.url_is_hand_set = False
        #: Where a hand-set address without OKX's path serves everything.
        self.only_endpoint: str | None = None
        #: A queue of the user's own.
        self.queue: Any = None
        #: It was looked, before the first link, which callbacks are overridden.
        self.wired = False
        #: What the older names have subscribed.
        self.asked: list[dict[str, str]] = []


class OkxWebSocketManager(Manager):
    """OKX's v5 WebSocket API for ordinary threads; `Manager` says everything about it but the older names.

    The older names: `public_subscribe`, `private_subscribe` and `listenStreams` subscribe and connect; `msgQueue` holds
    the messages. A subclass may override, each taking the last n of the arguments shown (``*args``: all of them):

    ==================================== ===========================================================================
    ``on_open(ws)``                      a link is up
    ``on_message(ws, text)``             every text that comes, but ``pong``. Overridden, it is all there is: only
                                         ``super().on_message(text)`` publishes
    ``on_error(ws, error)``              a link was lost or could not be made, a login or a channel was refused
    ``on_close(ws, code, msg)``          a link is gone, at each loss and at `close`
    ``on_pong(ws, payload)``             a control pong came
    ``handle_ws_events(message)``        every text that is an event (``"event"`` in it), decoded
    ``messagePublish(message)``          data, decoded, instead of its going to `msgQueue`
    ``login_params()``                   makes the JSON text of each login
    ``get_local_timestamp()``            Unix seconds, signed by ``login_params``
    ==================================== ===========================================================================

    Attributes:
        msgQueue: The shared queue.
        channels: The args that are subscribed by the older names; set by hand before `listenStreams`.
        url: Where to connect, if set by hand; then its host serves every endpoint.
        ws: A handle of the links: ``ws.send(text)``, ``ws.close()``.
        sandbox: Demo trading.
    """

    def _prepare(self) -> None:
        self.channels: list[Any] = []
        self.ws = Links(self)
        self._older = State()
        process.may_keep(self)

    # ------------------------------------------------------------------ attributes

    @property
    def apiKey(self) -> str:
        """The key itself; handle with care."""
        return self._credentials.apiKey

    @property
    def secretKey(self) -> str:
        """The secret itself; handle with care."""
        return self._credentials.secretKey

    @property
    def passphrase(self) -> str:
        """The passphrase itself; handle with care."""
        return self._credentials.passphrase

    @property
    def msgQueue(self) -> Any:
        """The shared queue; or one of your own, with ``put``, set before anything is subscribed."""
        return self._shared if self._older.queue is None else self._older.queue

    @msgQueue.setter
    def msgQueue(self, queue: Any) -> None:
        if not callable(getattr(queue, "put", None)):
            raise UsageError(f"msgQueue must have a method put, as queue.Queue has, not {queue!r}")
        if self._lines:
            raise UsageError("msgQueue must be set before anything is subscribed: there are messages in the other one")
        self._older.queue = queue

    @property
    def url(self) -> str:
        """The address in use; "" before there is one. Set it before the first subscription."""
        return self._older.url

    @url.setter
    def url(self, url: str) -> None:
        check_url("url", url, ("ws", "wss"))
        if uses_8443(url):
            log.warning("OKX has closed port 8443 (31 October 2026): %s is used without it", url)
            url = url.replace(":8443", "", 1)
        if self._lines:
            raise UsageError("url must be set before anything is subscribed: there are links already")
        self._older.url, self._older.url_is_hand_set = url, True
        start, _, last = url.rpartition("/")
        self._older.only_endpoint = None if last in ENDPOINTS else ENDPOINTS[0]
        for endpoint in ENDPOINTS:
            self._urls[endpoint] = url if self._older.only_endpoint else f"{start}/{endpoint}"

    # ------------------------------------------------------------------ subscribing

    def public_subscribe(self, bassAsset: str) -> None:
        """Subscribe the mark price and the ticker of an asset's USDT swap (``"btc"``: BTC-USDT-SWAP).

        Returns at once, and keeps the process alive until `close`, as the older class did by blocking. A second call
        adds to the first.
        """
        if not isinstance(bassAsset, str) or not bassAsset:
            raise UsageError(f"bassAsset must be the name of an asset such as 'btc', not {bassAsset!r}")
        self._add_pubilc_subscribe(bassAsset)
        self._begin(self.channels, "public")

    def private_subscribe(self, channels: Iterable[Arg | str] | None = None) -> None:
        """Log in and subscribe `channels`, or those in `self.channels`, or account, positions and orders.

        Args:
            channels: Args, or names of channels.

        Returns at once, and keeps the process alive until `close`, as the older class did by blocking.
        """
        if channels is None:
            by_hand = [arg for arg in map(as_arg, self.channels) if arg not in self._older.asked]
            channels = by_hand or [dict(arg) for arg in PRIVATE_CHANNELS]
        wanted = [as_arg(channel) for channel in ([channels] if isinstance(channels, (str, Mapping)) else channels)]
        known = [as_arg(channel) for channel in self.channels]
        self.channels = [*self.channels, *(arg for arg in wanted if arg not in known)]
        self._begin(wanted, "private")

    def _add_pubilc_subscribe(self, bassAsset: str) -> None:
        """The older spelling; it may be overridden as well."""
        self._add_public_subscribe(bassAsset)

    def _add_public_subscribe(self, bassAsset: str) -> None:
        """Add to `self.channels` what `public_subscribe` subscribes."""
        swap = f"{bassAsset.upper()}-USDT-SWAP"
        known = [as_arg(channel) for channel in self.channels]
        for arg in (
            {"channel": "mark-price", "instType": "SWAP", "instId": swap},
            {"channel": "tickers", "instId": swap},
        ):
            if arg not in known:
                self.channels = [*self.channels, arg]

    def listenStreams(self) -> None:
        """Connect `self.url` with `self.channels`, if nothing runs yet, and block until `close`.

        In a callback (``on_close``, say) it does not block.

        Raises:
            LoginError, ConnectionLost: Every endpoint in use has failed for good.
            UsageError: There is neither an address nor a channel; or called on a link's own thread.
        """
        self.check_may_block()
        on_handlers_thread = self._reporter.thread.is_current()
        if on_handlers_thread and self._closing:
            return  # the older way to reconnect, in on_close: this close is the end
        if not self._lines:
            if not self.channels and not self._older.url_is_hand_set:
                raise UsageError("nothing to listen to: set url or channels, or call public_subscribe(...) first")
            self._begin(self.channels, self._last_of_url())
        process.keep(self)
        if on_handlers_thread:
            return  # links reconnect by themselves, and to wait here would keep every callback from being called
        self.wait_until_over()
        failure = self._shared.ended
        if failure is not None and not isinstance(failure, ManagerClosed):
            raise copy_of(failure)

    def _begin(self, channels: Iterable[Arg | str], endpoint: str) -> None:
        """Subscribe what of `channels` is not subscribed yet, and see that there is a link."""
        new = self._subscribe_new(channels)
        if not new:
            self._hold_open(endpoint)
        if not self._older.url:
            self._older.url = self._urls[endpoint or endpoint_of(new[0]["channel"])]
        process.keep(self)

    def _subscribe_new(self, channels: Iterable[Arg | str]) -> list[dict[str, str]]:
        """Subscribe what of `channels` the older names have not subscribed yet; return it."""
        with self._manager_lock:
            new: list[dict[str, str]] = []
            for arg in (check_arg(as_arg(channel)) for channel in channels):
                if arg not in self._older.asked and arg not in new:
                    new.append(arg)
            if new:
                Manager.subscribe(self, [dict(arg) for arg in new], endpoint=self._older.only_endpoint)
                self._older.asked += new
        return new

    def _hold_open(self, endpoint: str, login: bool = False) -> None:
        """Have a link though nothing is subscribed yet: texts may be sent over it."""
        where = endpoint if endpoint in ENDPOINTS else ENDPOINTS[0]
        login = login or (where == "private" and bool(self._credentials))
        self._check_link(where, login)
        with self._manager_lock:
            self._check_open()
            lines = self._lines.get(where)
            if lines is None:
                lines = self._lines[where] = self._connect(where)
            lines.hold_open(login)

    def send_text(self, text: str) -> None:
        """See `Links.send`."""
        self._check_process()
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        op, args = (request.get("op"), request.get("args")) if isinstance(request, dict) else (None, None)
        if op == "login":
            if not self._credentials:
                raise UsageError("a login needs apiKey, secretKey and passphrase")
            self._hold_open(self._last_of_url() or "private", login=True)
        elif op == "subscribe" and isinstance(args, list):
            self._subscribe_new(args)
        elif op == "unsubscribe" and isinstance(args, list):
            for arg in [check_arg(arg) for arg in args]:
                with self._manager_lock:
                    self._older.asked = [asked for asked in self._older.asked if asked != arg]
                Manager.unsubscribe(self, **arg)
        else:
            self._link_for(str(op or "")).send(text)

    def _link_for(self, op: str) -> Lines:
        """Return the link to send a request over: the one that knows its op, the one of `url`, or any that is up."""
        place = "business" if op.startswith("sprd-") else "private" if op.startswith(PRIVATE_OPS) else ""
        names = [place] if place else [self._last_of_url(), *self._lines]
        for lines in [self._lines[name] for name in names if name in self._lines]:
            if lines.up:
                return lines
        raise ConnectionLost(f"{place or 'no endpoint'}: not connected")

    def _last_of_url(self) -> str:
        last = self._older.url.rpartition("/")[2]
        return last if last in ENDPOINTS else ""

    # ------------------------------------------------------------------ login

    def get_local_timestamp(self) -> Any:
        """Return what logins are signed with: Unix seconds, OKX's time as well as it is known."""
        return int(self._clock.now_s() if self._clock is not None else time.time())

    def login_params(self) -> Any:
        """Return the JSON text of a login signed now. It holds the key: never print it."""
        if not self._credentials:
            raise UsageError("a login needs apiKey, secretKey and passphrase")
        return login_request(self._credentials, float(self.get_local_timestamp()))

    def _login_request(self) -> str:
        made = self.login_params()
        return made if isinstance(made, str) else json.dumps(made)

    # ------------------------------------------------------------------ callbacks, to be overridden

    def on_open(self, ws: Any) -> object:
        """A link is up."""

    def on_message(self, *args: Any) -> object:
        """Publish one text: events to `handle_ws_events`, data to `messagePublish`. Takes (text) or (ws, text)."""
        text = args[-1]
        try:
            message = json.loads(text) if isinstance(text, (str, bytes)) else text
        except ValueError:
            return None  # told as event `malformed` already
        if isinstance(message, dict) and "event" in message:
            return self.handle_ws_events(message)
        if isinstance(message, dict) and "arg" in message and "data" in message:
            if isinstance(text, str) and self._older.queue is None and not self._overrides("messagePublish"):
                self._shared.put_payload(text.encode())  # undecoded, so that its bytes count
                return None
            return self.messagePublish(message)
        return None

    def on_error(self, ws: Any, error: Exception) -> object:
        """A link was lost or could not be made, or OKX refused a login or a channel."""

    def on_close(self, ws: Any, code: int, msg: str) -> object:
        """A link is gone."""

    def on_pong(self, ws: Any, payload: bytes) -> object:
        """A control pong came."""

    def handle_ws_events(self, message: dict[str, Any]) -> object:
        """OKX said something that is no data: an acknowledgement, a refusal, a notice."""

    def messagePublish(self, message: dict[str, Any]) -> object:
        """Put data into `msgQueue`."""
        self.msgQueue.put(message)
        return None

    # ------------------------------------------------------------------ inside

    def _overrides(self, *names: str) -> bool:
        """Tell whether a subclass, or an attribute of this instance, overrides one of these methods."""
        base = OkxWebSocketManager
        return any(getattr(getattr(self, name), "__func__", None) is not getattr(base, name) for name in names)

    def _connect(self, endpoint: str) -> Lines:
        if not self._older.wired:
            self._older.wired = True
            self._wire_callbacks()
        return super()._connect(endpoint)

    def _wire_callbacks(self) -> None:
        """See which callbacks there are, and have them called."""
        thread = self._reporter.thread
        found = {name: Callback(self.ws, getattr(self, name)) for name in CALLBACKS if self._overrides(name)}
        if self._overrides("on_message", "handle_ws_events"):
            self._raw = self._switchboard.text_sink(Callback(self.ws, self.on_message))
            self._switchboard.publish_to(None)
        elif self._overrides("messagePublish") or self._older.queue is not None:
            self._switchboard.publish_to(self.messagePublish)
        if found:
            self._reporter.add(Callbacks(found, self._reporter.handler_error).on_event)
            thread.start()
        if "on_pong" in found:
            sink = EventSink(found["on_pong"])
            self._pong = lambda payload: thread.post(sink, payload)
