"""`protocol.bars`: closed candles of every length and family, each once, whatever hole they fell into."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.exchange.candles import bar_bounds
from okx_ws.protocol.backfill import Unusable
from okx_ws.protocol.bars import Candles

LENGTHS = "1m 3m 5m 15m 30m 1H 2H 4H 6H 12H 1D 2D 3D 5D 1W 1M 3M".split()
LENGTHS += [f"{length}utc" for length in LENGTHS[8:]]
CHANNELS = [f"{family}candle{length}" for family in ("", "mark-price-", "index-", "sprd-") for length in LENGTHS]
CHANNELS += ["candle1s", "mark-price-candle1Yutc"]

NOW_MS = 1_784_000_000_000


def push(arg, *rows):
    return json.dumps({"arg": arg, "data": list(rows)}, separators=(",", ":")).encode()


class Series:
    """Bars of a channel, cut as the exchange cuts them; REST has the newest apart from the older ones."""

    def __init__(self, channel, number):
        self.channel = channel
        self.arg = {"channel": channel, "sprdId" if channel.startswith("sprd-") else "instId": "X"}
        fields = {"c": 3, "s": 1}.get(channel[0], 0)
        self._volumes = ["1"] * fields
        start, _ = bar_bounds(channel.partition("candle")[2], NOW_MS)
        self.starts = [start]
        while len(self.starts) < number:
            self.starts.insert(0, bar_bounds(channel.partition("candle")[2], self.starts[0] - 1)[0])

    def row(self, start):
        return [str(start), "1", "2", "1", "2", *self._volumes, "0" if start == self.starts[-1] else "1"]

    def answer(self, ask):
        after = int(ask.params.get("after", NOW_MS * 2))
        known = self.starts if "history" in ask.path else self.starts[-20:]
        rows = [self.row(start) for start in reversed(known) if start < after]
        return [row for row in rows if "history" not in ask.path or row[-1] == "1"][:7]


@pytest.mark.parametrize("channel", CHANNELS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_closed_bars_of_any_hole_come_once_and_in_order(channel, data):
    """Acceptance 87: of every channel of candles there is, also where the hole is older than the newest page."""
    series = Series(channel, 40)
    lost = data.draw(st.integers(0, 38))
    closed = data.draw(st.booleans())
    back = data.draw(st.integers(lost + closed, 39))
    last = [*series.row(series.starts[lost])[:-1], "1" if closed else "0"]
    repair = Candles(series.arg, push(series.arg).partition(b',"data"')[0], push(series.arg, last), NOW_MS)
    if data.draw(st.booleans()):
        repair.see(push(series.arg, series.row(series.starts[back])))
    else:
        back = 39
    for _ in range(60):
        ask = repair.next_ask()
        if ask is None:
            break
        repair.take(ask, series.answer(ask))
    got = [json.loads(message)["data"][0] for message in repair.messages()]
    assert [int(row[0]) for row in got] == series.starts[lost + closed : back]
    assert {row[-1] for row in got} <= {"1"} and repair.missing() == ""


EVEN = [name for name in CHANNELS if not name.removesuffix("utc").endswith(("M", "Y", "2D", "3D", "5D"))]


@pytest.mark.parametrize("channel", EVEN)
def test_a_bar_of_another_length_is_not_believed(channel):
    """A row does not name its instrument, but when a bar can start is known; months are uneven, and so may be days."""
    series = Series(channel, 4)
    repair = Candles(series.arg, b"", push(series.arg, series.row(series.starts[0])), NOW_MS)
    row = series.row(series.starts[2])
    with pytest.raises(Unusable, match="no candle of"):
        repair.take(repair.next_ask(), [[str(int(row[0]) + 500), *row[1:]]])
    assert repair.messages() == []
