"""Numbers for Prometheus: a page of links, subscriptions and queues. Wants `pip install okx-ws[metrics]`."""

import urllib.request

from prometheus_client import CollectorRegistry, start_http_server

from okx_ws import OkxWebSocketManager
from okx_ws.exchange import LocalExchange
from okx_ws.metrics import StatsCollector


def main() -> None:
    with LocalExchange() as exchange, OkxWebSocketManager(urls=exchange.urls) as ws:
        registry = CollectorRegistry()
        registry.register(StatsCollector(ws))
        server, _ = start_http_server(0, addr="127.0.0.1", registry=registry)  # a program of yours: a port, say 9100
        ws.subscribe([{"channel": "tickers", "instId": "BTC-USDT"}, {"channel": "trades", "instId": "BTC-USDT"}])
        for _ in range(20):
            ws.get(timeout=10)
        page = urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10).read().decode()
        for line in page.splitlines():
            if not line.startswith("#"):
                print(line)
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
