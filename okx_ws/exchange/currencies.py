"""The currencies there are, as REST's asset endpoint lists them. Pure.

Fields after OKX v5 docs, "Get currencies", read June 2026.
"""

from __future__ import annotations

from typing import Any

__all__ = ["CURRENCIES", "currency_row"]

#: Currency → its name, and the network it is on.
CURRENCIES = {
    "BTC": ("Bitcoin", "Bitcoin"),
    "ETH": ("Ethereum", "ERC20"),
    "SOL": ("Solana", "Solana"),
    "USDT": ("Tether", "ERC20"),
    "USDC": ("USD Coin", "ERC20"),
}

EMPTY = (
    "burningFeeRate ctAddr depEstOpenTime depQuotaFixed depQuoteDailyLayer2 logoLink maxFeeForCtAddr minFeeForCtAddr"
    " usedDepQuotaFixed wdEstOpenTime"
).split()


def currency_row(ccy: str) -> dict[str, Any]:
    """Return the row of a currency on its network."""
    name, network = CURRENCIES[ccy]
    return {
        "ccy": ccy,
        "name": name,
        "chain": f"{ccy}-{network}",
        **dict.fromkeys(("canDep", "canInternal", "canWd", "mainNet"), True),
        "needTag": False,
        **dict.fromkeys(("fee", "minFee", "minDep", "minInternal"), "0.0001"),
        "maxFee": "0.001",
        "minWd": "0.001",
        "maxWd": "1000",
        "minDepArrivalConfirm": "1",
        "minWdUnlockConfirm": "2",
        "usedWdQuota": "0",
        "wdQuota": "10000000",
        "wdTickSz": "8",
        **dict.fromkeys(EMPTY, ""),
    }
