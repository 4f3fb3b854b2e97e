"""`LinkApp`: websocket-client's `WebSocketApp`, reading in bulk from our wire. The only module that imports it.

`run_forever` does the upgrade, and then hands the loop to the dispatcher that `create_dispatcher` returns: ours. It
takes whole, unfragmented text frames straight out of the read buffer; every other frame (control, fragmented, binary,
64 kB or more) is read by the library's own `recv_frame`, from the same buffer. What differs from the library's loop,
besides speed:

* it asks the library for frames instead of calling its read callback, which would log every lost link as an error of
  the logger "websocket", close with 1000 whatever the fault, and join n fragments in n² time;
* a protocol error closes with 1002, text that is no UTF-8 with 1007, a message over the limit with 1009, as soon as a
  header says so; masked frames and oversized or fragmented control frames are refused (RFC 6455, 5.1 and 5.5);
* an upgrade answered with anything but 101 ends the attempt with that status, see `upgrade`;
* nothing it does waits without a bound, and its socket is closed when it ends.
"""

from __future__ import annotations

import logging
import struct
import time
from dataclasses import dataclass
from typing import Any, Protocol, cast

import websocket
from websocket._dispatcher import DispatcherBase

from ..errors import ProtocolError
from ..protocol.session import LinkFault
from .poller import Stopped, WireError
from .upgrade import LinkSocket
from .wire import Wire

__all__ = ["LinkApp", "LinkOwner", "Loss"]

log = logging.getLogger(__name__)

#: The closing handshake is a courtesy: a peer that does not answer is not waited for any longer.
GOODBYE_S = 0.25

#: A frame that lacks more than this goes to the library's reader, which gathers pieces in a list; ours would join the
#: buffer anew at each read.
GATHER_BYTES = 16_384

#: Bytes not sent yet beyond which pings stay unanswered; RFC 6455 5.5.3 lets us answer only the newest of several.
MAX_UNSENT_PONGS = 65_536

CONTINUATION, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA
FIN_TEXT = 0x81

first_four = struct.Struct("!HH").unpack_from


@dataclass(frozen=True)
class Loss:
    """Why a link ended.

    Attributes:
        code: The WebSocket close code: the peer's, ours if we closed for a fault, 1005 for a close frame without one,
            1006 if there was no close frame.
        reason: A text for people: the peer's own, or what went wrong.
        opened: The link had been up.
    """

    code: int
    reason: str
    opened: bool = True


LOST = Loss(1006, "the connection was lost without a close frame")


class LinkOwner(Protocol):
    """What a link tells; every call comes on the link's thread."""

    def link_opened(self, app: LinkApp, now: float) -> None:
        """The upgrade succeeded."""

    def received(self, payloads: list[bytes]) -> None:
        """Whole messages, in order; each text proven UTF-8."""

    def control_pong(self, payload: bytes) -> None:
        """A control pong arrived."""

    def serve(self, now: float, idle: bool) -> float:
        """Send what is due; return when to be asked next. May raise `LinkFault`.

        `idle`: the socket was just seen to hold nothing, so what the peer has not sent by now it has not sent.
        """

    def must_pause(self) -> bool:
        """Tell whether reading must pause, since a queue is full."""


class LinkApp(websocket.WebSocketApp):
    """One link over a connected wire.

    Args:
        url: What the upgrade asks for.
        wire: Connected, and encrypted if `url` is wss.
        owner: Told of everything.
        max_message_bytes: A longer message closes the link with 1009.
    """

    def __init__(self, url: str, wire: Wire, owner: LinkOwner, max_message_bytes: int) -> None:
        self.wire = wire
        self.owner = owner
        self.max_message_bytes = max_message_bytes
        self.reader = FrameReader(self)
        self.loss: Loss | None = None
        #: Seconds without life until a ping; see `run_forever`.
        self.ping_every = 0.0
        super().__init__(
            url, on_open=self._opened, on_error=self._failed, socket=cast(Any, LinkSocket(wire))
        )  # duck-typed: the library asks for no more than LinkSocket has

    def run_forever(self, ping_interval: float = 0, **options: Any) -> bool:  # type: ignore[override]
        """Upgrade and read until the link ends; `loss` then says why.

        Args:
            ping_interval: As the library means it, but kept by our own heartbeat on this very thread, with OKX's text
                ``ping`` beside the control ping: the library's ping thread would write to the socket while we read.
            **options: As in `websocket.WebSocketApp.run_forever`.
        """
        self.ping_every = ping_interval
        self.wire.phase = "upgrade"
        # Text is proven UTF-8 by `FrameReader`; the library's own check is a loop in Python.
        return super().run_forever(ping_interval=0, skip_utf8_validation=True, **options)

    def create_dispatcher(self, *args: Any, **kwargs: Any) -> Any:
        """Return our reader; the arguments have varied between versions and do not matter to it."""
        return self.reader

    def send_ping(self) -> None:
        """Send OKX's text ``ping``, which it answers, and a control ping, which keeps proxies on the way awake."""
        self.send_text("ping")
        self._send_frame(b"", PING)

    def send_text(self, text_data: str) -> None:
        """Queue a text message. Not through the library's own send, whose trace would print a login."""
        self._send_frame(text_data.encode(), TEXT)

    def send_pong(self, payload: bytes) -> None:
        """Queue the answer to a control ping, unless the peer leaves others unread: pings must not fill our memory."""
        if self.wire.unsent < MAX_UNSENT_PONGS:
            self._send_frame(payload, PONG)

    def send_close(self, code: int, reason: str = "") -> None:
        """Queue a close frame."""
        self._send_frame(struct.pack("!H", code) + reason.encode()[:123], CLOSE)

    def _send_frame(self, payload: bytes, opcode: int) -> None:
        self.wire.send(websocket.ABNF.create_frame(payload, opcode).format())

    def _opened(self, app: websocket.WebSocketApp) -> None:
        self.wire.deadline = None
        self.wire.serve = self.owner.serve
        self.owner.link_opened(self, time.monotonic())

    def _failed(self, app: websocket.WebSocketApp, exc: Exception) -> None:
        """The upgrade failed; once the link is up, `FrameReader` sees to everything."""
        if self.loss is None:
            self.loss = Loss(1006, str(exc) or type(exc).__name__, opened=False)


class FrameReader(DispatcherBase):
    """The loop of an open link."""

    app: LinkApp

    def __init__(self, app: LinkApp) -> None:
        super().__init__(app, None)
        self._wire = app.wire
        self._owner = app.owner
        #: Opcode, pieces and size so far of a fragmented message that is not whole yet.
        self._fragmented: int | None = None
        self._pieces: list[bytes] = []
        self._gathered = 0
        #: When the newest of these pieces came.
        self._piece_at: float | None = None
        #: The library is reading a text or binary frame.
        self._in_data_frame = False

    def read(self, sock: Any, read_callback: Any, check_callback: Any) -> None:
        """Read until the link ends, then close it as its end demands."""
        app = self.app
        ws = cast(websocket.WebSocket, app.sock)
        try:
            app.loss = self._loop(ws)
        except Stopped:
            app.send_close(1000)
            app.loss = Loss(1000, "closed by us")
        except ProtocolError as exc:
            app.send_close(exc.close_code, str(exc))
            app.loss = Loss(exc.close_code, str(exc))
        except websocket.WebSocketProtocolException as exc:  # reserved bits, opcodes and close codes
            app.send_close(1002, str(exc))
            app.loss = Loss(1002, f"protocol error: {exc}")
        except websocket.WebSocketConnectionClosedException:
            app.loss = LOST
        except WireError as exc:
            app.loss = Loss(1006, str(exc))
        except LinkFault as exc:
            app.send_close(1000)
            app.loss = Loss(1006, str(exc))
        except Exception as exc:  # a bug of ours must cost a link, not the thread
            log.exception("the link's own code failed")
            app.send_close(1011)
            app.loss = Loss(1011, f"internal error: {exc!r}")
        finally:
            ws.connected = False  # so that the library does not begin a closing handshake of its own
            self._wire.say_goodbye(GOODBYE_S)

    def life_at(self) -> float | None:
        """Return when bytes last came, if they belong to a text or binary message that is not whole yet."""
        buffer, position = self._wire.buffer, self._wire.position
        unfinished = self._in_data_frame or (position < len(buffer) and buffer[position] & 0x0F < CLOSE)
        return self._wire.read_at if unfinished else self._piece_at

    def _loop(self, ws: websocket.WebSocket) -> Loss:
        wire, owner = self._wire, self._owner
        while True:
            while owner.must_pause():
                wire.idle()
            whole = self._split() if self._fragmented is None else []
            if whole:
                self._hand_on(whole, TEXT)
            if wire.position < len(wire.buffer) and self._needs_library():
                loss = self._library_frame(ws)
                if loss is not None:
                    return loss
            elif not wire.fill():
                return LOST

    def _split(self) -> list[bytes]:
        """Take the whole, unfragmented text frames at the head of the buffer."""
        wire = self._wire
        buffer, position = wire.buffer, wire.position
        payloads: list[bytes] = []
        last = len(buffer) - 4
        while position <= last:
            head, size = first_four(buffer, position)
            if head == 0x817E:  # 126: the size is in the next two bytes
                start = position + 4
            elif 0x8100 <= head < 0x817E:
                start = position + 2
                size = head & 0x7F
            else:
                break
            payload = buffer[start : start + size]
            if len(payload) != size:
                break
            payloads.append(payload)
            position = start + size
        wire.position = position
        return payloads

    def _needs_library(self) -> bool:
        """Tell whether the frame that begins at the head of the buffer is one for the library's reader."""
        wire = self._wire
        have = len(wire.buffer) - wire.position
        if wire.buffer[wire.position] != FIN_TEXT or self._fragmented is not None:
            return True
        if have < 2:
            return False
        size = wire.buffer[wire.position + 1]
        if size == 126:
            if have < 4:
                return False
            size = int.from_bytes(wire.buffer[wire.position + 2 : wire.position + 4], "big")
            return size - have > GATHER_BYTES
        return size > 126 or have >= 2 + size  # the latter: `_split` needs four bytes, more than an empty frame has

    def _library_frame(self, ws: websocket.WebSocket) -> Loss | None:
        """Read one frame with the library and act on it; return the loss if it was a close."""
        opcode = self._check_header()
        if opcode is None:
            return LOST
        self._in_data_frame = opcode < CLOSE
        frame = ws.recv_frame()  # type: ignore[no-untyped-call]
        self._in_data_frame = False
        payload = bytes(frame.data)
        if opcode == CLOSE:
            return self._closed(payload)
        if opcode == PING:
            self.app.send_pong(payload)
        elif opcode == PONG:
            self._owner.control_pong(payload)
        else:
            self._piece(opcode, payload, bool(frame.fin))
        return None

    def _check_header(self) -> int | None:
        """Return the opcode of the coming frame, None at the end of the stream; refuse what must not be read."""
        first_two = self._peek(2)
        if len(first_two) < 2:
            return None
        opcode, size = first_two[0] & 0x0F, first_two[1] & 0x7F
        if first_two[1] & 0x80:
            raise ProtocolError("the server masked a frame", 1002)
        if opcode >= CLOSE:
            if size > 125 or not first_two[0] & 0x80:
                raise ProtocolError("a control frame is fragmented or longer than 125 bytes", 1002)
            return opcode
        if (opcode == CONTINUATION) != (self._fragmented is not None):
            raise ProtocolError("a fragment is out of place", 1002)
        if size > 125:
            header = self._peek(4 if size == 126 else 10)
            size = int.from_bytes(header[2:], "big")
        size += self._gathered
        if size > self.app.max_message_bytes:
            raise ProtocolError(f"a message of {size} bytes or more: the limit is {self.app.max_message_bytes}", 1009)
        return opcode

    def _peek(self, size: int) -> bytes:
        """Return the first `size` bytes of the buffer, waiting for them; fewer at the end of the stream."""
        wire = self._wire
        while len(wire.buffer) - wire.position < size:
            if not wire.fill():
                break
        return wire.buffer[wire.position : wire.position + size]

    def _piece(self, opcode: int, payload: bytes, last: bool) -> None:
        """Take a data frame: a whole message, or a piece of one."""
        if self._fragmented is None:
            self._fragmented = opcode
        if payload:
            self._pieces.append(payload)
            self._gathered += len(payload)
        self._piece_at = None if last else self._wire.read_at
        if last:
            message, kind = b"".join(self._pieces), self._fragmented
            self._fragmented, self._pieces, self._gathered = None, [], 0
            self._hand_on([message], kind)

    def _hand_on(self, payloads: list[bytes], kind: int) -> None:
        """Hand messages on."""
        if kind == TEXT and not all(map(bytes.isascii, payloads)):
            self._prove_utf8(payloads)
        self._owner.received(payloads)

    def _prove_utf8(self, payloads: list[bytes]) -> None:
        """Raise if one of these texts is no UTF-8; those before it are handed on first."""
        for index, payload in enumerate(payloads):
            try:
                str(payload, "utf-8")
            except UnicodeDecodeError as exc:
                if index:
                    self._owner.received(payloads[:index])
                raise ProtocolError(f"a text message is not UTF-8: {exc.reason} at byte {exc.start}", 1007) from exc

    def _closed(self, body: bytes) -> Loss:
        if not body:
            self.app.send_close(1000)
            return Loss(1005, "closed without a code")
        code = answer = int.from_bytes(body[:2], "big")
        try:
            reason = body[2:].decode()
        except UnicodeDecodeError:
            reason, answer = body[2:].decode("utf-8", "replace"), 1007
        self.app.send_close(answer)
        return Loss(code, reason)
