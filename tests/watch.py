"""Waiting for events with a bound, instead of sleeping."""

import threading
import time


class Watch:
    """Collects a manager's events; `wait` returns the next of a type."""

    def __init__(self, ws):
        self._changed = threading.Condition()
        self.events = []
        self._seen = {}
        ws.on_event(self._take)

    def _take(self, event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, type, timeout=5.0, **fields):
        """Return the next event of this type whose fields are as given, after the last one returned for just that."""
        deadline = time.monotonic() + timeout
        asked = (type, repr(fields))
        with self._changed:
            start = self._seen.get(asked, 0)
            while True:
                for index in range(start, len(self.events)):
                    event = self.events[index]
                    if event.type == type and all(getattr(event, name) == value for name, value in fields.items()):
                        self._seen[asked] = index + 1
                        return event
                start = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise AssertionError(f"no {type} {fields} in {timeout} s; there were {self.events}")

    def of(self, type):
        """Return all events of a type so far."""
        with self._changed:
            return [event for event in self.events if event.type == type]


def eventually(condition, timeout=5.0):
    """Wait until `condition` holds, for what cannot be waited on otherwise; return its value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {condition}"
        pause.wait(0.005)
    return value
