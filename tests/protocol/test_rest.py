"""`protocol.rest`: the texts of requests, what is signed of them, and what an answer means."""

import json
import pickle
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws import ConnectionLost, ManagerClosed, RestError, UsageError
from okx_ws.config import Credentials
from okx_ws.protocol.auth import rest_headers
from okx_ws.protocol.rest import body_of, is_public, read_answer, target_of, texts_of, verdict_on

SECRET = "22582BD0CFF14C41EDBF1AB98506286D"
AT_S = 1607418537.715  # 2020-12-08T09:08:57.715Z
BALANCE = "/api/v5/account/balance"


@pytest.mark.parametrize(
    ("method", "target", "body", "sign"),
    [
        ("GET", target_of(BALANCE, {"ccy": "BTC"}), "", "HiZhvSfMtWJA3uUIVXV3a/bSXNPCWvYFXoGCVS8V4zY="),
        (
            "POST",
            target_of("/api/v5/account/set-leverage", {}),
            body_of({"instId": "BTC-USDT", "lever": "5", "mgnMode": "isolated"}),
            "eCnnCgWLjlQ9XnpUkrcny3qNq3WW/81KNrDr/XR6Xv8=",
        ),
    ],
)
def test_the_documented_vectors_are_reproduced(method, target, body, sign):
    """okx-protocol 10.1: ISO time with milliseconds and Z; the query and the exact body are signed."""
    headers = rest_headers(Credentials("key", SECRET, "phrase"), AT_S, method, target, body)
    assert headers == {
        "OK-ACCESS-KEY": "key",
        "OK-ACCESS-SIGN": sign,
        "OK-ACCESS-TIMESTAMP": "2020-12-08T09:08:57.715Z",
        "OK-ACCESS-PASSPHRASE": "phrase",
    }


def test_every_captured_rest_vector_is_reproduced(frames):
    """Vectors from the tests of other clients, made from parameters and bodies as users pass them."""
    lines = [json.loads(line) for line in (frames / "sign_vectors.jsonl").read_text().splitlines() if line]
    vectors = [line for line in lines if line["kind"] == "rest"]
    assert len(vectors) == 2
    for vector in vectors:
        parts = urlsplit(vector["path"])
        target = target_of(parts.path, texts_of(dict(parse_qsl(parts.query))))
        body = body_of(json.loads(vector["body"]) if vector["body"] else None)
        assert (target, body) == (vector["path"], vector["body"])
        seconds = {"2020-12-08T09:08:57.715Z": AT_S, "2020-03-28T12:21:41.274Z": 1585398101.274}[vector["timestamp"]]
        headers = rest_headers(Credentials("k", vector["secret"], "p"), seconds, vector["method"], target, body)
        assert (headers["OK-ACCESS-SIGN"], headers["OK-ACCESS-TIMESTAMP"]) == (vector["sign"], vector["timestamp"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("BTC-USDT", "BTC-USDT"),
        (17, "17"),
        (1724294007352168320, "1724294007352168320"),
        (Decimal("0.00000010"), "0.00000010"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_values_become_okxs_texts(value, text):
    """Exactly; without exponents."""
    assert texts_of({"x": value}) == {"x": text}
    assert texts_of({"x": None}) == {}, "None is left out"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.1, "x must not be a float: 0.1 is not exactly"),
        (float("nan"), "must not be a float"),
        ("", "x is empty: leave it out"),
        (Decimal("NaN"), "finite"),
        (Decimal("Infinity"), "finite"),
        ([1], "not list"),
        (b"x", "not bytes"),
    ],
)
def test_values_that_cannot_be_right_are_refused(value, told):
    """A float is not the number that was meant; the reason is told; in a body as in a query."""
    with pytest.raises(UsageError, match=told):
        texts_of({"x": value})
    if not isinstance(value, list) and value != "":
        with pytest.raises(UsageError, match=told.replace("x ", "")):
            body_of({"a": [{"x": value}]})


@given(st.dictionaries(st.text("abcXYZ", min_size=1), st.text(st.characters(codec="utf-8"), min_size=1), max_size=4))
def test_a_target_says_what_was_meant(params):
    """Any characters come through a query, in their order, in plain ASCII."""
    target = target_of(BALANCE, params)
    assert target.isascii() and not set(' "<>#+') & set(target)
    assert parse_qsl(urlsplit(target).query) == list(params.items())


@pytest.mark.parametrize(
    "path",
    ["", None, "account/balance", "/api/v5", "/api/v5/x?y=1", "/api/v5/../x", "https://elsewhere/api/v5/x", "//x"],
)
def test_a_path_is_okxs(path):
    """No query smuggled in, no other host, no way up."""
    with pytest.raises(UsageError, match="path must look like"):
        target_of(path, {})


def test_half_a_character_cannot_be_sent():
    """A lone surrogate has no bytes."""
    with pytest.raises(UsageError, match="a parameter cannot be sent"):
        target_of(BALANCE, {"ccy": "\ud800"})


def test_a_body_is_exact_json():
    """Compact, in order; Decimals as texts, true as true, None left out; lists for batches."""
    assert body_of({"sz": Decimal("0.10"), "on": True, "n": 7, "px": None, "t": "é"}) == (
        '{"sz":"0.10","on":true,"n":7,"t":"é"}'
    )
    assert body_of([{"a": "1"}, {"b": "2"}]) == '[{"a":"1"},{"b":"2"}]'
    assert body_of(None) == "" and body_of({}) == "{}"


@pytest.mark.parametrize("body", ["text", 1, {1: "x"}, {"a": {1, 2}}, {"a": "\ud800"}])
def test_a_body_that_cannot_be_right_is_refused(body):
    """Before anything is sent."""
    with pytest.raises(UsageError):
        body_of(body)


@pytest.mark.parametrize(
    ("path", "public"),
    [
        ("/api/v5/public/time", True),
        ("/api/v5/market/books", True),
        ("/api/v5/system/status", True),
        ("/api/v5/account/balance", False),
        ("/api/v5/trade/order", False),
        ("/api/v5/sprd/order", False),
    ],
)
def test_what_is_public_is_known(path, public):
    """Everything else is signed, also what is new."""
    assert is_public(path) is public


def test_numbers_are_never_changed():
    """Acceptance 71, 89: texts stay texts, integers of any size stay exact, a fraction becomes a Decimal."""
    big = '{"code":"0","data":[{"px":"0.10","seqId":1724294007352168320,"huge":98765432109876543210,"f":0.1,"new":[]}]}'
    assert read_answer(200, big.encode(), "/x") == [
        {"px": "0.10", "seqId": 1724294007352168320, "huge": 98765432109876543210, "f": Decimal("0.1"), "new": []}
    ]
    assert read_answer(200, b'{"code":"0","msg":"","data":[["1","2"]]}', "/x") == [["1", "2"]]


def test_every_captured_answer_is_read_as_it_is(frames):
    """Real instruments of five types: every text unchanged, nothing is a float."""
    bodies = sorted(frames.glob("rest_*.json"))
    assert len(bodies) == 5
    for body in bodies:
        rows = read_answer(200, body.read_bytes(), "/api/v5/public/instruments")
        assert rows == json.loads(body.read_text())["data"] and len(rows) > 5
        assert {type(value) for row in rows for value in row.values()} == {str}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["0", "1", "50011"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["code", "msg", "data", "sCode", "sMsg", "x"]), inner, max_size=4),
)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()), st.integers(100, 599))
def test_any_answer_is_rows_or_a_typed_error(payload, status):
    """Acceptance 89: whatever a server says; a success is rows and nothing else."""
    try:
        rows = read_answer(status, payload, "/x")
    except RestError as exc:
        assert exc.status == status and isinstance(exc.code, str) and str(exc)
    else:
        assert 200 <= status < 300 and all(isinstance(row, (dict, list)) for row in rows)


@pytest.mark.parametrize(
    ("status", "payload", "code", "told"),
    [
        (429, b'{"code":"50011","msg":"Too Many Requests","data":[]}', "50011", "too many requests.*HTTP 429"),
        (503, b'{"code":"50001","msg":"Service temporarily unavailable"}', "50001", "unavailable"),
        (401, b'{"msg":"API key doesn\'t exist","code":"50119"}', "50119", "another region.*HTTP 401"),
        (401, b'{"msg":"APIKey does not match","code":"50101"}', "50101", "sandbox=True"),
        (200, b'{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}', "51001", "spelling"),
        (200, b'{"code":51001,"msg":null}', "51001", "51001"),
        (502, b"<html>Bad gateway</html>", "", "not OKX's: '<html>Bad.*HTTP 502"),
        (200, b"<html>hello</html>", "", "not OKX's"),
        (200, b"", "", "not OKX's"),
        (200, b"[]", "", "not OKX's"),
        (200, b'{"data":[]}', "", "not OKX's"),
        (200, b'{"code":"0","data":[{"px":NaN}]}', "", "not OKX's"),
        (200, b'{"code":"0","data":[{"px":"\xff"}]}', "", "not OKX's"),
        (200, b'{"code":"0","data":' + b"[" * 100_000, "", "not OKX's"),
        (302, b"", "", "HTTP 302"),
        (200, b'{"code":"0","msg":"","data":null}', "0", "no list of rows"),
        (200, b'{"code":"0","msg":"","data":{"px":"1"}}', "0", "no list of rows"),
        (200, b'{"code":"0","msg":"","data":["1"]}', "0", "no list of rows"),
        (500, b'{"code":"0","msg":"","data":[{}]}', "0", "no list of rows.*HTTP 500"),
    ],
)
def test_answers_that_are_none_are_typed_errors(status, payload, code, told):
    """Acceptance 89: 429, 5xx, HTML, code != "0", empty data, redirects: never a wrong number."""
    with pytest.raises(RestError, match=told) as caught:
        read_answer(status, payload, "/api/v5/x")
    error = caught.value
    assert (error.code, error.status, error.path) == (code, status, "/api/v5/x")
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


def test_a_batch_that_failed_tells_why():
    """okx-protocol 10.2: with code 1 or 2 the reason stands in the rows, which the error carries."""
    rows = [{"sCode": "0", "ordId": "1"}, {"sCode": "51008", "sMsg": "Insufficient balance", "ordId": ""}]
    with pytest.raises(RestError, match="2: 51008: Insufficient balance") as caught:
        read_answer(200, json.dumps({"code": "2", "msg": "", "data": rows}).encode(), "/x")
    assert caught.value.data == rows


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionLost("x"), "again"),
        (RestError("50001", "", status=503), "again"),
        (RestError("50013", "", status=429), "again"),
        (RestError("50026", "", status=500), "again"),
        (RestError("50004", "", status=400), "again"),
        (RestError("", "html", status=502), "again"),
        (RestError("50011", "", status=200), "full"),
        (RestError("50061", "", status=200), "full"),
        (RestError("", "html", status=429), "full"),
        (RestError("50102", "", status=401), "clock"),
        (RestError("50112", "", status=401), "clock"),
        (RestError("51001", "", status=200), "final"),
        (RestError("50113", "", status=401), "final"),
        (RestError("", "html", status=200), "final"),
        (RestError("", "redirect", status=302), "final"),
        (RestError("", "no room"), "final"),
        (ManagerClosed("x"), "final"),
    ],
)
def test_failures_have_classes(error, verdict):
    """Acceptance 89: what may be tried again, and how, by okx-protocol 10.2."""
    assert verdict_on(error) == verdict
