"""A list that forgets: what an exchange that runs for months remembers of its clients. Pure."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(list[T]):
    """A list to append to, of which only the newest items stay.

    Args:
        most: How many stay.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def append(self, item: T) -> None:
        """Add an item; the oldest one goes if there are too many."""
        super().append(item)
        if len(self) > self._most:
            del self[0]
