"""A scripted peer: a raw socket server that speaks as much WebSocket as a script tells it to, and as wrongly."""

import base64
import contextlib
import hashlib
import json
import queue
import socket
import ssl
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(payload=b"", opcode=TEXT, fin=True, rsv=0, size=None):
    """Return one server frame; `size` lies about the length."""
    payload = payload.encode() if isinstance(payload, str) else payload
    n = len(payload) if size is None else size
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if n < 126:
        return head + bytes([n]) + payload
    if n < 65_536:
        return head + b"\x7e" + struct.pack("!H", n) + payload
    return head + b"\x7f" + struct.pack("!Q", n) + payload


def close_frame(code=1000, reason=""):
    return frame(struct.pack("!H", code) + reason.encode(), CLOSE)


class Gone(Exception):
    """The client has left."""


class Conversation:
    """One accepted connection, from the server's side."""

    def __init__(self, sock, number, ending):
        self.sock = sock
        self._ending = ending
        #: Which connection of the peer it is, from 1.
        self.number = number
        self._in = b""

    def read(self, size):
        while len(self._in) < size:
            more = self.sock.recv(65_536)
            if not more:
                raise Gone
            self._in += more
        data, self._in = self._in[:size], self._in[size:]
        return data

    def read_head(self):
        """Read the client's upgrade request."""
        while b"\r\n\r\n" not in self._in:
            more = self.sock.recv(65_536)
            if not more:
                raise Gone
            self._in += more
        head, _, self._in = self._in.partition(b"\r\n\r\n")
        return head

    def upgrade(self):
        """Do the opening handshake."""
        head = self.read_head()
        key = next(
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        lines = (
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
        )
        self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    def pause(self, seconds):
        """Do nothing for a while, as a slow server does."""
        if self._ending.wait(seconds):
            raise Gone

    def send(self, data):
        self.sock.sendall(data)

    def text(self, text):
        self.send(frame(text))

    def json(self, message):
        self.text(json.dumps(message, separators=(",", ":")))

    def read_frame(self):
        """Return (opcode, payload) of the client's next frame."""
        first, second = self.read(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack("!H", self.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self.read(8))[0]
        mask = self.read(4)
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.read(size)))
        return first & 0x0F, payload

    def read_text(self):
        """Return the client's next text other than a ping; answer those."""
        while True:
            opcode, payload = self.read_frame()
            if opcode == TEXT and payload != b"ping":
                return payload.decode()
            if opcode == TEXT:
                self.text("pong")
            elif opcode == CLOSE:
                raise Gone

    def read_request(self, op=None):
        """Return the client's next request, which must have this op."""
        request = json.loads(self.read_text())
        assert op is None or request["op"] == op, request
        return request

    def ack(self, request, arg=None):
        """Acknowledge a subscribe or unsubscribe request, or one arg of it."""
        for one in request["args"] if arg is None else [arg]:
            self.json({"id": request["id"], "event": request["op"], "arg": one, "connId": "a4d3ae55"})

    def accept_login(self):
        request = self.read_request("login")
        self.json({"event": "login", "code": "0", "msg": "", "connId": "a4d3ae55"})
        return request

    def subscribed(self):
        """Upgrade, and acknowledge the first request; return it."""
        self.upgrade()
        request = self.read_request("subscribe")
        self.ack(request)
        return request

    def until_gone(self):
        """Read until the client leaves; answer pings."""
        while True:
            self.read_text()

    def close(self, code=1000, reason=""):
        """Close as a server does: close frame, the client's answer, end."""
        self.send(close_frame(code, reason))
        while self.read_frame()[0] != CLOSE:
            pass

    def reset(self):
        """Cut the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Peer:
    """Listens on a free loopback port; runs `script` with a `Conversation` on a thread for each connection.

    What a script returns is collected in `results`, what it raises is raised by `close`. A script that leaves the
    client waiting should end with `until_gone`.
    """

    def __init__(self, script, *, context=None, host="127.0.0.1"):
        self._script = script
        self._context = context
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        scheme = "ws" if context is None else "wss"
        self.url = f"{scheme}://{host}:{self.port}/ws/v5/public"
        self.urls = {name: f"{scheme}://{host}:{self.port}/ws/v5/{name}" for name in ("public", "private", "business")}
        self.urls["rest"] = "http://127.0.0.1:9"  # nobody is there
        self.connections = 0
        self.results = queue.Queue()
        self._errors = []
        self._ending = threading.Event()
        self._sockets = []
        self._threads = [threading.Thread(target=self._accept, name="peer")]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.settimeout(10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
            thread = threading.Thread(target=self._run, args=(sock, self.connections), name="peer")
            self._threads.append(thread)
            thread.start()

    def _run(self, sock, number):
        try:
            with contextlib.closing(sock):
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                    self._sockets.append(sock)
                with contextlib.closing(sock):
                    self.results.put(self._script(Conversation(sock, number, self._ending)))
        except (Gone, ConnectionError, TimeoutError, ssl.SSLError, OSError):
            self.results.put(None)
        except BaseException as exc:
            self._errors.append(exc)

    def close(self):
        """End every connection; raise what a script raised."""
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        if self._errors:
            raise self._errors[0]
