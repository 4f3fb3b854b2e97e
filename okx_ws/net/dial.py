"""From an address to a connected wire: lookup, TCP, TLS, under one absolute deadline, interruptible at every step.

A name lookup cannot be interrupted, so it runs on a daemon thread of its own (`okx-ws:resolve`), whose result is
dropped if nobody waits any more. Addresses are tried as RFC 8305 ("Happy Eyeballs") says: the next one when the last
has failed or has had 250 ms, families in turn; the first to connect wins. A black-holed IPv6 route costs a quarter of a
second, not the whole deadline.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import selectors
import socket
import threading
import time
from typing import Any, ClassVar

from .poller import Poller, Waker, WireError

__all__ = ["open_tcp", "resolve"]

#: RFC 8305, section 5: recommended delay between attempts.
NEXT_ADDRESS_S = 0.25

#: What `connect_ex` says of a connect under way; Windows has its own name for it.
UNDER_WAY = (0, errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))

Address = tuple[Any, ...]


def resolve(host: str, port: int, poller: Poller, waker: Waker, deadline: float) -> list[Address]:
    """Return the addresses of `host`, as `socket.getaddrinfo` gives them, families in turn.

    Raises:
        WireError: The name is unknown, or the lookup took too long.
        Stopped: The owner asked the link to end.
    """
    if is_literal(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    lookup = Lookup.of(host, port, waker)
    try:
        while lookup.found is None:
            if time.monotonic() >= deadline:
                raise WireError(f"the lookup of {host} timed out")
            poller.wait(deadline)
            waker.clear()
    finally:
        with Lookup.lock:
            lookup.wakers.discard(waker)
    if isinstance(lookup.found, Exception):
        why = getattr(lookup.found, "strerror", None) or lookup.found
        raise WireError(f"the lookup of {host} failed: {why}") from lookup.found
    return in_turn(lookup.found)


class Lookup:
    """A lookup under way, on a thread of its own; whoever asks for the same name meanwhile shares it.

    So a resolver that does not answer costs one thread, however often links try.
    """

    lock = threading.Lock()
    _running: ClassVar[dict[tuple[str, int], Lookup]] = {}

    def __init__(self) -> None:
        self.found: list[Address] | Exception | None = None
        #: To be woken when it is over.
        self.wakers: set[Waker] = set()

    @classmethod
    def of(cls, host: str, port: int, waker: Waker) -> Lookup:
        """Return the lookup of a name, started now if none is under way."""
        with cls.lock:
            lookup = cls._running.get((host, port))
            if lookup is None:
                lookup = cls()
                threading.Thread(target=lookup._run, args=(host, port), name="okx-ws:resolve", daemon=True).start()
                cls._running[host, port] = lookup
            lookup.wakers.add(waker)
        return lookup

    def _run(self, host: str, port: int) -> None:
        found: list[Address] | Exception
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as exc:  # OSError; UnicodeError, for a label that no IDNA encoder takes; whatever: it is over
            found = exc
        with self.lock:
            self.found = found
            self._running.pop((host, port), None)
            for waker in self.wakers:
                waker.wake()

    @classmethod
    def forget_all(cls) -> None:
        """In a forked child, which has none of its parent's threads."""
        cls.lock = threading.Lock()
        cls._running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Lookup.forget_all)


def is_literal(host: str) -> bool:
    """Tell whether `host` is an IP address, not a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])  # fe80::1%eth0 names its zone
    except ValueError:
        return False
    return True


def in_turn(addresses: list[Address]) -> list[Address]:
    """Keep the resolver's order, but let the families alternate (RFC 8305, section 4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    rest = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for pair in itertools.zip_longest(first, rest) for address in pair if address is not None]


def open_tcp(addresses: list[Address], poller: Poller, waker: Waker, deadline: float) -> socket.socket:
    """Connect to the first address that answers; return its socket, non-blocking, with TCP_NODELAY.

    Raises:
        WireError: Every address failed (the text lists each with its reason), or the deadline passed.
        Stopped: The owner asked the link to end.
    """
    return _Race(poller, waker).run(addresses, deadline)


class _Race:
    """The connects under way at one time."""

    def __init__(self, poller: Poller, waker: Waker) -> None:
        self._poller = poller
        self._waker = waker
        self._running: dict[socket.socket, str] = {}
        self._failures: list[str] = []

    def run(self, addresses: list[Address], deadline: float) -> socket.socket:
        waiting = list(addresses)
        start_next = time.monotonic()
        try:
            while True:
                now = time.monotonic()
                if now >= deadline:
                    raise WireError(
                        "; ".join([*self._failures, *(f"{name}: timed out" for name in self._running.values())])
                    )
                if waiting and (now >= start_next or not self._running):
                    self._start(waiting.pop(0))
                    start_next = now + NEXT_ADDRESS_S
                if not self._running and not waiting:
                    raise WireError("; ".join(self._failures))
                failed = len(self._failures)
                winner = self._wait(min(deadline, start_next) if waiting else deadline)
                if winner is not None:
                    return winner
                if len(self._failures) > failed:
                    start_next = 0.0
        finally:
            for loser in list(self._running):
                self._drop(loser)

    def _start(self, address: Address) -> None:
        family, kind, proto, _, where = address
        name = f"{where[0]} port {where[1]}"
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as exc:
            self._failures.append(f"{name}: {exc.strerror or exc}")
            return
        sock.setblocking(False)
        code = sock.connect_ex(where)
        if code not in UNDER_WAY:
            self._failures.append(f"{name}: {os.strerror(code)}")
            sock.close()
            return
        self._running[sock] = name
        self._poller.watch(sock, selectors.EVENT_WRITE)

    def _wait(self, until: float) -> socket.socket | None:
        """Wait for one of the connects; return it if it succeeded."""
        if not self._running:
            return None
        ready = self._poller.wait(until)
        self._waker.clear()
        for sock, _ in ready:
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._failures.append(f"{self._running[sock]}: {os.strerror(code)}")
                self._drop(sock)
                continue
            self._poller.watch(sock, 0)
            del self._running[sock]
            # A heartbeat or an order is small and must leave at once.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        return None

    def _drop(self, sock: socket.socket) -> None:
        self._poller.watch(sock, 0)
        del self._running[sock]
        sock.close()
