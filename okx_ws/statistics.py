"""The numbers of `Manager.stats`: plain dicts of plain values."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .delivery import MessageQueue
from .net.connection import Connection
from .net.lines import Lines
from .protocol.subscriptions import Stream

__all__ = ["by_name", "endpoint_stats", "queue_stats"]


def endpoint_stats(lines: Lines) -> dict[str, Any]:
    """Return the numbers of one endpoint, its links and its subscriptions: sums, and of some the first link's."""
    now = time.monotonic()
    with lines.mutex:
        links = [link_stats(connection) for connection in lines.connections]
        counts = lines.past + sum((connection.counts for connection in lines.connections), Counter())
        streams = [stream for line in lines.lines for stream in line.session.subscriptions]
        needed = [line for line in lines.lines if len(line.session.subscriptions)] or lines.lines
        return {
            "url": lines.url,
            "state": "failed" if lines.failure else "up" if all(map(lines.serves, needed)) else "down",
            "connects": counts["connects"],
            "conn_id": links[0]["conn_id"],
            "messages": counts["messages"],
            "bytes": counts["bytes"],
            "malformed": counts["malformed"],
            "round_trip_s": links[0]["round_trip_s"],
            "last_error": lines.last_error,
            "links": links,
            "subscriptions": [stream_stats(stream, now) for stream in streams],
        }


def link_stats(connection: Connection) -> dict[str, Any]:
    """Return the numbers of one link."""
    session = connection.session
    return {
        "state": "failed" if connection.failure else "up" if session.up else "down",
        "conn_id": session.teller.conn_id,
        **connection.counts,
        "round_trip_s": session.heartbeat.round_trip_s,
        "last_error": connection.last_error,
        "subscriptions": len(session.subscriptions),
    }


def stream_stats(stream: Stream, now: float) -> dict[str, Any]:
    """Return the numbers of one arg."""
    newest = stream.newest_at
    return {
        "arg": dict(stream.arg),
        "state": "rejected" if stream.rejected else "active" if stream.acked or stream.stands else "pending",
        "holders": len(stream.holders),
        "messages": stream.messages,
        "age_s": now - newest if newest else None,
        "gaps": stream.gaps + (stream.twin.gaps if stream.twin is not None else 0),
        "repairs": stream.repairs + (stream.twin.repairs if stream.twin is not None else 0),
    }


def queue_stats(queue: MessageQueue) -> dict[str, int]:
    """Return a queue's numbers."""
    return {"depth": queue.qsize(), "dropped": queue.dropped}


def by_name(queues: Iterable[tuple[str, MessageQueue]]) -> dict[str, dict[str, int]]:
    """Return the numbers of queues by name; of several with one name, the others get a number: ``"name (2)"``."""
    found: dict[str, dict[str, int]] = {}
    for name, queue in queues:
        number, unique = 1, name
        while unique in found:
            number += 1
            unique = f"{name} ({number})"
        found[unique] = queue_stats(queue)
    return found
