"""`LocalExchange`: the world, the desks and the sockets, on one thread with an asyncio loop of its own.

Law. Everything but `start`, `stop` and the calls that say so runs on that thread; other threads hand calls over
(`call`). Each connection has an outbox and a task that empties it; one that a slow client lets grow past its bound is
closed with 4005, as OKX does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from .accounts import Account, Key
from .desk import Desk
from .directed import Directed
from .fault_kinds import Site
from .faults import Faults, Struck
from .happenings import Happenings
from .hub import Hub
from .instruments import make_instruments, preopen_row
from .listeners import make_certificate
from .markets import World
from .order_desk import OrderDesk
from .rest import RestDesk
from .running import Running
from .serving import PATHS, Serving

__all__ = ["LocalExchange"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class LocalExchange(Directed):
    """OKX on loopback: three WebSocket endpoints and REST, with markets that move, for tests and for trying things out.

        with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
            ws.subscribe("tickers", instId="BTC-USDT")
            print(ws.get())

    Args:
        host: Address to listen on.
        port, rest_port: Ports for WebSocket and REST; 0 picks free ones.
        tls: Serve wss and https, with a certificate made on the fly; clients trust it with `sslopt`.
        speed: How many times faster than the clock the world runs (cadences, candles, their ``ts``).
        seed: The same seed makes the same markets, given the same steps.
        demo: Be demo trading: other instIdCodes, demo keys only.
        idle_s: Seconds without traffic until a connection is closed with 4004.
        accounts: Who may log in; one account with `credentials` if not given.
        echo_error_ids: Repeat a request's id in an error (OKX's docs do, captures do not show it).
        strict: Keep OKX's limits: 3 new connections a second (HTTP 429), 480 requests an hour on one (60014),
            those of each REST endpoint (50011 with HTTP 429), and those of orders (50011, 50061).
        close_failed_logins: Close with 4001 after a login that failed.

    Raises:
        ValueError: A speed that is none, or two accounts with one apiKey.
        OSError: From `start`, if a port cannot be had.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        tls: bool = False,
        speed: float = 1.0,
        seed: int = 1,
        demo: bool = False,
        idle_s: float = 30.0,
        accounts: list[Account] | None = None,
        echo_error_ids: bool = True,
        strict: bool = False,
        close_failed_logins: bool = False,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed!r}")
        self._host, self._tls = host, tls
        self.accounts = accounts if accounts is not None else [Account(demo=demo)]
        if len({account.apiKey for account in self.accounts}) < len(self.accounts):
            raise ValueError("two accounts have one apiKey: give each a key of its own, Account(apiKey=…)")
        #: Seconds added to the server's own clock.
        self.clock_skew_s = 0.0
        now_ms = time.time_ns() // 1_000_000
        self.world = World(make_instruments(now_ms, demo), now_ms, seed, [preopen_row(demo)])
        #: Takes orders; `delay_s` and `push_order` say how, and `pushes.copies` how often OKX repeats itself.
        self.orders = OrderDesk(
            self.world,
            self.accounts,
            clock_us=self._clock_us,
            subscribers=lambda: [line.desk for line in self.hub.lines],
            later=lambda delay_s, call: asyncio.get_running_loop().call_later(delay_s, call),
            strict=strict,
        )
        self.hub = Hub(
            self.world,
            {account.apiKey: account for account in self.accounts},
            self.orders,
            demo,
            echo_error_ids=echo_error_ids,
            strict=strict,
            close_failed_logins=close_failed_logins,
        )
        self.rest = RestDesk(self.world, self._clock_ms, self.hub.accounts, strict, self.orders)
        self._happenings = Happenings()
        #: What is to go wrong, and what has.
        self.faults = Faults(self, seed)
        self.hub.refuses = self.faults.refuses
        self._serving = Serving(
            self.hub,
            self.rest,
            self.faults,
            self._happenings,
            host=host,
            ports=(port, rest_port),
            clock_ms=self._clock_ms,
            speed=speed,
            idle_s=idle_s,
        )
        self._running = Running(self._main)
        self._ca_file: Path | None = None

    # ------------------------------------------------------------------ for clients

    @property
    def urls(self) -> dict[str, str]:
        """The addresses, as a client's `urls` wants them.

        Raises:
            RuntimeError: Its ports are not known yet: it does not run.
        """
        if not self._serving.door.port or not self._serving.rest_door.port:
            raise RuntimeError("the exchange does not run yet: `with` or start() opens its ports")
        ws, http = ("wss", "https") if self._tls else ("ws", "http")
        found = {endpoint: f"{ws}://{self._host}:{self._serving.door.port}{path}" for path, endpoint in PATHS.items()}
        return {**found, "rest": f"{http}://{self._host}:{self._serving.rest_door.port}"}

    @property
    def connects(self) -> list[float]:
        """Monotonic times of the newest WebSocket handshakes that succeeded."""
        return self._serving.connects

    @property
    def desks(self) -> list[Desk]:
        """The newest desks there were, the newest last; their `requests` tell what clients asked."""
        return self._serving.desks

    @property
    def credentials(self) -> Key:
        """The first account's key, as keyword arguments of a client."""
        return self.accounts[0].credentials

    @property
    def sslopt(self) -> dict[str, str] | None:
        """A client's `sslopt` that trusts this exchange; None without `tls`.

        Raises:
            RuntimeError: The exchange does not run: there is no certificate to trust.
        """
        if not self._tls:
            return None
        if self._ca_file is None:
            raise RuntimeError("the exchange does not run: its certificate is made by start() and gone after stop()")
        return {"ca_certs": str(self._ca_file)}

    # ------------------------------------------------------------------ life, from any thread

    def start(self) -> LocalExchange:
        """Listen; returns once clients can connect. While it runs, this does nothing.

        Raises:
            OSError: A port cannot be had.
            RuntimeError: It has ended: make another one.
        """
        self._running.start()
        return self

    def stop(self) -> None:
        """Close every connection and end the thread; idempotent.

        Raises:
            RuntimeError: It had ended by itself, by a bug; told once, with the cause.
        """
        self._running.stop()

    def __enter__(self) -> LocalExchange:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except RuntimeError:
            if exc is None:
                raise  # else it was logged, and what the block raised is nearer to the reader

    # ------------------------------------------------------------------ for faults

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the exchange's thread and return its result."""
        return self._running.call(function)

    def site(self, rng: random.Random) -> Site:
        """Return what a fault can lay hands on."""
        doors = {"ws": self._serving.door, "rest": self._serving.rest_door}
        return Site(self.hub, self.world, self._skew, doors, asyncio.get_running_loop().call_later, rng)

    def _skew(self, seconds: float) -> None:
        self.clock_skew_s += seconds

    def struck(self, strike: Struck) -> None:
        """A fault has struck."""
        self._happenings.tell("fault", strike.endpoint, strike.connId, f"{strike.fault}: {strike.text}")

    # ------------------------------------------------------------------ the thread

    async def _main(self, started: Callable[[], None], stopping: asyncio.Event) -> None:
        context = None
        if self._tls:
            context, self._ca_file = make_certificate(self._host)

        def listening() -> None:
            started()
            log.info("local exchange: %s", ", ".join(self.urls.values()))

        try:
            await self._serving.run(context, listening, stopping)
        finally:
            if self._ca_file is not None:
                self._ca_file.unlink(missing_ok=True)
                self._ca_file = None

    def _clock_ms(self) -> int:
        return self._clock_us() // 1000

    def _clock_us(self) -> int:
        return time.time_ns() // 1000 + int(self.clock_skew_s * 1_000_000)
