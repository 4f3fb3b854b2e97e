"""`Clock`: OKX's time, for signing logins; asked over REST in the background."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..errors import OkxWsError
from ..events import Event
from ..protocol.clock import Sample, offset_of
from .rest import RestTransport
from .worker import RestWorker

__all__ = ["Clock"]

log = logging.getLogger(__name__)

#: Questions per synchronisation; the quickest answer counts.
QUESTIONS = 3

#: Quartz clocks drift by some 50 ms in this time, and a login may be 30 s off.
REFRESH_S = 600.0
RETRY_S = 30.0

#: A skew beyond this is told.
TOLD_SKEW_S = 1.0


class Clock:
    """The offset between OKX's clock and ours.

    Args:
        rest: Asked on the worker's thread only.
        worker: Runs the synchronisations.
        tell: Takes an event about a skew, and about not knowing.
        changed: Called when `settled` has become true.
    """

    def __init__(
        self, rest: RestTransport, worker: RestWorker, tell: Callable[[Event], None], changed: Callable[[], None]
    ) -> None:
        self._rest = rest
        self._worker = worker
        self._tell = tell
        self._changed = changed
        self._wanted = False
        self._told = False
        # Re-entrant: `wake` may come from a signal handler that interrupted this very thread inside.
        self._turned = threading.Condition(threading.RLock())
        #: An offset is known that is not in doubt.
        self.known = False
        #: There is nothing to wait for: it is known, or could not be asked.
        self.settled = False
        #: Seconds to add to the local clock.
        self.offset_s = 0.0

    def now_s(self) -> float:
        """Return OKX's time as far as it is known, else the local clock's; Unix seconds."""
        return time.time_ns() / 1e9 + self.offset_s  # Unix time is what is signed: no deadline is measured with it

    def want(self) -> None:
        """Synchronise in the background, and keep synchronised from now on. Does not block; idempotent."""
        if not self._wanted:
            self._wanted = True
            self._worker.submit(self._synchronise)

    def doubt(self) -> None:
        """OKX found a timestamp of ours expired: synchronise anew before the next one."""
        self.known = self.settled = False
        self._wanted = True
        self._worker.submit(self._synchronise)

    def wait(self, timeout: float) -> bool:
        """Wait until `settled`, or until the worker is stopped; `timeout` seconds at the most. Return whether it is.

        On the worker's own thread it does not wait: the answer would have to come from there.
        """
        if self._worker.is_current():
            return self.settled
        with self._turned:
            self._turned.wait_for(lambda: self.settled or self._worker.stopped, timeout)
        return self.settled

    def wake(self) -> None:
        """Have those look who wait: it is settled, or the worker was stopped."""
        with self._turned:
            self._turned.notify_all()

    def _synchronise(self) -> None:
        try:
            samples = [self._ask() for _ in range(QUESTIONS) if not self._worker.stopped]
            self.offset_s = offset_of(samples)
        except (OkxWsError, ValueError) as exc:
            log.info("OKX's clock could not be asked: %s", exc)
            self._settle(known=self.known)
            self._worker.submit(self._synchronise, RETRY_S)
            return
        log.debug("OKX's clock is %+.3f s from ours", self.offset_s)
        if abs(self.offset_s) > TOLD_SKEW_S and not self._told:
            self._told = True
            side = "behind" if self.offset_s > 0 else "ahead of"
            text = f"the local clock is {abs(self.offset_s):.1f} s {side} OKX's; logins are corrected for it"
            self._tell(Event("notice", msg=text))
        self._settle(known=True)
        self._worker.submit(self._synchronise, REFRESH_S)

    def _settle(self, known: bool) -> None:
        self.known, self.settled = known, True
        self.wake()
        self._changed()

    def _ask(self) -> Sample:
        sent_s = time.time_ns() / 1e9
        server_s = self._rest.server_time_s()
        return Sample(sent_s, time.time_ns() / 1e9, server_s)
