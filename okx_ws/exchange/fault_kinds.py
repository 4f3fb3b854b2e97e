"""Kinds of faults: what each is called, what it can be told, and where it may interfere. Pure.

A kind is a dataclass whose fields are its parameters; the first line of its docstring and the ``help`` of the fields
are what ``okx-ws exchange --fault help`` shows. Where a kind interferes is what it overrides of `Kind`.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

if TYPE_CHECKING:
    from .hub import Hub
    from .line import Line, Payload
    from .listeners import Door
    from .markets import World
    from .rest_server import Spoiled

__all__ = [
    "Kind",
    "OnArgs",
    "OnFrames",
    "OnLines",
    "Sent",
    "Site",
    "Strike",
    "make_kind",
    "named",
    "option",
    "snake_case",
    "typed",
]


@dataclass
class Site:
    """What faults can lay hands on; only on the exchange's thread."""

    hub: Hub
    world: World
    #: Adds seconds to the server's clock.
    skew: Callable[[float], None]
    #: ``"ws"`` and ``"rest"``.
    doors: Mapping[str, Door]
    #: Runs something later: (seconds, what).
    later: Callable[[float, Callable[[], None]], object]
    rng: random.Random


@dataclass(frozen=True)
class Sent:
    """A text on its way to a client, read.

    Attributes:
        text: As it would go out.
        kind: ``push``, ``ack``, ``login``, ``error``, ``reply``, ``pong``, or ``event`` for the other events.
        message: The JSON object; empty for ``pong`` and what is none.
    """

    text: str
    kind: str
    message: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> Sent:
        """Read a text that the exchange sends."""
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            return cls(text, "pong" if text == "pong" else "event", {})
        event = message.get("event")
        kinds = {"subscribe": "ack", "unsubscribe": "ack", "login": "login", "error": "error"}
        kind = kinds.get(event, "event") if event else "reply" if "op" in message else "push"
        return cls(text, kind, message)

    @classmethod
    def of(cls, message: dict[str, Any], kind: str = "push") -> Sent:
        """Return a message as it would go out."""
        return cls(orjson.dumps(message).decode(), kind, message)

    @property
    def arg(self) -> dict[str, str]:
        """Whose it is; empty if nobody's."""
        found = self.message.get("arg")
        return found if isinstance(found, dict) else {}

    @property
    def rows(self) -> list[Any]:
        """The ``data`` of a push."""
        found = self.message.get("data")
        return found if isinstance(found, list) else []

    @property
    def place(self) -> str:
        """Where it stands among the pushes of its arg, for the log: its seqId, tradeId or ts."""
        row = self.rows[0] if self.rows else None
        if isinstance(row, list) and row:
            return f"ts {row[0]}"
        if not isinstance(row, dict):
            return ""
        keys = [key for key in ("prevSeqId", "seqId", "tradeId", "ordId") if key in row] or ["ts"]
        return " ".join(f"{key} {row[key]}" for key in keys if key in row)


#: Asks whether to strike now, and notes it: (the line, what is done).
Strike = Callable[["Line | None", str], bool]


def option(default: Any, help: str, *choices: str) -> Any:
    """Declare a parameter of a kind."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclass
class Kind:
    """One kind of fault, with its parameters."""

    name: ClassVar[str]
    #: It strikes once, unless it is told how often.
    once: ClassVar[bool] = False
    #: It has something to undo, when its time is over.
    lasting: ClassVar[bool] = False

    @property
    def state(self) -> bool:
        """It is on or off, rather than striking at chances: how long it lasts must be said if it comes again."""
        return False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(
                    f"{self.name}: {field.name} is one of {', '.join(filter(None, choices))}, not {value!r}"
                )
            if isinstance(value, float) and field.name.endswith("_s") and field.name != "by_s" and value < 0:
                raise ValueError(f"{self.name}: {field.name} is not less than 0, not {value!r}")

    def open(self, site: Site, strike: Strike) -> None:
        """Its time begins."""

    def shut(self, site: Site) -> None:
        """Its time is over, or it is stopped."""

    @property
    def keeps(self) -> bool:
        """It keeps something back."""
        return False

    def stopped(self) -> None:
        """It strikes no more: let go of what is kept back."""

    def outgoing(self, line: Line, sent: Sent, strike: Strike) -> Iterable[Sent | Payload]:
        """Return what is sent instead of a text."""
        return (sent,)

    def gone(self, line: Line) -> None:
        """A connection has ended."""

    def refuses(self, line: Line, arg: dict[str, str], strike: Strike) -> tuple[str, str] | None:
        """Return (code, msg) if a subscription is refused."""
        return None

    def turns_away(self, endpoint: str, strike: Strike) -> HTTPStatus | None:
        """Return the status with which an upgrade is refused."""
        return None

    def asked(self, method: str, target: str, strike: Strike) -> Spoiled | None:
        """Return what becomes of a REST request."""
        return None


@dataclass
class OnLines(Kind):
    """A kind that strikes connections."""

    once: ClassVar[bool] = True

    endpoint: str = option("", "only public, private or business", "", "public", "private", "business")
    one: bool = option(False, "only one of the connections, by chance")

    def lines(self, site: Site) -> list[Line]:
        """Return the connections to strike."""
        found = [line for line in site.hub.lines if self.endpoint in ("", line.endpoint)]
        return [site.rng.choice(found)] if self.one and found else found

    def open(self, site: Site, strike: Strike) -> None:
        lines = self.lines(site)
        if lines and strike(lines[0] if len(lines) == 1 else None, f"{len(lines)} connections"):
            for line in lines:
                self.hit(line, site)

    def hit(self, line: Line, site: Site) -> None:
        """Do it to one connection."""
        raise NotImplementedError


@dataclass
class OnArgs(Kind):
    """A kind that strikes subscriptions that can be named."""

    endpoint: str = option("", "only public, private or business", "", "public", "private", "business")
    channel: str = option("", "only of channels that match, such as books*")
    instId: str = option("", "only of this instId")

    def selects(self, line: Line, arg: dict[str, str]) -> bool:
        """Tell whether its endpoint, channel and instId are those that were named."""
        return (
            self.endpoint in ("", line.endpoint)
            and (not self.channel or fnmatch.fnmatchcase(arg.get("channel", ""), self.channel))
            and self.instId in ("", arg.get("instId", ""))
        )


@dataclass
class OnFrames(OnArgs):
    """A kind that changes what is sent."""

    one: bool = option(False, "only on one of the connections, the first that it meets")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._only: Line | None = None

    def selects(self, line: Line, arg: dict[str, str]) -> bool:
        if self.one and self._only is None and super().selects(line, arg):
            self._only = line
        return self._only in (None, line) and super().selects(line, arg)

    def concerns(self, line: Line, sent: Sent) -> bool:
        """Tell whether it is a text to strike at."""
        return sent.kind == "push" and self.selects(line, sent.arg)

    def outgoing(self, line: Line, sent: Sent, strike: Strike) -> Iterable[Sent | Payload]:
        if not self.concerns(line, sent) or not strike(line, describe(sent)):
            return (sent,)
        return self.change(line, sent)

    def change(self, line: Line, sent: Sent) -> Iterable[Sent | Payload]:
        """Return what is sent instead."""
        raise NotImplementedError


def describe(sent: Sent) -> str:
    """Say which text it is, in a few words."""
    words = [sent.kind, *(str(value) for key, value in sent.arg.items() if key != "uid"), sent.place]
    return " ".join(word for word in words if word)


# ---------------------------------------------------------------------- what users write


def typed(name: str, field: dataclasses.Field[Any], value: Any) -> Any:
    """Return a parameter's value in its type, from what Python or the command line gave.

    Raises:
        ValueError: It is of another one.
    """
    wanted = {"bool": bool, "int": int, "float": float, "str": str}[str(field.type).removesuffix(" | None")]
    if value is None and str(field.type).endswith("None"):
        return None
    try:
        if isinstance(value, str) and wanted is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[value.lower()]
        if isinstance(value, bool) != (wanted is bool) or isinstance(value, float) and wanted is int:
            raise ValueError
        if isinstance(value, str) != (wanted is str):
            if not isinstance(value, (str, int, float)) or wanted is str and isinstance(value, float):
                raise ValueError
            value = wanted(value)
        if wanted is float and not float("-inf") < float(value) < float("inf"):
            raise ValueError
    except (KeyError, ValueError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise ValueError(f"{name}: {field.name} is {kinds[wanted]}, not {value!r}") from None
    return float(value) if wanted is float else value


def near(word: str, known: Iterable[str]) -> str:
    """Return a hint at the names that are like a wrong one."""
    found = difflib.get_close_matches(word, list(known), 3, 0.6)
    return f"; did you mean {' or '.join(found)}?" if found else f"; there are {', '.join(known)}"


def make_kind(kinds: Mapping[str, type[Kind]], name: str, parameters: Mapping[str, Any], others: Iterable[str]) -> Kind:
    """Return a kind of fault by its name, with these parameters.

    Args:
        kinds: All there are.
        name, parameters: What is asked for.
        others: Names that may stand beside the parameters; shown when there is no such parameter.

    Raises:
        ValueError: There is no such kind or parameter, or a value is not one.
    """
    cls = kinds.get(name)
    if cls is None:
        raise ValueError(f"there is no fault {name!r}{near(name, kinds)}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in parameters:
        if key not in fields:
            raise ValueError(f"{name} has no parameter {key!r}{near(key, [*fields, *others])}")
    return cls(**{key: typed(name, fields[key], value) for key, value in parameters.items()})


def snake_case(name: str) -> str:
    """Return a class's name as a fault's."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def named(*classes: type[Kind]) -> dict[str, type[Kind]]:
    """Return kinds by their names."""
    for cls in classes:
        cls.name = snake_case(cls.__name__)
    return {cls.name: cls for cls in classes}
