"""From an address to a wire: lookup, a place among the connects of this second, TCP, proxy, TLS.

Law. `connect_timeout` is one limit for all of it but the wait for a place. What fails raises `WireError`, and leaves
nothing open.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..config import Limits, Settings
from ..protocol.budget import ConnectBudget
from .dial import open_tcp, resolve
from .poller import Poller, Waker, WireError
from .proxy import Proxy, open_tunnel, proxy_for
from .wire import Wire

__all__ = ["open_wire"]

#: Connects a second are counted here for the whole process, by (host, port), whichever manager asks.
_budgets: dict[tuple[str, int], ConnectBudget] = {}
_budgets_lock = threading.Lock()


def _forget_budgets() -> None:
    global _budgets_lock
    _budgets_lock = threading.Lock()  # a thread that the child does not have may hold the old one
    _budgets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_budgets)


def open_wire(url: str, settings: Settings, poller: Poller, waker: Waker) -> Wire:
    """Connect to `url`, with TLS if it says so, and return the wire; its deadline is that of the upgrade."""
    parts = urlsplit(url)
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    deadline = time.monotonic() + settings.connect_timeout
    proxy = proxy_for(url, settings.proxy)
    first = (host, port) if proxy is None else (proxy.host, proxy.port)
    with _toward(proxy):
        addresses = resolve(*first, poller, waker, deadline)
    target = host
    if proxy is not None and proxy.scheme == "socks5":
        target = resolve(host, port, poller, waker, deadline)[0][4][0]
    deadline += wait_for_place(host, port, settings.limits, poller, waker)
    with _toward(proxy):
        sock = open_tcp(addresses, poller, waker, deadline)
    wire = Wire(sock, poller, waker, settings.write_timeout)
    try:
        wire.deadline = deadline
        if proxy is not None:
            open_tunnel(wire, proxy, target, port)
        if parts.scheme == "wss":
            wire.start_tls(settings.tls, host)
    except BaseException:
        wire.close()
        raise
    return wire


@contextlib.contextmanager
def _toward(proxy: Proxy | None) -> Iterator[None]:
    """Say of what fails on the way to a proxy that it does: its address is not the one that users have in mind."""
    try:
        yield
    except WireError as exc:
        if proxy is None:
            raise
        raise WireError(f"the proxy cannot be reached: {exc}") from exc


def wait_for_place(host: str, port: int, limits: Limits, poller: Poller, waker: Waker) -> float:
    """Keep within OKX's connects a second; return the seconds waited."""
    now = time.monotonic()
    with _budgets_lock:
        start = _budgets.setdefault((host, port), ConnectBudget()).reserve(limits, now)
    while time.monotonic() < start:
        poller.wait(start)
        waker.clear()
    return start - now
