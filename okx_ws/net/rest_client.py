"""`RestClient`: OKX's REST endpoints, as methods."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ..config import Credentials
from ..errors import RestError, UsageError
from .rest_calls import RestCalls, Time, Transport

__all__ = ["RestClient"]

#: One value of a query.
Value = str | int | Decimal | bool | None

#: Seconds for one call, with everything: limits, attempts, pauses.
TIMEOUT_S = 10.0


class RestClient:
    """OKX's REST API, for any thread: what `ws.rest` is.

    Every call blocks until its answer is there, `timeout` seconds at the most (10 unless said otherwise), and returns
    what OKX sends in ``data``: a list of dicts, or of lists for candles, exactly as it came. Numbers stay the texts
    they are. Values of parameters are str, int, Decimal or bool; None leaves one out; floats are refused.

    OKX's limits are kept by waiting. A GET that met a lost connection, a busy OKX or a full limit is tried again within
    its time; nothing that is posted ever is. Account data needs a key, and is signed with OKX's time.

    Raises, every call:
        UsageError: A parameter cannot be right, or there is no key, or it would travel in the clear; or the call was
            made on a link's own thread or in a forked child. Nothing was sent.
        RestError: OKX refused, or its answer is none, or there was no room within its limits.
        ConnectionLost: OKX could not be reached in time. Something posted may have been carried out: the text says so.
        ManagerClosed: The manager is closed.

    Source: OKX v5 docs, "REST API" and each endpoint's page, read June 2026.
    """

    def __init__(
        self, transport: Transport, credentials: Credentials, clock: Time | None, guard: Callable[[], None]
    ) -> None:
        self._where = urlsplit(transport.url).hostname
        self._calls = RestCalls(transport, credentials, clock, guard)
        #: Answers to `instruments`, by instType and what was asked; and how often the channel has told of a change.
        self._listed: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._changes = 0

    # ------------------------------------------------------------------ any endpoint

    def get(self, path: str, *, timeout: float = TIMEOUT_S, signed: bool | None = None, **params: Value) -> list[Any]:
        """GET any endpoint: ``get("/api/v5/public/funding-rate", instId="BTC-USDT-SWAP")``.

        Args:
            path: From ``/api/v5/`` on, without a query.
            timeout: Seconds.
            signed: Whether to sign; None: what is not public.
            **params: OKX's, by its names.
        """
        return self._calls.call("GET", path, params, timeout=timeout, signed=signed)

    def room_in(self, path: str, *, left: float = 0.0, **params: Value) -> float:
        """Return in how many seconds OKX's limit has room for such a `get`: 0 if it has now. Does not block.

        Args:
            path: From ``/api/v5/`` on, without a query.
            left: This part of the limit shall stay free for others: 0.5 leaves them half of it.
            **params: OKX's, by its names.
        """
        return self._calls.room_in(path, params, left)

    def post(self, path: str, body: Any = None, *, timeout: float = TIMEOUT_S) -> list[Any]:
        """POST to any endpoint, signed and sent once: ``post("/api/v5/account/set-leverage", {"lever": "5", …})``.

        Args:
            path: From ``/api/v5/`` on.
            body: A dict, or a list of dicts; a Decimal in it is sent as a text, a float is refused.
            timeout: Seconds.
        """
        return self._calls.call("POST", path, {}, body, timeout=timeout, signed=True)

    # ------------------------------------------------------------------ market data

    def server_time(self, *, timeout: float = TIMEOUT_S) -> list[dict[str, str]]:
        """Return OKX's clock, Unix ms: ``[{"ts": "1779000000123"}]``."""
        return self._some("/api/v5/public/time", timeout, {})

    def instruments(
        self,
        instType: str,
        *,
        instFamily: str | None = None,
        seriesId: str | None = None,
        instId: str | None = None,
        refresh: bool = False,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return what is listed: ``instId``, ``instIdCode`` (int or None), ``tickSz``, ``lotSz``, ``state`` and more.

        Asked once for each combination of arguments, then remembered (unless it is empty), until the channel
        ``instruments``, if you have subscribed it, tells of a change of that type; the rows are copies.

        Args:
            instType: ``SPOT``, ``MARGIN``, ``SWAP``, ``FUTURES``, ``OPTION`` or ``EVENTS``.
            instFamily, seriesId: What OPTION and EVENTS need.
            instId: Only this one.
            refresh: Ask OKX again.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {
            "instType": instType,
            "instFamily": instFamily,
            "seriesId": seriesId,
            "instId": instId,
        }
        self._calls.guard()
        known = (str(instType), repr(asked))  # values of any type, to be refused below
        rows = None if refresh else self._listed.get(known)
        if rows is None:
            changes = self._changes
            rows = self._rows("/api/v5/public/instruments", timeout, asked)
            if rows:  # an empty answer may be a lie, and costs little to ask for again
                self._listed[known] = rows
            if changes != self._changes:  # looked at last, lest one be missed: they may be from before it
                self._listed.pop(known, None)
        return copy.deepcopy(rows)

    def heard(self, message: Mapping[str, Any]) -> bool:
        """Take note of what the channel ``instruments`` tells: what was listed of that type is asked for anew."""
        self._changes += 1
        instType = message["arg"].get("instType")
        for known in list(self._listed):  # which callers change on their threads
            if known[0] == instType:
                self._listed.pop(known, None)
        return False

    def ticker(self, instId: str, *, timeout: float = TIMEOUT_S) -> list[dict[str, str]]:
        """Return one ticker, in a list: the object of the channel ``tickers``."""
        return self._some("/api/v5/market/ticker", timeout, {"instId": instId})

    def tickers(
        self, instType: str, *, instFamily: str | None = None, timeout: float = TIMEOUT_S
    ) -> list[dict[str, str]]:
        """Return all tickers of a type: ``SPOT``, ``SWAP``, ``FUTURES``, ``OPTION`` or ``EVENTS``."""
        return self._rows("/api/v5/market/tickers", timeout, {"instType": instType, "instFamily": instFamily})

    def order_book(self, instId: str, sz: Value = None, *, timeout: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Return one order book, in a list: ``asks``, ``bids`` (rows of texts), ``ts`` and ``seqId`` (int).

        Args:
            instId: The instrument.
            sz: Levels of each side, up to 400; OKX gives 1 unless told.
            timeout: Seconds.
        """
        return self._some("/api/v5/market/books", timeout, {"instId": instId, "sz": sz})

    def candles(
        self,
        instId: str,
        bar: str | None = None,
        *,
        after: Value = None,
        before: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[list[str]]:
        """Return bars, the newest first: ``[ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]``; the last 1 440.

        Args:
            instId: The instrument.
            bar: ``"1m"`` (OKX's choice), ``"1H"``, ``"1Dutc"`` and so on.
            after, before: Only bars older, newer than this ``ts``, Unix ms.
            limit: Rows, up to 300; OKX gives 100 unless told.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {"instId": instId, "bar": bar, "after": after, "before": before, "limit": limit}
        return self._rows("/api/v5/market/candles", timeout, asked, list)

    def history_candles(
        self,
        instId: str,
        bar: str | None = None,
        *,
        after: Value = None,
        before: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[list[str]]:
        """Return bars of years past; as `candles`."""
        asked: dict[str, Value] = {"instId": instId, "bar": bar, "after": after, "before": before, "limit": limit}
        return self._rows("/api/v5/market/history-candles", timeout, asked, list)

    def trades(self, instId: str, *, limit: Value = None, timeout: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Return the newest trades, one by one, the newest first: ``tradeId``, ``px``, ``sz``, ``side``, ``ts``.

        Args:
            instId: The instrument.
            limit: Rows, up to 500; OKX gives 100 unless told.
            timeout: Seconds.
        """
        return self._rows("/api/v5/market/trades", timeout, {"instId": instId, "limit": limit})

    def history_trades(
        self,
        instId: str,
        *,
        type: Value = None,
        after: Value = None,
        before: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return trades of the last three months, the newest first.

        Args:
            instId: The instrument.
            type: ``"1"``: `after` and `before` are tradeIds (OKX's choice); ``"2"``: they are times, Unix ms.
            after, before: Only trades older, newer than this; with type 2, OKX takes `after` alone.
            limit: Rows, up to 100; OKX gives 100 unless told.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {"instId": instId, "type": type, "after": after, "before": before, "limit": limit}
        return self._rows("/api/v5/market/history-trades", timeout, asked)

    def system_status(self, *, state: str | None = None, timeout: float = TIMEOUT_S) -> list[dict[str, str]]:
        """Return announced work on OKX's systems: ``title``, ``state``, ``begin``, ``end`` and more; often nothing.

        Args:
            state: ``scheduled``, ``ongoing``, ``pre_open``, ``completed`` or ``canceled``; OKX gives the first three
                unless told.
            timeout: Seconds; OKX takes one question in five seconds.
        """
        return self._rows("/api/v5/system/status", timeout, {"state": state})

    # ------------------------------------------------------------------ the account

    def order(
        self, instId: str, *, ordId: Value = None, clOrdId: str | None = None, timeout: float = TIMEOUT_S
    ) -> list[dict[str, Any]]:
        """Return one order, in a list, by OKX's id or by yours; `RestError` 51603 if there is none."""
        if ordId is None and clOrdId is None:
            raise UsageError("order needs an ordId or a clOrdId")
        asked: dict[str, Value] = {"instId": instId, "ordId": ordId, "clOrdId": clOrdId}
        return self._some("/api/v5/trade/order", timeout, asked)

    def orders_pending(
        self,
        *,
        instType: str | None = None,
        instId: str | None = None,
        ordType: str | None = None,
        state: str | None = None,
        after: Value = None,
        before: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return open orders, the newest first, 100 at the most.

        Args:
            instType, instId, ordType, state: Only such orders.
            after, before: Only orders older, newer than this ordId: the last one of a page leads to the next.
            limit: Rows, up to 100.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {"instType": instType, "instId": instId, "ordType": ordType, "state": state}
        paging: dict[str, Value] = {"after": after, "before": before, "limit": limit}
        return self._rows("/api/v5/trade/orders-pending", timeout, {**asked, **paging})

    def orders_history(
        self,
        instType: str,
        *,
        archive: bool = False,
        instId: str | None = None,
        ordType: str | None = None,
        state: str | None = None,
        after: Value = None,
        before: Value = None,
        begin: Value = None,
        end: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return orders of the last seven days that are over, the newest first, 100 at the most.

        OKX keeps those that were canceled without a fill for two hours only.

        Args:
            instType: ``SPOT``, ``MARGIN``, ``SWAP``, ``FUTURES`` or ``OPTION``.
            archive: Those of the last three months instead, which come there some time after their end.
            instId, ordType, state: Only such orders.
            after, before: Only orders older, newer than this ordId: the last one of a page leads to the next.
            begin, end: Only orders placed between these times, Unix ms.
            limit: Rows, up to 100.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {"instType": instType, "instId": instId, "ordType": ordType, "state": state}
        paging: dict[str, Value] = {"after": after, "before": before, "begin": begin, "end": end, "limit": limit}
        path = "/api/v5/trade/orders-history-archive" if archive else "/api/v5/trade/orders-history"
        return self._rows(path, timeout, {**asked, **paging})

    def fills(
        self,
        *,
        instType: str | None = None,
        instId: str | None = None,
        ordId: Value = None,
        after: Value = None,
        before: Value = None,
        begin: Value = None,
        end: Value = None,
        limit: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return your trades of the last three days, the newest first, 100 at the most.

        Args:
            instType, instId, ordId: Only such trades.
            after, before: Only trades older, newer than this billId.
            begin, end: Only between these times, Unix ms.
            limit: Rows, up to 100.
            timeout: Seconds.
        """
        asked: dict[str, Value] = {"instType": instType, "instId": instId, "ordId": ordId, "begin": begin, "end": end}
        paging: dict[str, Value] = {"after": after, "before": before, "limit": limit}
        return self._rows("/api/v5/trade/fills", timeout, {**asked, **paging})

    def balance(self, ccy: str | None = None, *, timeout: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Return the account, in a list: ``totalEq`` and more, and ``details``, a dict for each currency.

        Args:
            ccy: Only these currencies: ``"BTC"``, or ``"BTC,ETH"``.
            timeout: Seconds.
        """
        return self._some("/api/v5/account/balance", timeout, {"ccy": ccy})

    def positions(
        self,
        *,
        instType: str | None = None,
        instId: str | None = None,
        posId: Value = None,
        timeout: float = TIMEOUT_S,
    ) -> list[dict[str, Any]]:
        """Return what is open, as the channel ``positions`` has it; only such of this type, instrument or posId."""
        asked: dict[str, Value] = {"instType": instType, "instId": instId, "posId": posId}
        return self._rows("/api/v5/account/positions", timeout, asked)

    def account_config(self, *, timeout: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Return how the account is set up, in a list: ``uid``, ``acctLv``, ``posMode``, ``level``, ``perm``, …"""
        return self._some("/api/v5/account/config", timeout, {})

    # ------------------------------------------------------------------ inside

    def _rows(self, path: str, timeout: float, params: dict[str, Value], kind: type = dict) -> list[Any]:
        """GET rows that are all of a kind."""
        rows = self._calls.call("GET", path, params, timeout=timeout)
        if not all(isinstance(row, kind) for row in rows):
            raise RestError("", f"the answer has rows of another kind: {str(rows)[:80]}", path=path)
        return rows

    def _some(self, path: str, timeout: float, params: dict[str, Value]) -> list[Any]:
        """GET what always has a row: an empty answer is an error."""
        rows = self._rows(path, timeout, params)
        if not rows:
            raise RestError("", "the answer is empty", path=path)
        return rows

    def stop(self) -> None:
        """End all waits: the manager closes."""
        self._calls.stop()

    def __repr__(self) -> str:
        return f"<RestClient of {self._where}>"
