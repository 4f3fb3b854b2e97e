"""The matching engine by properties: whatever is asked, in a world that moves, everything adds up."""

from collections import Counter, defaultdict
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from okx_ws.exchange import Account
from okx_ws.exchange.orders import order_row
from okx_ws.exchange.reserves import keep
from okx_ws.exchange.resting import OPEN
from okx_ws.exchange.spread_markets import spread_of
from tests.exchange.traders import Still

SPREAD = "BTC-USDT_BTC-USDT-SWAP"
SPOT, SWAP, COIN = "BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-SWAP"
START = {"BTC": 1.0, "USDT": 60_000.0}

TYPES = ("limit", "limit", "limit", "post_only", "ioc", "fok", "market")

ORDERS = st.fixed_dictionaries(
    {
        "who": st.integers(0, 2),
        "instId": st.sampled_from((SPOT, SPOT, SWAP, COIN)),
        "side": st.sampled_from(("buy", "sell")),
        "ordType": st.sampled_from(TYPES),
        "away": st.integers(-30, 30),
        "size": st.integers(1, 60),
        "reduceOnly": st.booleans(),
        "stpMode": st.sampled_from(("cancel_maker", "cancel_taker", "cancel_both")),
        "tgtCcy": st.sampled_from(("", "base_ccy", "quote_ccy")),
        "posSide": st.sampled_from(("long", "short")),
    }
)
SPREADS = st.fixed_dictionaries(
    {
        "who": st.integers(0, 2),
        "side": st.sampled_from(("buy", "sell")),
        "ordType": st.sampled_from(("limit", "limit", "limit", "post_only", "ioc", "market")),
        "away": st.integers(-30, 30),
        "size": st.integers(1, 40),
    }
)
CHANGES = st.fixed_dictionaries(
    {"who": st.integers(0, 2), "which": st.integers(0, 30), "away": st.integers(-30, 30), "size": st.integers(1, 60)}
)
ACTS = st.one_of(
    st.tuples(st.just("place"), ORDERS),
    st.tuples(st.just("place"), ORDERS),
    st.tuples(st.just("spread"), SPREADS),
    st.tuples(st.just("amend spread"), CHANGES),
    st.tuples(st.just("amend"), CHANGES),
    st.tuples(st.just("cancel"), CHANGES),
    st.tuples(st.just("step"), st.floats(0.995, 1.005)),
    st.tuples(st.just("settle"), st.none()),
)


def three_traders():
    """Return a world with three accounts that have the same; the last one holds long and short positions apart."""
    modes = {"a": "net_mode", "b": "net_mode", "c": "long_short_mode"}
    accounts = (Account(apiKey=n, uid=n, balances=dict(START), positions=[], posMode=modes[n]) for n in modes)
    return Still(*accounts, only=(SPOT, SWAP, COIN))


def act(still, kind, what):
    """Do one thing; return what it was answered."""
    if kind == "step":
        for index in still.world.indices.values():
            index.price *= what
        return still.world.step(100)
    if kind == "settle":
        return still.settle()
    trader = still.traders[what["who"]]
    if "spread" in kind:
        return act_on_spread(still, trader, kind, what)
    if kind == "place":
        market = still.book(what["instId"])
        row = {key: what[key] for key in ("side", "ordType", "stpMode")}
        row["sz"] = str(what["size"] / (100 if what["instId"] == SPOT else 1))
        if what["ordType"] == "market" and what["instId"] == SPOT:
            row["tgtCcy"] = what["tgtCcy"]
            if (what["tgtCcy"] or {"buy": "quote_ccy"}.get(what["side"])) == "quote_ccy":
                row["sz"] = str(what["size"] * 700)
        else:
            row["reduceOnly"] = what["reduceOnly"] and what["instId"] != SPOT
        if trader.account.hedges(what["instId"]):
            row["posSide"] = what["posSide"]
        if what["ordType"] != "market":
            row["px"] = market.instrument.px(market.mark + what["away"])
        return trader.order(what["instId"], **row)
    orders = list(trader.account.log.newest())
    if not orders:
        return None
    order = orders[what["which"] % len(orders)]
    if kind == "cancel":
        return trader.do("cancel-order", order.place.instId, ordId=order.ordId)
    size = str(what["size"] / (100 if order.place.instType == "SPOT" else 1))
    px = order.place.px(still.book(order.place.instId).mark + what["away"])
    return trader.do("amend-order", order.place.instId, ordId=order.ordId, newSz=size, newPx=px, reqId="r")


def act_on_spread(still, trader, kind, what):
    """Place an order on the spread, or change or cancel one."""
    market = spread_of(still.world, SPREAD).market
    px, sz = market.instrument.px(market.mark + what["away"]), str(what["size"] / 100)
    if kind == "spread":
        row = {"sprdId": SPREAD, "side": what["side"], "ordType": what["ordType"], "sz": sz}
        return trader.ask("sprd-order", row if what["ordType"] == "market" else {**row, "px": px})
    orders = list(still.desk.spreads.orders(trader.account))
    if not orders:
        return None
    ordId = orders[what["which"] % len(orders)].ordId
    if what["which"] % 3:
        return trader.ask("sprd-amend-order", {"ordId": ordId, "newPx": px, "newSz": sz})
    return trader.ask("sprd-cancel-order", {"ordId": ordId})


def check(still):
    """Check all that must hold at any moment."""
    for account in still.accounts:
        check_orders(still, account)
        check_money(still, account)
        check_positions(still, account)
        check_spread_orders(still, account)
    check_books(still)


def check_orders(still, account):
    """Nothing is filled beyond its size, nothing both open and terminal, and what is open is in the book."""
    open = {order.ordId for order in account.log.open}
    for order in account.log.newest():
        assert 0 <= order.filled <= order.lots or order.draft.quote
        assert sum(match.lots for match in order.matches) == order.filled
        assert (order.state in OPEN) == (order.ordId in open)
        assert (order.fee, order.pnl) == (sum(m.fee for m in order.matches), sum(m.pnl for m in order.matches))
        assert order.ordType != "fok" or order.filled in (0, order.lots), "all of it, or nothing"
        assert (order.state == "filled") <= (order.left == 0)
        resting = still.desk.engine._clerk.book(order)
        assert (order in resting) == (order.state in OPEN), "what is open rests, what is over does not"


def check_spread_orders(still, account):
    """As the others: nothing beyond its size, what is open rests, what is over does not."""
    fills = Counter()
    for order, fill in still.desk.spreads.fills(account):
        fills[order.ordId] += fill.lots
        assert order.reaches(fill.ticks)
    engine = still.desk._spread_engine
    for order in still.desk.spreads.orders(account):
        assert order.filled == fills[order.ordId] <= order.lots
        assert (order.state == "filled") == (order.left == 0)
        assert order.open == (order.ordId in engine.open) == (order in engine._book(order))


def check_money(still, account):
    """Balances are what they were, and what fills brought; what is kept is what open orders keep."""
    expected = {ccy: Decimal(str(amount)) for ccy, amount in START.items()}
    for order, match in account.log.fills:
        size, px = Decimal(order.place.sz(match.lots)) * order.sign, Decimal(order.place.px(match.ticks))
        if order.place.instType == "SPOT":
            expected["BTC"] += size
            expected["USDT"] -= size * px
        else:
            expected[order.place.settleCcy] += match.pnl
        expected[match.feeCcy] += match.fee
    for _, fill in still.desk.spreads.fills(account):
        swap, spot = fill.legs
        expected["BTC"] += spot.size
        expected["USDT"] += swap.booked.pnl - spot.size * spot.px
        for leg in fill.legs:
            expected[leg.booked.feeCcy] += leg.booked.fee
        assert swap.size == -spot.size and swap.px - spot.px == Decimal(spread_px(still, fill))
    assert account.ledger.balances == expected
    frozen = defaultdict(Decimal)
    for order in account.log.open:
        ccy, amount = keep(order, order.ticks)
        assert (order.frozen_ccy, order.frozen) == (ccy, amount) or not amount
        frozen[order.frozen_ccy] += order.frozen
    assert account.ledger.frozen == {ccy: amount for ccy, amount in frozen.items() if amount}


def spread_px(still, fill):
    return spread_of(still.world, SPREAD).place.px(fill.ticks)


def check_positions(still, account):
    """A position is the sum of its fills, and what it cost is what was paid for it, less what was realized."""
    size, worth, realized = defaultdict(Decimal), defaultdict(Decimal), defaultdict(Decimal)
    for order, match in account.log.fills:
        place = order.place
        if place.instType == "SPOT":
            continue
        contracts, px, key = Decimal(place.sz(match.lots)) * order.sign, Decimal(place.px(match.ticks)), order.key
        size[key] += contracts
        face = contracts * Decimal(place.ctVal)
        worth[key] += face / px if place.ctType == "inverse" else face * px
        realized[key] += -match.pnl if place.ctType == "inverse" else match.pnl
    for _, fill in still.desk.spreads.fills(account):
        swap = fill.legs[0]
        key = (SWAP, "cross", "net")
        size[key] += swap.size / Decimal("0.01")
        worth[key] += swap.size * swap.px
        realized[key] += swap.booked.pnl
    held = account.ledger.holdings
    for key, contracts in size.items():
        pos = held[key].pos if key in held else Decimal(0)
        assert pos == contracts
        if pos:
            face = pos * Decimal(held[key].place.ctVal)
            cost = face / held[key].avgPx if held[key].place.ctType == "inverse" else face * held[key].avgPx
            assert abs(cost - worth[key] - realized[key]) < Decimal("1e-9")
    for (instId, _, posSide), holding in held.items():
        assert (posSide == "net") == (not account.hedges(instId))
        assert posSide == "net" or holding.pos * (1 if posSide == "long" else -1) >= 0, "it cannot turn round"
        closing = sum(o.left for o in account.log.open if o.key == holding.key and o.closing)
        assert closing <= abs(holding.pos) / Decimal(holding.place.sz(1)), "no more is being closed than is there"


def check_books(still):
    """No two accounts' orders could trade with each other, and no order with the world."""
    books = [(still.book(instId), resting) for instId, resting in still.desk.engine._clerk.resting.items()]
    books += [
        (spread_of(still.world, sprdId).market, book) for sprdId, book in still.desk._spread_engine._books.items()
    ]
    for market, resting in books:
        bid, ask = resting.best("buy"), resting.best("sell")
        assert bid is None or bid.ticks < market.asks.best
        assert ask is None or ask.ticks > market.bids.best
        assert bid is None or ask is None or bid.ticks < ask.ticks
        for side, levels in (("buy", market.bids), ("sell", market.asks)):
            shown = defaultdict(int)
            for order in resting.all(side):
                shown[order.ticks] += order.left
            assert {ticks: lots for ticks, (lots, _) in levels.guests.items()} == shown, "the public book shows it"
            places = [(-order.sign * order.ticks, order.rank) for order in resting.all(side)]
            assert places == sorted(places)


def check_pushes(trader):
    """What was pushed is the life of each order, in order, and ends at its end; a trade is told once to each side."""
    lives = defaultdict(list)
    for row in trader.rows("orders"):
        lives[row["ordId"]].append(row)
    for ordId, rows in lives.items():
        states = [row["state"] for row in rows]
        assert all(state in OPEN for state in states[:-1]), states
        filled = [Decimal(row["accFillSz"]) for row in rows]
        assert filled == sorted(filled)
        assert sum(Decimal(row["fillSz"]) for row in rows) == filled[-1]
        trades = Counter(row["tradeId"] for row in rows if row["tradeId"])
        assert all(count == 1 for count in trades.values())
        order = trader.account.log.find(ordId, "")
        last = order_row(order)
        assert all(rows[-1][key] == last[key] for key in ("state", "accFillSz", "avgPx", "fee", "pnl", "px", "sz"))
    check_spread_pushes(trader)
    told = sum(Decimal(row["fillSz"]) for row in trader.rows("fills"))
    assert told == sum(Decimal(order.place.sz(match.lots)) for order, match in trader.account.log.fills)


def check_spread_pushes(trader):
    """As the others; and each trade is told once on either channel."""
    lives = defaultdict(list)
    for row in trader.rows("sprd-orders"):
        lives[row["ordId"]].append(row)
    trades = [row for row in trader.rows("sprd-trades") if row["state"] == "filled"]
    assert Counter(row["tradeId"] for row in trades) == Counter(
        row["tradeId"] for rows in lives.values() for row in rows if row["tradeId"]
    )
    for ordId, rows in lives.items():
        assert all(row["state"] in OPEN for row in rows[:-1])
        own = [row for row in trades if row["ordId"] == ordId]
        assert sum(Decimal(row["fillSz"]) for row in own) == Decimal(rows[-1]["accFillSz"])
        if own:
            paid = sum(Decimal(row["fillSz"]) * Decimal(row["fillPx"]) for row in own)
            assert abs(paid / Decimal(rows[-1]["accFillSz"]) - Decimal(rows[-1]["avgPx"])) < Decimal("1e-9")
        last = rows[-1]
        left = Decimal(last["sz"]) - Decimal(last["accFillSz"])
        assert left == Decimal(last["pendingFillSz"]) + Decimal(last["canceledSz"])


def check_trades(still):
    """A trade of two accounts is the same trade to both: once bought, once sold, once taken, once made."""
    sides = defaultdict(list)
    for account in still.accounts:
        for order, match in account.log.fills:
            sides[order.place.instId, match.tradeId].append((order.side, match))
    for both in sides.values():
        assert len(both) in (1, 2)
        if len(both) == 2:
            (one, first), (two, second) = both
            assert {one, two} == {"buy", "sell"} and {first.maker, second.maker} == {True, False}
            assert (first.ticks, first.lots) == (second.ticks, second.lots)
    spreads = defaultdict(list)
    for order, fill in still.desk._spread_engine.fills:
        spreads[fill.tradeId].append((order.side, fill.maker, fill.ticks, fill.lots))
    for both in spreads.values():
        assert len(both) in (1, 2)
        if len(both) == 2:
            (one, first, *rest), (two, second, *same) = both
            assert {one, two} == {"buy", "sell"} and {first, second} == {True, False} and rest == same


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTS, max_size=40))
def test_everything_adds_up_whatever_is_asked(acts):
    """Balances, positions, books, pushes, after each act; and the account's last update says the truth."""
    still = three_traders()
    for kind, what in acts:
        act(still, kind, what)
        check(still)
    still.settle()
    check_trades(still)
    for trader in still.traders:
        check_pushes(trader)
        told = {row["ccy"]: row for push in trader.rows("account") for row in push["details"]}
        for ccy, row in told.items():
            ledger = trader.account.ledger
            assert Decimal(row["cashBal"]) == ledger.balances[ccy]
            assert Decimal(row["ordFrozen"]) == ledger.frozen.get(ccy, 0)
            assert Decimal(row["availBal"]) == ledger.available(ccy)
        check_told_positions(trader)


def check_told_positions(trader):
    """The last that was told of each position is how it is."""
    told = {(row["instId"], row["mgnMode"], row["posSide"]): row for row in trader.rows("positions")}
    for key, row in told.items():
        pos = trader.account.ledger.pos(*key)
        if key[2] == "net":
            assert Decimal(row["pos"]) == pos and row["availPos"] == ""
            continue
        place = trader.market.book(key[0]).instrument
        closing = sum(order.left for order in trader.account.log.open if order.closing and order.key == key)
        assert Decimal(row["pos"]) == abs(pos)
        assert Decimal(row["availPos"]) == abs(pos) - Decimal(place.sz(closing))
    held = {key for key, holding in trader.account.ledger.holdings.items() if holding.pos}
    assert held <= told.keys()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        ACTS.filter(lambda act: "spread" not in act[0] and (act[0] != "place" or act[1]["instId"] == SPOT)),
        max_size=40,
    )
)
def test_who_trades_spot_never_owes_anything(acts):
    """What an account has is never less than nothing, nor what it may use."""
    still = three_traders()
    for kind, what in acts:
        act(still, kind, what)
        for account in still.accounts:
            assert all(amount >= 0 for amount in account.ledger.balances.values())
            assert all(account.ledger.available(ccy) >= 0 for ccy in START)


@settings(max_examples=150, deadline=None)
@given(
    resting=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 30)), min_size=1, max_size=12),
    size=st.integers(1, 400),
    limit=st.integers(1, 40),
)
def test_a_taker_gets_the_best_prices_first_and_at_each_who_came_first(resting, size, limit):
    """Against a plain list of the others' orders, sorted by price and time."""
    still = Still(only=(SPOT,))
    one, two = still.traders
    still.lay(SPOT, [("99.9", "1")], [("104.5", "1000")])
    ids = [
        two.order(side="sell", px=str(Decimal(1000 + ticks) / 10), sz=str(lots / 100))["ordId"]
        for ticks, lots in resting
    ]
    one.order(side="buy", px=str(Decimal(1000 + limit) / 10), sz=str(size / 100))
    expected, left = Counter(), size
    for number in sorted(range(len(resting)), key=lambda number: (resting[number][0], number)):
        ticks, lots = resting[number]
        if ticks <= limit and left:
            expected[ids[number]] = min(left, lots)
            left -= min(left, lots)
    found = {id: int(Decimal(two.last(id)["accFillSz"]) * 100) for id in ids}
    assert found == {id: expected[id] for id in ids}
