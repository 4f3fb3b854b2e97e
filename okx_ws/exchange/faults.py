"""`Faults`: the switchboard of what goes wrong at a local exchange, when, and how often.

Law. A fault has times: it begins at once or `after_s`, and again `every_s` if that is set; each time lasts `for_s`, or,
if it comes every so often, until it has struck once; else until it is stopped. Within its time it strikes at each
chance (a moment, a frame, a request) with its `probability`, `times` at the most. Some kinds strike once unless they
are told more. All choices are drawn from a generator seeded by the exchange's seed, the fault's number and its name.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from .fault_books import BOOK_FAULTS
from .fault_frames import FRAME_FAULTS
from .fault_kinds import Kind, Sent, Site, make_kind, option, typed
from .fault_links import LINK_FAULTS
from .fault_rest import REST_FAULTS
from .line import Line, Payload
from .recent import Recent
from .rest_server import Spoiled

__all__ = ["FAULTS", "Fault", "Faults", "Struck", "describe_faults"]

log = logging.getLogger(__name__)

T = TypeVar("T")

FAULTS: Mapping[str, type[Kind]] = {**LINK_FAULTS, **FRAME_FAULTS, **BOOK_FAULTS, **REST_FAULTS}

#: Strikes that are remembered.
REMEMBERED = 100_000


@dataclass(frozen=True)
class Struck:
    """A fault has struck.

    Attributes:
        at_ms: When, Unix ms.
        fault: Its name.
        endpoint, connId: Where; empty if on no connection, or on several.
        text: What it has done to what.
    """

    at_ms: int
    fault: str
    endpoint: str
    connId: str
    text: str


@dataclass
class Schedule:
    """When a fault strikes; the parameters that all faults have."""

    after_s: float = option(0.0, "seconds until it begins")
    every_s: float | None = option(None, "seconds until it begins again, and so on")
    jitter: float = option(0.0, "0.2: these seconds are up to a fifth more or less")
    for_s: float | None = option(None, "seconds that it lasts each time")
    probability: float = option(1.0, "of striking at a chance to")
    times: int | None = option(None, "how often it strikes, at the most")

    def __post_init__(self) -> None:
        for name, least in (("after_s", True), ("every_s", False), ("for_s", False)):
            value = getattr(self, name)
            if value is not None and not (value > 0 or least and value == 0):
                raise ValueError(f"{name} is {'not less' if least else 'more'} than 0, not {value!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is from 0 to 1, not {self.jitter!r}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability is more than 0 and at most 1, not {self.probability!r}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is at least 1, not {self.times!r}")

    @property
    def told(self) -> bool:
        """It says how often to strike."""
        return (self.every_s, self.for_s, self.times) != (None, None, None) or self.probability < 1


SCHEDULE = {field.name: field for field in dataclasses.fields(Schedule)}


class Owner(Protocol):
    """What the switchboard needs from the exchange."""

    def call(self, function: Callable[[], T]) -> T:
        """Run something on the exchange's thread and return its result."""

    def site(self, rng: random.Random) -> Site:
        """Return what a fault can lay hands on."""

    def struck(self, strike: Struck) -> None:
        """A fault has struck."""


class Fault:
    """A fault that was started.

    Attributes:
        name: What it is called.
        kind: Its parameters.
        schedule: When it strikes.
    """

    def __init__(self, faults: Faults, kind: Kind, schedule: Schedule, rng: random.Random) -> None:
        self.name = kind.name
        self.kind = kind
        self.schedule = schedule
        self._faults = faults
        self._rng = rng
        self._site: Site | None = None
        self._changed = threading.Condition()
        self._strikes = 0
        self._open = self._ended = self._begun = False
        self._next: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Fault {self.name}: {self._strikes} strikes{', ended' if self._ended else ''}>"

    # ------------------------------------------------------------------ from any thread

    @property
    def strikes(self) -> int:
        """How often it has struck."""
        return self._strikes

    def wait(self, strikes: int = 1, timeout: float = 10.0) -> bool:
        """Wait until it has struck so often; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._strikes >= strikes, timeout)

    def stop(self) -> None:
        """Let it strike no more, and undo what lasts; what it has kept back is sent. Idempotent."""
        self._faults.stop(self)

    # ------------------------------------------------------------------ on the exchange's thread

    def begin(self, site: Site) -> None:
        """Start its clock."""
        if not self._begun:
            self._begun, self._site = True, site
            self._at(self.schedule.after_s)

    def cancel(self) -> None:
        """Strike no more."""
        for timer in (self._next, self._end):
            if timer is not None:
                timer.cancel()
        self._ended = True

    def end(self) -> None:
        """Strike no more, and undo what lasts."""
        self.cancel()
        if self._site is not None:
            self._shut()
            self.kind.stopped()

    def _at(self, delay_s: float) -> None:
        if delay_s:
            self._next = asyncio.get_running_loop().call_later(delay_s, self._start)
        else:
            self._start()

    def _start(self) -> None:
        assert self._site is not None  # its clock runs
        every_s, for_s = self.schedule.every_s, self.schedule.for_s
        if self._ended:
            return
        if self._end is not None:
            self._end.cancel()
        self._open = True
        self.kind.open(self._site, self.strike)
        if for_s is not None:
            self._end = asyncio.get_running_loop().call_later(for_s, self._shut)
        if every_s is not None and not self._ended:
            self._at(every_s * (1 + self.schedule.jitter * self._rng.uniform(-1, 1)))

    def _shut(self) -> None:
        assert self._site is not None  # its clock runs
        self._open = False
        self._ended = self._ended or self.schedule.every_s is None
        self.kind.shut(self._site)

    def strike(self, line: Line | None, text: str) -> bool:
        """Decide whether to strike now; note it if so."""
        if not self._open or self._ended or self._rng.random() >= self.schedule.probability:
            return False
        with self._changed:
            self._strikes += 1
            self._changed.notify_all()
        if self.schedule.times is not None and self._strikes >= self.schedule.times:
            self._ended = True
        elif self.schedule.every_s is not None and self.schedule.for_s is None:
            self._open = False
        self._faults.note(self, line, text)
        return True

    @property
    def over(self) -> bool:
        """There is nothing more to expect of it, and nothing to undo."""
        return self._ended and not (self.kind.lasting and self._open) and not self.kind.keeps


class Faults:
    """The faults of one exchange; every call is for any thread.

        with LocalExchange() as exchange:
            exchange.faults.start("drop", endpoint="public", every_s=2.0, jitter=0.5)
            exchange.faults.start("gap", channel="books*", probability=0.01)

    Args:
        owner: The exchange.
        seed: Of every choice.
    """

    def __init__(self, owner: Owner, seed: int) -> None:
        self._owner = owner
        self._seed = seed
        self._lock = threading.Lock()
        self._log: Recent[Struck] = Recent(REMEMBERED)
        self._started = 0
        self._running: list[Fault] = []
        self._live = False

    # ------------------------------------------------------------------ from any thread

    def start(self, name: str, **parameters: Any) -> Fault:
        """Start a fault.

        Args:
            name: Of its kind; ``okx-ws exchange --fault help`` shows all with their parameters.
            parameters: Of its kind, and when it strikes: `after_s`, `every_s`, `jitter`, `for_s`, `probability`,
                `times`.

        Returns:
            A handle: `stop` ends it, `strikes` counts, `wait` waits.

        Raises:
            ValueError: There is no such fault or parameter, or a value is not one.
        """
        own = {key: value for key, value in parameters.items() if key not in SCHEDULE}
        kind = make_kind(FAULTS, name, own, SCHEDULE)
        try:
            told = {key: typed(name, SCHEDULE[key], parameters[key]) for key in parameters.keys() - own.keys()}
            schedule = Schedule(**told)
        except ValueError as exc:
            raise ValueError(str(exc) if str(exc).startswith(name) else f"{name}: {exc}") from None
        if kind.state and schedule.every_s is not None and schedule.for_s is None:
            raise ValueError(f"{name} is on or off: say beside every_s how long it lasts each time, by for_s")
        if kind.once and not schedule.told:
            schedule = dataclasses.replace(schedule, times=1)

        def begin() -> Fault:
            self._started += 1
            fault = Fault(self, kind, schedule, random.Random(f"{self._seed} {self._started} {name}"))
            self._running = [one for one in self._running if not one.over] + [fault]
            if self._live:
                fault.begin(self._owner.site(fault._rng))
            return fault

        return self._owner.call(begin)

    def parse(self, text: str) -> Fault:
        """Start a fault that is written as on the command line: ``NAME`` or ``NAME:key=value,key=value``.

        Raises:
            ValueError: It is not written so; or as `start`.
        """
        name, _, rest = text.partition(":")
        parameters = {}
        for part in filter(None, rest.split(",")):
            key, equals, value = part.partition("=")
            if not equals:
                raise ValueError(f"{part!r} in {text!r} is not written as key=value")
            parameters[key.strip()] = value.strip()
        return self.start(name.strip(), **parameters)

    def stop(self, fault: Fault | None = None) -> None:
        """End a fault, or all of them."""

        def end() -> None:
            for one in [one for one in self._running if fault in (None, one)]:
                one.end()
            self._running = [one for one in self._running if fault not in (None, one)]

        self._owner.call(end)

    @property
    def log(self) -> list[Struck]:
        """What was done when, the newest last; of very many the oldest are forgotten."""
        with self._lock:
            return list(self._log)

    # ------------------------------------------------------------------ on the exchange's thread

    def begin(self) -> None:
        """The exchange runs."""
        self._live = True
        for fault in self._running:
            fault.begin(self._owner.site(fault._rng))

    def end(self) -> None:
        """The exchange ends, and its connections with it: there is nothing to undo."""
        self._live = False
        for fault in self._running:
            fault.cancel()
        self._running = []

    def note(self, fault: Fault, line: Line | None, text: str) -> None:
        """Note a strike."""
        endpoint, connId = ("", "") if line is None else (line.endpoint, line.desk.connId)
        struck = Struck(time.time_ns() // 1_000_000, fault.name, endpoint, connId, text)
        with self._lock:
            self._log.append(struck)
        log.debug("%s", struck)
        self._owner.struck(struck)

    def outgoing(self, line: Line, text: str) -> Iterable[Payload]:
        """Return what is sent instead of a text."""
        faults = [fault for fault in self._running if type(fault.kind).outgoing is not Kind.outgoing]
        if not faults:
            return (text,)
        frames: list[Sent | Payload] = [Sent.read(text)]
        for fault in faults:
            frames = [
                made
                for frame in frames
                for made in (fault.kind.outgoing(line, frame, fault.strike) if isinstance(frame, Sent) else (frame,))
            ]
        return [frame.text if isinstance(frame, Sent) else frame for frame in frames]

    def refuses(self, line: Line, arg: dict[str, str]) -> tuple[str, str] | None:
        """Return (code, msg) if a subscription is to be refused."""
        answers = (fault.kind.refuses(line, arg, fault.strike) for fault in self._running)
        return next((answer for answer in answers if answer is not None), None)

    def turns_away(self, endpoint: str) -> HTTPStatus | None:
        """Return the HTTP status with which an upgrade is to be refused."""
        answers = (fault.kind.turns_away(endpoint, fault.strike) for fault in self._running)
        return next((answer for answer in answers if answer is not None), None)

    def rest(self, method: str, target: str) -> Spoiled | None:
        """Return what is to become of a REST request."""
        delay_s = 0.0
        for fault in self._running:
            found = fault.kind.asked(method, target, fault.strike)
            if found is not None and (found.cut or found.page or found.target):
                return dataclasses.replace(found, delay_s=found.delay_s + delay_s)
            delay_s += found.delay_s if found is not None else 0.0
        return Spoiled(delay_s=delay_s) if delay_s else None

    def gone(self, line: Line) -> None:
        """A connection has ended."""
        for fault in self._running:
            fault.kind.gone(line)


def describe_faults() -> str:
    """Return all faults with their parameters, for people."""
    lines = []
    for name, kind in FAULTS.items():
        lines.append(f"{name}: {(kind.__doc__ or '').strip().splitlines()[0]}")
        lines += [describe_option(field) for field in dataclasses.fields(kind)]
    lines.append("each of them, besides:")
    return "\n".join([*lines, *(describe_option(field) for field in SCHEDULE.values())])


def describe_option(field: dataclasses.Field[Any]) -> str:
    """Return a parameter with its default, for people."""
    usual = "" if field.default in (None, "") else f" [{str(field.default).lower()}]"
    return f"    {field.name:<14} {field.metadata['help']}{usual}"
