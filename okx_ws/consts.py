"""The older class's constants: OKX's addresses for accounts of the global region; `endpoints` knows the others."""

from .endpoints import resolve_urls

__all__ = [
    "WS_BUSINESS_URL",
    "WS_PRIVATE_URL",
    "WS_PUBLIC_URL",
    "WS_SANBOX_BUSINESS_URL",
    "WS_SANBOX_PRIVATE_URL",
    "WS_SANBOX_PUBLIC_URL",
    "WS_SANDBOX_BUSINESS_URL",
    "WS_SANDBOX_PRIVATE_URL",
    "WS_SANDBOX_PUBLIC_URL",
]

_live, _demo = resolve_urls(), resolve_urls(sandbox=True)

WS_PUBLIC_URL = _live["public"]
WS_PRIVATE_URL = _live["private"]
WS_BUSINESS_URL = _live["business"]

WS_SANDBOX_PUBLIC_URL = _demo["public"]
WS_SANDBOX_PRIVATE_URL = _demo["private"]
WS_SANDBOX_BUSINESS_URL = _demo["business"]

# As the older class spelled them.
WS_SANBOX_PUBLIC_URL = WS_SANDBOX_PUBLIC_URL
WS_SANBOX_PRIVATE_URL = WS_SANDBOX_PRIVATE_URL
WS_SANBOX_BUSINESS_URL = WS_SANDBOX_BUSINESS_URL
