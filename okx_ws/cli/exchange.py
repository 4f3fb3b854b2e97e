"""``okx-ws exchange``: run the local exchange until Ctrl-C, and show what happens there."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from ..exchange import Happening, LocalExchange

__all__ = ["exchange"]

STYLES = {
    "connected": "green",
    "disconnected": "yellow",
    "refused": "red",
    "fault": "bold magenta",
    "notice": "yellow",
    "rest": "dim",
}


def show_faults(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """List all faults and end, if that is asked for."""
    if "help" in texts:
        from ..exchange import describe_faults

        click.echo(describe_faults())
        context.exit()
    return texts


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="For WebSocket; 0 picks a free one.")
@click.option("--rest-port", type=click.IntRange(0, 65535), help="For REST; the next one after --port if not given.")
@click.option("--tls", is_flag=True, help="Serve wss and https, with a certificate made on the fly.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Of its clock.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of its markets and of its faults.")
@click.option("--demo", is_flag=True, help="Be demo trading.")
@click.option("--strict", is_flag=True, help="Keep OKX's limits: connects, requests, REST.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=show_faults,
    metavar="NAME:K=V,…",
    help="Let something go wrong, e.g. drop:every_s=5,jitter=0.5; can be given again. 'help' lists all.",
)
@click.option(
    "--replay",
    "recording",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve recorded frames, a JSON text a line.",
)
@click.option("--replay-speed", type=click.FloatRange(0, min_open=True), help="1: as recorded; left out: at once.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show what connects, subscribes and fails.")
def exchange(
    host: str,
    port: int,
    rest_port: int | None,
    tls: bool,
    speed: float,
    seed: int,
    demo: bool,
    strict: bool,
    faults: tuple[str, ...],
    recording: str | None,
    replay_speed: float | None,
    quiet: bool,
) -> int:
    """Run a local OKX on loopback: three WebSocket endpoints and REST, with markets that move.

    What connects, subscribes and fails is shown on stderr, a line each.
    """
    from ..exchange import LocalExchange

    if rest_port is None:
        rest_port = port + 1 if port else 0
    local = LocalExchange(
        host=host, port=port, rest_port=rest_port, tls=tls, speed=speed, seed=seed, demo=demo, strict=strict
    )
    try:
        if recording is not None:
            local.replay(recording, replay_speed)
        for text in faults:
            local.faults.parse(text)
        if not quiet:
            local.watch(Shown())
        local.start()
    except (OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc
    with local:
        serve(local)
    return 0


def serve(local: LocalExchange) -> None:
    """Say where it is, and wait for Ctrl-C."""
    try:
        for name, url in local.urls.items():
            click.echo(f"{name:<10} {url}")
        for name, value in {**local.credentials, **(local.sslopt or {})}.items():
            click.echo(f"{name:<10} {value}")
        click.echo("Ctrl-C ends it.", err=True)
        ended = threading.Event()
        while not ended.wait(1.0):  # in slices, since Windows does not let Ctrl-C end a longer wait
            pass
    except KeyboardInterrupt:
        pass
    requests = sum(len(desk.requests) for desk in local.desks)
    strikes = len(local.faults.log)
    told = f", {strikes} strikes of faults" if strikes else ""
    click.echo(f"{len(local.desks)} connections, {requests} requests{told}", err=True)


class Shown:
    """Shows what happens at the exchange: a line each on stderr, in colour on a terminal."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def __call__(self, happening: Happening) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(happening.at_ms / 1000))
        where = f"{happening.endpoint:<8} {happening.connId:<8}"
        line = Text()
        line.append(f"{clock}.{happening.at_ms % 1000:03d} ", style="dim")
        line.append(f"{happening.kind:<18} ", style=STYLES.get(happening.kind, ""))
        line.append(f"{where} {happening.text}".rstrip())
        self._console.print(line)
