"""The command ``okx-ws``: one small module a command. Needs the extra ``okx-ws[cli]``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import click

from .. import OkxWsError, __version__
from .exchange import exchange
from .tail import tail

__all__ = ["run"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="okx-ws")
@click.option("-v", "--verbose", count=True, help="Log to stderr: -v what happens, -vv everything.")
def okx_ws(verbose: int) -> None:
    """OKX's v5 WebSocket API from the terminal. Unofficial.

    Keys come from the environment: OKX_API_KEY, OKX_SECRET_KEY, OKX_PASSPHRASE. Public data wants none.
    """
    if verbose:
        level = logging.DEBUG if verbose > 1 else logging.INFO
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


okx_ws.add_command(tail)
okx_ws.add_command(exchange)


def run() -> None:
    """Run the command line and exit: 0 when done or interrupted, 2 for an error, told as one sentence."""
    signal.signal(signal.SIGTERM, _interrupt)  # a service manager's stop ends like Ctrl-C
    try:
        code = okx_ws.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as exc:
        exc.show()
        sys.exit(2)
    except OkxWsError as exc:
        click.echo(f"okx-ws: {exc}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(0)
    except BrokenPipeError:
        # The reader of the pipe has left (`| head`): what is still buffered must not raise at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
