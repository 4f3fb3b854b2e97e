"""What OKX's codes mean for a client, and what to do about them: tables.

Source: OKX v5 docs, "Error Code" and "WebSocket: Connect", read June 2026; field reports for the remedies.
A code that stands nowhere here refuses one request for good, and is told with OKX's own words.
"""

from __future__ import annotations

__all__ = [
    "CHANNEL_CODES",
    "CLOSE_CODES",
    "CROWDED_CLOSES",
    "FATAL_CLOSES",
    "LOGIN_CODES",
    "REST_BUSY_CODES",
    "REST_CLOCK_CODES",
    "REST_LIMIT_CODES",
    "RETRY_CODES",
    "SLOW_CLOSES",
    "TOO_MANY_CODES",
    "UNKNOWN_CODES",
    "WHOLE_REQUEST_CODES",
    "remedy",
]

#: Busy, rate-limited or internal errors: the same request is right, later.
RETRY_CODES = frozenset({"60014", "63999", "64007", "50001", "50011", "50013", "50026", "50061"})

#: While a login is under way, an error with one of these is its answer (no id comes back with it).
LOGIN_CODES = frozenset("60004 60005 60006 60007 60009 60022 60023 60024 60026 60031 60032 63999 50101 50110".split())

#: About a channel, never about a login.
CHANNEL_CODES = frozenset("60008 60011 60018 64000 64001 64002 64003 64004 64007".split())

#: A login refused with one of these may be right in a moment: logging in too often, an internal error.
LOGIN_RETRY_CODES = frozenset({"60014", "60023", "63999", "50001", "50011", "50013", "50026"})

#: The refusal concerns the request as a whole, not one of its args.
WHOLE_REQUEST_CODES = frozenset({"60012", "60014", "60019"})

#: Too many orders: of an endpoint, of a sub-account, at the gateway.
TOO_MANY_CODES = frozenset({"50011", "50061", "60014"})

#: OKX itself does not know whether an order was carried out.
UNKNOWN_CODES = frozenset({"50004", "50026"})

#: REST: busy, unavailable, or a time-out of OKX's own: the same question is right, later.
REST_BUSY_CODES = frozenset({"50001", "50004", "50013", "50026"})

#: REST: too many requests.
REST_LIMIT_CODES = frozenset({"50011", "50061"})

#: REST: the timestamp is too old, or none.
REST_CLOCK_CODES = frozenset({"50102", "50112"})

#: WebSocket close code → what OKX means by it.
CLOSE_CODES = {
    1000: "normal close",
    1001: "the server is going away",
    1006: "the connection was lost without a close frame",
    1009: "a request of ours was too long",
    4001: "login failed",
    4002: "invalid request",
    4003: "the API key has more than 100 subscriptions",
    4004: "no data received in 30 s",
    4005: "the server's send buffer is full: this reader is too slow",
    4006: "abnormal disconnect",
    4007: "the API key was changed or deleted",
    4008: "too many subscribed channels",
    4009: "too many subscriptions on this connection",
}

#: No reconnect mends these: the key must change first.
FATAL_CLOSES = frozenset({4001, 4007})

#: Too many subscriptions on one link: some have to move to another one.
CROWDED_CLOSES = frozenset({4008, 4009})

#: Coming back at once would only repeat them: the longest delay applies.
SLOW_CLOSES = frozenset({1009, 4002, 4003, 4008, 4009})

#: More connections have a private channel than OKX allows: what an event says that has no code.
CROWDED = "channel-conn-count-error"

REMEDIES = {
    "60004": "the timestamp of a login is whole Unix seconds; check the clock",
    "60005": "check OKX_API_KEY",
    "60006": "the timestamp was more than 30 s off: synchronise this machine's clock, or leave clock_sync on",
    "60007": "check the secret key",
    "60008": "this channel lives on another endpoint; pass endpoint='public', 'private' or 'business'",
    "60009": "check key, secret and passphrase, and that the key is not expired",
    "60011": "this channel needs a login: pass apiKey, secretKey and passphrase",
    "60012": "OKX could not read the request",
    "60014": "too many requests: subscribe many args in one call",
    "60018": "check the channel's spelling, its endpoint, that no field is missing or misspelt (orders and positions"
    " want an instType), and that the instrument exists and is not expired (index channels want the index, BTC-USDT,"
    " not BTC-USDT-SWAP)",
    "60024": "check the passphrase: it is the one chosen when the key was made, not the account's password",
    "60032": "a good key gets this on the wrong host: it may belong to another region, or to demo instead of live",
    "64000": "use instFamily instead of uly",
    "64001": "this channel has moved to /business: pass endpoint='business'",
    "64002": "this channel is not on /business: pass endpoint='public'",
    "64003": "the account's fee tier is too low for this channel (VIP)",
    "64004": "books-l2-tbt of the same instrument excludes books and books50-l2-tbt on one connection",
    "50004": "OKX ran out of time: an order may have been carried out or not; ask for it",
    "50011": "too many requests",
    "50026": "OKX failed: an order may have been carried out or not; ask for it",
    "50035": "the key must be bound to an IP address first",
    "50038": "this is not available in demo trading",
    "50061": "too many requests of this account",
    "50102": "the timestamp was more than 30 s off: synchronise this machine's clock, or leave clock_sync on",
    "50105": "check the passphrase: it is the one chosen when the key was made, not the account's password",
    "50111": "check OKX_API_KEY",
    "50112": "the timestamp was more than 30 s off: synchronise this machine's clock, or leave clock_sync on",
    "50113": "check the secret key",
    "50119": "a good key gets this on the wrong host: it may belong to another region",
    "50120": "the key lacks the permission for this",
    "50036": "its expTime had passed before it arrived",
    "50037": "its expTime passed before it was carried out",
    "51000": "a parameter is wrong or missing",
    "51001": "check the instrument's spelling, and that it exists and is not expired",
    "50101": "the key is for the other environment: a demo key needs sandbox=True, a live key sandbox=False",
    "50110": "this machine's address is not on the key's IP list",
}


def remedy(code: str) -> str:
    """Return what a user can do about an error code, or an empty text."""
    return REMEDIES.get(code, "")
