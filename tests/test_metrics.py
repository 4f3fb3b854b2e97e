"""`StatsCollector`: a manager's numbers on a Prometheus page."""

import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest, start_http_server  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from okx_ws.metrics import StatsCollector  # noqa: E402


def scrape(registry):
    """Return the samples of a page: (name, labels without the manager's) to value."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["manager"] for sample in samples} == {"mine"}
    return {
        (sample.name, *(value for label, value in sorted(sample.labels.items()) if label != "manager")): sample.value
        for sample in samples
    }


def test_the_page_tells_what_stats_tell(exchange, connect):
    """Every number of the page is one of `stats()`, by name, endpoint and arg."""
    ws = connect(urls=exchange.urls)
    registry = CollectorRegistry()
    registry.register(StatsCollector(ws, "mine"))
    assert scrape(registry)["okx_ws_queue_depth", "shared"] == 0
    ws.subscribe("tickers", instId="BTC-USDT").wait()
    ws.get(timeout=5)
    page, stats = scrape(registry), ws.stats()
    assert page["okx_ws_up", "public"] == 1 and page["okx_ws_connects_total", "public"] == 1
    assert page["okx_ws_subscriptions", "public", "active"] == 1
    (subscription,) = stats["endpoints"]["public"]["subscriptions"]
    assert 1 <= page["okx_ws_subscription_messages_total", "instId=BTC-USDT", "tickers", "public"]
    assert (
        page["okx_ws_subscription_messages_total", "instId=BTC-USDT", "tickers", "public"] <= subscription["messages"]
    )
    assert 0 < page["okx_ws_received_bytes_total", "public"] <= stats["endpoints"]["public"]["bytes"]
    assert page["okx_ws_handler_errors_total",] == 0


def test_subscriptions_may_be_left_out(exchange, connect):
    """With thousands of them the page stays small."""
    ws = connect(urls=exchange.urls)
    registry = CollectorRegistry()
    registry.register(StatsCollector(ws, "mine", subscriptions=False))
    ws.subscribe("tickers", instId="BTC-USDT").wait()
    assert not any("subscription_" in name for name, *_ in scrape(registry))


def test_a_closed_manager_can_still_be_scraped(exchange, connect):
    """A page must not fail because a program is about to end; and a real page is served over HTTP."""
    ws = connect(urls=exchange.urls)
    registry = CollectorRegistry()
    registry.register(StatsCollector(ws, "mine"))
    ws.subscribe("tickers", instId="BTC-USDT").wait()
    ws.close()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as page:
            assert b'okx_ws_up{endpoint="public",manager="mine"} 0.0' in page.read()
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_without_prometheus_the_error_says_what_to_install():
    """The extra is named."""
    code = "import sys; sys.modules['prometheus_client'] = None; import okx_ws.metrics"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1 and "pip install 'okx-ws[metrics]'" in done.stderr
