"""Whole processes: how programs written against the library end. Each in a subprocess, with real signals."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SETUP = """
import sys, time, threading
from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange

exchange = LocalExchange().start()

def ready(after=0.0):
    threading.Timer(after, print, ["ready"], {"flush": True}).start()

"""


class Program:
    """A program that is running; `end` tells how it ended."""

    def __init__(self, code):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SETUP + textwrap.dedent(code)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def until_ready(self):
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        return self

    def signal(self, number):
        self.process.send_signal(number)
        return self

    def end(self, within=1.5):
        """Wait for the end; return exit code, stdout and stderr. (The bound leaves the interpreter half a second.)"""
        start = time.monotonic()
        try:
            out, err = self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"it does not end: {out} {err}")
        assert time.monotonic() - start < within, (out, err)
        return self.process.returncode, out, err


@pytest.mark.parametrize("wait", ["ws.get()", "list(ws)", "ws.msgQueue.get()", "quiet.get()", "quiet.wait(None)"])
def test_ctrl_c_ends_a_program_that_waits(wait):
    """Acceptance 4: KeyboardInterrupt is raised at once, `with` closes the manager, the process ends."""
    program = Program(f"""
        with OkxWebSocketManager(urls=exchange.urls) as ws:
            quiet = ws.subscribe("public-struc-block-trades", queue=True)
            if "wait" in {wait!r}:
                exchange.stop()
                quiet = ws.subscribe("tickers", instId="BTC-USDT")
            else:
                quiet.wait()
            ready(after=0.1)  # by then the main thread waits
            try:
                {wait}
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                raise
        """).until_ready()
    code, out, err = program.signal(signal.SIGINT).end()
    assert out == "interrupted\n"
    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt")
    assert code == -signal.SIGINT
