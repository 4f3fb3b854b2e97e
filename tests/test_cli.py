"""The command line, run as users run it: in a process of its own, in a pipe, on a terminal, interrupted."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-W", "error", "-m", "okx_ws"]
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith("OKX_")}, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


STARTED = []


def begin(*words, **options):
    """Start the command as a process that does not outlive its test."""
    STARTED.append(subprocess.Popen([*COMMAND, *words], cwd=ROOT, env=ENV, **options))
    return STARTED[-1]


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Kill what a failed test has left running."""
    yield
    for process in STARTED:
        process.kill()
        process.wait(5)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    STARTED.clear()


def run(*words, env=None, **options):
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=30, cwd=ROOT, env={**ENV, **(env or {})}, **options
    )


def on_terminal(*words, timeout=20):
    """Run on a pseudo-terminal; return what it showed."""
    master, slave = pty.openpty()
    process = begin(*words, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                shown += os.read(master, 65_536)
            except OSError:  # the other side is closed
                break
    os.close(master)
    assert process.wait(5) == 0, shown
    return shown.decode()


def test_tail_writes_json_lines_in_a_pipe_and_ends_by_itself():
    """`--seconds`; the summary goes to stderr."""
    done = run("tail", "tickers,trades", "BTC-USDT", "ETH-USDT", "--local", "--seconds", "1")
    assert done.returncode == 0
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert {m["arg"]["channel"] for m in messages} == {"tickers", "trades"}
    assert {m["arg"]["instId"] for m in messages} == {"BTC-USDT", "ETH-USDT"}
    (summary,) = done.stderr.splitlines()
    assert summary.startswith(f"{len(messages)} messages in ") and "0 dropped" in summary


def test_tail_writes_readable_lines_on_a_terminal():
    """Time, channel, instrument, and what people look for; in colour."""
    shown = on_terminal("tail", "tickers,trades,books,candle1m,account", "BTC-USDT", "--local", "--count", "40")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert "\x1b[" in shown
    for expected in (
        r"\d\d:\d\d:\d\d\.\d{3} tickers +BTC-USDT .* bid [\d.]+ x [\d.]+  ask [\d.]+ x [\d.]+",
        r"trades +BTC-USDT +[\d.]+  (buy|sell)",
        r"books +BTC-USDT +snapshot: 400 x 400",
        r"books +BTC-USDT +update: \d+ bids, \d+ asks",
        r"candle1m +BTC-USDT .* o [\d.]+ h [\d.]+ l [\d.]+ c [\d.]+",
        r"account .* total [\d.]+ +BTC 1.5",
        r"40 messages in",
    ):
        assert re.search(expected, plain), (expected, plain)


def test_json_can_be_had_on_a_terminal():
    """`--json`."""
    shown = on_terminal("tail", "tickers", "BTC-USDT", "--local", "--count", "1", "--json")
    assert json.loads(shown.splitlines()[0])["arg"]["channel"] == "tickers"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_tail_with_a_summary_within_a_second(number):
    """Acceptance 4: Ctrl-C; a service manager's stop too. No traceback."""
    process = begin("tail", "tickers", "BTC-USDT", "--local", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    start = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=10)
    assert time.monotonic() - start < 1.5
    assert process.returncode == 0
    assert "Traceback" not in told and "messages in" in told


def test_a_closed_pipe_ends_tail_quietly():
    """`| head -1`."""
    done = subprocess.run(
        f"{' '.join(COMMAND)} tail tickers BTC-USDT --local --seconds 20 | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=15,
        cwd=ROOT,
        env=ENV,
    )
    assert json.loads(done.stdout)["arg"]["channel"] == "tickers"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tail", "nosuch", "X", "--local"], "60018"),
        (["tail", "account"], "needs a login"),
        (["tail", "tickers", "--local", "--arg", "instId"], "KEY=VALUE"),
        (["tail", "tickers", "--local", "--arg", "instid=BTC-USDT"], "OKX writes instId"),
        (["tail", "tickers", "BTC-USDT", "--region", "mars"], "mars"),
        (["tail", "tickers", "BTC-USDT", "--seconds", "-1"], "--seconds"),
        (["tail"], "CHANNEL"),
        (["nothing"], "nothing"),
        (["exchange", "--replay", "/no/such/file"], "/no/such/file"),
        (["exchange", "--replay", __file__], "line 1, is no JSON"),
        (["exchange", "--fault", "dorp"], "there is no fault 'dorp'; did you mean drop?"),
        (["exchange", "--fault", "drop:every=2"], "did you mean every_s?"),
    ],
)
def test_errors_are_a_sentence_and_exit_code_2(words, told):
    """With the remedy, without a traceback."""
    done = run(*words)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr and done.stdout == ""


def test_keys_come_from_the_environment():
    """And an incomplete key is an error that names what is missing."""
    done = run("tail", "account", env={"OKX_API_KEY": "k"})
    assert done.returncode == 2 and "secretKey and passphrase missing" in done.stderr


def test_one_refused_channel_does_not_stop_the_others():
    """It is told, and the rest is followed."""
    done = run("tail", "tickers", "BTC-USDT", "NO-SUCH", "--local", "--count", "2")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2 and "60018" in done.stderr


def test_version_help_and_verbosity():
    """`--version`, `--help`, `-v`, `-vv`."""
    import okx_ws

    assert run("--version").stdout == f"okx-ws, version {okx_ws.__version__}\n"
    assert "tail" in run("--help").stdout and "exchange" in run("--help").stdout
    told = run("-v", "tail", "tickers", "BTC-USDT", "--local", "--count", "1").stderr
    assert "connected" in told and "DEBUG" not in told
    assert "DEBUG" in run("-vv", "tail", "tickers", "BTC-USDT", "--local", "--count", "1").stderr


def test_exchange_prints_where_it_is_and_serves_until_interrupted(connect):
    """A local OKX for any client."""
    process = begin("exchange", "--tls", "--speed", "5", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = dict(process.stdout.readline().split() for _ in range(8))
    urls = {name: told[name] for name in ("public", "private", "business", "rest")}
    key = {name: told[name] for name in ("apiKey", "secretKey", "passphrase")}
    ws = connect(urls=urls, sslopt={"ca_certs": told["ca_certs"]}, **key)
    ws.subscribe("account").wait(5)
    assert ws.get(timeout=5)["arg"]["channel"] == "account"
    ws.close()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 0 and "1 connections, 2 requests" in errors


def test_exchange_shows_what_happens_and_which_faults_strike(connect):
    """Plain lines in a pipe."""
    words = ("--fault", "drop:endpoint=public,every_s=1,times=1", "--fault", "clock_skew:by_s=1,after_s=600")
    process = begin("exchange", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = dict(process.stdout.readline().split() for _ in range(7))
    ws = connect(urls={name: told[name] for name in ("public", "private", "business", "rest")})
    assert process.stderr.readline() == "Ctrl-C ends it.\n"
    ws.subscribe("tickers", instId="BTC-USDT").wait(5)
    ws.subscribe("tickers", instId="NO-SUCH")
    ws.rest.instruments("SPOT")
    lines = []
    while not any("drop: 1 connections" in line for line in lines):
        lines.append(process.stderr.readline().rstrip())
    ws.close()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=10)
    assert process.returncode == 0 and "1 strikes of faults" in rest and "\x1b" not in "".join(lines)
    for expected in (
        r"^\d\d:\d\d:\d\d\.\d{3} connected          public   [0-9a-f]{8}$",
        r"subscribe          public   [0-9a-f]{8} tickers BTC-USDT$",
        r"refused            public   [0-9a-f]{8} 60018 Wrong URL or channel:tickers, instId:NO-SUCH doesn't exist",
        r"rest               rest              GET /api/v5/public/instruments\?instType=SPOT → 200 0$",
        r"fault              public   [0-9a-f]{8} drop: 1 connections$",
    ):
        assert any(re.search(expected, line) for line in lines), (expected, lines)


def test_exchange_shows_colours_on_a_terminal_and_nothing_if_told_so():
    """`--quiet`; `--fault help` lists all faults and ends."""
    assert "half_open: Read and write nothing" in run("exchange", "--fault", "help").stdout
    master, slave = pty.openpty()
    for words, shown in (((), True), (("--quiet",), False)):
        fault = ("--fault", "clock_skew:by_s=40")
        process = begin("exchange", *fault, *words, stdout=subprocess.PIPE, stderr=slave, text=True)
        for _ in range(7):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        text = os.read(master, 65_536).decode()
        assert ("\x1b[1;35mfault" in text) == shown == ("clock is off" in text) and "1 strikes" in text
    os.close(master), os.close(slave)


def test_without_its_extra_the_command_says_what_to_install():
    """One sentence, exit code 2."""
    code = "import sys; sys.modules['click'] = None; from okx_ws.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=ENV, timeout=20)
    assert done.returncode == 2 and "pip install 'okx-ws[cli]'" in done.stderr and "Traceback" not in done.stderr


def test_without_its_extra_the_exchange_says_what_to_install():
    """A clear import error."""
    code = "import sys; sys.modules['websockets'] = None; import okx_ws.exchange"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=ENV, timeout=20)
    assert "is missing: pip install 'okx-ws[exchange]'" in done.stderr
