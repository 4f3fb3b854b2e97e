"""`Views`: the part of `Manager` that keeps live views of an account and its orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .account_view import SNAPSHOT_S, AccountView
from .config import check_callable, silence
from .endpoints import endpoint_of
from .errors import UsageError
from .events import Event
from .live import LiveView
from .orders_view import OrdersView
from .protocol.order_life import Order
from .subscribing import Subscribing
from .subscription import check_arg

__all__ = ["Views"]


class Views(Subscribing):
    """Live views, one of a kind: whoever asks for the same gets the same."""

    #: By what they are subscribed to. Replaced as a whole, since links read it.
    _live_views: dict[str, LiveView]

    def account(
        self, on_update: Callable[[AccountView], object] | None = None, *, max_silence: float | None = None
    ) -> AccountView:
        """Keep balances and positions live: an `AccountView`, readable only while it is proven current.

        Subscribes ``account`` and ``positions`` (instType ANY), beside whatever else is subscribed: this takes no
        message from anybody. Called again it returns the same view, until that is closed.

        Args:
            on_update: Called with the view after each change, beside those of other calls, on the link's own thread: it
                must return quickly, and must not wait for anything. What it raises is told as ``handler_error``.
            max_silence: As for `subscribe`; OKX repeats both about each 5 s, so 30 finds a stream that went mute. That
                of the call that made the view holds.

        Returns:
            The view at once; `AccountView.wait_synced` waits for its first snapshots. Where one of the two is
            subscribed already, it is subscribed anew for that, and whoever reads it sees a second snapshot.

        Raises:
            UsageError: There is no key, or a parameter is wrong.
            ManagerClosed: The manager is closed.
        """
        check_callable("on_update", on_update, optional=True)
        patience = silence(max_silence)
        view: AccountView = self._keep_view(
            {"channel": "account"},
            lambda: AccountView(self, self._settings, self._reporter),
            on_update and (on_update,),
            patience,
            SNAPSHOT_S,
        )
        return view

    def orders(
        self,
        instType: str = "ANY",
        *,
        instFamily: str | None = None,
        instId: str | None = None,
        on_update: Callable[[Order], object] | None = None,
        dedupe: bool = True,
    ) -> OrdersView:
        """Keep the orders live: an `OrdersView`, readable only while it is proven current.

        Subscribes ``orders``, beside whatever else is subscribed: this takes no message from anybody. Called again with
        the same three it returns the same view, until that is closed.

        Args:
            instType: ``"ANY"``, ``"SPOT"``, ``"MARGIN"``, ``"SWAP"``, ``"FUTURES"`` or ``"OPTION"``.
            instFamily, instId: Only such orders.
            on_update: Called with each `Order` that has changed, beside those of other calls, on the link's own thread:
                it must return quickly, and must not wait for anything. What it raises is told as ``handler_error``.
            dedupe: Call it only with news, by OKX's rules; False: with every push, duplicates too. (A subscription to
                ``orders`` always gives exactly what OKX sends.)

        Returns:
            The view at once; `OrdersView.wait_synced` waits until REST has told which orders are open.

        Raises:
            UsageError: There is no key, or a parameter is wrong.
            ManagerClosed: The manager is closed.
        """
        check_callable("on_update", on_update, optional=True)
        if not isinstance(dedupe, bool):
            raise UsageError(f"dedupe must be True or False, not {dedupe!r}")
        narrow = {name: value for name, value in (("instFamily", instFamily), ("instId", instId)) if value is not None}
        arg = check_arg({"channel": "orders", "instType": instType, **narrow})
        view: OrdersView = self._keep_view(
            arg,
            lambda: OrdersView(self, self._settings, self._reporter, arg, self._rest, self._worker),
            on_update and (on_update, dedupe),
        )
        return view

    def _keep_view(
        self,
        arg: Mapping[str, str],
        make: Callable[[], LiveView],
        handler: tuple[Any, ...] | None,
        max_silence: float | None = None,
        snapshot_s: float | None = None,
    ) -> Any:
        """Return the view of this arg; make and subscribe it, if there is none that is of use."""
        where, key = endpoint_of(arg["channel"]), str(sorted(arg.items()))
        self._check_login(where, arg)
        self._check_open()
        with self._manager_lock:
            self._check_open()
            view = self._live_views.get(key)
            if view is not None and any(live.subscription.state in ("rejected", "closed") for live in view.streams):
                self.end_view(view)  # asked for again, it is subscribed again
                view = None
            if view is None:
                view = make()
                self._begin_view(where, view, max_silence, snapshot_s)
                self._live_views = {**self._live_views, key: view}
            if handler is not None:
                view.add_handler(*handler)
            if self._closing:  # see `_subscribe`
                self._stop_all()
        self._lines[where].tell_pending()
        view.streams[0].call_soon(view.subscribed)  # it may have been before
        return view

    def _begin_view(self, where: str, view: LiveView, max_silence: float | None, snapshot_s: float | None) -> None:
        for live in view.streams:
            live.subscription = self._make(where, live.arg, live.sink, True, False)
        subscriptions = [live.subscription for live in view.streams]
        self._ask(self._lines[where], subscriptions, max_silence, snapshot_s)

    def end_view(self, view: LiveView) -> None:
        """For `LiveView.close`."""
        self._check_process()
        with self._manager_lock:
            self._live_views = {key: known for key, known in self._live_views.items() if known is not view}
            for live in view.streams:
                self.end_subscription(live.subscription)

    def _tell_views(self, event: Event) -> None:
        """Let the views know of an acknowledgement, and of a hole, on the link's thread."""
        hole = event.type == "gap" and event.data is not None and "repaired" not in event.data
        if event.type != "subscribed" and not hole:
            return
        for view in self._live_views.values():
            for live in [live for live in view.streams if live.arg == event.arg]:
                live.call_soon(partial(view.holed, live) if hole else view.subscribed)
