"""What an option is worth, and its greeks: Black 1976, good enough for a world of its own. Pure."""

from __future__ import annotations

import math

from .instruments import DAY_MS, Instrument

__all__ = ["OPTION_VOLATILITY", "YEAR_MS", "option_greeks", "option_value"]

YEAR_MS = 365 * DAY_MS

#: Of every option, a year.
OPTION_VOLATILITY = 0.5


def option_value(index: float, strike: float, years: float, kind: str) -> float:
    """Return an option's value in units of the coin: Black 1976 with one volatility for all."""
    deviation = OPTION_VOLATILITY * math.sqrt(years) or 1e-9
    d1 = math.log(index / strike) / deviation + deviation / 2
    d2 = d1 - deviation
    sign = 1 if kind == "C" else -1
    value = sign * (index * normal(sign * d1) - strike * normal(sign * d2))
    return max(value / index, 0.0005)


def normal(x: float) -> float:
    """Return the cumulative normal distribution."""
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def option_greeks(option: Instrument, forward: float, years: float) -> dict[str, float]:
    """Return delta, gamma, vega and theta (a day), in the quote currency."""
    root = math.sqrt(years) or 1e-9
    d1 = math.log(forward / float(option.stk)) / (OPTION_VOLATILITY * root) + OPTION_VOLATILITY * root / 2
    density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
    return {
        "delta": normal(d1) - (0.0 if option.optType == "C" else 1.0),
        "gamma": density / (forward * OPTION_VOLATILITY * root),
        "vega": forward * density * root / 100,
        "theta": -forward * density * OPTION_VOLATILITY / (2 * root) / 365,
    }
