"""How many messages a second reach a user's function, on the machine at hand: ``python -m tests.bench``."""

import json


def trade(number, instrument):
    """Return one message of the channel trades, as long as OKX's."""
    row = {
        "instId": instrument,
        "tradeId": str(number),
        "px": "64250.1",
        "sz": "0.75310512",
        "side": "buy",
        "ts": str(1_700_000_000_000 + number),
        "count": "1",
        "source": "0",
        "seqId": 38_390_000_000 + number,
    }
    return json.dumps({"arg": {"channel": "trades", "instId": instrument}, "data": [row]}, separators=(",", ":"))
