"""HTTP as scripted peers speak it."""


def http(body, status="200 OK", more=""):
    """Return an HTTP answer as bytes."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


GOOD = http('{"code":"0","msg":"","data":[{"last":"1.10"}]}')


def mute(talk):
    talk.read_head()
    talk.pause(30)
