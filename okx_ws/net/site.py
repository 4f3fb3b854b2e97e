"""What the links of an endpoint have in common, what is wanted of them, and what they ask their owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..config import Credentials, Settings
from ..errors import OkxWsError
from ..events import Event
from ..protocol.backfill import Ask
from ..protocol.calls import Pace
from ..protocol.login import ClockState
from ..protocol.routing import Outlet
from ..protocol.subscriptions import Stream

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Keeper", "Owner", "Site", "Wish"]


class Wish(NamedTuple):
    """What somebody wants.

    Attributes:
        arg: The arg.
        needs_login: OKX serves it only after a login.
        holder: Who wants it; opaque here.
        max_silence: See `Session.subscribe`.
        snapshot_s: It must begin with a snapshot, within so many seconds; see `Session.want_snapshots`.
    """

    arg: Mapping[str, str]
    needs_login: bool
    holder: Any
    max_silence: float | None = None
    snapshot_s: float | None = None


class Mending(Protocol):
    """What fills the holes of a stream that two links carry. One thread at a time."""

    @property
    def wanted(self) -> bool:
        """Somebody wants them filled."""

    @property
    def busy(self) -> bool:
        """All messages have to go through it at present."""

    @property
    def idle(self) -> bool:
        """It can be done without. From any thread."""

    @property
    def last(self) -> bytes | None:
        """What was delivered last, if it is under way; None: nothing is. From any thread."""

    def deliver(self, outlet: Outlet | None, batch: list[bytes], last: bytes | None) -> None:
        """Take messages for an outlet, markers among them; `last` was delivered before them."""

    def finish(self) -> None:
        """Hand on what is held back; nothing more will come."""


class Keeper(Protocol):
    """What keeps the streams of a connection without holes: `Recovery`."""

    def depart(self, now: float) -> bool:
        """Let go of what need not be held back, since the link is to be handed over; return whether that is all."""

    def outlet_of(self, streams: list[Stream], arg: Mapping[str, Any]) -> Outlet | None:
        """Make the outlet of a route, instead of the site's `outlet_of`."""

    def learning(self, streams: list[Stream], outlet: Outlet) -> Outlet:
        """Return an outlet that learns on the way to this one, while two links carry the subscriptions."""

    def mending(self, streams: list[Stream], later: Callable[[Callable[[], None]], None]) -> Mending | None:
        """Make what fills the holes of streams that two links carry; see `Recovery.mending`."""

    def upkeep(self, now: float) -> float:
        """Do what is to be done; return when to be called again (monotonic).

        Called on the thread, with a link or without, when it was poked or has asked for it; it may `hand_over`.
        """

    def settle(self) -> None:
        """Hand on the answers that have come, and do no more: another link sees to the rest. On the thread."""

    def conclude(self) -> None:
        """Streams may move to other links, which know nothing of it: hand on what is held back. On the thread."""

    def finish(self) -> None:
        """The thread ends: hand on what is held back. Must not raise."""

    def fetch(
        self, ask: Ask, until: float, then: Callable[[list[Any] | OkxWsError], None], wanted: Callable[[], bool]
    ) -> None:
        """Ask REST in the background, and call `then` with the answer on the thread."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the links of one endpoint have in common.

    Attributes:
        endpoint: Its name.
        url: Its address.
        settings: Times, limits, TLS.
        outlet_of: Makes the outlet of a route (see `Routes`); called under the mutex.
        tell: Takes events; called outside it.
        raw: Gets every text that is no pong, beside and before the outlets; None: nobody does.
        pong: Called on a link's thread with the payload of each control pong.
        login: Returns the text of a freshly signed login; None without credentials.
        credentials: Taken out of what OKX says before it is told.
        hint: Added to the remedy of a refused login.
        clock: What logins are signed with; None: the local clock.
        pace: Says when calls may go; None: each connection's are counted alone.
        keeper: Makes what keeps a connection's streams without holes.
    """

    endpoint: str
    url: str
    settings: Settings
    outlet_of: Callable[[list[Stream], Mapping[str, Any]], Outlet | None]
    tell: Callable[[Event], None]
    raw: Outlet | None = None
    pong: Callable[[bytes], None] = lambda payload: None
    login: Callable[[], str] | None = None
    credentials: Credentials | None = None
    hint: str = ""
    clock: ClockState | None = None
    pace: Pace | None = None
    keeper: Callable[[Any], Keeper] | None = None


class Owner(Protocol):
    """Whose connection it is; every call comes on the connection's thread."""

    def failed(self, connection: Connection) -> None:
        """It has become of no use; its `failure` says why. Called outside the mutex."""

    def crowded(self, connection: Connection) -> bool:
        """OKX closed it for too many subscriptions: move some away; return whether any could be. Under the mutex."""

    def is_spare(self, connection: Connection) -> bool:
        """Tell whether the endpoint can do without it, as soon as it has no subscriptions."""

    def is_new(self, connection: Connection) -> bool:
        """Tell whether it is to take the place of another one, and has not yet."""

    def hand_over(self, connection: Connection) -> object:
        """It will be closed by OKX, or is old: see to a new one."""

    def begin_hand_over(self, connection: Connection) -> None:
        """It is between two reads: have a new one join it now."""

    def gone(self, connection: Connection) -> None:
        """It was spare, or another one has what it had, and it has ended. Called outside the mutex."""
