"""Samples of what happens seldom, or never here: a row of each such channel, with OKX's fields. Pure.

Fields after OKX v5 docs, each channel's page, read June 2026.
"""

from __future__ import annotations

from typing import Any

__all__ = ["SAMPLES", "sample_row"]

Row = dict[str, Any]


def row(texts: str, **more: Any) -> Row:
    """Return a row with these keys, ``""`` where nothing else is given."""
    return {**dict.fromkeys(texts.split(), ""), **more}


LEG = {"instId": "BTC-USDT-SWAP", "sz": "100", "side": "buy", "px": "64000", "tradeId": "7"}
ALGO = (
    "instType instId ccy ordId algoId algoClOrdId clOrdId sz ordType side posSide tdMode tgtCcy lever notionalUsd state"
    " actualSz actualPx actualSide last failCode reduceOnly reqId tag cTime uTime"
)
BOT = "algoId algoClOrdId algoOrdType instId instType state tag cTime uTime pTime"
QUOTED = "cTime uTime state validUntil clRfqId rfqId tag traderCode"
SWAP = {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}

#: Channel → a row; the keys ``ts``, ``cTime``, ``uTime`` and ``pTime`` become the time of the push.
SAMPLES: dict[str, Row] = {
    "adl-warning": row(
        "ccy maxBal maxBalTs adlType adlBal adlRecBal decRate adlRate adlRecRate ts",
        instType="SWAP",
        instFamily="BTC-USDT",
        state="warning",
        bal="850000.5",
    ),
    "call-auction-details": row(
        "ts auctionEndTime",
        instId="BTC-USDT",
        eqPx="64000",
        matchedSz="12",
        unmatchedSz="3",
        state="call_auction",
    ),
    "event-contract-markets": row(
        "listTime fixTime expTime floorStrike settleValue",
        seriesId="BTC-UPDOWN-15MIN",
        eventId="BTC-UPDOWN-15MIN-1",
        instId="BTC-UPDOWN-15MIN-1",
        state="live",
        outcome="0",
        disputed=False,
    ),
    "economic-calendar": row(
        "date refDate actual previous forecast prevInitial ccy unit ts",
        calendarId="319275",
        region="United States",
        category="Interest Rate",
        event="Fed Interest Rate Decision",
        importance="3",
    ),
    "public-block-trades": row(
        "fillVol fwdPx idxPx markPx groupId ts",
        instId="BTC-USDT",
        tradeId="7",
        px="64000",
        sz="10",
        side="buy",
    ),
    "public-struc-block-trades": row("cTime", blockTdId="7", groupId="", legs=[LEG]),
    "liquidation-warning": row(
        "ccy posCcy cTime uTime pTime",
        **SWAP,
        mgnMode="cross",
        posId="1",
        posSide="net",
        pos="12",
        lever="3",
        markPx="50000",
        mgnRatio="1.5",
    ),
    "orders-algo": row(
        f"{ALGO} tpTriggerPx tpTriggerPxType tpOrdPx slTriggerPxType slOrdPx triggerPx triggerTime ordPx closeFraction"
        " amendPxOnTriggerType amendResult tradeQuoteCcy isTradeBorrowMode quickMgnType",
        **SWAP,
        algoId="7",
        ordType="conditional",
        side="sell",
        sz="1",
        slTriggerPx="60000",
        state="live",
        ordIdList=[],
        attachAlgoOrds=[],
        linkedOrd={"ordId": ""},
    ),
    "algo-advance": row(
        f"{ALGO} count pxLimit pxSpread pxVar szLimit timeInterval callbackSpread activePx moveTriggerPx pTime",
        **SWAP,
        algoId="7",
        ordType="move_order_stop",
        side="sell",
        sz="1",
        callbackRatio="0.01",
        state="live",
    ),
    **{
        name: row(
            f"{BOT} gridNum maxPx minPx runType totalPnl pnlRatio gridProfit floatProfit", algoId="7", state="running"
        )
        for name in ("grid-orders-spot", "grid-orders-contract")
    },
    "grid-positions": row(f"{BOT} avgPx ccy lever liqPx markPx mgnMode mgnRatio pos posSide upl", algoId="7"),
    "grid-sub-orders": row(f"{BOT} accFillSz avgPx fee groupId ordId ordType px side sz", algoId="7", ordId="8"),
    "algo-recurring-buy": row(f"{BOT} amt cycles investmentAmt investmentCcy mktCap period totalPnl", algoId="7"),
    "copytrading-lead-notification": row(
        "maxLeadTraderNum minLeadEq side posSide subPosId uniqueCode", **SWAP, infoType="2"
    ),
    "rfqs": row(
        f"{QUOTED} flowType groupId",
        rfqId="7",
        state="active",
        allowPartialExecution=False,
        counterparties=["MAKER"],
        acctAlloc=[],
        legs=[LEG],
    ),
    "quotes": row(
        f"{QUOTED} reason quoteId clQuoteId", rfqId="7", quoteId="8", state="active", quoteSide="buy", legs=[LEG]
    ),
    "struc-block-trades": row(
        "cTime rfqId clRfqId quoteId clQuoteId tag tTraderCode mTraderCode errorCode",
        blockTdId="7",
        isSuccessful=True,
        legs=[LEG],
        acctAlloc=[],
    ),
    "deposit-info": row(
        "subAcct from areaCodeFrom to txId fromWdId ts pTime",
        uid="77982378738415879",
        ccy="USDT",
        chain="USDT-ERC20",
        amt="100",
        state="2",
        depId="7",
        actualDepBlkConfirm="12",
    ),
    "withdrawal-info": row(
        "subAcct from areaCodeFrom to areaCodeTo toAddrType tag pmtId memo txId clientId note ts pTime",
        uid="77982378738415879",
        ccy="USDT",
        chain="USDT-ERC20",
        nonTradableAsset=False,
        amt="100",
        fee="1",
        feeCcy="USDT",
        addrEx=None,
        state="2",
        wdId="7",
    ),
    "sprd-trades": row(
        "ordId clOrdId tag ts code msg",
        sprdId="BTC-USDT_BTC-USDT-SWAP",
        tradeId="7",
        fillPx="12.5",
        fillSz="1",
        state="filled",
        side="buy",
        execType="T",
        legs=[{**LEG, "szCont": "1", "fillPnl": "", "fee": "", "feeCcy": ""}],
    ),
}


def sample_row(channel: str, ts: int) -> Row:
    """Return a row of a channel, as of `ts`, Unix ms.

    Raises:
        ValueError: There is no sample of it.
    """
    if channel not in SAMPLES:
        raise ValueError(f"there is no sample of {channel!r}: say the row; there are {', '.join(SAMPLES)}")
    found = SAMPLES[channel]
    return {**found, **dict.fromkeys(found.keys() & {"ts", "cTime", "uTime", "pTime"}, str(ts))}
