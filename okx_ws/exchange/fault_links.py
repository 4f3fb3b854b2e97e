"""Faults of links, of accounts and of the server itself."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar

from .accounts import Account
from .desk import frame, plain
from .fault_kinds import Kind, OnArgs, OnLines, Site, Strike, named, option
from .line import OUTBOX_FRAMES, Line, run_later
from .listeners import Door
from .rules import COUNTED, MOST_CONNECTIONS

__all__ = ["LINK_FAULTS"]


@dataclass
class Drop(OnLines):
    """Cut the connection without a close frame."""

    def hit(self, line: Line, site: Site) -> None:
        line.abort()


@dataclass
class Close(OnLines):
    """Close the connection."""

    code: int = option(1001, "of the close frame")
    reason: str = option("", "of the close frame")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1000 <= self.code <= 4999 and self.code not in (1004, 1005, 1006, 1015)):
            raise ValueError(f"close: code is one that a close frame can have, such as 1001 or 4006, not {self.code}")
        if len(self.reason.encode()) > 123:
            raise ValueError("close: reason is at most 123 bytes long")

    def hit(self, line: Line, site: Site) -> None:
        line.close(self.code, self.reason)


@dataclass
class Notice(OnLines):
    """Announce a service upgrade (64008), and close the connection then."""

    close_after_s: float = option(60.0, "seconds from the notice to the close")

    def hit(self, line: Line, site: Site) -> None:
        line.announce_end(self.close_after_s)


@dataclass
class HalfOpen(OnLines):
    """Read and write nothing any more without ending the connection, pongs included."""

    lasting: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._frozen: list[Line] = []

    def lines(self, site: Site) -> list[Line]:
        return [line for line in super().lines(site) if not line.frozen]

    def hit(self, line: Line, site: Site) -> None:
        line.freeze()
        self._frozen.append(line)

    def gone(self, line: Line) -> None:
        self._frozen = [one for one in self._frozen if one is not line]

    def shut(self, site: Site) -> None:
        for line in self._frozen:
            line.thaw()
        self._frozen = []


@dataclass
class Throttle(OnLines):
    """Send slowly, and cut the client off with 4005 when too much is waiting for it."""

    lasting: ClassVar[bool] = True

    per_s: float = option(20.0, "frames a second that go out")
    frames: int = option(100, "frames that may wait")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.per_s > 0 or self.frames < 1:
            raise ValueError("throttle: per_s and frames are more than 0")
        self._slow: list[Line] = []

    def hit(self, line: Line, site: Site) -> None:
        line.pace_s, line.most = 1 / self.per_s, self.frames
        self._slow.append(line)

    def gone(self, line: Line) -> None:
        self._slow = [one for one in self._slow if one is not line]

    def shut(self, site: Site) -> None:
        for line in self._slow:
            line.pace_s, line.most = 0.0, OUTBOX_FRAMES
        self._slow = []


@dataclass
class Refuse(Kind):
    """Refuse to connect, to upgrade or to subscribe."""

    lasting: ClassVar[bool] = True

    what: str = option(
        "connect", "connect (TCP), upgrade (an HTTP status) or subscribe (a code)", "connect", "upgrade", "subscribe"
    )
    endpoint: str = option(
        "",
        "only this one; connect knows rest and, for the others, one port",
        "",
        "public",
        "private",
        "business",
        "rest",
    )
    status: int = option(503, "HTTP status, for upgrade")
    code: str = option("60018", "for subscribe")
    msg: str = option("", "for subscribe; a likely one if empty")
    channel: str = option("", "only subscriptions to channels that match")
    instId: str = option("", "only subscriptions to this instId")

    @property
    def state(self) -> bool:
        return self.what == "connect"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.what == "connect" and self.endpoint not in ("", "rest"):
            raise ValueError(
                f"refuse: what=connect cannot tell {self.endpoint} from the others: they share a port; use what=upgrade"
            )
        if self.what != "connect" and self.endpoint == "rest":
            raise ValueError(f"refuse: what={self.what} is not for rest; see rest_error")
        if not any(status.value == self.status for status in HTTPStatus) or self.status < 300:
            raise ValueError(f"refuse: status is an HTTP status from 300 up, not {self.status}")
        self._door: Door | None = None

    def open(self, site: Site, strike: Strike) -> None:
        door = "rest" if self.endpoint == "rest" else "ws"
        if self.what == "connect" and self._door is None and strike(None, f"{door} refuses connections"):
            self._door = site.doors[door]
            run_later(self._door.shut())

    def shut(self, site: Site) -> None:
        if self._door is not None:
            run_later(self._door.open())
            self._door = None

    def turns_away(self, endpoint: str, strike: Strike) -> HTTPStatus | None:
        if (
            self.what == "upgrade"
            and self.endpoint in ("", endpoint)
            and strike(None, f"{endpoint} HTTP {self.status}")
        ):
            return HTTPStatus(self.status)
        return None

    def refuses(self, line: Line, arg: dict[str, str], strike: Strike) -> tuple[str, str] | None:
        if (
            self.what != "subscribe"
            or self.endpoint not in ("", line.endpoint)
            or self.channel
            and not fnmatch.fnmatchcase(arg.get("channel", ""), self.channel)
            or self.instId not in ("", arg.get("instId", ""))
            or not strike(line, f"{self.code} {' '.join(plain(arg).values())}")
        ):
            return None
        named = ", ".join(f"{key}:{value}" for key, value in plain(arg).items())
        return self.code, self.msg or f"Wrong URL or {named} doesn't exist."


@dataclass
class ClockSkew(Kind):
    """Let the server's clock go wrong: logins and signatures fail, REST tells another time."""

    once: ClassVar[bool] = True
    lasting: ClassVar[bool] = True

    by_s: float = option(40.0, "seconds; less than 0: behind")

    @property
    def state(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._added = 0.0

    def open(self, site: Site, strike: Strike) -> None:
        if not self._added and strike(None, f"the clock is off by {self.by_s:g} s"):
            self._added = self.by_s
            site.skew(self.by_s)

    def shut(self, site: Site) -> None:
        site.skew(-self._added)
        self._added = 0.0


@dataclass
class KeyRemoved(OnLines):
    """Delete an API key: its connections close with 4007, and it is known no more (60032)."""

    lasting: ClassVar[bool] = True

    apiKey: str = option("", "which; all of them if empty")

    @property
    def state(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._removed: dict[str, Account] = {}

    def open(self, site: Site, strike: Strike) -> None:
        keys = [key for key in site.hub.accounts if self.apiKey in ("", key)]
        if not keys or not strike(None, f"{len(keys)} keys"):
            return
        for key in keys:
            self._removed[key] = site.hub.accounts.pop(key)
        for line in self.lines(site):
            if line.desk.account is not None and line.desk.account.apiKey in self._removed:
                self.hit(line, site)

    def hit(self, line: Line, site: Site) -> None:
        line.close(4007, "The API key has been changed or deleted.")

    def shut(self, site: Site) -> None:
        site.hub.accounts.update(self._removed)
        self._removed = {}


@dataclass
class Unsubscribed(OnArgs):
    """Unsubscribe a client that has not asked for it, and tell it so."""

    once: ClassVar[bool] = True

    one: bool = option(True, "only one of the subscriptions, by chance")

    def open(self, site: Site, strike: Strike) -> None:
        found = [(line, arg) for line in site.hub.lines for arg in line.desk.args.values() if self.selects(line, arg)]
        if self.one and found:
            found = [site.rng.choice(found)]
        if not found or not strike(found[0][0], f"{len(found)} args, of {' '.join(plain(found[0][1]).values())}"):
            return
        for line, arg in found:
            line.desk.take_away(arg)
            line.send(frame({"event": "unsubscribe", "arg": plain(arg), "connId": line.desk.connId}))


@dataclass
class ConnCountError(OnLines):
    """Say that too many connections have a channel of the account, and take it away."""

    channel: str = option("", "which; any that OKX counts if empty", "", *COUNTED)

    def open(self, site: Site, strike: Strike) -> None:
        found = [
            (line, channel)
            for line in self.lines(site)
            for channel in dict.fromkeys(arg.get("channel", "") for arg in line.desk.args.values())
            if channel in COUNTED and self.channel in ("", channel)
        ]
        if not found or not strike(found[0][0], " ".join(channel for _, channel in found)):
            return
        for line, channel in found:
            for arg in [arg for arg in line.desk.args.values() if arg.get("channel") == channel]:
                line.desk.take_away(arg)
            told = {"event": "channel-conn-count-error", "channel": channel, "connCount": str(MOST_CONNECTIONS)}
            line.send(frame({**told, "connId": line.desk.connId}))


LINK_FAULTS = named(
    Drop, Close, Notice, HalfOpen, Throttle, Refuse, ClockSkew, KeyRemoved, Unsubscribed, ConnCountError
)
