"""`config`: settings are validated when made, secrets cannot be printed."""

import copy
import json
import pickle
import ssl

import pytest

from okx_ws import Backoff, Limits, OkxWebSocketManager, UsageError
from okx_ws.config import Credentials, tls_context


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ping_interval": 0}, "ping_interval"),
        ({"ping_interval": 30}, "ping_interval"),
        ({"ping_interval": "15"}, "ping_interval"),
        ({"pong_timeout": -1}, "pong_timeout"),
        ({"connect_timeout": float("nan")}, "connect_timeout"),
        ({"write_timeout": True}, "write_timeout"),
        ({"block_timeout": float("inf")}, "block_timeout"),
        ({"reconnect": 1}, "reconnect"),
        ({"backoff": 3}, "backoff"),
        ({"limits": {}}, "limits"),
        ({"queue_size": 0}, "queue_size"),
        ({"queue_size": 1.5}, "queue_size"),
        ({"redundancy": 3}, "redundancy"),
        ({"max_link_age": 0}, "max_link_age"),
        ({"subscriptions_per_link": 0}, "subscriptions_per_link"),
        ({"queue_bytes": -1}, "queue_bytes"),
        ({"overflow": "explode"}, "overflow"),
        ({"max_message_bytes": 1000}, "max_message_bytes"),
        ({"region": "mars"}, "region"),
        ({"sandbox": "yes"}, "sandbox"),
        ({"urls": {"publc": "wss://x"}}, "publc"),
        ({"urls": {"public": "https://x"}}, "public"),
        ({"urls": {"rest": "wss://x"}}, "rest"),
        ({"urls": {"public": "wss://host:port/"}}, "public"),
        ({"urls": {"public": "wss:///path"}}, "public"),
        ({"urls": ["wss://x"]}, "urls"),
        ({"sslopt": {"cert_reqs": ssl.CERT_NONE}}, "cert_reqs"),
        ({"sslopt": {"ca_certs": "/no/such/file"}}, "ca_certs"),
        ({"sslopt": {"context": "default"}}, "context"),
        ({"sslopt": []}, "sslopt"),
        ({"sslopt": {1: 2}}, "sslopt"),
        ({"region": []}, "region"),
        ({"ping_interval": 10**400}, "ping_interval"),
        ({"markers": 1}, "markers"),
        ({"clock_sync": 0}, "clock_sync"),
        ({"backfill": "yes"}, "backfill"),
        ({"backfill_timeout": 0}, "backfill_timeout"),
        ({"fallback_after": -1}, "fallback_after"),
        ({"fallback_after": True}, "fallback_after"),
        ({"proxy": "ftp://x"}, "proxy"),
        ({"apiKey": "k"}, "secretKey and passphrase"),
        ({"apiKey": "k", "secretKey": "s"}, "passphrase"),
        ({"apiKey": 5}, "apiKey"),
    ],
)
def test_a_bad_value_is_named_before_any_thread_starts(settings, named):
    """Acceptance 19, design 3.1: a `UsageError` that names the parameter."""
    with pytest.raises(UsageError, match=named):
        OkxWebSocketManager(**settings)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff(first_s=-1),
        lambda: Backoff(factor=0.5),
        lambda: Backoff(cap_s="30"),
        lambda: Limits(connects_per_s=0),
        lambda: Limits(requests_per_h=1.5),
        lambda: Limits(frame_bytes=10),
    ],
)
def test_policies_are_validated_too(make):
    """A policy that cannot be right cannot be made."""
    with pytest.raises(UsageError):
        make()


def test_a_usage_error_is_a_value_error():
    """Code that catches the builtin keeps working."""
    with pytest.raises(ValueError, match="queue_size"):
        OkxWebSocketManager(queue_size=-5)


SECRET = Credentials("key-1234", "secret-5678", "phrase-9012")


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, lambda c: f"{c!r} {c}", lambda c: str([c]), lambda c: str(dir(c))]
)
def test_credentials_do_not_show_themselves(show):
    """Acceptance 25: not in a repr, not in a format."""
    for secret in ("key-1234", "secret-5678", "phrase-9012"):
        assert secret not in show(SECRET)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, vars])
def test_credentials_do_not_leave(take):
    """No pickle, no copy, no `vars`."""
    with pytest.raises(TypeError):
        take(SECRET)


@pytest.mark.parametrize(
    ("text", "blotted"),
    [
        ('{"apiKey":"key-1234","passphrase":"phrase-9012"', '{"apiKey":"***","passphrase":"***"'),
        ('[{"passphrase" : "phrase-90', '[{"passphrase" : "***'),
        ('{"sign":"+LdIr8lk=","timestamp":"1"}', '{"sign":"***","timestamp":"1"}'),
        (r'"Illegal request: {\"sign\":\"+LdIr8lk=\"', r'"Illegal request: {\"sign\":\"***\"'),
        ("the key key-1234 is unknown", "the key *** is unknown"),
        ("nothing secret", "nothing secret"),
    ],
)
def test_secrets_are_blotted_out_of_texts(text, blotted):
    """OKX repeats a request it could not read, login and all, and may cut it in the middle."""
    assert SECRET.blot(text) == blotted


def test_secrets_with_odd_characters_are_blotted_too():
    """In the form JSON gives them."""
    odd = Credentials("k", "s", 'pä"ss\\1')
    for text in (json.dumps({"x": 'pä"ss\\1'}), json.dumps({"x": 'pä"ss\\1'}, ensure_ascii=False), 'pä"ss\\1'):
        assert "ss" not in odd.blot(text)


def test_secrets_are_blotted_out_of_decoded_frames():
    """At any depth, by value and by name."""
    frame = {"op": "login", "args": [{"apiKey": "x", "note": "by key-1234", "sign": "y"}], "n": 1}
    assert SECRET.blot_frame(frame) == {
        "op": "login",
        "args": [{"apiKey": "***", "note": "by ***", "sign": "***"}],
        "n": 1,
    }
    assert Credentials().blot_frame(frame) == frame


@pytest.mark.parametrize(
    "environ",
    [
        {"OKX_API_KEY": "k", "OKX_SECRET_KEY": "s", "OKX_PASSPHRASE": "p"},
        {"OKX_API_KEY": "k", "OKX_API_SECRET": "s", "OKX_API_PASSPHRASE": "p"},
        {"OKX_API_KEY": "k", "OKX_API_SECRET_KEY": "s", "OKX_PASSPHRASE": "p", "OKX_SECRET_KEY": ""},
    ],
)
def test_credentials_come_from_the_environment(environ, monkeypatch):
    """Every name people use for them."""
    found = Credentials.from_env(environ)
    assert (found.apiKey, found.secretKey, found.passphrase) == ("k", "s", "p")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert OkxWebSocketManager.from_env(sandbox=True)._credentials.apiKey == "k"


def test_no_credentials_are_fine():
    """Public data wants no key."""
    assert not Credentials.from_env({})
    assert Credentials.from_env({}).blot("text") == "text"


def test_verification_is_always_on():
    """Acceptance 95: the context checks certificates and host names."""
    for sslopt in (None, {}, {"ca_cert_path": "/tmp"}):
        context = tls_context(sslopt)
        assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


def test_a_password_is_not_told_with_a_bad_certificate():
    """The error names the files, not the password."""
    with pytest.raises(UsageError) as caught:
        tls_context({"certfile": "/no/such", "password": "hunter2"})
    assert "hunter2" not in str(caught.value) and "/no/such" in str(caught.value)
