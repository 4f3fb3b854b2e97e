"""Settings and secrets: small immutable objects, validated when they are made.

A bad value raises `UsageError` that names the parameter and what would be right, before any thread is started.
Times are seconds, sizes are bytes; a name says its unit where it could be doubted.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .errors import UsageError

__all__ = ["Backoff", "Credentials", "Limits", "Settings"]

OVERFLOW_POLICIES = ("drop_oldest", "drop_newest", "latest", "error", "block")


def positive(name: str, value: Any, *, zero: bool = False) -> float:
    """Return `value` if it is a finite number above zero (or zero where allowed); raise `UsageError` otherwise."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        good = good and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        good = False
    if not good or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise UsageError(f"{name} must be a number, {least}, not {value!r}")
    return float(value)


def seconds(name: str, value: Any) -> float:
    """Return `value` if it is a number of seconds to wait; less than 0 is none. Raise `UsageError` otherwise."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value != value:
        raise UsageError(f"{name} must be a number of seconds, or None to wait as long as it takes, not {value!r}")
    return value


def silence(value: Any) -> float | None:
    """Return the `max_silence` that users gave: False is for ever; raise `UsageError` if it is no time."""
    if value is False:
        return math.inf
    return None if value is None else positive("max_silence", value)


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return `value` if it is an int of at least `least`; raise `UsageError` otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name} must be a whole number, {least} or more, not {value!r}")
    return value


def check_callable(name: str, value: Any, *, optional: bool = False) -> None:
    """Raise `UsageError` unless `value` can be called and does something then, or is None where that is allowed."""
    if not callable(value) and not (optional and value is None):
        raise UsageError(f"{name} must be callable, not {value!r}")
    if is_coroutine(value):
        raise UsageError(
            f"{name} must be an ordinary function: nothing here awaits the coroutine of {value!r}"
            " (to reach an event loop of yours, call its call_soon_threadsafe)"
        )


def is_coroutine(value: Any) -> bool:
    """Tell whether a call of this only makes a coroutine; never raises, whatever the object is."""
    try:
        called = getattr(type(value), "__call__", None)
        return inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(called)
    except Exception:  # an attribute that raises
        return False


#: What to do about a login that is needed and cannot be made.
GIVE_A_KEY = "pass apiKey, secretKey and passphrase (from_env() reads OKX_API_KEY, OKX_SECRET_KEY and OKX_PASSPHRASE)"

LOGIN_NAMES = ("apiKey", "secretKey", "passphrase", "sign")

#: A field of a login in a JSON text, also one inside a JSON string, also one whose end was cut off. Its value ends at a
#: quote that a comma or a bracket follows: a passphrase may hold quotes and backslashes itself.
LOGIN_FIELD = re.compile(rf'(\\*"(?:{"|".join(LOGIN_NAMES)})\\*"\s*:\s*\\*").*?(?=\\*"\s*(?:[,}}\]]|$)|$)', re.DOTALL)


class Credentials:
    """An API key with its secret and passphrase, which never appear in a repr, a pickle or `vars()`.

    Args:
        apiKey: The key, as OKX shows it.
        secretKey: The secret that signs logins.
        passphrase: The phrase chosen when the key was made.

    Raises:
        UsageError: If some of the three are given and some are not: a login could never succeed.
    """

    __slots__ = ("__key", "__past")

    def __init__(self, apiKey: str = "", secretKey: str = "", passphrase: str = "") -> None:
        self.__key = self.__checked(apiKey, secretKey, passphrase)
        #: Secrets of keys that were replaced: late messages may still hold them.
        self.__past: tuple[str, ...] = ()

    @staticmethod
    def __checked(apiKey: str, secretKey: str, passphrase: str) -> tuple[str, str, str]:
        given = {"apiKey": apiKey, "secretKey": secretKey, "passphrase": passphrase}
        for name, value in given.items():
            if not isinstance(value, str):
                raise UsageError(f"{name} must be a str, not {type(value).__name__}")
        missing = [name for name, value in given.items() if not value]
        if missing and len(missing) < 3:
            raise UsageError(
                f"{' and '.join(missing)} missing: a login needs apiKey, secretKey and passphrase together"
            )
        return apiKey, secretKey, passphrase

    def replace(self, apiKey: str, secretKey: str, passphrase: str) -> None:
        """Take a new key in the place of the old one, at once for everybody who holds this object.

        Raises:
            UsageError: It is none: the old one stays.
        """
        new = self.__checked(apiKey, secretKey, passphrase)
        if not apiKey:
            raise UsageError("a new key needs apiKey, secretKey and passphrase")
        self.__past = tuple({*self.__past, *self.__key})
        self.__key = new

    def frozen(self) -> Credentials:
        """Return the key of this moment, which `replace` does not change: for what is made of several parts of it."""
        return Credentials(*self.__key)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Credentials:
        """Read ``OKX_API_KEY``, ``OKX_SECRET_KEY`` and ``OKX_PASSPHRASE``, or the longer names people use for them."""
        env = os.environ if environ is None else environ

        def first(*names: str) -> str:
            return next((env[name] for name in names if env.get(name)), "")

        return cls(
            first("OKX_API_KEY"),
            first("OKX_SECRET_KEY", "OKX_API_SECRET", "OKX_API_SECRET_KEY"),
            first("OKX_PASSPHRASE", "OKX_API_PASSPHRASE"),
        )

    @property
    def apiKey(self) -> str:
        """The key itself. Handle with care: this is a plain str."""
        return self.__key[0]

    @property
    def secretKey(self) -> str:
        """The signing secret itself. Handle with care: this is a plain str."""
        return self.__key[1]

    @property
    def passphrase(self) -> str:
        """The passphrase itself. Handle with care: this is a plain str."""
        return self.__key[2]

    def __bool__(self) -> bool:
        return bool(self.__key[0])

    def blot(self, text: str) -> str:
        """Return `text` with every secret in it replaced: OKX repeats requests it could not read, a login too.

        Fields of a login are recognised by their names as well, since a repeated request may be cut in the middle.
        """
        if not self:
            return text
        for secret in (*self.__key, *self.__past):
            once = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
            twice = {json.dumps(form)[1:-1] for form in once}
            for form in sorted({secret, *once, *twice}, key=len, reverse=True):
                text = text.replace(form, "***")
        return LOGIN_FIELD.sub(r"\1***", text)

    def blot_frame(self, value: Any) -> Any:
        """Return a decoded frame with every secret in its texts replaced."""
        if isinstance(value, str):
            return self.blot(value)
        if isinstance(value, dict):
            secret = LOGIN_NAMES if self else ()
            return {self.blot(str(k)): "***" if k in secret else self.blot_frame(v) for k, v in value.items()}
        return [self.blot_frame(item) for item in value] if isinstance(value, list) else value

    def __repr__(self) -> str:
        return "Credentials(***)" if self else "Credentials()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Credentials cannot be pickled or copied: they would leave the process in the clear")


@dataclass(frozen=True)
class Backoff:
    """How long to wait before reconnecting: full jitter under an exponential ceiling.

    Before attempt n the delay is drawn evenly from 0 to ``min(cap_s, first_s * factor ** (n - 1))``. The count starts
    again at 1 once a link has been up for `healthy_s`, so a link that is lost soon after each connect still backs off.
    Full jitter after "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    first_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 30.0
    healthy_s: float = 30.0

    def __post_init__(self) -> None:
        positive("Backoff.first_s", self.first_s, zero=True)
        positive("Backoff.cap_s", self.cap_s, zero=True)
        positive("Backoff.healthy_s", self.healthy_s, zero=True)
        if positive("Backoff.factor", self.factor) < 1:
            raise UsageError(f"Backoff.factor must be 1 or more, not {self.factor!r}: delays would shrink")


@dataclass(frozen=True)
class Limits:
    """What OKX allows, kept on our side (OKX v5 docs, "WebSocket: Connect", read June 2026).

    Attributes:
        connects_per_s: New connections a second, per process and (host, port), whichever manager asks.
        requests_per_h: subscribe + unsubscribe + login requests an hour, per connection.
        frame_bytes: The most one request may weigh; longer lists are split.
        pace_orders: Orders, changes and cancellations wait until OKX's limits have room for them (60 in 2 s for each
            instrument, 300 in batches, 20 for spreads), each within its own time; False: OKX itself shall refuse.
            Counted for the whole process: managers with the same key at the same host share them.
        orders_per_2s: OKX's limit for each instrument where it is lower: 4 for lead traders. None: as for everybody.
    """

    connects_per_s: int = 3
    requests_per_h: int = 480
    frame_bytes: int = 65_536
    pace_orders: bool = True
    orders_per_2s: int | None = None

    def __post_init__(self) -> None:
        whole("Limits.connects_per_s", self.connects_per_s)
        whole("Limits.requests_per_h", self.requests_per_h)
        # 512: less would not hold one argument with its envelope.
        whole("Limits.frame_bytes", self.frame_bytes, 512)
        if not isinstance(self.pace_orders, bool):
            raise UsageError(f"Limits.pace_orders must be True or False, not {self.pace_orders!r}")
        if self.orders_per_2s is not None:
            whole("Limits.orders_per_2s", self.orders_per_2s)


@functools.cache
def default_tls_context() -> ssl.SSLContext:
    """Return the context used without `sslopt`; made once, since reading the system's CA list costs 10 ms."""
    return ssl.create_default_context()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a manager was told at its construction, apart from secrets and addresses; see `Manager` for each."""

    ping_interval: float = 15.0
    pong_timeout: float = 10.0
    connect_timeout: float = 10.0
    write_timeout: float = 10.0
    reconnect: bool = True
    backoff: Backoff = field(default_factory=Backoff)
    limits: Limits = field(default_factory=Limits)
    queue_size: int = 100_000
    queue_bytes: int = 256 * 1024 * 1024
    overflow: str = "drop_oldest"
    block_timeout: float = 30.0
    max_message_bytes: int = 64 * 1024 * 1024
    markers: bool = False
    subscriptions_per_link: int = 240
    max_link_age: float | None = None
    redundancy: int = 1
    backfill: bool = True
    backfill_timeout: float = 3.0
    #: None: never.
    fallback_after: float | None = 5.0
    #: None: the environment's; False: none; or an URL, which may hold a password.
    proxy: str | bool | None = field(default=None, repr=False)
    tls: ssl.SSLContext = field(default_factory=default_tls_context)

    def __post_init__(self) -> None:
        for name in ("ping_interval", "pong_timeout", "connect_timeout", "write_timeout", "block_timeout"):
            positive(name, getattr(self, name))
        positive("backfill_timeout", self.backfill_timeout)
        if self.fallback_after is not None:
            positive("fallback_after", self.fallback_after)
        # OKX closes after 30 s without traffic (4004): a longer interval cannot keep a quiet link.
        if self.ping_interval >= 30:
            raise UsageError(
                f"ping_interval must be under 30 s, not {self.ping_interval!r}: OKX closes idle links at 30 s"
            )
        if self.redundancy not in (1, 2) or isinstance(self.redundancy, bool):
            raise UsageError(f"redundancy must be 1 or 2 links for each subscription, not {self.redundancy!r}")
        if self.max_link_age is not None:
            positive("max_link_age", self.max_link_age)
        for name in ("queue_size", "queue_bytes", "subscriptions_per_link"):
            whole(name, getattr(self, name))
        # A 400-level book snapshot is 27 kB; a limit under that would cut honest traffic.
        whole("max_message_bytes", self.max_message_bytes, 65_536)
        for name in ("reconnect", "markers", "backfill"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if not isinstance(self.backoff, Backoff):
            raise UsageError(f"backoff must be a Backoff, not {self.backoff!r}")
        if not isinstance(self.limits, Limits):
            raise UsageError(f"limits must be a Limits, not {self.limits!r}")
        if self.overflow not in OVERFLOW_POLICIES:
            raise UsageError(f"overflow must be one of {', '.join(OVERFLOW_POLICIES)}, not {self.overflow!r}")


#: What `sslopt` may hold, a subset of websocket-client's names that leaves verification on.
SSLOPT_KEYS = ("context", "ca_certs", "ca_cert_path", "certfile", "keyfile", "password")


def tls_context(sslopt: Mapping[str, Any] | None) -> ssl.SSLContext:
    """Make the context that `sslopt` describes, verifying exactly as `ssl.create_default_context` does.

    Args:
        sslopt: ``None``, or a mapping with ``context`` (an `ssl.SSLContext`, taken as it is), or any of ``ca_certs``
            (a PEM file), ``ca_cert_path`` (a directory), ``certfile``, ``keyfile``, ``password`` (a client
            certificate). A private CA is trusted instead of the system's.

    Raises:
        UsageError: For an unknown key (``cert_reqs`` and ``check_hostname`` are not offered: verification is always
            on), for a file that cannot be loaded, and for values of the wrong type.
    """
    if sslopt is None:
        return default_tls_context()
    if not isinstance(sslopt, Mapping):
        raise UsageError(f"sslopt must be a mapping, not {type(sslopt).__name__}")
    unknown = sorted(str(key) for key in sslopt if key not in SSLOPT_KEYS)
    if unknown:
        raise UsageError(
            f"sslopt takes {', '.join(SSLOPT_KEYS)}, not {', '.join(unknown)}"
            " (verification cannot be switched off; trust a private CA with ca_certs)"
        )
    context = sslopt.get("context")
    if context is not None:
        if not isinstance(context, ssl.SSLContext) or len(sslopt) > 1:
            raise UsageError("sslopt['context'] must be an ssl.SSLContext, and the only key")
        return context
    try:
        context = ssl.create_default_context(cafile=sslopt.get("ca_certs"), capath=sslopt.get("ca_cert_path"))
        if "certfile" in sslopt:
            context.load_cert_chain(sslopt["certfile"], sslopt.get("keyfile"), sslopt.get("password"))
    except (OSError, TypeError, ValueError) as exc:
        names = {key: value for key, value in sslopt.items() if key != "password"}
        raise UsageError(f"sslopt {names} cannot be used: {exc}") from exc
    return context
