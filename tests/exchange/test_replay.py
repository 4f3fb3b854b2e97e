"""Recorded frames, served again."""

import json
import time

import pytest

from okx_ws.exchange import LocalExchange, Recording
from okx_ws.exchange import line as lines
from tests.exchange.client import masked, mute, talk
from tests.watch import eventually

BTC = {"channel": "tickers", "instId": "BTC-USDT"}
ETH = {"channel": "tickers", "instId": "ETH-USDT"}


@pytest.fixture
def recorded(tmp_path):
    """Write frames to a file: (arg, number, ts or None) each; return its path."""

    def write(*frames):
        path = tmp_path / "frames.jsonl"
        rows = [{"arg": arg, "data": [{"n": n, **({} if ts is None else {"ts": str(ts)})}]} for arg, n, ts in frames]
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return write


def numbers(pushes):
    return [push["data"][0]["n"] for push in pushes]


def test_subscribing_again_starts_over_and_doubles_nothing(recorded):
    """The first play ends with its subscription."""
    path = recorded(*((BTC, n, 1_000_000 + 50 * n) for n in range(12)))
    with LocalExchange() as exchange, talk(exchange) as client:
        exchange.replay(path, 1.0)
        client.subscribe(BTC)
        assert numbers(client.pushes(3)) == [0, 1, 2]
        client.send({"op": "unsubscribe", "args": [BTC]})
        while client.get().get("event") != "unsubscribe":
            pass
        client.subscribe(BTC)
        assert numbers(client.pushes(12)) == list(range(12))


def test_leaving_one_arg_leaves_the_others_playing(recorded):
    """They are one play, from one request."""
    path = recorded(*(((BTC, ETH)[n % 2], n, 1_000_000 + 20 * n) for n in range(20)))
    with LocalExchange() as exchange, talk(exchange) as client:
        exchange.replay(path, 1.0)
        client.subscribe(BTC, ETH)
        client.pushes(2)
        client.send({"op": "unsubscribe", "args": [BTC]})
        while client.get().get("event") != "unsubscribe":
            pass
        left = numbers(client.pushes(1))
        while left[-1] != 19:
            left += numbers(client.pushes(1))
        assert all(n % 2 for n in left) and len(left) > 5


@pytest.mark.parametrize("how", ["drop", "unsubscribe"])
def test_a_play_that_waits_for_its_client_ends_with_it(how, recorded, monkeypatch):
    """A client that reads nothing, and goes away."""
    monkeypatch.setattr(lines, "REPLAY_AHEAD", 3)
    path = recorded(*((BTC, "x" * 500_000, 1) for n in range(40)))
    with LocalExchange() as exchange:
        exchange.replay(path)
        with mute(exchange, {"op": "subscribe", "args": [BTC]}) as sock:
            eventually(lambda: len(lines._tasks) == 1)
            (task,) = lines._tasks
            (line,) = exchange.hub.lines
            eventually(lambda: line._outbox and time.monotonic() > line.active_at + 0.2)  # nothing goes out any more
            if how == "drop":
                exchange.drop()
            else:
                sock.sendall(masked(json.dumps({"op": "unsubscribe", "args": [BTC]}).encode()))
            eventually(task.done)


def test_frames_without_a_time_do_not_shift_the_rest(recorded):
    """They come with the frame before them; the first time there is counts as the start."""
    path = recorded((BTC, 0, None), (BTC, 1, 1_000_000), (BTC, 2, None), (BTC, 3, 1_000_500))
    assert [frame.at_s for frame in Recording(path).frames] == [0.0, 0.0, 0.0, 0.5]
