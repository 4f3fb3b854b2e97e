"""Fixtures: the local exchange, scripted peers, captured frames, and the watch over threads."""

import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import hypothesis
import pytest

from okx_ws import Backoff, Limits, OkxWebSocketManager
from okx_ws.exchange import LocalExchange
from tests.peer import Peer

#: How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

#: Real captured frames live beside the project and are never part of it.
FRAMES = Path(os.environ.get("OKX_WS_FRAMES", Path(__file__).resolve().parents[2] / "shared" / "frames"))

#: Impatient settings: loopback answers at once, and the limits of the real exchange would only slow the tests down.
QUICK = {"backoff": Backoff(first_s=0.01, cap_s=0.05), "limits": Limits(connects_per_s=1000)}


@pytest.fixture(scope="session", autouse=True)
def programs_heed_ctrl_c():
    """A shell has what it runs in the background ignore Ctrl-C, and every program that is started from there would."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Fail any test that leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 3
    while left := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {left}")
        left[0].join(0.05)


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine(monkeypatch):
    """Fail any test that looks up a name that is not of this machine."""
    real, foreign = socket.getaddrinfo, []

    def guarded(host, *args, **kwargs):
        if host not in ("localhost", "127.0.0.1", "::1") and not str(host).endswith("invalid"):
            foreign.append(host)
            raise socket.gaierror(f"{host} is not of this machine")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", guarded)
    yield
    assert foreign == []


@pytest.fixture
def frames():
    """The folder of real captured frames."""
    if not FRAMES.is_dir():
        pytest.skip(f"the captured frames are not here ({FRAMES}); set OKX_WS_FRAMES to their folder")
    return FRAMES


@pytest.fixture
def exchange():
    """A local exchange over plain ws."""
    with LocalExchange() as running:
        yield running


@pytest.fixture(scope="module")
def world():
    """One exchange for a whole module, ten times as busy as the real one."""
    with LocalExchange(speed=10) as running:
        yield running


@pytest.fixture
def ws(world, connect):
    """A manager on it."""
    return connect(world)


@pytest.fixture
def tls_exchange():
    """A local exchange over wss."""
    with LocalExchange(tls=True) as running:
        yield running


@pytest.fixture
def black_hole():
    """A loopback port whose connects are neither accepted nor refused: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()[1]


@pytest.fixture
def connect():
    """Make managers that are closed at the end: ``connect(exchange, **settings)`` or ``connect(urls=…)``."""
    made = []

    def make(exchange=None, **settings):
        known = {} if exchange is None else {"urls": exchange.urls, "sslopt": exchange.sslopt}
        ws = OkxWebSocketManager(**{**QUICK, **known, **settings})
        made.append(ws)
        return ws

    yield make
    for ws in made:
        ws.close()


@pytest.fixture
def older(world):
    """Make objects of a class written against the older one; they are closed at the end."""
    made = []

    def make(cls=OkxWebSocketManager, exchange=world, key=False, **settings):
        urls = {} if exchange is None else {"urls": exchange.urls}
        credentials = exchange.credentials if key else {}
        made.append(cls(**{**QUICK, **urls, **credentials, **settings}))
        return made[-1]

    yield make
    for ws in made:
        ws.close()


@pytest.fixture
def peer():
    """Make scripted peers: ``peer(script)`` listens on loopback and runs ``script(conversation)`` per connection."""
    made = []

    def make(script, **options):
        made.append(Peer(script, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
