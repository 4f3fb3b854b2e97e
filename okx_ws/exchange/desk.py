"""A desk: the server's side of one connection. Pure: told a text and the time, it answers with frames.

It acknowledges, refuses and logs in as OKX does; what it accepts goes to the hub (`Hub.join`, `Hub.leave`), which
pushes; operations on orders go to the order desk.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol

import orjson

from .accounts import Account, login_refusal
from .order_desk import OrderDesk
from .recent import Recent
from .rules import COUNTED, MOST_CONNECTIONS, OPERATIONS, refusal, rule_of

__all__ = ["Desk", "Hub", "arg_id", "frame", "plain"]

log = logging.getLogger(__name__)

Arg = dict[str, str]

#: Requests a desk remembers: more than OKX lets through in an hour.
REQUESTS = 500

WRONG_PATH = (
    "The current operation is not supported by this URL. Please use the correct WebSocket URL for the operation."
)

#: So many of these requests OKX lets through on one connection.
COUNTED_OPS, REQUESTS_PER_H = ("login", "subscribe", "unsubscribe"), 480

#: What OKX takes as the id of a request.
ID = re.compile(r"[0-9A-Za-z]{1,32}")

#: OKX repeats what it could not read, up to a length.
REPEAT_CHARS = 200


def frame(message: dict[str, Any]) -> str:
    """Return the text of a frame."""
    return orjson.dumps(message).decode()


def arg_id(arg: dict[str, Any]) -> str:
    """Return what identifies an arg on one connection: its keys and values, in any order, extraParams aside."""
    return orjson.dumps(plain(arg), option=orjson.OPT_SORT_KEYS).decode()


def plain(arg: dict[str, Any]) -> dict[str, Any]:
    """Return an arg as acks and pushes show it: extraParams are not echoed."""
    return {key: value for key, value in arg.items() if key != "extraParams"}


class Hub(Protocol):
    """What a desk needs from the exchange."""

    accounts: dict[str, Account]
    orders: OrderDesk
    demo: bool
    echo_error_ids: bool
    strict: bool
    close_failed_logins: bool

    def known(self, channel: str, key: str) -> Collection[str] | None:
        """Every value a key of a channel's arg may take; None for any."""

    def recorded(self, arg: Arg) -> bool:
        """Tell whether frames of this arg are being replayed: then they are served to anybody, anywhere."""

    def refused(self, desk: Desk, arg: Arg) -> tuple[str, str] | None:
        """Return (code, msg) if a fault wants an arg refused."""

    def connections(self, uid: str, channel: str) -> int:
        """Count the connections of an account that have a channel."""

    def join(self, desk: Desk, args: list[Arg]) -> None:
        """Push what belongs to these args from now on; they were accepted by one request."""

    def leave(self, desk: Desk, arg: Arg) -> None:
        """Push it no longer."""


class Desk:
    """The server's side of one connection.

    Args:
        endpoint: The path the client took.
        hub: The exchange behind it.
        send: Sends a frame to the client.
        close: Closes the connection with a code and a reason, once what was sent is out.
    """

    def __init__(self, endpoint: str, hub: Hub, send: Callable[[str], None], close: Callable[[int, str], None]) -> None:
        self.endpoint = endpoint
        self.send = send
        self._close = close
        self._hub = hub
        self.connId = secrets.token_hex(4)
        self.account: Account | None = None
        #: What it is subscribed to, by `arg_id`.
        self.args: dict[str, Arg] = {}
        #: The requests that could be read, for tests; the oldest of very many are forgotten.
        self.requests: list[dict[str, Any]] = Recent(REQUESTS)
        #: When OKX counted a request, on the server's clock; as many as it lets through in an hour.
        self._counted: deque[float] = deque(maxlen=REQUESTS_PER_H)

    def receive(self, text: str, now_s: float) -> None:
        """Act on a text of the client's; `now_s` is the server's clock, Unix seconds.

        Whatever the text is, the connection goes on: a failure of ours is logged, and answered with OKX's 64007.
        """
        if text == "ping":
            self.send("pong")
            return
        try:
            self._act(text, now_s)
        except Exception:
            log.exception("the exchange failed at a request: %s", text[:REPEAT_CHARS])
            self._error("64007", "Operation failed due to WebSocket internal error. Please try again later.", None)

    def _act(self, text: str, now_s: float) -> None:
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            self._error("60012", f"Illegal request: {text[:REPEAT_CHARS]}", None)
            return
        self.requests.append(request)
        op, id = request["op"], request.get("id")
        if id is not None and not (isinstance(id, str) and ID.fullmatch(id)):
            self._error("60033", "Parameter id error", None)
        elif op in OPERATIONS:
            self._operate(op, id, request)
        elif op in COUNTED_OPS:
            self._serve(op, id, request, text, now_s)
        else:
            self._error("60019", f"Invalid op: {op[:REPEAT_CHARS]}", id)

    def _operate(self, op: str, id: str | None, request: dict[str, Any]) -> None:
        """Hand an operation to the order desk, if it may come so."""
        if OPERATIONS[op] != self.endpoint:
            first = {} if id is None else {"id": id}
            self.send(frame({**first, "op": op, "code": "60028", "msg": WRONG_PATH}))
        elif self.account is None:
            self._error("60011", "Please log in", None)  # without id, in every capture
        elif id is None:
            self._error("60027", "Parameter id can not be empty", None)
        else:
            self._hub.orders.operate(self, request)

    def _serve(self, op: str, id: str | None, request: dict[str, Any], text: str, now_s: float) -> None:
        """Log in, subscribe or unsubscribe."""
        args = request.get("args")
        if self._too_many(now_s):
            self._error("60014", "Requests too frequent. Please try again later.", id)
        elif op == "login":
            self._login(args, now_s)
        elif not isinstance(args, list) or not args or not all(isinstance(arg, dict) for arg in args):
            self._error("60012", f"Invalid request: {text[:REPEAT_CHARS]}", id)
        elif op == "subscribe":
            self._subscribe(args, id)
        else:
            self._unsubscribe(args, id)

    def _too_many(self, now_s: float) -> bool:
        """Count a request; tell whether it is one too many within an hour."""
        times = self._counted
        if self._hub.strict and len(times) == REQUESTS_PER_H and now_s < times[0] + 3600:
            return True
        times.append(now_s)
        return False

    def _login(self, args: Any, now_s: float) -> None:
        if self.account is not None:
            self._error("60031", "No multiple or repeated logins are allowed", None)
            return
        account, code, msg = login_refusal(args, self._hub.accounts, now_s, self._hub.demo)
        if account is None:
            self._error(code, msg, None)
            if self._hub.close_failed_logins:
                self._close(4001, "Login failed")
            return
        self.account = account
        self.send(frame({"event": "login", "code": "0", "msg": "", "connId": self.connId}))

    def _subscribe(self, args: list[Arg], id: Any) -> None:
        accepted: dict[str, Arg] = {}
        for arg in args:
            refused = self._refusal(arg)
            if refused is not None:
                self._error(*refused, id)
                continue
            self._ack("subscribe", arg, id)
            # A second subscription to a live arg is acknowledged again, and changes nothing.
            if arg_id(arg) not in self.args:
                self.args[arg_id(arg)] = accepted[arg_id(arg)] = arg
            self._count(arg.get("channel", ""))
        wanted = [arg for id, arg in accepted.items() if id in self.args]
        if wanted:
            self._hub.join(self, wanted)

    def _count(self, channel: str) -> None:
        """Tell how many connections of the account have a channel; take it away again if they are too many."""
        if self.account is None or channel not in COUNTED:
            return
        count = self._hub.connections(self.account.uid, channel)
        event = "channel-conn-count"
        if count > MOST_CONNECTIONS:
            event, count = "channel-conn-count-error", MOST_CONNECTIONS
            for id in [id for id, arg in self.args.items() if arg.get("channel") == channel]:
                self._hub.leave(self, self.args.pop(id))
        self.send(frame({"event": event, "channel": channel, "connCount": str(count), "connId": self.connId}))

    def _refusal(self, arg: Arg) -> tuple[str, str] | None:
        if not all(isinstance(value, str) for value in arg.values()):
            return "60013", "Invalid args"
        wanted = self._hub.refused(self, arg)
        if wanted is not None or self._hub.recorded(arg):
            return wanted
        return refusal(
            self.endpoint,
            arg,
            level=None if self.account is None else self.account.level,
            held=self.args.values(),
            known=self._hub.known,
        )

    def _unsubscribe(self, args: list[Arg], id: Any) -> None:
        for arg in args:
            if not all(isinstance(value, str) for value in arg.values()):
                self._error("60013", "Invalid args", id)
                continue
            if self.args.pop(arg_id(arg), None) is not None:
                self._hub.leave(self, arg)
            self._ack("unsubscribe", arg, id)

    def take_away(self, arg: Arg) -> None:
        """End a subscription that the client has not ended."""
        if self.args.pop(arg_id(arg), None) is not None:
            self._hub.leave(self, arg)

    def retire(self) -> None:
        """The connection is gone: leave everything, and let go of it, for desks are remembered longer than lines."""
        while self.args:
            self._hub.leave(self, self.args.popitem()[1])
        self.send = lambda text: None
        self._close = lambda code, reason: None

    def _ack(self, event: str, arg: Arg, id: Any) -> None:
        first = {} if id is None else {"id": id}
        self.send(frame({**first, "event": event, "arg": plain(arg), "connId": self.connId}))

    def _error(self, code: str, msg: str, id: Any) -> None:
        first = {"id": id} if id is not None and self._hub.echo_error_ids else {}
        self.send(frame({**first, "event": "error", "msg": msg, "code": code, "connId": self.connId}))

    def push(self, arg: Arg, push: dict[str, Any]) -> None:
        """Send a push; of a channel that tells of the account, its arg carries the uid."""
        rule = rule_of(arg["channel"])
        shown: dict[str, Any] = plain(arg)
        if self.account is not None and rule is not None and rule.account:
            shown["uid"] = self.account.uid
        self.send(frame({"arg": shown, **push}))
