"""``okx-ws tail``: follow channels on the terminal, or as JSON lines in a pipe."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
import orjson
from rich.console import Console

from .. import AckTimeout, Event, OkxWebSocketManager, SubscribeError, Subscription
from ..endpoints import REGIONS
from .lines import lines_of

__all__ = ["tail"]


@click.command()
@click.argument("channel")
@click.argument("instids", metavar="[INSTID]...", nargs=-1)
@click.option(
    "--arg", "fields", metavar="KEY=VALUE", multiple=True, help="A further field of the arg, e.g. instType=SWAP."
)
@click.option("--local", is_flag=True, help="Start a local exchange and follow that: no key, no internet.")
@click.option("--sandbox", is_flag=True, help="Demo trading.")
@click.option("--region", type=click.Choice(list(REGIONS)), default="global", show_default=True)
@click.option("--count", type=click.IntRange(1), help="End after so many messages.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="End after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON text a line, also on a terminal.")
def tail(
    channel: str,
    instids: tuple[str, ...],
    fields: tuple[str, ...],
    local: bool,
    sandbox: bool,
    region: str,
    count: int | None,
    seconds: float | None,
    as_json: bool,
) -> int:
    """Follow CHANNEL (or several: tickers,trades) of the INSTIDs; Ctrl-C ends it.

    \b
    okx-ws tail tickers BTC-USDT ETH-USDT
    okx-ws tail candle1m,trades BTC-USDT-SWAP --json | head
    okx-ws tail liquidation-orders --arg instType=SWAP
    okx-ws tail tickers,trades BTC-USDT --local --seconds 5
    """
    args = make_args(channel, instids, fields)
    printer = Printer(as_json)
    with contextlib.ExitStack() as stack:
        ws = stack.enter_context(
            local_manager(stack) if local else OkxWebSocketManager.from_env(sandbox=sandbox, region=region)
        )
        ws.on_event(printer.event)
        end = time.monotonic() + seconds if seconds is not None else None
        try:
            if not any_accepted(ws.subscribe(args), end, printer):
                return 2
            for message in until(ws, count, end):
                printer.message(message)
        except KeyboardInterrupt:
            printer.note("")
        printer.summary(ws.stats())
    return 0


def make_args(channel: str, instids: tuple[str, ...], fields: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the args that the command line asks for: every channel with every instrument."""
    extra = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not (key and equals and value):
            raise click.BadParameter(f"{field!r} is not KEY=VALUE", param_hint="--arg")
        extra[key] = value
    channels = [name.strip() for name in channel.split(",")]
    places = [{"instId": instId} for instId in instids] or [{}]
    return [{"channel": name, **place, **extra} for name in channels for place in places]


def local_manager(stack: contextlib.ExitStack) -> OkxWebSocketManager:
    """Start a local exchange, and return a manager for it."""
    from ..exchange import LocalExchange

    running = stack.enter_context(LocalExchange())
    return OkxWebSocketManager(**running.credentials, urls=running.urls)


def any_accepted(subscriptions: list[Subscription], end: float | None, printer: Printer) -> bool:
    """Wait for the answers; tell refusals, and return whether anything is left to follow."""
    left = len(subscriptions)
    for subscription in subscriptions:
        try:
            subscription.wait(10 if end is None else min(10, max(0.0, end - time.monotonic())))
        except SubscribeError as exc:
            printer.note(f"okx-ws: {exc}")
            left -= 1
        except AckTimeout:
            break  # the events tell why; it goes on trying
    return left > 0


def until(ws: OkxWebSocketManager, count: int | None, end: float | None) -> Iterator[Any]:
    """Yield messages until there were `count`, or until `end`."""
    number = 0
    while count is None or number < count:
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return
        for message in ws.messages(left):
            yield message
            number += 1
            break
        else:
            return


class Printer:
    """Writes messages to stdout, and everything else to stderr."""

    def __init__(self, as_json: bool) -> None:
        self._json = as_json or not sys.stdout.isatty()
        self._out = Console(highlight=False, soft_wrap=True)
        self._start = time.monotonic()
        self._messages = 0
        self._reconnects = 0

    def message(self, message: Any) -> None:
        """Write one message."""
        self._messages += 1
        if self._json:
            sys.stdout.write(orjson.dumps(message).decode() + "\n")
            sys.stdout.flush()
        else:
            for line in lines_of(message):
                self._out.print(line)

    def event(self, event: Event) -> None:
        """Tell what people must know of links; called on the handlers' thread."""
        if event.type == "reconnecting":
            self._reconnects += 1
            self.note(f"{event.endpoint}: {event.msg}; trying again in {event.delay_s:.1f} s")
        elif event.type in ("login_failed", "overflow", "malformed") or (event.type == "notice" and event.code):
            self.note(f"{event.type}: {event.code or ''} {event.msg}")

    def note(self, text: str) -> None:
        """Write a line to stderr."""
        click.echo(text, err=True)

    def summary(self, stats: dict[str, Any]) -> None:
        """Write the last line."""
        elapsed = time.monotonic() - self._start
        self.note(
            f"{self._messages} messages in {elapsed:.1f} s ({self._messages / max(elapsed, 0.001):.0f} a second), "
            f"{stats['queue']['dropped']} dropped, {stats['malformed']} malformed, {self._reconnects} reconnects"
        )
