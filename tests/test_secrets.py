"""Secrets: a whole private session, and nothing that anybody could read holds any of them."""

import contextlib
import gc
import io
import json
import logging
import re
import traceback

import pytest

from okx_ws import LoginError, OkxWsError, OrderRejected, OutcomeUnknown
from okx_ws.exchange import LocalExchange
from okx_ws.metrics import StatsCollector
from tests.watch import Watch, eventually

NEW = {"apiKey": "rotated-key-1", "secretKey": "rotated-secret-1", "passphrase": "rotated-phrase-1"}

WRONG = {**NEW, "passphrase": "mistyped-phrase-1"}

ORDER = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "100"}


def texts_of(error):
    """Return what a log of an exception shows, with its causes."""
    return [str(error), repr(error), "".join(traceback.format_exception(error))]


def test_a_whole_private_session_at_debug_level_leaks_nothing(connect, caplog):
    """Acceptance 94: neither apiKey, secretKey, passphrase nor a sign in logs, reprs, exceptions, stats or events."""
    told, errors = [], []
    with LocalExchange() as exchange, caplog.at_level(logging.DEBUG), contextlib.redirect_stderr(io.StringIO()) as err:
        old = dict(exchange.credentials)
        ws = connect(exchange, **old, markers=True)
        watch = Watch(ws)
        ws.on("*", lambda message: told.append(repr(message)))
        private = [("account", {}), ("positions", {"instType": "ANY"}), ("orders", {"instType": "ANY"}), ("fills", {})]
        private += [("orders-algo", {"instType": "ANY"}), ("books-l2-tbt", {"instId": "BTC-USDT"})]
        for channel, arg in private:
            ws.subscribe(channel, **arg).wait(5)
        account, orders = ws.account().wait_synced(5), ws.orders().wait_synced(5)
        assert ws.place_order(**ORDER, clOrdId="one").ok and orders.wait("one", "filled", timeout=5)
        assert ws.rest.balance() and ws.cancel_all_after(10) and ws.cancel_all_after(0)
        with pytest.raises(OrderRejected) as caught:
            ws.place_order(**{**ORDER, "sz": "99999999"})
        errors.append(caught.value)
        exchange.orders.delay_s = 0.4
        with pytest.raises(OutcomeUnknown) as caught:
            ws.place_order(**ORDER, timeout=0.1)
        errors.append(caught.value)
        exchange.orders.delay_s = 0.0
        exchange.say(json.dumps({"event": "error", "code": "60012", "msg": f"Illegal request: {old}", "connId": "c"}))
        exchange.say(f"not json {json.dumps(old)}")
        eventually(lambda: watch.of("malformed"))
        exchange.drop()
        account.wait_synced(10)
        exchange.replace_key(exchange.accounts[0], NEW)
        watch.wait("login_failed")
        with pytest.raises(OkxWsError) as caught:
            ws.place_order(**ORDER)
        errors.append(caught.value)
        with pytest.raises(LoginError) as caught:
            ws.login_again(**WRONG)
        errors.append(caught.value)
        ws.login_again(**NEW)
        assert ws.place_order(**ORDER, clOrdId="two").ok
        told += [json.dumps(ws.stats()), repr(list(StatsCollector(ws).collect()))]
        told += [repr(ws), str(vars(ws)), repr(ws.rest), repr(account), repr(orders), repr(watch.events)]
        requests = [request for desk in exchange.desks for request in desk.requests]
        ws.close()
    logins = [login for request in requests if request["op"] == "login" for login in request["args"]]
    signs = {login["sign"] for login in logins}
    assert len(signs) >= 3 and "filled" in "".join(told)
    told += [text for error in errors for text in texts_of(error)] + [caplog.text, err.getvalue()]
    told += [record.getMessage() for record in caplog.records] + [repr(record.args) for record in caplog.records]
    secrets = {*old.values(), *NEW.values(), *WRONG.values(), *signs}
    assert {secret for secret in secrets for text in told if secret in text} == set()
    assert not re.search(r"OK-ACCESS-SIGN\W+[A-Za-z0-9+/]{20}", "".join(told))
    del caught
    gc.collect()
