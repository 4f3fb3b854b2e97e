"""Faults of REST: answers that are errors, none, late, empty, or lies."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from .fault_kinds import Kind, Site, Strike, named, option
from .rest_server import Page, Spoiled

__all__ = ["REST_FAULTS"]

JSON = "application/json"


@dataclass
class RestError(Kind):
    """Answer a REST request with an error, with nothing, or with a lie."""

    once: ClassVar[bool] = True

    path: str = option("", "only paths that match, such as */market/trades")
    how: str = option(
        "status",
        "status (an HTTP status with a code), code (a code with HTTP 200), html, timeout, cut (no answer), broken (half"
        " an answer), empty (no data), lie (the data of another instrument)",
        "status",
        "code",
        "html",
        "timeout",
        "cut",
        "broken",
        "empty",
        "lie",
    )
    status: int = option(503, "HTTP status, of status and html")
    code: str = option("50001", "OKX's code, of status and code")
    msg: str = option("Service temporarily unavailable. Try again later", "of status and code")
    delay_s: float = option(30.0, "of timeout: seconds until it gives up")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 200 <= self.status <= 599:
            raise ValueError(f"rest_error: status is an HTTP status from 200 to 599, not {self.status}")

    def open(self, site: Site, strike: Strike) -> None:
        self._places = list(site.world.markets)

    def asked(self, method: str, target: str, strike: Strike) -> Spoiled | None:
        path = target.partition("?")[0]
        if self.path and not fnmatch.fnmatchcase(path, self.path):
            return None
        lie = self._lie(target)
        if self.how == "lie" and lie is None or not strike(None, f"{self.how}: {method} {target}"):
            return None
        body = orjson.dumps({"code": self.code, "msg": self.msg, "data": []})
        html = b"<html><head><title>Bad Gateway</title></head><body>Please wait a moment.</body></html>"
        return {
            "status": Spoiled(page=Page(self.status, JSON, body)),
            "code": Spoiled(page=Page(200, JSON, body)),
            "html": Spoiled(page=Page(self.status, "text/html", html)),
            "timeout": Spoiled(delay_s=self.delay_s, cut=True),
            "cut": Spoiled(cut=True),
            "broken": Spoiled(page=Page(200, JSON, b'{"code":"0","msg":"","data":[{"ts":"17')),
            "empty": Spoiled(page=Page(200, JSON, b'{"code":"0","msg":"","data":[]}')),
            "lie": Spoiled(target=lie),
        }[self.how]

    def _lie(self, target: str) -> str | None:
        """Return the same question about another instrument."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        others = [name for name in self._places if name != query.get("instId")]
        if not query.get("instId") or not others:
            return None
        return f"{parts.path}?{urlencode({**query, 'instId': others[0]})}"


REST_FAULTS = named(RestError)
