"""Proxies: which one an address goes through, and the way through it.

HTTP proxies are asked for a tunnel (CONNECT, RFC 9110, 9.3.6), SOCKS5 ones as RFC 1928 and 1929 say, over the same wire
as everything else: bounded by the same deadline, and interruptible, which no library's call would be.
"""

from __future__ import annotations

import base64
import ipaddress
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from .poller import WireError
from .wire import Wire

__all__ = ["Proxy", "check_proxy", "is_loopback", "open_tunnel", "proxy_for"]

#: socks5h has the proxy look up names, socks5 has us do it.
SCHEMES = ("http", "socks5", "socks5h")

#: More than any honest answer of a proxy.
MAX_ANSWER_BYTES = 65_536

SOCKS_FAILURES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


@dataclass(frozen=True)
class Proxy:
    """One proxy; its password does not show."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read ``scheme://[user:password@]host:port``.

        Raises:
            ValueError: It is none; the text does not repeat the password.
        """
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.path not in ("", "/"):
            shown = url.rpartition("@")[2]
            raise ValueError(f"a proxy looks like {' or '.join(f'{s}://host:port' for s in SCHEMES)}, not {shown!r}")
        port = parts.port or (80 if parts.scheme == "http" else 1080)
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        if max(len(username.encode()), len(password.encode())) > 255:  # SOCKS has one byte for the length
            raise ValueError("a proxy's user name and password have 255 bytes at the most")
        return cls(parts.scheme, parts.hostname, port, username, password)


def check_proxy(proxy: Any) -> None:
    """Raise `UsageError` unless `proxy` is None (the environment's), False (none), or a proxy's URL."""
    if proxy is None or proxy is False:
        return
    try:
        if not isinstance(proxy, str):
            raise ValueError(f"it must be None, False or an URL, not {type(proxy).__name__}")
        Proxy.parse(proxy)
    except ValueError as exc:
        raise UsageError(f"proxy: {exc}") from None  # not chained: urlsplit's own error would repeat the password


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine, by its address or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def proxy_for(url: str, setting: str | bool | None) -> Proxy | None:
    """Return the proxy that `url` goes through.

    The environment's are ``https_proxy`` for wss, ``http_proxy`` for ws, else ``all_proxy``; ``no_proxy`` is respected,
    and loopback is never sent through them.

    Raises:
        WireError: The environment names a proxy of a kind that is not known here.
    """
    if isinstance(setting, str):
        return Proxy.parse(setting)
    parts = urlsplit(url)
    host = str(parts.hostname)
    if setting is False or is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    known = urllib.request.getproxies()
    found = known.get("https" if parts.scheme == "wss" else "http") or known.get("all")
    if not found:
        return None
    try:
        return Proxy.parse(found if "://" in found else f"http://{found}")
    except ValueError as exc:
        raise WireError(f"the environment's proxy cannot be used: {exc}") from None


def open_tunnel(wire: Wire, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy at the other end of `wire` connect to (host, port).

    Raises:
        WireError: It refused (with its reason), or does not speak its protocol.
    """
    wire.phase = "talk with the proxy"
    if proxy.scheme == "http":
        _http_connect(wire, proxy, host, port)
    else:
        _socks5(wire, proxy, host, port)


def _http_connect(wire: Wire, proxy: Proxy, host: str, port: int) -> None:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        pair = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    wire.send("\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # Byte by byte: what follows the head is the tunnel's.
        answer += _take(wire, 1)
        if len(answer) > MAX_ANSWER_BYTES:
            raise WireError("the proxy's answer has no end")
    protocol, _, rest = answer.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    if not protocol.startswith("HTTP/"):
        raise WireError(f"the proxy does not speak HTTP: {answer[:40]!r}")
    if not rest.startswith("200"):
        raise WireError(f"the proxy {proxy.host} answered HTTP {rest}")


def _socks5(wire: Wire, proxy: Proxy, host: str, port: int) -> None:
    wire.send(b"\x05\x02\x00\x02" if proxy.username else b"\x05\x01\x00")
    version, method = _take(wire, 2)
    if version != 5:
        raise WireError("the proxy does not speak SOCKS5")
    if method == 2:
        name, password = proxy.username.encode(), proxy.password.encode()
        wire.send(bytes([1, len(name)]) + name + bytes([len(password)]) + password)
        if _take(wire, 2)[1] != 0:
            raise WireError(f"the proxy {proxy.host} refused its user name or password")
    elif method != 0:
        raise WireError(f"the proxy {proxy.host} accepts none of our ways to log in")
    wire.send(b"\x05\x01\x00" + _socks_address(host) + port.to_bytes(2, "big"))
    _, reply, _, kind = _take(wire, 4)
    if reply != 0:
        raise WireError(f"the proxy {proxy.host} could not connect: {SOCKS_FAILURES.get(reply, f'reply {reply}')}")
    size = {1: 4, 4: 16}.get(kind) or _take(wire, 1)[0]
    _take(wire, size + 2)


def _socks_address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            name = host.encode("idna")
        except UnicodeError as exc:
            raise WireError(f"{host!r} is no name a proxy could look up: {exc}") from exc
        return bytes([3, len(name)]) + name
    return bytes([1 if address.version == 4 else 4]) + address.packed


def _take(wire: Wire, size: int) -> bytes:
    """Return exactly `size` bytes."""
    data = b""
    while len(data) < size:
        more = wire.take(size - len(data))
        if not more:
            raise WireError("the proxy hung up")
        data += more
    return data
