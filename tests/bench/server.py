"""The server of a measurement, a process of its own: ``python -m tests.bench.server [CERT_AND_KEY]``.

Prints its port; serves each connection the trades of one instrument, as many as its name ends with, as fast as the
socket takes them; ends when its standard input does. Over TLS each message is a record of its own, as an exchange that
writes each message makes them; all are encrypted before the first is sent, so that it is not the server that is
measured.
"""

import functools
import ssl
import sys

from tests.bench import trade
from tests.peer import Gone, Peer, frame


class MemoryTls:
    """The server's end of TLS over a blocking socket; can encrypt ahead."""

    def __init__(self, sock, context):
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._run(self._tls.do_handshake)

    def _run(self, step, *args):
        """Call until TLS wants no more bytes."""
        while True:
            try:
                result = step(*args)
            except ssl.SSLWantReadError:
                self._flush()
                if not self._in.write(self._sock.recv(65_536)):
                    self._in.write_eof()
            else:
                self._flush()
                return result

    def _flush(self):
        if self._out.pending:
            self._sock.sendall(self._out.read())

    def recv(self, size):
        """Read as a socket does."""
        return self._run(self._tls.read, size)

    def sendall(self, data):
        """Write in one record."""
        self._run(self._tls.write, data)

    def records(self, frames):
        """Return the bytes that send each frame in a record of its own."""
        for one in frames:
            self._tls.write(one)
        return self._out.read()


@functools.cache
def frames_of(instrument):
    """Return the frames of an instrument's trades."""
    return [frame(trade(number, instrument)) for number in range(1, int(instrument.rpartition("-")[2]) + 1)]


def serve(talk, context):
    """Be the script of a `Peer`."""
    sock = talk.sock
    sock.settimeout(60)
    if context is not None:
        talk.sock = MemoryTls(sock, context)
    talk.upgrade()
    arg = talk.read_request("subscribe")["args"][0]
    talk.json({"event": "subscribe", "arg": arg, "connId": "a4d3ae55"})
    frames = frames_of(arg["instId"])
    sock.sendall(b"".join(frames) if context is None else talk.sock.records(frames))
    try:
        talk.until_gone()
    except (Gone, OSError):
        return


def main():
    """Serve until standard input ends."""
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1])
    peer = Peer(lambda talk: serve(talk, context))
    print(peer.port, flush=True)
    sys.stdin.read()
    peer.close()


if __name__ == "__main__":
    main()
