"""A client of another make (PyPI's websockets) to judge the local exchange with, and a plain HTTP one."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import json
import socket
import ssl
import struct
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from websockets.sync.client import connect as dial

from okx_ws.config import Credentials
from okx_ws.protocol.auth import login_request


@contextlib.contextmanager
def talk(exchange, endpoint="public"):
    """Speak to the exchange as a client of another make."""
    context = None
    if exchange.sslopt:
        context = ssl.create_default_context(cafile=exchange.sslopt["ca_certs"])
    # No bound on what waits: a client that pauses reading cannot close, either.
    with dial(exchange.urls[endpoint], ssl=context, proxy=None, max_queue=None) as ws:
        yield Client(ws)


class Client:
    def __init__(self, ws):
        self.ws = ws

    def send(self, message):
        self.ws.send(message if isinstance(message, str) else json.dumps(message))

    def get(self, timeout=5):
        text = self.ws.recv(timeout)
        return text if text == "pong" else json.loads(text)

    def ask(self, message):
        self.send(message)
        return self.get()

    def pause(self, seconds):
        """Say nothing for a while."""
        threading.Event().wait(seconds)

    def subscribe(self, *args, id=None):
        request = {"op": "subscribe", "args": list(args)}
        self.send({"id": id, **request} if id else request)

    def login(self, account, at=None):
        return self.ask(login_request(Credentials(**account.credentials), time.time() if at is None else at))

    def pushes(self, count, timeout=5):
        """Return the next data pushes."""
        found = []
        while len(found) < count:
            message = self.get(timeout)
            if "data" in message:
                found.append(message)
        return found


def get(exchange, path):
    """GET from the exchange's REST; return status and body."""
    context = ssl.create_default_context(cafile=exchange.sslopt["ca_certs"]) if exchange.sslopt else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else [])
    )
    try:
        with opener.open(exchange.urls["rest"] + path, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


@contextlib.contextmanager
def mute(exchange, *requests):
    """A client that has upgraded and sends these requests, but reads nothing."""
    with socket.create_connection(("127.0.0.1", urlsplit(exchange.urls["public"]).port)) as sock:
        upgrade = "GET /ws/v5/public HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        sock.sendall(f"{upgrade}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        assert sock.recv(12) == b"HTTP/1.1 101"
        for request in requests:
            sock.sendall(masked(json.dumps(request).encode()))
        yield sock


def masked(payload):
    """Return a client's text frame, with a mask of zeros."""
    return struct.pack("!BBH4x", 0x81, 0x80 | 126, len(payload)) + payload


def iso(ms):
    at = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signed(account, method, target, body=b"", at_ms=1_784_000_000_000, **changed):
    """Return the headers of a signed request, written here once more."""
    stamp = changed.pop("timestamp", iso(at_ms))
    digest = hmac.new(account.secretKey.encode(), f"{stamp}{method}{target}".encode() + body, hashlib.sha256).digest()
    headers = {
        "ok-access-key": account.apiKey,
        "ok-access-sign": base64.b64encode(digest).decode(),
        "ok-access-timestamp": stamp,
        "ok-access-passphrase": account.passphrase,
    }
    return {**headers, **{name.replace("_", "-"): value for name, value in changed.items()}}
