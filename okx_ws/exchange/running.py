"""The exchange's thread: it runs an asyncio loop of its own, into which other threads hand calls.

Law. It runs once. What ends it before it was asked to is a bug, and is raised once: to whoever starts or stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Running"]

log = logging.getLogger("okx_ws.exchange.server")

T = TypeVar("T")

#: To listen takes milliseconds; to make a certificate, a little more.
START_S = 30.0

#: A call waits for no more than a step of the world.
CALL_S = 10.0


class Running:
    """One run.

    Args:
        main: What the thread does; given what to call once clients can connect, and what is set when it shall end.
    """

    def __init__(self, main: Callable[[Callable[[], None], asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        self._main = main
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="okx-exchange", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None

    @property
    def alive(self) -> bool:
        """The thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; return once clients can connect. While it runs, this does nothing.

        Raises:
            RuntimeError: It has ended: make another one.
            Exception: What `main` raised instead.
        """
        if self.alive:
            return
        if self._thread.ident is not None:
            raise RuntimeError("an exchange runs once: make another one")
        self._thread.start()
        if not self._started.wait(START_S):
            raise TimeoutError(f"the exchange did not start within {START_S:g} s")
        if self._failure is not None:
            self._thread.join()
            raise self._take_failure()

    def stop(self) -> None:
        """End the thread; idempotent.

        Raises:
            RuntimeError: It had ended by itself, by a bug; told once, with the cause.
        """
        if self.alive:
            assert self._loop is not None and self._stopping is not None  # set before `start` returned
            with contextlib.suppress(RuntimeError):  # it is ending by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the local exchange had ended by itself") from self._take_failure()

    def _take_failure(self) -> BaseException:
        failure, self._failure = self._failure, None
        assert failure is not None  # whoever calls this has seen it
        return failure

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the thread, or here if there is none, and return its result."""
        if self._loop is None or not self.alive or self._thread is threading.current_thread():
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(CALL_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._run_main())
        except BaseException as exc:
            self._failure = exc
            if self._started.is_set():  # else `start` raises it
                log.critical("the local exchange has ended by itself", exc_info=exc)
        finally:
            self._started.set()

    async def _run_main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        await self._main(self._started.set, self._stopping)
