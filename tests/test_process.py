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

exchange = LocalExchange(speed=10).start()

def ready(after=0.0):
    threading.Timer(after, print, ["ready"], {"flush": True}).start()

"""


PROGRAMS = []


@pytest.fixture(autouse=True)
def no_program_is_left():
    """Kill what a failed test has left running."""
    yield
    for program in PROGRAMS:
        program.process.kill()
        program.process.communicate()
    PROGRAMS.clear()


class Program:
    """A program that is running; `end` tells how it ended."""

    def __init__(self, code):
        PROGRAMS.append(self)
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


STATES = {
    "connected": "ws.subscribe('tickers', instId='BTC-USDT').wait()",
    "connecting": "exchange.stop(); ws.subscribe('tickers', instId='BTC-USDT')",
    "logged in": "ws.subscribe('account').wait()",
    "handlers at work": "ws.subscribe('tickers', instId='BTC-USDT', handler=lambda m: time.sleep(0.01)).wait()",
    "a handler that hangs": "ws.subscribe('tickers', instId='BTC-USDT', handler=lambda m: time.sleep(99)).wait()",
    "events to stderr": "ws.on_event(lambda e: print(e, file=sys.stderr)); ws.subscribe([dict(channel='status')])",
}


@pytest.mark.parametrize("state", STATES)
def test_a_program_that_falls_off_its_end_ends(state):
    """Without a close, in whatever state: at once, with nothing on stderr that is not the user's."""
    code, out, err = Program(f"""
        ws = OkxWebSocketManager(urls=exchange.urls, **exchange.credentials)
        {STATES[state]}
        print("ready", flush=True)
        """).until_ready().end()
    assert (code, out) == (0, "")
    assert all(line.startswith("Event(") for line in err.splitlines()), err


def test_sigterm_ends_a_program_as_ever():
    """No handler of ours is in the way."""
    program = Program("""
        ws = OkxWebSocketManager(urls=exchange.urls)
        ws.subscribe("tickers", instId="BTC-USDT")
        for message in ws:
            ready()
            break
        list(ws)
        """).until_ready()
    code, out, err = program.signal(signal.SIGTERM).end()
    assert (code, err) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("action", ["ws.close()", "sys.exit(7)", "ws.close(); sys.exit(7)"])
@pytest.mark.parametrize("sink", ["", "handler=lambda m: None"])
def test_a_signal_handler_may_close_or_exit(action, sink):
    """Whatever it interrupts: in a busy loop of calls that hold our locks."""
    program = Program(f"""
        import signal
        def stop(*args):
            {action}
        signal.signal(signal.SIGTERM, stop)
        with OkxWebSocketManager(urls=exchange.urls) as ws:
            ws.subscribe("tickers", instId="BTC-USDT", {sink}).wait()
            ready(after=0.1)
            try:
                while True:
                    ws.subscribe("trades", instId="BTC-USDT", queue=True).unsubscribe()
                    ws.stats()
            except Exception as exc:
                print(type(exc).__name__, flush=True)
        """).until_ready()
    code, out, err = program.signal(signal.SIGTERM).end()
    assert err == ""
    assert (code, out) == ((7, "") if "exit" in action else (0, "ManagerClosed\n"))


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("wait", ["list(ws)", "ws.get()", "own.get()", "ws.wait_until_over()"])
def test_sys_exit_in_a_handler_exits(inline, wait):
    """Whoever waits for messages gets the `SystemExit`; everything ends."""
    code, out, err = Program(f"""
        with OkxWebSocketManager(urls=exchange.urls) as ws:
            own = ws.subscribe("status", queue=True)
            ws.subscribe("tickers", instId="BTC-USDT", handler=lambda m: sys.exit(7), inline={inline})
            {wait}
        print("over", flush=True)
        """).end()
    assert err == ""
    assert (code, out) == ((0, "over\n") if "over" in wait else (7, ""))


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "ws.close(); sys.exit(0)", "pass"])
def test_a_forked_child_leaves_its_parents_links_alone(end):
    """It may end in any way; what it cannot do, it is told."""
    code, out, err = Program(f"""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        ws = OkxWebSocketManager(urls=exchange.urls)
        ws.on_event(lambda event: print(event.type, flush=True))
        ws.subscribe("tickers", instId="BTC-USDT").wait()
        for n in range(5):
            ws.get()
            child = os.fork()
            if not child:
                from okx_ws import UsageError
                drain = lambda: list(iter(ws.get, None))  # what was queued before may still be read
                for call in (drain, lambda: ws.subscribe("status"), ws.stats, lambda: ws.wait_for("x")):
                    try:
                        call()
                        os._exit(1)
                    except UsageError as exc:
                        assert "belongs to process" in str(exc)
                {end}
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
        for n in range(20):
            ws.get(timeout=5)
        assert len(exchange.connects) == 1
        ws.close()
        """).end(within=4)
    assert (code, err) == (0, "")
    assert out == "connected\nsubscribed\nclosed\n"


def test_a_manager_made_in_a_forked_child_works():
    """Locks and lookups of the parent are no hindrance."""
    code, out, err = Program("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        ws = OkxWebSocketManager(urls=exchange.urls)
        ws.subscribe("tickers", instId="BTC-USDT").wait()
        child = os.fork()
        if not child:
            with OkxWebSocketManager(urls=exchange.urls) as mine:
                mine.subscribe("tickers", instId="ETH-USDT")
                print(mine.get(timeout=5)["arg"]["instId"], flush=True)
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        ws.close()
        """).end(within=4)
    assert (code, out, err) == (0, "ETH-USDT\n", "")


def test_a_notebook_that_makes_and_closes_managers_leaves_nothing():
    """No thread, no file descriptor."""
    code, out, err = Program("""
        import os
        def turn():
            with OkxWebSocketManager(urls=exchange.urls) as ws:
                ws.subscribe("tickers", instId="BTC-USDT", handler=lambda m: None)
                ws.subscribe("candle1m", instId="BTC-USDT")
                ws.get(timeout=5)
        import okx_ws
        from okx_ws import Limits
        OkxWebSocketManager.__init__.__kwdefaults__["limits"] = Limits(connects_per_s=1000)
        turn()
        time.sleep(0.2)
        before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for n in range(20):
            turn()
        time.sleep(0.2)
        assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before
        exchange.stop()
        """).end(within=6)
    assert (code, err) == (0, "")


# ---------------------------------------------------------------------- the older class keeps the process alive


OLDER = """
class Printer(OkxWebSocketManager):
    n = 0
    def messagePublish(self, message):
        self.n += 1
        if self.n == 3:
            print("ready", flush=True)
        if self.n == 20 and "close" in sys.argv:
            self.close()

ws = Printer(urls=exchange.urls)
"""


@pytest.mark.parametrize(
    "begin",
    [
        "ws.public_subscribe('btc')",
        "ws.channels = [dict(channel='tickers', instId='BTC-USDT')]\nthreading.Thread(target=ws.listenStreams).start()",
        "threading.Thread(target=ws.public_subscribe, args=['btc']).start()",
    ],
)
def test_ctrl_c_after_the_end_of_main_ends_a_program_that_was_kept_alive(begin):
    """Design 3.6: it lives on without a loop of its own, until Ctrl-C; no traceback."""
    program = Program(OLDER + begin).until_ready()
    code, out, err = program.signal(signal.SIGINT).end()
    assert (code, err) == (0, "")


def test_close_ends_a_program_that_was_kept_alive():
    """By a callback, for example."""
    code, out, err = Program("sys.argv.append('close')\n" + OLDER + "ws.public_subscribe('btc')").end(within=10)
    assert (code, out, err) == (0, "ready\n", "")


def test_an_error_nobody_caught_ends_a_program_that_would_be_kept_alive():
    """Ctrl-C in its loop, above all: one is enough."""
    program = Program("""
        ws = OkxWebSocketManager(urls=exchange.urls)
        threading.Thread(target=ws.public_subscribe, args=["btc"]).start()
        threading.Thread(target=ws.listenStreams, daemon=False).start() if ws.msgQueue.get() else None
        ready(after=0.1)
        while True:
            ws.msgQueue.get()
        """).until_ready()
    code, out, err = program.signal(signal.SIGINT).end()
    assert code == -signal.SIGINT and err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt")


def test_a_program_is_not_kept_alive_for_what_has_failed_for_good():
    """A key that is of no use."""
    code, out, err = Program("""
        ws = OkxWebSocketManager(urls=exchange.urls, **{**exchange.credentials, "passphrase": "wrong"})
        ws.private_subscribe()
        """).end(within=4)
    assert code == 0


@pytest.mark.parametrize("target", ["listenStreams", "public_subscribe"])
def test_a_daemon_thread_keeps_nothing_alive(target):
    """It was made one so that the program ends."""
    code, out, err = Program(f"""
        ws = OkxWebSocketManager(urls=exchange.urls)
        ws.channels = [dict(channel="tickers", instId="BTC-USDT")]
        args = ["btc"] if "public" in {target!r} else []
        threading.Thread(target=ws.{target}, args=args, daemon=True).start()
        ws.msgQueue.get(timeout=5)
        """).end(within=3)
    assert (code, err) == (0, "")


def test_pools_of_threads_work_while_a_program_is_kept_alive():
    """Though they were imported after the manager was made."""
    code, out, err = Program("""
        class Pooled(OkxWebSocketManager):
            def messagePublish(self, message):
                from concurrent.futures import ThreadPoolExecutor
                with ThreadPoolExecutor(1) as pool:
                    print(pool.submit(lambda: "worked").result(), flush=True)
                self.close()

        ws = Pooled(urls=exchange.urls)
        exchange.say = None
        ws.public_subscribe("btc")
        """).end(within=5)
    assert (code, err) == (0, "") and out.startswith("worked")


def test_sending_in_a_forked_child_is_refused():
    """Silence would be the loss of an order."""
    code, out, err = Program("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from okx_ws import UsageError
        ws = OkxWebSocketManager(urls=exchange.urls)
        ws.public_subscribe("btc")
        ws.get(timeout=5)
        registration = ws.on_event(print)
        child = os.fork()
        if not child:
            for call in (lambda: ws.ws.send("hello"), registration.remove):
                try:
                    call()
                    os._exit(1)
                except UsageError:
                    pass
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        registration.remove()
        ws.close()
        """).end(within=4)
    assert (code, out, err) == (0, "", "")


def test_a_book_is_not_readable_in_a_forked_child():
    """Nothing changes it there: it would be served as current for ever."""
    code, out, err = Program("""
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        from okx_ws import BookOutOfSync
        ws = OkxWebSocketManager(urls=exchange.urls)
        book = ws.order_book("BTC-USDT").wait_ready()
        child = os.fork()
        if not child:
            try:
                book.best_bid
            except BookOutOfSync as exc:
                os._exit(0 if "another process" in str(exc) and not book.synced else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert book.wait_ready().best_bid
        ws.close()
        """).end(within=4)
    assert (code, out, err) == (0, "", "")
