"""`net.dial`: lookups and connects, interruptible and under one deadline."""

import socket
import threading
import time

import pytest

from okx_ws.net import dial
from okx_ws.net.poller import Poller, Stopped, Waker, WireError


@pytest.fixture
def waiting():
    """A waker, a poller, and the switch that stops it."""
    stop = threading.Event()
    waker = Waker()
    poller = Poller(waker, stop.is_set)
    yield waker, poller, stop
    poller.close()
    waker.close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def at(port):
    """Return what the resolver would say of a port on loopback."""
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))


def address(sock):
    return at(sock.getsockname()[1])


@pytest.fixture
def refused():
    """An address nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        found = address(sock)
    return found


def test_an_address_needs_no_lookup(waiting):
    """No thread for IP literals; version 6 too."""
    waker, poller, _ = waiting
    threads = threading.active_count()
    for host in ("127.0.0.1", "::1"):
        (found,) = dial.resolve(host, 443, poller, waker, time.monotonic() + 1)
        assert found[4][:2] == (host, 443)
    assert threading.active_count() == threads


def test_a_name_is_looked_up(waiting):
    """localhost is known everywhere."""
    waker, poller, _ = waiting
    found = dial.resolve("localhost", 443, poller, waker, time.monotonic() + 5)
    assert {address[4][0] for address in found} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
def test_an_unknown_name_is_told(host, waiting):
    """Also one that no encoder takes."""
    waker, poller, _ = waiting
    with pytest.raises(WireError, match="lookup of"):
        dial.resolve(host, 443, poller, waker, time.monotonic() + 5)


@pytest.mark.parametrize("end", ["deadline", "stop"])
def test_a_lookup_that_hangs_is_left_behind(end, waiting, monkeypatch):
    """It cannot be interrupted; nobody waits for it."""
    waker, poller, stop = waiting
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: release.wait(5) and [])
    start = time.monotonic()
    if end == "stop":
        stop.set()
        waker.wake()
    with pytest.raises(Stopped if end == "stop" else WireError):
        dial.resolve("slow.example", 443, poller, waker, start + 0.1)
    assert time.monotonic() - start < 0.5
    release.set()


def test_the_first_address_that_answers_wins(waiting, listener, refused, black_hole):
    """A refused one is passed over at once, a black hole after a quarter of a second."""
    waker, poller, _ = waiting
    start = time.monotonic()
    sock = dial.open_tcp([refused, address(listener)], poller, waker, start + 5)
    assert sock.getpeername() == listener.getsockname() and time.monotonic() - start < 0.2
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not sock.getblocking()
    sock.close()
    start = time.monotonic()
    dial.open_tcp([at(black_hole), address(listener)], poller, waker, start + 5).close()
    assert time.monotonic() - start < 0.6


def test_every_failure_is_listed(waiting, refused):
    """The error names each address with its reason."""
    waker, poller, _ = waiting
    with pytest.raises(
        WireError, match=r"127.0.0.1 port \d+: Connection refused; 127.0.0.1 port \d+: Connection refused"
    ):
        dial.open_tcp([refused, refused], poller, waker, time.monotonic() + 5)


def test_the_deadline_holds_over_all_addresses(waiting, black_hole):
    """One absolute limit."""
    waker, poller, _ = waiting
    start = time.monotonic()
    with pytest.raises(WireError):
        dial.open_tcp([at(black_hole)] * 5, poller, waker, start + 0.2)
    assert time.monotonic() - start < 0.6


def test_a_connect_is_interrupted(waiting, black_hole):
    """By another thread's wake-up."""
    waker, poller, stop = waiting
    threading.Timer(0.05, lambda: (stop.set(), waker.wake())).start()
    start = time.monotonic()
    with pytest.raises(Stopped):
        dial.open_tcp([at(black_hole)], poller, waker, start + 30)
    assert time.monotonic() - start < 1


def test_families_take_turns():
    """RFC 8305: a broken family does not come first all the time."""
    six = [(socket.AF_INET6, n) for n in range(3)]
    four = [(socket.AF_INET, n) for n in range(2)]
    assert dial.in_turn([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]


def test_one_lookup_serves_all_who_ask_meanwhile(monkeypatch):
    """A resolver that does not answer costs one thread, however often links try."""
    asked, answer = [], threading.Event()

    def slow(host, port, **kwargs):
        asked.append(host)
        answer.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    def look_up(within):
        waker = Waker()
        poller = Poller(waker, lambda: False)
        try:
            return dial.resolve("name.invalid", 443, poller, waker, time.monotonic() + within)
        finally:
            poller.close()
            waker.close()

    for _ in range(3):
        with pytest.raises(WireError, match="timed out"):
            look_up(0.05)
    threading.Timer(0.1, answer.set).start()
    assert look_up(5)[0][4] == ("127.0.0.1", 443)
    assert asked == ["name.invalid"]
