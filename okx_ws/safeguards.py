"""`Safeguards`: the part of `Manager` for when things go wrong: a dead man's switch, and another key."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .config import Credentials, check_callable, positive
from .deadman import DeadMansSwitch, check_seconds
from .errors import OkxWsError, UsageError
from .net.rest_client import RestClient
from .protocol.orders import PATTERNS
from .wiring import Wiring

__all__ = ["Safeguards"]

#: A key is shown to be of the same account in so many seconds, or not at all.
PROOF_S = 2.0

#: Seconds for the first request of a switch, as for an order.
TIMEOUT_S = 5.0


class Safeguards(Wiring):
    """A dead man's switch, and another key."""

    #: By tag.
    _dead_mans_switches: dict[str, DeadMansSwitch]

    def cancel_all_after(
        self,
        seconds: int,
        *,
        tag: str = "",
        healthy: Callable[[], object] | None = None,
        timeout: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        """Arm the dead man's switch: OKX cancels all your orders `seconds` after it last heard that all is well.

        It is renewed about once a second from now on, over REST, in the background, while the private link (if it is in
        use) is up. A renewal that fails is told (event ``switch_failed``), and so is the lapse (``switch_lapsed``);
        after a lapse it is armed again as soon as that is possible.

        `close` ends the renewals and leaves the switch armed: what is open then is cancelled within `seconds`. To leave
        orders behind, call ``cancel_all_after(0)`` first, which ends it.

        Args:
            seconds: 10 to 120, or 0.
            tag: Only orders with this tag; a switch for each.
            healthy: Asked before each renewal, on the thread ``okx-ws:rest``: unless it returns something true, and
                quickly, there is none.
            timeout: Seconds for the first request, which blocks.

        Returns:
            OKX's answer, a dict: ``triggerTime``, ``tag``, ``ts``, in seconds.

        Raises:
            RestError, ConnectionLost: It could not be armed or ended; an older setting stands, and is renewed.
            UsageError: There is no key, or a parameter is wrong; or called on a link's own thread.
            ManagerClosed: The manager is closed.
        """
        checked, patience = check_seconds(seconds), positive("timeout", timeout)
        pattern, meant = PATTERNS["tag"]
        if not isinstance(tag, str) or (tag and not pattern.fullmatch(tag)):
            raise UsageError(f"tag must be {meant}, not {tag!r}")
        check_callable("healthy", healthy, optional=True)
        self.check_may_block()
        self._check_open()
        with self._manager_lock:
            switch = self._dead_mans_switches.get(tag)
            if switch is None:
                tell = self._reporter.tell
                switch = self._dead_mans_switches[tag] = DeadMansSwitch(
                    self._rest, self._worker, tell, self._trouble, tag
                )
        return switch.set(checked, healthy, patience)

    # ------------------------------------------------------------------ another key

    def login_again(self, apiKey: str, secretKey: str, passphrase: str, timeout: float = 10.0) -> None:
        """Go on with a new key, without a restart: every endpoint that was logged in, or was refused, logs in with it.

        OKX knows no second login on a link, so those that are logged in give way to new ones. If REST tells that both
        keys are of one account, they are handed over, as by `rotate`: nothing is lost, doubled or reordered, and orders
        go on. Else they are made anew, each as soon as no order on it waits for its reply (new ones wait for the new
        link): their streams have a hole, which is told. What the old key was refused (4007: it was deleted) is asked
        for again. REST is signed with the new key from now on. Blocks until all that is done, `timeout` seconds at the
        most.

        Raises:
            LoginError: OKX has refused the new key.
            AckTimeout: Not in time; it goes on trying.
            UsageError: The key is incomplete, or this manager had none; or it does not reconnect; or on a link's own
                thread. The old key stays.
            ManagerClosed: The manager is closed.
        """
        until = time.monotonic() + positive("timeout", timeout)
        self.check_may_block()
        self._check_open()
        if not self._credentials:
            raise UsageError("this manager has no key to replace: give one to its constructor")
        if not self._settings.reconnect:
            raise UsageError("with reconnect=False a link that is logged in cannot be made anew: make a new manager")
        hand_over = self._is_same_account(Credentials(apiKey, secretKey, passphrase), until)
        with self._manager_lock:
            self._credentials.replace(apiKey, secretKey, passphrase)
            self._order_pace.renew()
            endpoints = list(self._lines.values())
            for lines in endpoints:
                lines.login_again(hand_over)
            if endpoints:
                self._shared.reopen()  # it ended if all endpoints so far had failed
        for lines in endpoints:
            lines.wait_login(until)

    def _is_same_account(self, new: Credentials, until: float) -> bool:
        """Tell whether another key is surely of the same account, whose messages two links may bring at once."""
        if not new or not any(lines.logged_in for lines in list(self._lines.values())):
            return False
        uids = []
        try:
            for rest in (self._rest, RestClient(self._transport, new, self._clock, self._check_rest)):
                patience = min(PROOF_S, max(0.01, (until - time.monotonic()) / 4))
                (config,) = rest.account_config(timeout=patience)
                uids.append(config["uid"])
        except (OkxWsError, LookupError, ValueError):  # the old key is gone, for instance
            return False
        return bool(uids[0]) and uids[0] == uids[1]

    def _trouble(self) -> str:
        """Return what is wrong with the private link; nothing, if it is not in use."""
        lines = self._lines.get("private")
        if lines is None or lines.up:
            return ""
        return f"the private link is down: {lines.last_error or 'not connected yet'}"
