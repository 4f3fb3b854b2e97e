"""``okx-ws exchange``: run the local exchange until Ctrl-C."""

from __future__ import annotations

import threading

import click

__all__ = ["exchange"]


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="For WebSocket; 0 picks a free one.")
@click.option("--rest-port", type=click.IntRange(0, 65535), help="For REST; the next one after --port if not given.")
@click.option("--tls", is_flag=True, help="Serve wss and https, with a certificate made on the fly.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Of its clock.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of its markets.")
@click.option("--demo", is_flag=True, help="Be demo trading.")
@click.option(
    "--replay",
    "recording",
    type=click.Path(exists=True, dir_okay=False),
    help="Serve recorded frames, a JSON text a line.",
)
@click.option("--replay-speed", type=click.FloatRange(0, min_open=True), help="1: as recorded; left out: at once.")
def exchange(
    host: str,
    port: int,
    rest_port: int | None,
    tls: bool,
    speed: float,
    seed: int,
    demo: bool,
    recording: str | None,
    replay_speed: float | None,
) -> int:
    """Run a local OKX on loopback: three WebSocket endpoints and REST, with markets that move."""
    from ..exchange import LocalExchange

    if rest_port is None:
        rest_port = port + 1 if port else 0
    local = LocalExchange(host=host, port=port, rest_port=rest_port, tls=tls, speed=speed, seed=seed, demo=demo)
    try:
        if recording is not None:
            local.replay(recording, replay_speed)
        local.start()
    except (OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc
    with local:
        for name, url in local.urls.items():
            click.echo(f"{name:<9} {url}")
        for name, value in {**local.credentials, **(local.sslopt or {})}.items():
            click.echo(f"{name:<9} {value}")
        click.echo("Ctrl-C ends it.", err=True)
        ended = threading.Event()
        try:
            while not ended.wait(1.0):  # in slices, since Windows does not let Ctrl-C end a longer wait
                pass
        except KeyboardInterrupt:
            pass
        click.echo(
            f"{len(local.desks)} connections, {sum(len(desk.requests) for desk in local.desks)} requests", err=True
        )
    return 0
