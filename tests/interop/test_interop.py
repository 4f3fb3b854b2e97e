"""Clients that we did not write log in and subscribe: python-okx, OKX's own, and ccxt's pro client.

Opt-in (``pytest -m interop``): PyPI's packages are installed, pinned, in a virtual environment that the test makes.
Several unrelated packages install a module ``okx``: none is ever imported here.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from okx_ws.exchange import LocalExchange

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]

PINNED = ("python-okx==0.4.4", "ccxt==4.5.90")

#: What runs there must meet no proxy, and none of the user's keys.
ENV = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and "OKX" not in name}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with both clients."""
    home = tmp_path_factory.mktemp("clients")
    venv.create(home, with_pip=True)
    found = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [found, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED]
    done = subprocess.run(install, capture_output=True, text=True, timeout=500)
    if done.returncode:
        pytest.skip(f"PyPI could not be had: {done.stderr.strip().splitlines()[-1]}")
    return found


def run(python, name, exchange):
    """Run a client; return what it got."""
    trust = {"SSL_CERT_FILE": exchange.sslopt["ca_certs"]} if exchange.sslopt else {}
    words = [python, Path(__file__).with_name(name), json.dumps(exchange.urls), json.dumps(exchange.credentials)]
    done = subprocess.run(words, env={**ENV, **trust}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def subscribed(exchange):
    """Return the channels that were subscribed, in whichever connection."""
    requests = [request for desk in exchange.desks for request in desk.requests if request["op"] == "subscribe"]
    return {arg["channel"] for request in requests for arg in request["args"]}


def test_python_okx_follows_market_data_and_the_account(python):
    """Over wss: tickers, trades, books, candles, account, orders; nothing is refused."""
    with LocalExchange(tls=True) as exchange:
        got = run(python, "python_okx_client.py", exchange)
        assert [desk.account is not None for desk in exchange.desks].count(True) == 1
    everything = got["public"] + got["business"] + got["private"]
    assert not [message for message in everything if message.get("event") == "error"]
    pushed = {message["arg"]["channel"] for message in everything if "data" in message}
    assert pushed == {"tickers", "trades", "books", "candle1m", "account"}
    acks = [message for message in everything if message.get("event") == "subscribe"]
    assert {ack["arg"]["channel"] for ack in acks} == pushed | {"orders"} and {ack["id"] for ack in acks} == {"a1"}
    assert next(m for m in got["private"] if "data" in m)["data"][0]["details"]


def test_ccxt_follows_market_data_and_the_account(python):
    """It reads instruments over REST, builds a book by its own rules, and logs in; REST agrees."""
    with LocalExchange() as exchange:
        got = run(python, "ccxt_client.py", exchange)
        assert subscribed(exchange) == {"tickers", "trades", "books", "candle1m", "account", "positions", "orders"}
    assert {"BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"} <= set(got["symbols"])
    assert got["ticker"]["bid"] < got["ticker"]["ask"] and got["trades"][0]["symbol"] == "BTC/USDT:USDT"
    assert got["book"]["bids"][0][0] < got["book"]["asks"][0][0] and got["book"]["nonce"] > 0
    assert len(got["candles"][0]) == 6 and got["balance"]["BTC"] == 1.5 and got["positions"] == 2
    assert got["rest"]["balance"]["BTC"] == 1.5 and got["rest"]["open"] == []  # USDT moves with the positions
    assert (got["rest"]["trades"], got["rest"]["book"]) == (5, 5) and got["rest"]["candles"] > 0
