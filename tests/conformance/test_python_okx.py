"""OKX's own client, PyPI's python-okx, trades on the local exchange and sees the same state.

It gets an environment of its own, made once and kept in pytest's cache; ``OKX_WS_PYTHON_OKX`` names the Python of
another one that has it.
"""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from okx_ws.exchange import LocalExchange

PACKAGE = "python-okx==0.4.4"

SCRIPT = Path(__file__).with_name("python_okx.py")

pytestmark = [pytest.mark.python_okx, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def python(request, tmp_path_factory):
    """The Python of an environment that has the package."""
    named = os.environ.get("OKX_WS_PYTHON_OKX")
    if named:
        return named
    cache = getattr(request.config, "cache", None)
    home = cache.mkdir("python-okx") if cache is not None else tmp_path_factory.mktemp("python-okx")
    path = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if path.exists() and has_package(path):
        return path
    # Our own pip fills it: to give it one takes longer than all the rest.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", home], check=True, timeout=60)
    where = asked_of(path, "import sysconfig; print(sysconfig.get_path('purelib'))")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", where]
    try:
        subprocess.run(
            [*pip, "--retries", "1", "--timeout", "10", PACKAGE],
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        reason = (str(exc.stderr or exc).strip().splitlines() or ["?"])[-1]
        pytest.skip(f"{PACKAGE} cannot be had here: {reason}")
    return path


def has_package(path):
    """Tell whether a Python has the very version."""
    return (
        asked_of(path, "from importlib.metadata import version; print('python-okx==' + version('python-okx'))")
        == PACKAGE
    )


def asked_of(path, code):
    """Run code with a Python; return what it prints, or nothing if it fails."""
    return subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture(scope="module")
def played(python):
    """What the client was answered, and what the exchange knows of it."""
    with LocalExchange(tls=True, speed=0.001) as exchange:
        asked = {"rest": exchange.urls["rest"], "private": exchange.urls["private"], "key": exchange.credentials}
        trusted = {**os.environ, "SSL_CERT_FILE": exchange.sslopt["ca_certs"], "NO_PROXY": "127.0.0.1"}
        run = subprocess.run(
            [python, SCRIPT], input=json.dumps(asked), capture_output=True, text=True, timeout=120, env=trusted
        )
        assert run.returncode == 0, run.stderr[-2000:]
        return json.loads(run.stdout), exchange.truth()


def row(answer):
    """Return the only row of an answer that is well."""
    assert answer["code"] == "0", answer
    (found,) = answer["data"]
    return found


def test_it_places_amends_and_cancels_over_rest(played):
    """Each answer says what the exchange knows."""
    rest, truth = played[0]["rest"], played[1]
    placed = row(rest["place"])
    order = truth.order("rest1")
    assert (placed["ordId"], placed["clOrdId"], placed["tag"], placed["sCode"]) == (order["ordId"], "rest1", "py", "0")
    live = row(rest["live"])
    assert (live["state"], live["px"], live["sz"], live["accFillSz"]) == ("live", "60000", "0.1", "0")
    assert row(rest["amend"])["reqId"] == "r1"
    assert [(one["clOrdId"], one["px"]) for one in rest["pending"]["data"]] == [("rest1", "59000")]
    assert row(rest["cancel"])["ordId"] == order["ordId"] and rest["again"]["data"][0]["sCode"] == "51400"
    assert row(rest["history"])["state"] == order["state"] == "canceled"


def test_it_trades_several_orders_at_once(played):
    """Some are well, some are not: code 2, and a reason in the row."""
    rest, truth = played[0]["rest"], played[1]
    several = rest["several"]
    assert several["code"] == "2" and [one["sCode"] for one in several["data"]] == ["0", "51008"]
    ordId = several["data"][0]["ordId"]
    assert row(rest["amend_several"])["ordId"] == row(rest["cancel_several"])["ordId"] == ordId
    assert (truth.orders[ordId]["sz"], truth.orders[ordId]["state"]) == ("0.02", "canceled")


def test_its_balance_adds_up_with_its_fills(played):
    """The position it closed, what that brought, and the fee."""
    rest, truth = played[0]["rest"], played[1]
    fills = rest["fills"]["data"]
    assert sum(Decimal(fill["fillSz"]) for fill in fills) == 12 and rest["positions"]["data"] == []
    assert [fill["tradeId"] for fill in reversed(fills)] == [fill["tradeId"] for fill in truth.fills]
    gained = sum(Decimal(fill["fillPnl"]) + Decimal(fill["fee"]) for fill in fills)
    before = {detail["ccy"]: detail["cashBal"] for detail in row(rest["before"])["details"]}
    (after,) = row(rest["balance"])["details"]
    assert Decimal(after["cashBal"]) == Decimal(before["USDT"]) + gained == truth.balances["USDT"]


def test_it_places_amends_and_cancels_over_websocket(played):
    """Replies by their ids, and the life of an order on ``orders``."""
    texts, truth = played[0]["websocket"], played[1]
    replies = {text["id"]: text for text in texts if "op" in text}
    assert {id: reply["code"] for id, reply in replies.items()} == {
        "p1": "0",
        "a1": "0",
        "c1": "0",
        "b1": "2",
        "b2": "0",
    }
    assert replies["b1"]["data"][1]["sMsg"] == "Parameter clOrdId  error"
    pushed = [text["data"][0] for text in texts if text.get("arg", {}).get("channel") == "orders" and "data" in text]
    lives = [(one["clOrdId"], one["state"], one["sz"], one["reqId"]) for one in pushed]
    assert lives == [
        ("ws1", "live", "0.1", ""),
        ("ws1", "live", "0.2", "r2"),
        ("ws1", "canceled", "0.2", ""),
        ("ws2", "live", "0.1", ""),
        ("ws2", "canceled", "0.1", ""),
    ]
    assert truth.order("ws1")["state"] == truth.order("ws2")["state"] == "canceled" and truth.open == []
