"""When to ping and when to give a link up.

Law. Life is a text or binary frame, or bytes of an unfinished one; control frames are not, pongs included. After
`interval` seconds without life: ping. No life for `timeout` seconds after that ping: the link is dead. Data without a
pong keeps a link alive. While our own reader pauses (a full queue) the peer's silence proves nothing: pings go on,
death does not come, and the count starts anew when reading does. Nor is a link dead while something that arrived is
still to be read: after a sleep of the whole machine the pong is there, and so is the time-out.

    state      | life            | interval over   | timeout over
    -----------+-----------------+-----------------+-------------
    quiet      | quiet           | ping → waiting  | –
    waiting    | quiet           | –               | dead
"""

from __future__ import annotations

__all__ = ["Heartbeat"]


class Heartbeat:
    """The heartbeat of one link.

    Args:
        interval: Seconds without life until a ping.
        timeout: Seconds after the ping, without life, until the link is dead.
        now: When the link came up.

    Attributes:
        due: When `check` has something to say next.
        round_trip_s: Seconds from the last text ping to its pong; None before the first.
    """

    def __init__(self, interval: float, timeout: float, now: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._life = now
        #: When the unanswered ping went out; None while quiet.
        self._pinged: float | None = None
        self._paused = False
        self.due = now + interval
        self.round_trip_s: float | None = None

    def life(self, at: float) -> None:
        """Something that proves life arrived at `at`; what came before a ping does not answer it."""
        if at > self._life:
            self._life = at
        if self._pinged is None or at >= self._pinged:
            self._pinged = None
            self.due = self._life + self._interval

    def pong(self, now: float) -> None:
        """The text ``pong`` arrived; call before `life`, which forgets the ping."""
        if self._pinged is not None:
            self.round_trip_s = now - self._pinged

    def pause(self, paused: bool, now: float) -> None:
        """Our reader stopped, or went on, reading."""
        if paused != self._paused:
            self._paused = paused
            self.life(now)

    def check(self, now: float, idle: bool = True) -> str:
        """Return ``"ping"``, ``"dead"`` or ``""``; a ``"ping"`` counts as sent now.

        Args:
            now: The time.
            idle: All that has arrived has been read.
        """
        if now < self.due:
            return ""
        if self._pinged is None:
            self._pinged, self.due = now, now + self._timeout
            return "ping"
        if self._paused:
            self.life(now)
            return ""
        return "dead" if idle else ""
