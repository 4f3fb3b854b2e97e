"""The login of one link: asked for when something needs it, answered, retried or given up.

It is signed with OKX's time: before the first one, and after OKX found one expired, it waits for the clock, but not for
long.

    state    | something needs it | answer: ok | worth a retry   | final
    ---------+--------------------+------------+-----------------+--------------------------------------
    none     | request → asked    | –          | –               | –
    asked    | –                  | → done     | → none, later   | → refused
    done     | –                  | –          | –               | –
    refused  | fails at once      | –          | –               | –

No id comes back with the answer, so one login is in flight at a time. A lost link turns every state but refused to
none; each request is signed anew.
"""

from __future__ import annotations

import re
from typing import Literal, Protocol

from ..errors import LoginError
from .codec import named_arg
from .codes import CHANNEL_CODES, LOGIN_CODES, LOGIN_RETRY_CODES, remedy

__all__ = ["ClockState", "Login", "retry_delay"]

#: First wait before a refused request that is worth it is sent again; doubled each time (OKX asks for 1 s or more).
RETRY_FIRST_S = 1.0
RETRY_CAP_S = 30.0


def retry_delay(attempts: int) -> float:
    """Return the seconds to wait after the nth refusal in a row (from 1)."""
    return min(RETRY_CAP_S, RETRY_FIRST_S * 2.0 ** min(attempts - 1, 16))


#: The first offset of the clock is waited for this long; then the local clock must do.
CLOCK_WAIT_S = 2.0


#: A request that could not be read is repeated in the error; escaped, where the text is itself a JSON string.
REPEATED_LOGIN = re.compile(r'\\*"op\\*"\s*:\s*\\*"login')
LOGIN_WORDS = re.compile(r"apiKey|passphrase|timestamp|sign\b", re.IGNORECASE)


class ClockState(Protocol):
    """OKX's time, as far as it matters here.

    Attributes:
        offset_s: Seconds that it is ahead of ours, once it is known.
    """

    offset_s: float

    @property
    def known(self) -> bool:
        """It is known, and not in doubt."""

    @property
    def settled(self) -> bool:
        """There is nothing to wait for: it is known, or could not be asked."""

    def want(self) -> None:
        """See that it becomes known; does not block."""

    def doubt(self) -> None:
        """What was known is wrong: see that it is asked for anew; does not block."""


class Login:
    """The login state machine.

    Args:
        possible: There are credentials.
        hint: Added to the remedy of a final refusal: where it was tried.
        clock: What it is signed with; None: the local clock, as it is.
    """

    def __init__(self, possible: bool, hint: str, clock: ClockState | None = None) -> None:
        self._possible = possible
        self._hint = hint
        self._clock = clock
        #: Until when the clock is waited for; None while it is not.
        self._clock_until: float | None = None
        self.state: Literal["none", "asked", "done", "refused"] = "none"
        #: A retry may not go out earlier.
        self.not_before = 0.0
        #: When the answer in flight is overdue.
        self.answer_by = float("inf")
        #: Why it was refused for good.
        self.error: LoginError | None = None
        #: Refusals in a row that were worth a retry.
        self._refusals = 0
        #: The clock was asked anew because of a refusal, and no login has succeeded since.
        self._resynced = False
        #: The key was replaced while this link was logged in with the old one: it is ended once its calls are answered.
        self.outdated = False
        #: The present or last link knew only a key that was replaced: what OKX said of its key says nothing any more.
        self.old_key = False

    @property
    def possible(self) -> bool:
        """There are credentials, and they were not refused."""
        return self._possible and self.state != "refused"

    def link_lost(self) -> None:
        """Nobody is logged in any more."""
        self.answer_by = float("inf")
        if self.state != "refused":
            self.state = "none"

    def ready_at(self, now: float) -> float:
        """Return when a login may be sent: now or earlier, unless a retry or the clock has to be waited for."""
        if self._clock is None or self._clock.settled:
            self._clock_until = None
            return self.not_before
        if self._clock_until is None:
            self._clock_until = now + CLOCK_WAIT_S
            self._clock.want()
        return max(self.not_before, self._clock_until)

    def link_up(self) -> None:
        """A new link, which will know the present key alone."""
        self.old_key = False

    def key_replaced(self, up: bool) -> bool:
        """There is a new key. Return whether the next login is with it.

        OKX knows no second login on a link (`up`): one that is logged in has to end before.
        """
        self.outdated = up and self.state in ("asked", "done")
        self.old_key = self.outdated or not up
        if not self.outdated:
            self.renew()
        return not self.outdated

    def key_passes_on(self) -> None:
        """There is a new key, with which another link is to take this one's place: this one stays as it is."""
        self.old_key = True

    def renew(self) -> None:
        """There is a new key: whatever became of the old one, ask anew."""
        self.state, self.error, self.answer_by = "none", None, float("inf")
        self.not_before, self._refusals, self._resynced = 0.0, 0, False

    @property
    def on_local_time(self) -> bool:
        """The next login is signed with the local clock though OKX's was wanted."""
        return self._clock is not None and not self._clock.known

    def asked(self, answer_by: float) -> None:
        """A login goes out now; its answer is awaited until `answer_by`."""
        self.state, self.answer_by = "asked", answer_by

    @property
    def retrying(self) -> bool:
        """The last login was refused with something that is worth a retry."""
        return self._refusals > 0 or self._resynced

    def is_answer(self, code: str, msg: str, id: str | None, others_waiting: bool) -> bool:
        """Tell whether an error is the answer to the login: no id comes back with it.

        One that names a channel, or is about channels, is not; one that repeats the login, or has a login's code, is;
        what is left is told by its words, or by nothing else being in flight.
        """
        if self.state != "asked" or id is not None or named_arg(msg) is not None or code in CHANNEL_CODES:
            return False
        if REPEATED_LOGIN.search(msg) or code in LOGIN_CODES:
            return True
        return LOGIN_WORDS.search(msg) is not None or not others_waiting

    def accepted(self) -> None:
        """OKX said yes."""
        self.state, self._refusals, self._resynced, self.answer_by = "done", 0, False, float("inf")

    def rejected(self, code: str, msg: str, now: float) -> float | None:
        """OKX said no: return the seconds until it is tried again; None if that is not worth it (see `error`)."""
        self.answer_by = float("inf")
        if code == "60006" and self._clock is not None and not self._resynced:
            # Expired: ask OKX's clock anew, and try once more with what it says.
            self._resynced = True
            self._clock.doubt()
            self.state, self.not_before, self._clock_until = "none", now, now + CLOCK_WAIT_S
            return 0.0
        if code in LOGIN_RETRY_CODES:
            return self.unanswered(now)
        self.give_up(code, msg)
        return None

    def unanswered(self, now: float) -> float:
        """Nothing came of it: return the seconds until it is tried again."""
        self._refusals += 1
        delay = retry_delay(self._refusals)
        self.state, self.not_before, self.answer_by = "none", now + delay, float("inf")
        return delay

    def give_up(self, code: str, msg: str) -> LoginError:
        """The key is of no use: refused, changed or deleted."""
        self.state = "refused"
        self.error = LoginError(code, msg, "; ".join(filter(None, (remedy(code), self._hint))))
        return self.error
