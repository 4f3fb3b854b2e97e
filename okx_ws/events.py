"""`Event`: what happens to links and subscriptions, as told to `on_event` handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["EVENT_TYPES", "Event"]

#: Every value of `Event.type`.
EVENT_TYPES = (
    "connected",
    "disconnected",
    "reconnecting",
    "subscribed",
    "subscribe_failed",
    "login_failed",
    "stalled",
    "overflow",
    "gap",
    "repaired",
    "malformed",
    "unmatched",
    "late_reply",
    "switch_failed",
    "switch_lapsed",
    "notice",
    "handler_error",
    "closed",
)


@dataclass(frozen=True)
class Event:
    """One thing that happened; fields that do not apply are ``None`` (``msg``: empty).

    ================== =====================================================================================
    type               told when, with
    ================== =====================================================================================
    connected          a link of `endpoint` is up (before logins and subscriptions)
    disconnected       it is lost, once a loss, only after ``connected``: `code` (WebSocket close code, 1006
                       without a close frame), `msg`
    reconnecting       an attempt failed or is coming: `attempt`, `delay_s`, `msg` (the cause)
    subscribed         OKX acknowledged `arg`
    subscribe_failed   OKX refused `arg`: `code`, `msg`; not replayed, unless `delay_s` says it is tried again
    login_failed       OKX refused the login: `code`, `msg`; tried again only if `delay_s` is given
    stalled            `arg` was silent for longer than its ``max_silence``, or has not brought over one of two links
                       what had come over the other: `msg` says what is done about it
    overflow           a full queue dropped messages: `arg` if of one subscription, `lost` since last told
    gap                `arg` has a hole from here on: `data` has ``cause`` and ``since_ms``. Told once more if it stays
                       one, with its marker as `data`. Without `data`: the order book, or the live view, of `arg` was
                       broken by a missing or malformed message (`msg`), and is asked for anew; it cannot be read from
                       here on
    repaired           the hole of `arg` was filled or made up for, or was none (`data`: its marker), its stall is over,
                       or its book or view is whole again
    malformed          a message that could not be read: `msg` says why, with its first bytes
    unmatched          data for no subscription: `arg`; told once per arg
    late_reply         the answer to an order came when its call was over: `code`, `data` (the frame)
    switch_failed      the dead man's switch (`cancel_all_after`) was not renewed: `code`, `msg` (why), `delay_s` (until
                       it lapses)
    switch_lapsed      it was not renewed in time: OKX cancels all orders now, if it has not yet
    notice             anything else OKX says: `code`, `msg`, `data` (the frame). 64008: the link will be closed
    handler_error      a handler raised: `msg` names it and the exception
    closed             `close()` has ended everything: `lost`, messages still waiting for handlers
    ================== =====================================================================================

    Attributes:
        type: One of `EVENT_TYPES`.
        endpoint: ``"public"``, ``"private"`` or ``"business"``, where one is concerned.
        arg: The subscription's arg as it was asked for.
        code: OKX's code (a string), or the WebSocket close code as a string.
        msg: A text for people.
        conn_id: OKX's id of the connection (``connId``), where it told one.
        at_ms: Wall-clock time of telling, Unix milliseconds.
        attempt: Number of the coming or failed connection attempt, from 1.
        delay_s: Seconds until the next attempt.
        lost: Number of messages.
        data: The decoded frame behind the event; or what is known of a hole.
    """

    type: str
    endpoint: str | None = None
    arg: Mapping[str, Any] | None = None
    code: str | None = None
    msg: str = ""
    conn_id: str | None = None
    at_ms: int = 0
    attempt: int | None = None
    delay_s: float | None = None
    lost: int | None = None
    data: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return f"Event({', '.join(f'{name}={value!r}' for name, value in told.items() if value not in (None, ''))})"
