"""Recorded frames, served again to whoever subscribes to their args."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from .desk import arg_id

__all__ = ["Recording"]


@dataclass(frozen=True)
class Recorded:
    """One frame: its text as it was received, whose it is, and when it came, in seconds from the first."""

    text: str
    arg_id: str
    at_s: float


class Recording:
    """A file of frames, one JSON text a line; only data pushes are kept.

    The times come from a file beside it (``name.recv_ts.txt``, a Unix time a line), else from the ``ts`` in the data,
    else every frame follows at once. A frame without a time comes with the one before it.

    Raises:
        OSError: The file cannot be read.
        ValueError: A line is no JSON.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        times = path.with_name(path.name.removesuffix(".jsonl") + ".recv_ts.txt")
        clock = [float(line) for line in times.read_text().split()] if times.exists() else []
        self.frames: list[Recorded] = []
        start: float | None = None
        at_s = 0.0
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                text = line.rstrip("\r\n")
                try:
                    message = orjson.loads(text) if text else None
                except orjson.JSONDecodeError as exc:
                    raise ValueError(f"{path}, line {number + 1}, is no JSON: {exc}") from exc
                if not isinstance(message, dict) or "data" not in message or "event" in message or "arg" not in message:
                    continue
                at = clock[number] if number < len(clock) else time_of(message)
                if at is not None:
                    start = at if start is None else start
                    at_s = max(0.0, at - start)
                self.frames.append(Recorded(text, subscribed_id(message["arg"]), at_s))
        self.arg_ids: Collection[str] = {recorded.arg_id for recorded in self.frames}

    @property
    def args(self) -> list[dict[str, str]]:
        """The args that occur, in the order of their first frames: what to subscribe to see everything."""
        return [orjson.loads(id) for id in dict.fromkeys(recorded.arg_id for recorded in self.frames)]


def subscribed_id(arg: dict[str, Any]) -> str:
    """Return the id of the arg that was subscribed: private pushes carry a uid besides."""
    return arg_id({key: value for key, value in arg.items() if key != "uid"})


def time_of(message: dict[str, Any]) -> float | None:
    """Return the time a push names, in seconds; None if it names none."""
    row = message["data"][0] if isinstance(message["data"], list) and message["data"] else None
    ts = row.get("ts") if isinstance(row, dict) else row[0] if isinstance(row, list) and row else None
    try:
        return int(ts) / 1000  # type: ignore[arg-type]  # what is no number is answered below
    except (TypeError, ValueError):
        return None
