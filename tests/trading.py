"""Exchanges that are scripted for orders: their replies, and the REST beside them."""

import json
from urllib.parse import parse_qsl, urlsplit

from tests.web import http

KEY = {"apiKey": "key-1234567", "secretKey": "secret-1234567", "passphrase": "phrase-1234567"}


#: An order that nobody looks up.
ORDER = {"instIdCode": 10459, "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "60000", "sz": "0.01"}


def accepted(request, **more):
    """Return the reply of an exchange that accepts everything."""
    rows = [
        {"clOrdId": arg.get("clOrdId", ""), "ordId": str(number), "sCode": "0", "sMsg": "", "subCode": "", "tag": ""}
        for number, arg in enumerate(request["args"], 1)
    ]
    return {"code": "0", "data": rows, "id": request["id"], "msg": "", "op": request["op"], **more}


def refused(request, sCode, sMsg="no", code="1", **more):
    """Return the reply of one that refuses the last order of a request."""
    reply = accepted(request, code=code)
    reply["data"][-1].update({"ordId": "", "sCode": sCode, "sMsg": sMsg, **more})
    return reply


def answering(answer):
    """Return a script: log in, then `answer(talk, request)` for each request; what it returns is sent."""

    def script(talk):
        talk.upgrade()
        talk.accept_login()
        while True:
            reply = answer(talk, talk.read_request())
            if reply is not None:
                talk.json(reply)

    return script


ROW = {
    "instId": "BTC-USDT-SWAP",
    "instType": "SWAP",
    "instIdCode": 77,
    "tickSz": "0.1",
    "lotSz": "0.01",
    "minSz": "0.01",
}


class Rest:
    """A scripted REST: what it is asked for, and what it answers, by path."""

    def __init__(self, peer):
        self.asked = []
        self.rows = {"/api/v5/public/instruments": [ROW]}
        self.delay_s = 0.0
        self.port = peer(self._serve).port
        self.url = f"http://127.0.0.1:{self.port}"

    def _serve(self, talk):
        while True:
            head = talk.read_head()
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ", 2)
            size = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"ength:" in line), 0)
            body = json.loads(talk.read(size)) if size else None
            parts = urlsplit(target)
            if self.delay_s:
                talk.pause(self.delay_s)
            answer = self.rows.get(parts.path, [])
            answer = answer(dict(parse_qsl(parts.query)), body) if callable(answer) else answer
            self.asked.append((method, parts.path, dict(parse_qsl(parts.query)), body))
            if isinstance(answer, list):
                answer = {"code": "0", "msg": "", "data": answer}
            talk.send(http(json.dumps(answer)))

    def of(self, end):
        return [asked for asked in self.asked if asked[1].endswith(end)]
