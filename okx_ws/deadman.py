"""`DeadMansSwitch`: OKX cancels all orders unless it is told, again and again, that somebody is still there.

Law. It is renewed about once a second, on the thread `okx-ws:rest`, while everything is well: the private link, if one
is in use, is up, and the user's own function, if there is one, says so. Whatever goes wrong here ends in renewals that
do not come, and so in OKX's cancelling: the safe side. A renewal that fails is told, and so is the lapse; then it goes
on trying, for what is placed after a lapse wants protection too. Source: OKX v5 docs, "Cancel All After", June 2026.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .config import whole
from .errors import ConnectionLost, ManagerClosed, OkxWsError, UsageError
from .events import Event
from .net.rest_client import RestClient
from .net.worker import RestWorker

__all__ = ["DeadMansSwitch"]

log = logging.getLogger(__name__)

PATH = "/api/v5/trade/cancel-all-after"

#: OKX takes one renewal a second for each tag, and we count a little longer ones.
RENEW_S = 1.2

#: A renewal that takes longer is given up: the next one may be quicker.
PATIENCE_S = 3.0


class DeadMansSwitch:
    """One switch, of one tag. Thread-safe.

    Args:
        rest: Renews it.
        worker: Whose thread does so.
        tell: Takes events.
        well: Says why it must not be renewed; an empty text if all is well.
        tag: Only orders with this tag; empty for all.
    """

    def __init__(
        self,
        rest: RestClient,
        worker: RestWorker,
        tell: Callable[[Event], None],
        well: Callable[[], str],
        tag: str,
    ) -> None:
        self._rest = rest
        self._worker = worker
        self._tell = tell
        self._well = well
        self._tag = tag
        # Re-entrant: a signal handler may call it, having interrupted this very thread inside.
        self._turned = threading.Condition(threading.RLock())
        #: Counts settings: a renewal of an older one is over.
        self._turn = 0
        #: A request is under way: the next one waits, lest an older one reach OKX after it.
        self._asking = False
        self._seconds = 0
        self._healthy: Callable[[], object] | None = None
        #: When OKX cancels if nothing more comes (monotonic).
        self._lapses_at = float("inf")
        self._lapsed = False

    def set(self, seconds: int, healthy: Callable[[], object] | None, timeout: float) -> dict[str, Any]:
        """Arm it, or end it with 0; return OKX's answer. Blocks, `timeout` seconds at the most.

        Raises:
            RestError, ConnectionLost: OKX has refused, or could not be asked: it stands as it stood, and if it was
                armed, it is still renewed.
        """
        until = time.monotonic() + timeout
        with self._turned:
            if not self._turned.wait_for(lambda: not self._asking, timeout):
                raise ConnectionLost("a renewal of the dead man's switch has no answer yet; nothing was sent")
            self._asking = True
            self._turn += 1
        asked_at = time.monotonic()
        try:
            rows = self._ask(seconds, max(0.001, until - asked_at))
            with self._turned:
                self._seconds, self._healthy, self._lapsed = seconds, healthy, False
                self._lapses_at = asked_at + seconds if seconds else float("inf")
        finally:
            self._over()
            if self._seconds:
                turn = self._turn
                self._worker.submit(lambda: self._renew(turn), RENEW_S)
        return dict(rows[0]) if rows else {}

    def _over(self) -> None:
        with self._turned:
            self._asking = False
            self._turned.notify_all()

    def _ask(self, seconds: int, timeout: float) -> list[Any]:
        body = {"timeOut": str(seconds), **({"tag": self._tag} if self._tag else {})}
        return self._rest.post(PATH, body, timeout=timeout)

    def _renew(self, turn: int) -> None:
        """On the worker: renew it, or say why not; and come again."""
        why, code = self._why_not(), None
        with self._turned:
            if turn != self._turn:
                return
            self._asking = True
            seconds, asked_at = self._seconds, time.monotonic()
        try:
            if not why:
                self._ask(seconds, PATIENCE_S)
        except ManagerClosed:
            return
        except OkxWsError as exc:
            why, code = str(exc), getattr(exc, "code", None)
        finally:
            self._over()
        with self._turned:
            if turn != self._turn:
                return
            event = self._failed(why, code) if why else self._renewed(asked_at + seconds)
        if event is not None:
            self._tell(event)
        self._worker.submit(lambda: self._renew(turn), RENEW_S)

    def _why_not(self) -> str:
        """Return why it must not be renewed."""
        healthy = self._healthy
        try:
            if healthy is not None and not healthy():
                return "the function that was given for it says that all is not well"
        except Exception as exc:
            log.exception("the function that says whether to renew has raised")
            return f"the function that was given for it raised {type(exc).__name__}"
        return self._well()

    def _renewed(self, lapses_at: float) -> Event | None:
        self._lapses_at = lapses_at
        if not self._lapsed:
            return None
        self._lapsed = False
        return Event("notice", msg="the dead man's switch is armed again")

    def _failed(self, why: str, code: str | None) -> Event | None:
        left = self._lapses_at - time.monotonic()
        if left > 0:
            return Event("switch_failed", code=code, msg=why, delay_s=left)
        if self._lapsed:
            return None  # told
        self._lapsed = True
        return Event("switch_lapsed", code=code, msg=why)


def check_seconds(seconds: object) -> int:
    """Return `seconds` if OKX takes it: 0, or 10 to 120.

    Raises:
        UsageError: It does not.
    """
    checked = whole("seconds", seconds, 0)
    if checked and not 10 <= checked <= 120:
        raise UsageError(f"seconds must be 10 to 120, or 0 to end it, not {seconds!r}")
    return checked
