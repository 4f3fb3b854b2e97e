"""Measure every way to read okx_ws beside a naive websocket-client program, over ws and wss, and print a table.

Each run is a fresh client process at a server process on loopback; runs are interleaved (A B C A B C), and the table
shows medians.
"""

import argparse
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import trustme

from tests.bench import trade
from tests.bench.client import WAYS

ROOT = Path(__file__).resolve().parents[2]

#: Each way beside the naive one, which gets fewer messages, to take about as long.
NAIVE, NAIVE_SHARE = "naive", 0.08


@contextlib.contextmanager
def serving(scheme, folder):
    """Run a server; give its address and the client's further arguments."""
    more = [str(folder / "server.pem")] if scheme == "wss" else []
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.server", *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with server:
        try:
            url = f"{scheme}://127.0.0.1:{int(server.stdout.readline())}/ws/v5/public"
            yield url, [str(folder / "ca.pem")] if more else []
            server.communicate(timeout=10)
        finally:
            server.kill()


def measure(way, url, count, more):
    """Return the messages a second of one run."""
    command = [sys.executable, "-m", "tests.bench.client", way, url, str(count), *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=100)
    if done.returncode:
        raise SystemExit(f"{way} failed: {done.stderr}")
    return float(done.stdout)


def run(schemes, ways, rounds, messages):
    """Return the median rates by (scheme, way)."""
    rates = {(scheme, way): [] for scheme in schemes for way in ways}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, authority = Path(name), trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        servers = {scheme: stack.enter_context(serving(scheme, folder)) for scheme in schemes}
        for number in range(rounds):
            for (scheme, way), found in rates.items():
                show(f"round {number + 1} of {rounds}: {scheme}, {way}")
                url, more = servers[scheme]
                count = max(2, int(messages * NAIVE_SHARE)) if way == NAIVE else messages
                found.append(measure(way, url, count, more))
    show("")
    return {key: statistics.median(found) for key, found in rates.items()}


def show(text):
    """Tell a waiting user how far it is."""
    if sys.stderr.isatty():
        print(f"\r{text:60}\r", end="", file=sys.stderr, flush=True)


def table(schemes, ways, rates):
    """Return the result as a Markdown table."""
    heads = [head for scheme in schemes for head in (f"{scheme}, messages/s", "× naive")]
    lines = [["way", *heads], ["---", *["---:"] * len(heads)]]
    for way in ways:
        cells = [way]
        for scheme in schemes:
            rate = rates[scheme, way]
            cells += [f"{rate:,.0f}", f"{rate / rates[scheme, NAIVE]:.1f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(argv=None):
    """Measure as the command line says, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median is shown")
    parser.add_argument("--messages", type=int, default=200_000, help="in each run")
    parser.add_argument("--schemes", default="ws,wss", help="ws, wss, or both")
    parser.add_argument("--ways", default=",".join(WAYS), help="which to measure beside the naive one")
    options = parser.parse_args(argv)
    schemes, ways = options.schemes.split(","), [NAIVE, *options.ways.split(",")]
    rates = run(schemes, ways, options.rounds, options.messages)
    cores, version = os.cpu_count(), platform.python_version()
    size = len(trade(options.messages, f"BTC-USDT-{options.messages}"))
    print(f"Python {version}, {cores} cores; trades of {size} bytes; medians of {options.rounds} runs")
    print(table(schemes, ways, rates))


if __name__ == "__main__":
    main()
