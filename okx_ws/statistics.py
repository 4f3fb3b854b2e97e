"""The numbers of `Manager.stats`: plain dicts of plain values."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .delivery import MessageQueue
from .net.connection import Connection

__all__ = ["by_name", "endpoint_stats", "queue_stats"]


def endpoint_stats(connection: Connection) -> dict[str, Any]:
    """Return the numbers of one endpoint, its link and its subscriptions."""
    now = time.monotonic()
    with connection.mutex:
        session = connection.session
        subscriptions = [
            {
                "arg": dict(stream.arg),
                "state": "rejected" if stream.refusal else "active" if stream.acked else "pending",
                "holders": len(stream.holders),
                "messages": stream.messages,
                "age_s": now - newest if (newest := max((r.last_at for r in stream.routes), default=0.0)) else None,
            }
            for stream in session.subscriptions
        ]
        return {
            "url": connection.url,
            "state": "failed" if connection.failure else "up" if session.up else "down",
            "connects": connection.connects,
            "conn_id": session.conn_id,
            "messages": session.messages,
            "bytes": connection.bytes_in,
            "malformed": session.malformed,
            "round_trip_s": session.heartbeat.round_trip_s,
            "last_error": connection.last_error,
            "subscriptions": subscriptions,
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
