"""A server's end of TLS that can do what Python's `ssl` offers no call for: update keys and renegotiate.

By `ctypes` on the OpenSSL that Python itself has loaded, public functions only. Not on a Python that has OpenSSL built
in, whose functions are not to be seen: `available` is False there.
"""

import _ssl
import ctypes
import select
import time

try:
    lib = ctypes.CDLL(_ssl.__file__)
    lib.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lib.SSL_get_finished.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    lib.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
    lib.TLS_server_method.restype = ctypes.c_void_p
    lib.SSL_CTX_new.argtypes = [ctypes.c_void_p]
    lib.SSL_CTX_new.restype = lib.SSL_new.restype = ctypes.c_void_p
    lib.SSL_CTX_use_certificate_chain_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.SSL_CTX_use_PrivateKey_file.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    lib.SSL_read.argtypes = lib.SSL_write.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    lib.SSL_set_fd.argtypes = lib.SSL_get_error.argtypes = [ctypes.c_void_p, ctypes.c_int]
    for name in ("SSL_new", "SSL_accept", "SSL_renegotiate", "SSL_do_handshake"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
    for name in ("SSL_free", "SSL_CTX_free"):
        getattr(lib, name).argtypes = [ctypes.c_void_p]
        getattr(lib, name).restype = None
    available = True
except (AttributeError, OSError):
    available = False

#: From OpenSSL's headers, where these calls are macros.
SET_MIN_PROTO, SET_MAX_PROTO, FILETYPE_PEM, WANT_READ, WANT_WRITE = 123, 124, 1, 2, 3

TLS_1_2, TLS_1_3 = 0x0303, 0x0304

PATIENCE_S = 10


class ServerTls:
    """TLS over an accepted socket, as a server; one thread does everything, as OpenSSL demands.

    Args:
        sock: Accepted.
        cert_file: PEM, with the chain and the key.
        version: The only one spoken.
    """

    def __init__(self, sock, cert_file, version):
        self._sock = sock
        sock.setblocking(False)  # a read that blocks would also wait for data behind the handshake that it completes
        self._context = lib.SSL_CTX_new(lib.TLS_server_method())
        lib.SSL_CTX_ctrl(self._context, SET_MIN_PROTO, version, None)
        lib.SSL_CTX_ctrl(self._context, SET_MAX_PROTO, version, None)
        path = str(cert_file).encode()
        assert lib.SSL_CTX_use_certificate_chain_file(self._context, path) == 1
        assert lib.SSL_CTX_use_PrivateKey_file(self._context, path, FILETYPE_PEM) == 1
        self._ssl = lib.SSL_new(self._context)
        lib.SSL_set_fd(self._ssl, sock.fileno())
        self._in = ctypes.create_string_buffer(16_384)
        self._read = b""
        #: The last message of ours that ended a handshake: each has its own.
        self._finished = b""
        self._call(lib.SSL_accept)

    def _call(self, function, *args, patience_s=PATIENCE_S):
        """Call until it has succeeded, and return what it returned; 0 if the time was up."""
        until = time.monotonic() + patience_s
        while (result := function(self._ssl, *args)) <= 0:
            reason = lib.SSL_get_error(self._ssl, result)
            if reason not in (WANT_READ, WANT_WRITE):
                raise ConnectionError(f"OpenSSL's error {reason}")
            left = until - time.monotonic()
            reading, writing = ([self._sock], []) if reason == WANT_READ else ([], [self._sock])
            if left <= 0 or not any(select.select(reading, writing, [], left)):
                return 0
        return result

    def readable(self, timeout):
        """Tell whether something can be read, within `timeout` seconds."""
        if not self._read:
            got = self._call(lib.SSL_read, self._in, len(self._in), patience_s=timeout)
            self._read = self._in[:got]
        return bool(self._read)

    def recv(self, size):
        """Read as a socket does."""
        if not self.readable(PATIENCE_S):
            raise TimeoutError
        data, self._read = self._read[:size], self._read[size:]
        return data

    def sendall(self, data):
        """Write everything."""
        if data and not self._call(lib.SSL_write, data, len(data)):
            raise TimeoutError

    def update_keys(self, both):
        """TLS 1.3: write with new keys from here on; with `both`, ask the client to do the same."""
        self._call(lib.SSL_key_update, int(both))
        self._call(lib.SSL_do_handshake)

    def renegotiate(self):
        """TLS 1.2: ask the client for a new handshake; it takes place within the reads that follow.

        Returns:
            Whether a handshake has been completed since this was called before.
        """
        finished = ctypes.create_string_buffer(64)
        lib.SSL_get_finished(self._ssl, finished, len(finished))
        completed, self._finished = finished.raw != self._finished, finished.raw
        self._call(lib.SSL_renegotiate)
        self._call(lib.SSL_do_handshake)
        return completed

    def close(self):
        """Free everything but the socket."""
        lib.SSL_free(self._ssl)
        lib.SSL_CTX_free(self._context)
