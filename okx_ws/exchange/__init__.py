"""A local OKX on loopback, to try things out and to test against. Needs the extra ``okx-ws[exchange]``.

It shares no code with the client's protocol: both are written from OKX's documentation, so that they can disagree.
"""

try:
    from .server import LocalExchange
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(f"{exc.name} is missing: pip install 'okx-ws[exchange]'", name=exc.name) from exc

from .accounts import Account, Position
from .faults import FAULTS, Fault, Faults, Struck, describe_faults
from .happenings import Happening
from .record import Generated
from .replay import Recording
from .truth import Truth

__all__ = [
    "FAULTS",
    "Account",
    "Fault",
    "Faults",
    "Generated",
    "Happening",
    "LocalExchange",
    "Position",
    "Recording",
    "Struck",
    "Truth",
    "describe_faults",
]
