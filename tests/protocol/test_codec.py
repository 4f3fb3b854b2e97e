"""`protocol.codec`: kinds of frames, heads of pushes, requests, and the arg in an error's text."""

import json

import pytest

from okx_ws.protocol import codec


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"event":"subscribe","arg":{"channel":"tickers"},"connId":"accb8e21"}', "event"),
        ('{"id":"o1","op":"order","code":"0","msg":"","data":[]}', "reply"),
        ('{"arg":{"channel":"tickers"},"data":[{}]}', "data"),
        ('{"data":[],"arg":{"channel":"liquidation-orders"},"id":"7"}', "data"),
        ('{"arg":{"channel":"tickers"}}', "unknown"),
        ('{"arg":{"channel":7},"data":[]}', "unknown"),
        ('{"arg":"tickers","data":[]}', "unknown"),
        ("[]", "unknown"),
        ("null", "unknown"),
        ("42", "unknown"),
        ("{}", "unknown"),
    ],
)
def test_frames_are_classified_as_okx_means_them(text, kind):
    """Event first, then reply, then data; an id decides nothing."""
    assert codec.classify(codec.decode(text.encode())) == kind


def test_a_64_bit_integer_survives_decoding_exactly():
    """Acceptance 71: sequence numbers go past what a float can hold."""
    assert codec.decode(b'{"seqId":1724294007352168320,"new":{"x":1}}') == {
        "seqId": 1724294007352168320,
        "new": {"x": 1},
    }


@pytest.mark.parametrize(
    "head",
    [
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update"',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"eventType":"snapshot","curPage":1,"lastPage":true',
    ],
)
def test_a_head_of_a_push_gives_its_arg(head):
    """The text before ``,"data":`` proves a push if it is an arg and known keys."""
    assert codec.data_head_arg(head) == {"channel": "books", "instId": "BTC-USDT"}


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"pong",
        b'{"id":"1","op":"order","code":"0"',
        b'{"event":"x","arg":{"channel":"books"}',
        b'{"arg":{"channel":"books"},"id":"7"',
        b'{"arg":{"channel":"a},"',
        b'{"arg":"books"',
        b'{"arg":{"channel":7}',
    ],
)
def test_a_head_of_anything_else_gives_none(head):
    """Nothing that could be an event, a reply or a torn string is taken for a push."""
    assert codec.data_head_arg(head) is None


def test_the_key_of_an_arg_leaves_out_what_the_server_does_not_echo():
    """Private pushes gain a uid, acks lose extraParams; neither changes whose they are."""
    asked = {"channel": "account", "ccy": "BTC", "extraParams": '{"updateInterval":"0"}'}
    pushed = {"ccy": "BTC", "channel": "account", "uid": "77982378738415879"}
    assert codec.arg_key(asked) == codec.arg_key(pushed) != codec.arg_key({"channel": "account"})


def test_a_request_is_the_json_okx_documents():
    """Op, args and an alphanumeric id."""
    texts = [codec.arg_text({"channel": "tickers", "instId": "BTC-USDT"}), codec.arg_text({"channel": "status"})]
    assert json.loads(codec.request("subscribe", texts, "s17")) == {
        "id": "s17",
        "op": "subscribe",
        "args": [{"channel": "tickers", "instId": "BTC-USDT"}, {"channel": "status"}],
    }


@pytest.mark.parametrize(
    ("msg", "named"),
    [
        (
            "Wrong URL or channel:index-tickers, instId:NEAR-USDT-SWAP doesn't exist. Please use the correct URL.",
            {("channel", "index-tickers"), ("instId", "NEAR-USDT-SWAP")},
        ),
        ("channel:trades,instId:NO-SUCH doesn't exist", {("channel", "trades"), ("instId", "NO-SUCH")}),
        ("Subscribe failed, wrong URL or channel: status", {("channel", "status")}),
        (
            "channel:positions, instType:ANY, instFamily:BTC-USD doesn't exist",
            {("channel", "positions"), ("instType", "ANY"), ("instFamily", "BTC-USD")},
        ),
        ("Please log in", None),
        ('Illegal request: {"op":"subscribe","argss":[{"channel":"tickers"}]}', None),
    ],
)
def test_an_error_text_names_its_arg(msg, named):
    """Acceptance 28: all wordings of 60018 give the arg; other texts give none."""
    assert codec.named_arg(msg) == (None if named is None else frozenset(named))
