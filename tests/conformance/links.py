"""Our link and the stock `WebSocketApp`, each driven alone: without manager, connection or session."""

import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit

import websocket

from okx_ws.net.app import FrameReader, LinkApp
from okx_ws.net.poller import NEVER, Poller, Waker
from okx_ws.net.wire import Wire
from tests.peer import BINARY, TEXT

#: A run that lasts longer than this hangs.
PATIENCE_S = 20


class Listener:
    """Takes what a link tells: ``("message", bytes)``, ``("ping", bytes)``, ``("pong", bytes)``."""

    def __init__(self):
        self.told = []

    def message(self, payload, opcode, app):
        """A whole message of this kind came over `app`."""
        self.told.append(("message", payload))

    def control(self, kind, payload):
        """A ping or pong came."""
        self.told.append((kind, payload))


class Echo(Listener):
    """Sends every message back as it came: what Autobahn's cases expect of a client."""

    def message(self, payload, opcode, app):
        app.echo(payload, opcode)


class CutSocket(socket.socket):
    """A socket that reads as if the peer's bytes had come in pieces.

    A short read makes the wire wait for the next piece, as it does where the network cuts; so no test has to hope that
    two sends are not joined on the way.
    """

    #: Where to cut, as counts of bytes read from here on, the nearest first.
    cuts = ()

    def recv_into(self, buffer, size=0):
        """Read no further than the next cut."""
        room = memoryview(buffer)[: size or None]
        got = super().recv_into(room[: self.cuts[0]] if self.cuts else room)
        self.cuts = [cut - got for cut in self.cuts if cut > got]
        return got


class Reader(FrameReader):
    """Ours, telling the kind of a message too, which nobody else wants to know."""

    def _hand_on(self, payloads, kind):
        self.app.kind = kind
        super()._hand_on(payloads, kind)


class OurApp(LinkApp):
    """Ours, telling of pings too."""

    kind = TEXT

    def send_pong(self, payload):
        """Answer a ping."""
        self.owner.listener.control("ping", payload)
        super().send_pong(payload)

    def echo(self, payload, opcode):
        """Send a message."""
        self._send_frame(payload, opcode)


class Owner:
    """What a link asks of its connection."""

    def __init__(self, listener):
        self.listener = listener
        self.app = None

    def link_opened(self, app, now):
        """The upgrade succeeded."""
        self.app = app

    def received(self, payloads):
        """Messages came."""
        for payload in payloads:
            self.listener.message(payload, self.app.kind, self.app)

    def control_pong(self, payload):
        """A control pong came."""
        self.listener.control("pong", payload)

    def serve(self, now, idle):
        """Nothing is ever due."""
        return NEVER

    def must_pause(self):
        """Never."""
        return False


def run_ours(url, listener, *, tls=None, cuts=(), limit=32 << 20):
    """Run our link until it ends; return its `Loss`.

    Args:
        url: Of a peer on loopback.
        listener: Told of everything.
        tls: For wss, the context.
        cuts: Where the bytes that come after the TLS handshake are cut, the answer to the upgrade being the first.
        limit: `max_message_bytes`.
    """
    parts = urlsplit(url)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(CutSocket(socket.AF_INET, socket.SOCK_STREAM))
        sock.connect((parts.hostname, parts.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        waker = Waker()
        stack.callback(waker.close)
        poller = Poller(waker, lambda: False)
        stack.callback(poller.close)
        wire = Wire(sock, poller, waker, write_timeout=PATIENCE_S)
        wire.deadline = time.monotonic() + PATIENCE_S
        if tls is not None:
            wire.start_tls(tls, parts.hostname)
        sock.cuts = sorted(cuts)
        app = OurApp(url, wire, Owner(listener), limit)
        app.reader = Reader(app)
        app.run_forever()
        assert not cuts or sock.cuts != sorted(cuts), "the wire reads by another call than the one that cuts"
        return app.loss


class StockApp(websocket.WebSocketApp):
    """The library as it comes."""

    def echo(self, payload, opcode):
        """Send a message."""
        self.send(payload, opcode)


def run_stock(url, listener, *, tls=None):
    """Run the library's own loop until it ends; return the close code and reason that it tells, None for none."""
    end = []
    parts = urlsplit(url)

    def on_message(app, message):
        text = isinstance(message, str)
        listener.message(message.encode() if text else message, TEXT if text else BINARY, app)

    def on_error(app, error):
        if isinstance(error, websocket.ABNF) and error.data:  # 1.9.0 told of a close frame here alone
            end.append((int.from_bytes(error.data[:2], "big"), error.data[2:].decode() or None))

    # Not its own socket, which it leaves to the collector when a link is lost.
    sock = socket.create_connection((parts.hostname, parts.port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as on its own
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname=parts.hostname)
    app = StockApp(
        url,
        socket=sock,
        on_message=on_message,
        on_ping=lambda app, payload: listener.control("ping", bytes(payload)),
        on_pong=lambda app, payload: listener.control("pong", bytes(payload)),
        on_error=on_error,
        on_close=lambda app, code, reason: end.append((code, reason)),
    )
    # A loop that never returns would hang the tests: it is cut off instead.
    watchdog = threading.Timer(PATIENCE_S, app.close)
    watchdog.name = "stock watchdog"
    watchdog.start()
    try:
        app.run_forever()
    finally:
        sock.close()
        watchdog.cancel()
        watchdog.join()
    return end[0] if end else (None, None)
