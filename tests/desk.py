"""A scripted private endpoint with REST beside it, for what an account's streams and its order questions bring."""

import json
import queue
import threading
from urllib.parse import parse_qsl, urlsplit

from tests.web import http

#: A key; and REST is asked by the views alone.
KEY = {"apiKey": "k", "secretKey": "s", "passphrase": "p", "clock_sync": False, "backfill": False}


class Desk:
    """Follows the test: each call has the present conversation do something, and returns what that returns.

    Attributes:
        orders: What REST knows: rows by ordId.
        asked: What REST was asked: paths with their parameters.
        answers: Raw answers that REST gives first.
        gate: Cleared, REST answers nothing until it is set; `let_one` lets one answer through.
        fills_known: Cleared, REST tells no fills until it is set.
    """

    def __init__(self, peer):
        self.orders, self.asked, self.answers = {}, [], queue.Queue()
        self.gate, self._passes = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.fills_known = threading.Event()
        self.fills_known.set()
        self._todo, self._done = queue.Queue(), queue.Queue()
        self._ending = threading.Event()
        self.server, rest = peer(self._talk), peer(self._answer)
        self.urls = {**self.server.urls, "rest": f"http://127.0.0.1:{rest.port}"}

    # ------------------------------------------------------------------ the socket

    def _talk(self, talk):
        talk.upgrade()
        talk.accept_login()
        while not self._ending.is_set():
            action = self._todo.get(timeout=20)
            if action is None:
                return
            self._done.put(action(talk))

    def __call__(self, action):
        self._todo.put(action)
        return self._done.get(timeout=10)

    def send(self, *messages):
        """Send frames."""
        self(lambda talk: [talk.json(message) for message in messages])

    def texts(self, *texts):
        """Send texts as they are."""
        self(lambda talk: [talk.text(text) for text in texts])

    def accept(self, *messages):
        """Acknowledge the next subscribe request, and send what follows it; return its args."""

        def act(talk):
            request = talk.read_request("subscribe")
            talk.ack(request)
            for message in messages:
                talk.json(message)
            return request["args"]

        return self(act)

    def renew(self, *messages, before=()):
        """See one unsubscribe and one subscribe of the same args, and send what follows; return those args.

        `before` is sent before the first of them is acknowledged.
        """

        def act(talk):
            left = talk.read_request("unsubscribe")
            for message in before:
                talk.json(message)
            talk.ack(left)
            again = talk.read_request("subscribe")
            assert left["args"] == again["args"]
            talk.ack(again)
            for message in messages:
                talk.json(message)
            return again["args"]

        return self(act)

    def drop(self):
        """Cut the link."""
        self(lambda talk: talk.reset())
        self._todo.put(None)

    def leave(self):
        """Let the scripts end."""
        self._ending.set()
        self._todo.put(None)
        self.gate.set()
        self.fills_known.set()

    # ------------------------------------------------------------------ REST

    def _answer(self, talk):
        while True:
            target = urlsplit(talk.read_head().split(b" ", 2)[1].decode())
            asked = (target.path, dict(parse_qsl(target.query)))
            self.asked.append(asked)
            while not self.gate.is_set() and not self._passes.acquire(timeout=0.02):
                pass
            if asked[0].endswith("/fills"):
                self.fills_known.wait(20)
            try:
                talk.send(self.answers.get_nowait())
            except queue.Empty:
                talk.send(http(json.dumps(self.found(*asked))))

    def let_one(self):
        """Let one answer through."""
        self._passes.release()

    def found(self, path, params):
        """Return what REST answers."""
        if path.endswith("/orders-pending"):
            rows = [row for row in self.orders.values() if row["state"] in ("live", "partially_filled")]
            rows = sorted(rows, key=lambda row: -int(row["ordId"]))
            before = int(params.get("after", 10**18))
            return {"code": "0", "msg": "", "data": [row for row in rows if int(row["ordId"]) < before][:100]}
        if path.endswith("/fills") or "/orders-history" in path:
            return {"code": "0", "msg": "", "data": []}
        name = "ordId" if "ordId" in params else "clOrdId"
        rows = [row for row in self.orders.values() if row[name] == params[name]]
        if not rows:
            return {"code": "51603", "msg": "Order does not exist", "data": []}
        return {"code": "0", "msg": "", "data": rows[-1:]}

    def questions(self):
        """Return what was asked of REST, shortly."""
        return [
            params.get("ordId") or params.get("clOrdId") or f"page {params.get('after', '')}"
            for _, params in self.asked
        ]
