"""One measurement, in a process of its own: ``python -m tests.bench.client WAY URL COUNT [CA]``; prints messages/s."""

import json
import queue
import sys
import threading
import time

import websocket

from okx_ws import OkxWebSocketManager

#: A run that lasts longer has failed.
PATIENCE_S = 60


class Meter:
    """The user's function: looks at each message, and takes the time from the first to the last."""

    def __init__(self, count):
        self._count = count
        self._seen = 0
        self._start = self._end = 0.0
        self.done = threading.Event()

    def __call__(self, message):
        self._seen = seen = self._seen + 1
        assert message["data"][0]["tradeId"] == str(seen), "lost, or out of order"
        if seen == 1:
            self._start = time.perf_counter()
        elif seen == self._count:
            self._end = time.perf_counter()
            self.done.set()

    def rate(self):
        """Return messages a second, once all have come."""
        if not self.done.wait(PATIENCE_S):
            raise TimeoutError(f"{self._seen} of {self._count} messages in {PATIENCE_S} s")
        return (self._count - 1) / (self._end - self._start)


def naive(meter, url, arg, ca_file):
    """What most programs do: `json.loads` in `on_message`, a `queue.Queue`, and a thread that reads it."""
    messages = queue.Queue()
    app = websocket.WebSocketApp(
        url,
        on_open=lambda app: app.send(json.dumps({"op": "subscribe", "args": [arg]})),
        on_message=lambda app, text: messages.put(json.loads(text)),
    )
    sslopt = {"ca_certs": ca_file} if ca_file else None
    threading.Thread(target=app.run_forever, kwargs={"sslopt": sslopt}, daemon=True).start()
    while not meter.done.is_set():
        message = messages.get(timeout=PATIENCE_S)
        if "data" in message:
            meter(message)


def by_get(ws, arg, meter):
    """``ws.get()`` in a loop."""
    ws.subscribe([arg])
    while not meter.done.is_set():
        meter(ws.get(timeout=PATIENCE_S))


def by_iteration(ws, arg, meter):
    """``for message in ws``."""
    ws.subscribe([arg])
    for message in ws:
        meter(message)
        if meter.done.is_set():
            break


def by_msg_queue(ws, arg, meter):
    """``ws.msgQueue.get()`` in a loop."""
    ws.subscribe([arg])
    while not meter.done.is_set():
        meter(ws.msgQueue.get(timeout=PATIENCE_S))


#: How okx_ws can be read, by the names of the table.
WAYS = {
    "inline handler": lambda ws, arg, meter: ws.subscribe([arg], handler=meter, inline=True),
    "handler": lambda ws, arg, meter: ws.subscribe([arg], handler=meter),
    "get": by_get,
    "iteration": by_iteration,
    "msgQueue": by_msg_queue,
}


def main():
    """Measure once."""
    way, url, count, *ca_file = sys.argv[1:]
    meter = Meter(int(count))
    arg = {"channel": "trades", "instId": f"BTC-USDT-{count}"}
    if way == "naive":
        naive(meter, url, arg, *ca_file or [None])
        print(meter.rate())
        return
    # "block": all arrive, with a queue of the usual size.
    sslopt = {"ca_certs": ca_file[0]} if ca_file else None
    with OkxWebSocketManager(urls={"public": url}, overflow="block", sslopt=sslopt) as ws:
        WAYS[way](ws, arg, meter)
        print(meter.rate())


if __name__ == "__main__":
    main()
