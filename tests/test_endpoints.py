"""`endpoints`: hosts by region, endpoints by channel."""

import pytest

from okx_ws import UsageError
from okx_ws.endpoints import endpoint_of, login_needed, resolve_urls
from okx_ws.exchange.rules import BARS, RULES, rule_of

#: The table of okx-protocol 1.1, written out again.
HOSTS = {
    ("global", False): "ws.okx.com",
    ("global", True): "wspap.okx.com",
    ("us", False): "wsus.okx.com",
    ("us", True): "wsuspap.okx.com",
    ("eea", False): "wseea.okx.com",
    ("eea", True): "wseeapap.okx.com",
    ("tr", False): "ws.okx.com",
    ("tr", True): "wspap.okx.com",
}


@pytest.mark.parametrize(("where", "host"), HOSTS.items())
def test_region_and_sandbox_pick_the_host(where, host):
    """On 443, which is written as no port."""
    urls = resolve_urls(*where)
    for endpoint in ("public", "private", "business"):
        assert urls[endpoint] == f"wss://{host}/ws/v5/{endpoint}"


def test_no_address_names_the_port_that_is_gone():
    """8443 was switched off in 2026."""
    assert not any("8443" in url for where in HOSTS for url in resolve_urls(*where).values())


def test_single_addresses_can_be_replaced():
    """A colo host, a proxy, the local exchange."""
    urls = resolve_urls("global", False, {"public": "ws://127.0.0.1:8080/x"})
    assert urls["public"] == "ws://127.0.0.1:8080/x" and urls["private"] == "wss://ws.okx.com/ws/v5/private"


def test_an_address_with_the_port_that_is_gone_is_refused():
    """It would be tried for ever; of another host, nobody knows."""
    with pytest.raises(UsageError, match="closed port 8443.*'wss://ws.okx.com:8443/ws/v5/public'"):
        resolve_urls("global", False, {"public": "wss://ws.okx.com:8443/ws/v5/public"})
    assert resolve_urls("global", False, {"public": "wss://colo.example:8443/x"})["public"].endswith(":8443/x")


def test_a_public_channel_on_the_wrong_endpoint_does_not_ask_for_a_key():
    """OKX says what is wrong there (60018); a key would not help."""
    assert not login_needed("tickers", "business") and not login_needed("books", "business")
    assert login_needed("orders-algo", "business") and login_needed("economic-calendar", "business")


@pytest.mark.parametrize("channel", sorted(RULES))
def test_every_documented_channel_goes_to_its_endpoint(channel):
    """Acceptance 37: the client's rules against the exchange's table."""
    rule = RULES[channel]
    assert endpoint_of(channel) == rule.endpoint
    assert login_needed(channel, rule.endpoint) == rule.login


@pytest.mark.parametrize("family", ["candle", "mark-price-candle", "index-candle", "sprd-candle"])
@pytest.mark.parametrize("bar", ["1m", "1H", "1Dutc", "3M", "7X"])
def test_candles_of_any_bar_live_on_business(family, bar):
    """By rule, not by list: a bar of tomorrow needs no release."""
    assert endpoint_of(family + bar) == "business" and not login_needed(family + bar, "business")
    assert (rule_of(family + bar) is None) == (bar == "7X"), BARS


@pytest.mark.parametrize(
    ("channel", "endpoint"),
    [
        ("grid-orders-moon", "business"),
        ("sprd-whatever", "business"),
        ("algo-next", "business"),
        ("books-elp", "public"),
    ],
)
def test_families_are_known_by_their_prefix(channel, endpoint):
    """Also those no table lists."""
    assert endpoint_of(channel) == endpoint


def test_an_unknown_channel_goes_to_public_with_a_log_line(caplog):
    """Not an error: OKX may know it."""
    with caplog.at_level("INFO", logger="okx_ws"):
        assert endpoint_of("brand-new") == "public"
    assert "brand-new" in caplog.text and "endpoint=" in caplog.text


def test_known_channels_are_not_remarked_upon(caplog):
    """The log line means something."""
    with caplog.at_level("INFO", logger="okx_ws"):
        for channel in RULES:
            endpoint_of(channel)
    assert caplog.text == ""
