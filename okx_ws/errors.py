"""Every exception this library raises on purpose, in one tree.

* OkxWsError
  * UsageError(ValueError)             your call cannot be right, whatever the network does
  * ManagerClosed                      the manager was closed, and its queue is drained
  * ConnectionLost(ConnectionError)    the link is gone and will not come back by itself
  * AckTimeout(TimeoutError)           OKX did not acknowledge within your time
  * BookOutOfSync                      an order book is not proven current, so it cannot be read
  * ViewOutOfSync                      a view of orders or of the account is not proven current, so it cannot be read
  * OrderEnded                         an order ended otherwise than was waited for
  * QueueOverflow                      a queue dropped messages, with overflow="error"
  * ProtocolError                      the peer broke the WebSocket protocol
  * OutcomeUnknown                     an order was sent, and it is not known what became of it; ``resolve()`` asks
  * ExchangeError                      OKX said no: ``code`` and ``msg`` as it sent them
    * LoginError
    * SubscribeError                   also carries ``arg``
    * OrderRejected                    an order: also carries ``sCode``, ``sMsg``, ``subCode`` and ``data``
    * RestError                        also carries ``status``, ``path`` and ``data``

Codes stay strings, as OKX sends them. An exception that wraps another one keeps it as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

__all__ = [
    "AckTimeout",
    "BookOutOfSync",
    "ConnectionLost",
    "ExchangeError",
    "LoginError",
    "ManagerClosed",
    "OkxWsError",
    "OrderEnded",
    "OrderRejected",
    "OutcomeUnknown",
    "ProtocolError",
    "QueueOverflow",
    "RestError",
    "SubscribeError",
    "UsageError",
    "ViewOutOfSync",
]

E = TypeVar("E", bound=BaseException)


class OkxWsError(Exception):
    """Base of everything raised by okx_ws."""


class UsageError(OkxWsError, ValueError):
    """A parameter, or the moment of a call, is wrong; nothing was sent and nothing was started."""


class ManagerClosed(OkxWsError):
    """The manager was closed: nothing more will come, and what was queued has been read."""


class ConnectionLost(OkxWsError, ConnectionError):
    """The link of an endpoint is gone for good, so what was waited for cannot happen.

    Raised with ``reconnect=False`` after a loss, and after a cause that no reconnect can mend. From a call such as
    `place_order`: it was never sent, and has certainly not been carried out.
    """


class AckTimeout(OkxWsError, TimeoutError):
    """OKX did not acknowledge a subscription in time; the text ends with the last connection error, if any.

    The subscription is still wanted: it may become active later.
    """


class BookOutOfSync(OkxWsError):
    """An order book is not proven current, so it cannot be read; the text says why. It mends itself if it can."""


class ViewOutOfSync(OkxWsError):
    """A live view is not proven current, so it cannot be read; the text says why. It mends itself if it can."""


class OrderEnded(OkxWsError):
    """An order ended otherwise than was waited for; `order` is how."""

    def __init__(self, message: str, order: Any) -> None:
        super().__init__(message, order)
        #: The `Order` as it ended.
        self.order = order

    def __str__(self) -> str:
        return str(self.args[0])


class QueueOverflow(OkxWsError):
    """A full queue dropped messages (``overflow="error"``); the next read goes on behind the hole."""

    def __init__(self, message: str, lost: int) -> None:
        super().__init__(message, lost)
        #: How many messages were dropped since the last time it was raised.
        self.lost = lost

    def __str__(self) -> str:
        return str(self.args[0])


class ProtocolError(OkxWsError):
    """The peer broke the WebSocket protocol (RFC 6455); the link was closed with `close_code`."""

    def __init__(self, message: str, close_code: int) -> None:
        super().__init__(message, close_code)
        #: The code our close frame carried: 1002, 1007 or 1009.
        self.close_code = close_code

    def __str__(self) -> str:
        return str(self.args[0])


class ExchangeError(OkxWsError):
    """OKX refused a request.

    Attributes:
        code: OKX's error code, a string of digits such as ``"60018"``.
        msg: OKX's own words, unchanged (known secrets blotted out).
        remedy: What to do about it, in our words; may be empty.
    """

    def __init__(self, code: str, msg: str, remedy: str = "") -> None:
        super().__init__(code, msg, remedy)  # the arguments themselves, so that it can be pickled
        self.code = code
        self.msg = msg
        self.remedy = remedy

    def __str__(self) -> str:
        return (f"{self.code}: " if self.code else "") + self.msg + (f" ({self.remedy})" if self.remedy else "")


class LoginError(ExchangeError):
    """OKX refused the login of an endpoint; everything that needs it has failed."""


class SubscribeError(ExchangeError):
    """OKX refused one subscription; `arg` is the one that was asked for."""

    def __init__(self, code: str, msg: str, remedy: str = "", arg: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, msg, remedy)
        self.arg = dict(arg or {})
        self.args = (code, msg, remedy, self.arg)

    def __str__(self) -> str:
        return f"{super().__str__()} for {self.arg}"


class OrderRejected(ExchangeError):
    """OKX refused an order, a change or a cancellation: it has certainly not been carried out.

    Attributes:
        code, msg: Of the whole reply: ``"1"`` and mostly nothing, or a code that says it all, such as ``"60013"``.
        sCode, sMsg, subCode: Of the order, as OKX sent them, blanks too; empty where OKX gave none.
        data: The order's row of the reply; empty if there was none.
    """

    def __init__(
        self,
        code: str,
        msg: str,
        sCode: str = "",
        sMsg: str = "",
        subCode: str = "",
        data: Mapping[str, Any] | None = None,
        remedy: str = "",
    ) -> None:
        super().__init__(code, msg, remedy)
        self.sCode = sCode
        self.sMsg = sMsg
        self.subCode = subCode
        self.data = dict(data or {})
        self.args = (code, msg, sCode, sMsg, subCode, self.data, remedy)

    def __str__(self) -> str:
        sub = f" (subCode {self.subCode})" if self.subCode else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{self.sCode or self.code}: {self.sMsg or self.msg}{sub}{remedy}"


class OutcomeUnknown(OkxWsError):
    """A call was sent, and its outcome is not known: no reply in time, a lost link, or OKX does not know either.

    The order may have been carried out or not; nothing was, or will be, sent again. Ask before you do:
    `resolve` does so over REST.

    Attributes:
        clOrdId: The order's name for itself; of a batch, the first one's; empty for what has none.
        clOrdIds: Those of all orders of the call.
        code: OKX's code, where it answered that it does not know (``"50004"``, ``"50026"``); else empty.
    """

    def __init__(
        self,
        message: str,
        clOrdIds: Sequence[str] = (),
        code: str = "",
        ask: Callable[[float], Any] | None = None,
    ) -> None:
        super().__init__(message, tuple(clOrdIds), code)
        self.clOrdIds = tuple(clOrdIds)
        self.code = code
        # Asks, within so many seconds; a copy from another process has none.
        self._ask = ask

    @property
    def clOrdId(self) -> str:
        """Of the (first) order."""
        return self.clOrdIds[0] if self.clOrdIds else ""

    def resolve(self, timeout: float = 10.0) -> Any:
        """Ask OKX over REST what became of the order, until that is certain; blocks, `timeout` seconds at the most.

        Returns:
            A `Resolution`; for a batch, a list of them in the order of the request.

        Raises:
            UsageError: On a link's own thread; or this is a copy that came from another process.
            ManagerClosed: The manager is closed.
        """
        if self._ask is None:
            raise UsageError(f"this error cannot ask any more: ask ws.rest.order for {self.clOrdId or 'the order'}")
        return self._ask(timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args  # without what asks: it lives in this process

    def __str__(self) -> str:
        return str(self.args[0]) + (f" (clOrdId {', '.join(self.clOrdIds)})" if self.clOrdIds else "")


class RestError(ExchangeError):
    """A REST request failed, or its answer is none; `code` is empty where OKX gave none.

    Attributes:
        status: The HTTP status; None if there was none.
        path: What was asked for.
        data: The rows that came with the refusal, as OKX sent them: with code 1 all of them failed, with 2 some, each
            with its ``sCode`` and ``sMsg``.
    """

    def __init__(
        self,
        code: str,
        msg: str,
        remedy: str = "",
        status: int | None = None,
        path: str = "",
        data: Sequence[Any] = (),
    ) -> None:
        super().__init__(code, msg, remedy)
        self.status = status
        self.path = path
        self.data = list(data)
        self.args = (code, msg, remedy, status, path, self.data)

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status is not None else ""
        return f"REST {self.path}: {super().__str__()}{status}"


def copy_of(error: E) -> E:
    """Return an equal error, to be raised: whoever waits gets its own, since a traceback belongs to one thread."""
    return type(error)(*error.args)
