"""What waits in a queue, within its bounds; and what has to go for that: one class for each overflow policy.

Law. Nothing here waits or takes a lock, but for `Latest.take`: whoever owns the queue's lock calls. Only `take` is
called without it, by any number of readers, since `deque.popleft` is atomic. What waits are messages as they came,
markers among them, and what users put (`Own`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .config import Settings
from .losses import Losses, Weight, arg_of
from .protocol import gaps

__all__ = ["BACKLOGS", "Backlog", "Own"]


class Own:
    """Something users put into the queue themselves: handed out as it is."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __len__(self) -> int:
        return 0  # its bytes are not ours to count


def text_of(item: Any) -> bytes:
    """Return a message as it came; of what users put, nothing: it is of no subscription."""
    return item if type(item) is bytes else b""


class Backlog:
    """Base of the policies.

    Args:
        settings: Bounds, and whether holes are to be marked.
        lock: The queue's.

    Attributes:
        items: What waits, the head first.
        take: Takes out the head; raises `IndexError` if nothing waits.
        losses: What was dropped.
        attention: Something comes before the head: see `due`.
    """

    #: Whoever brings messages has to pause while it is crowded.
    pauses = False
    #: It is an accident that messages are dropped, and worth a warning.
    warns = True

    def __init__(self, settings: Settings, lock: threading.RLock) -> None:
        self._lock = lock
        self._max_messages = settings.queue_size
        self._max_bytes = settings.queue_bytes
        self._weight = Weight(settings.queue_bytes)
        self.items: deque[Any] = deque()
        # Bound once: it is called for every message.
        self.take: Callable[[], Any] = self.items.popleft
        self.losses = Losses(settings.markers)
        self.attention = False
        #: Messages dropped that readers are to be told of by an exception.
        self._unraised = 0

    def add(self, batch: list[Any]) -> int:
        """Take a batch as the policy says; return how many came in, markers too."""
        self.items.extend(batch)
        self._weight.add(batch)
        return len(batch)

    @property
    def crowded(self) -> bool:
        """There is more than the bounds allow."""
        return len(self.items) > self._max_messages or self._weight.exceeds(self._max_bytes, len(self.items))

    def _bytes(self) -> int:
        """Return the bytes of what waits, or a little more."""
        return self._weight.of(len(self.items))

    @property
    def half_empty(self) -> bool:
        """There is room for half of everything."""
        return len(self.items) <= self._max_messages // 2 and self._bytes() <= self._max_bytes // 2

    @property
    def full(self) -> bool:
        """The next message is one too many."""
        return len(self.items) >= self._max_messages

    def due(self, raising: bool) -> tuple[int, bytes | None]:
        """Return what comes before the head: how many dropped messages to raise about, or a marker.

        Args:
            raising: The reader can be told by an exception; else there is none to be raised later, either.
        """
        errors, self._unraised = self._unraised, 0
        marker = None if errors and raising else self.losses.head.next_marker()
        self.attention = bool(self.losses.head)
        return (errors if raising else 0), marker


class Block(Backlog):
    """``"block"``: everything is kept, and whoever brings it pauses."""

    pauses = True


class DropNewest(Backlog):
    """``"drop_newest"``: what finds no room is refused; its marker comes before the next message that is let in."""

    def add(self, batch: list[Any]) -> int:
        """Let in what there is room for, with markers where messages were refused before."""
        losses = self.losses
        room, size = self._max_messages - len(self.items), self._max_bytes - self._bytes()
        if len(batch) <= room and sum(map(len, batch)) <= size and not losses.tail:
            return super().add(batch)
        fitting: list[Any] = []
        for item in batch:
            payload = text_of(item)
            if room <= 0 or (len(item) > size and (self.items or fitting)):
                losses.lose(payload, losses.tail)
                continue
            fitting += [*losses.tail.markers_before(payload), item]
            room -= 1
            size -= len(item)
        return super().add(fitting)


class DropOldest(Backlog):
    """``"drop_oldest"``: the head makes room; its marker comes next."""

    def add(self, batch: list[Any]) -> int:
        """Take a batch, and drop what is too much then."""
        items = self.items
        items.extend(batch)
        self._weight.add(batch)
        # As `crowded`, written out: it is asked for every batch.
        if len(items) > self._max_messages or self._weight.exceeds(self._max_bytes, len(items)):
            self._relieve()
        return len(batch)

    def _relieve(self) -> None:
        items, losses = self.items, self.losses
        # The newest message stays, however large: an empty queue would serve nobody.
        while len(items) > 1 and (len(items) > self._max_messages or self._bytes() > self._max_bytes):
            try:
                item = self.take()
            except IndexError:  # readers were quicker
                break
            losses.lose(text_of(item), losses.head)
            self._weight.drop(item)
        self.attention = bool(losses.head)


class RaiseOverflow(DropOldest):
    """``"error"``: as ``"drop_oldest"``; and the next reader gets an exception, one for all of it by then."""

    def _relieve(self) -> None:
        before = self.losses.dropped
        super()._relieve()
        self._unraised += self.losses.dropped - before
        self.attention = bool(self.losses.head or self._unraised)


class Latest(DropOldest):
    """``"latest"``: only the newest message of each arg waits, at all times; it keeps its place in the queue.

    A replaced message counts as dropped and is told. The bounds hold as well: with more args than `queue_size`, the
    oldest are dropped.
    """

    warns = False

    def __init__(self, settings: Settings, lock: threading.RLock) -> None:
        super().__init__(settings, lock)
        #: By what stands in `items`: an arg's text, or something users put.
        self._newest: dict[Any, Any] = {}
        self._held_bytes = 0
        self.take = self._take

    def _take(self) -> Any:
        with self._lock:  # key and message must leave together
            item = self._newest.pop(self.items.popleft())
            self._held_bytes -= len(item) if type(item) is bytes else 0
            return item

    def add(self, batch: list[Any]) -> int:
        """Take a batch, each message in the place of the one of its arg that waits."""
        items, newest, losses = self.items, self._newest, self.losses
        for item in batch:
            key: Any = item
            if type(item) is bytes:
                self._held_bytes += len(item)
                key = item if gaps.is_marker(item) else arg_of(item)
            old = newest.get(key)
            newest[key] = item
            if old is None:
                items.append(key)
            else:
                self._held_bytes -= len(old)
                losses.lose(old if type(old) is bytes else b"", losses.head)
        self.attention = self.attention or bool(losses.head)
        if self.crowded:
            self._relieve()
        return len(batch)

    @property
    def crowded(self) -> bool:
        """There is more than the bounds allow."""
        return len(self.items) > self._max_messages or self._held_bytes > self._max_bytes

    def _bytes(self) -> int:
        return self._held_bytes


#: By the policy's name, see `Manager`.
BACKLOGS: Mapping[str, type[Backlog]] = MappingProxyType(
    {
        "drop_oldest": DropOldest,
        "drop_newest": DropNewest,
        "latest": Latest,
        "error": RaiseOverflow,
        "block": Block,
    }
)
