"""`StatsCollector`: a manager's `stats()` as Prometheus metrics; wants the extra ``metrics``.

    from prometheus_client import REGISTRY, start_http_server
    from okx_ws.metrics import StatsCollector

    REGISTRY.register(StatsCollector(ws))
    start_http_server(9100)

Nothing is counted here: each scrape asks `stats()` once, on the scraping thread, and costs nothing in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as exc:
    raise ImportError("metrics want prometheus-client: pip install 'okx-ws[metrics]'") from exc

__all__ = ["StatsCollector"]

Family = CounterMetricFamily | GaugeMetricFamily

#: Of an endpoint: the key in its numbers, the metric's name, what it tells.
ENDPOINT_COUNTERS = (
    ("connects", "okx_ws_connects", "Links that were opened."),
    ("messages", "okx_ws_messages", "Messages that came, acknowledgements and pongs too."),
    ("bytes", "okx_ws_received_bytes", "Bytes that came."),
    ("malformed", "okx_ws_malformed", "Messages that could not be read."),
)

#: Of a subscription.
SUBSCRIPTION_COUNTERS = (
    ("messages", "okx_ws_subscription_messages", "Messages of the subscription."),
    ("gaps", "okx_ws_subscription_gaps", "Holes in the subscription."),
    ("repairs", "okx_ws_subscription_repairs", "Holes that were filled or mended."),
)

#: Of the manager as a whole.
TOTALS = (
    ("handler_errors", "okx_ws_handler_errors", "Times a handler raised."),
    ("events_dropped", "okx_ws_events_dropped", "Events that slow event handlers did not get."),
)

STATES = ("pending", "active", "rejected")


class HasStats(Protocol):
    """A manager, as far as it matters here."""

    def stats(self) -> dict[str, Any]:
        """Return counts and states."""


class StatsCollector(Collector):
    """Collects the numbers of one manager; register it where your other metrics are.

    Args:
        manager: Whose numbers.
        name: Becomes the label ``manager``, to tell several managers apart.
        subscriptions: Have metrics of each single subscription too: three to five lines of the page for each.

    Threads: `collect` may run on any. Once the manager is closed, its last numbers go on being told.
    """

    def __init__(self, manager: HasStats, name: str = "okx", *, subscriptions: bool = True) -> None:
        self._stats: Callable[[], dict[str, Any]] = manager.stats
        self._name = name
        self._subscriptions = subscriptions

    def describe(self) -> list[Family]:
        """Return nothing: to register it must not ask a manager that may not have begun."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield every metric, of one `stats()`."""
        stats = self._stats()
        yield from self._of_endpoints(stats["endpoints"])
        if self._subscriptions:
            yield from self._of_subscriptions(stats["endpoints"])
        yield from self._of_queues(stats)
        for key, name, text in TOTALS:
            yield self._counter(name, text, [], [([], stats[key])])

    def _of_endpoints(self, endpoints: Mapping[str, Any]) -> Iterator[Family]:
        labels = ["endpoint"]
        yield self._gauge(
            "okx_ws_up",
            "1 while a link is up.",
            labels,
            [([e], float(s["state"] == "up")) for e, s in endpoints.items()],
        )
        for key, name, text in ENDPOINT_COUNTERS:
            yield self._counter(name, text, labels, [([e], s[key]) for e, s in endpoints.items()])
        trips = [([e], s["round_trip_s"]) for e, s in endpoints.items() if s["round_trip_s"] is not None]
        yield self._gauge("okx_ws_round_trip_seconds", "From the last ping to its pong.", labels, trips)
        counts = [
            ([e, state], float(sum(one["state"] == state for one in s["subscriptions"])))
            for e, s in endpoints.items()
            for state in STATES
        ]
        yield self._gauge("okx_ws_subscriptions", "Subscriptions, by state.", ["endpoint", "state"], counts)

    def _of_subscriptions(self, endpoints: Mapping[str, Any]) -> Iterator[Family]:
        rows = [([e, *named(one["arg"])], one) for e, s in endpoints.items() for one in s["subscriptions"]]
        labels = ["endpoint", "channel", "arg"]
        for key, name, text in SUBSCRIPTION_COUNTERS:
            yield self._counter(name, text, labels, [(values, one[key]) for values, one in rows if key in one])
        ages = [(values, one["age_s"]) for values, one in rows if one["age_s"] is not None]
        yield self._gauge("okx_ws_subscription_age_seconds", "Since the last message.", labels, ages)

    def _of_queues(self, stats: Mapping[str, Any]) -> Iterator[Family]:
        queues = {"shared": stats["queue"], **stats["own_queues"], **stats["handlers"]}
        depths = [([name], queue["depth"]) for name, queue in queues.items()]
        yield self._gauge("okx_ws_queue_depth", "Messages waiting.", ["queue"], depths)
        dropped = [([name], queue["dropped"]) for name, queue in queues.items()]
        yield self._counter("okx_ws_queue_dropped", "Messages a full queue dropped.", ["queue"], dropped)

    def _counter(self, name: str, text: str, labels: list[str], rows: list[tuple[list[str], float]]) -> Family:
        return self._filled(CounterMetricFamily(name, text, labels=["manager", *labels]), rows)

    def _gauge(self, name: str, text: str, labels: list[str], rows: list[tuple[list[str], float]]) -> Family:
        return self._filled(GaugeMetricFamily(name, text, labels=["manager", *labels]), rows)

    def _filled(self, family: Family, rows: list[tuple[list[str], float]]) -> Family:
        for values, number in rows:
            family.add_metric([self._name, *values], number)
        return family


def named(arg: Mapping[str, str]) -> tuple[str, str]:
    """Return the labels of an arg: its channel, and the rest in a readable form, always the same."""
    rest = ",".join(f"{name}={value}" for name, value in sorted(arg.items()) if name != "channel")
    return arg["channel"], rest
