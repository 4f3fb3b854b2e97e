"""`LocalExchange`: the world, the desks and the sockets, on one thread with an asyncio loop of its own.

Law. Everything but `start`, `stop` and the calls that say so runs on that thread; other threads hand calls over
(`_call`). Each connection has an outbox and a task that empties it; one that a slow client lets grow past its bound is
closed with 4005, as OKX does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from .accounts import Account, Key, rekey
from .desk import Desk
from .fault_kinds import Site
from .faults import Faults, Struck
from .happenings import Happening, Happenings
from .hub import Hub
from .instruments import make_instruments, preopen_row
from .line import Line
from .listeners import make_certificate
from .markets import World
from .order_desk import OrderDesk
from .replay import Recording
from .rest import RestDesk
from .rows import status_row
from .serving import PATHS, Serving
from .truth import Truth, truth_of

__all__ = ["LocalExchange"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class LocalExchange:
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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._ca_file: Path | None = None

    # ------------------------------------------------------------------ for clients

    @property
    def urls(self) -> dict[str, str]:
        """The addresses, as a client's `urls` wants them."""
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
        if self._thread is not None:
            if not self._thread.is_alive():
                raise RuntimeError("an exchange runs once: make another one")
            return self
        self._thread = threading.Thread(target=self._run, name="okx-exchange", daemon=True)
        self._thread.start()
        if not self._started.wait(30):
            raise TimeoutError("the exchange did not start within 30 s")
        if self._failure is not None:
            self._thread.join()
            failure, self._failure = self._failure, None
            raise failure
        return self

    def stop(self) -> None:
        """Close every connection and end the thread; idempotent.

        Raises:
            RuntimeError: It had ended by itself, by a bug; told once, with the cause.
        """
        if self._thread is not None and self._thread.is_alive():
            assert self._loop is not None and self._stopping is not None  # set before `start` returned
            with contextlib.suppress(RuntimeError):  # it is ending by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise RuntimeError("the local exchange had ended by itself") from failure

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

    # ------------------------------------------------------------------ what it can be told to do, from any thread

    def replay(self, path: str | Path, speed: float | None = None) -> Recording:
        """Serve a file of recorded frames to whoever subscribes to their args, instead of the world's.

        The args of one subscribe request are played together, in the file's order, from its beginning.

        Args:
            path: One JSON text a line; see `Recording`.
            speed: None: as fast as the client reads; 1.0: with the distances of the recording; 2.0: twice as fast.
        """
        recording = Recording(path)
        self.call(lambda: self.hub.recordings.append((recording, speed)))
        return recording

    def drop(self, endpoint: str | None = None) -> int:
        """Cut connections without a close frame (of one endpoint, or all); return how many."""
        return self._each(endpoint, Line.abort)

    def close_all(self, code: int, reason: str = "", endpoint: str | None = None) -> int:
        """Close connections with this code (of one endpoint, or all); return how many."""
        return self._each(endpoint, lambda line: line.close(code, reason))

    def notice(self, close_after_s: float = 60.0, endpoint: str | None = None) -> int:
        """Announce the end of connections as OKX does before a service upgrade (64008), and end them then.

        Returns at once; says to how many it was announced.
        """
        return self._each(endpoint, lambda line: line.announce_end(close_after_s))

    def say(self, text: str, endpoint: str | None = None) -> int:
        """Send a text to every client (of one endpoint, or all), whatever it is; return to how many."""
        return self._each(endpoint, lambda line: line.send(text))

    def announce(self, title: str, state: str = "scheduled", begin_s: float = 60.0, end_s: float = 120.0) -> None:
        """Put an entry on the channel ``status``: work on the WebSocket service; `begin_s` and `end_s` from now."""
        now_ms = self._clock_ms()
        row = status_row(title, state, now_ms + int(begin_s * 1000), now_ms + int(end_s * 1000), self.hub.demo)
        self.call(lambda: setattr(self.world, "status", [row]))

    def truth(self, account: Account | None = None) -> Truth:
        """Return what an account (the first one, if not given) owns and has ordered now: a copy."""
        return self.call(lambda: truth_of(account or self.accounts[0]))

    def replace_key(self, account: Account, key: Key | None) -> int:
        """Give an account another key, or none; what is logged in as it is closed with 4007. Return how many were.

        The account's orders stay.
        """

        def act() -> int:
            rekey(self.hub.accounts, account, key)
            lines = [line for line in self.hub.lines if line.desk.account is account]
            for line in lines:
                line.close(4007, "API key has been updated or deleted. Please reconnect.")
            return len(lines)

        return self.call(act)

    def remove_key(self, account: Account | None = None) -> int:
        """Delete the key of an account (the first one, if not given); see `replace_key`."""
        return self.replace_key(account or self.accounts[0], None)

    def _each(self, endpoint: str | None, action: Callable[[Line], None]) -> int:
        def act() -> int:
            lines = [line for line in self.hub.lines if endpoint in (None, line.endpoint)]
            for line in lines:
                action(line)
            return len(lines)

        return self.call(act)

    def watch(self, watcher: Callable[[Happening], None]) -> None:
        """Have a function told what connects, subscribes and fails; on the exchange's thread, so it must be quick."""
        self.call(lambda: self._happenings.watchers.append(watcher))

    # ------------------------------------------------------------------ for faults

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the exchange's thread and return its result."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            return function()
        if self._thread is threading.current_thread():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

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

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as exc:
            self._failure = exc
            if self._started.is_set():  # else `start` raises it
                log.critical("the local exchange has ended by itself", exc_info=exc)
        finally:
            if self._ca_file is not None:
                self._ca_file.unlink(missing_ok=True)
                self._ca_file = None
            self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        context = None
        if self._tls:
            context, self._ca_file = make_certificate(self._host)

        def started() -> None:
            self._started.set()
            log.info("local exchange: %s", ", ".join(self.urls.values()))

        await self._serving.run(context, started, self._stopping)

    def _clock_ms(self) -> int:
        return self._clock_us() // 1000

    def _clock_us(self) -> int:
        return time.time_ns() // 1000 + int(self.clock_skew_s * 1_000_000)
