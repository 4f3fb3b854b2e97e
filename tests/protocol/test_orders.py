"""`protocol.orders`: what is refused cannot be right, what is sent is what was said, and what it costs. Pure."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws import UsageError
from okx_ws.protocol.orders import BATCHES, OPS, check_order, check_steps, costs_of, expiry_of, instType_of
from okx_ws.protocol.windows import Cost

ORDER = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "px": "1", "sz": "1"}


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_are_sent_as_the_exact_text(px, sz):
    """No exponent, no digit more or less."""
    checked = check_order(OPS["order"], {**ORDER, "px": px, "sz": sz})
    assert Decimal(checked["px"]) == px and "E" not in checked["px"].upper() and checked["sz"] == str(sz)


@pytest.mark.parametrize("name", ["px", "sz"])
@pytest.mark.parametrize("value", [True, "much", "1 ", "1,5", "５", "0x1", "--1", ".", "NaN", "1_000"])
def test_what_is_no_number_is_refused_where_one_belongs(name, value):
    """A flag is an int to Python, and OKX would read it as one of its own."""
    with pytest.raises(UsageError, match=f"{name} must be a number"):
        check_order(OPS["order"], {**ORDER, name: value})


@pytest.mark.parametrize("value", ["1", "0.10", "-2.15", "1.", ".5", "1e-3", 7, Decimal("1E+3")])
def test_every_way_to_write_a_number_is_left_to_okx(value):
    """Whether a price may be less than 0 depends on what is traded."""
    assert check_order(OPS["order"], {**ORDER, "px": value})["px"]


@given(
    st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans()))
)
def test_whatever_is_given_is_an_order_or_a_usage_error(fields):
    """Design 3.4: never a TypeError, whatever somebody puts into a dict."""
    for op in OPS.values():
        for order in (fields, {**ORDER, **fields}):
            try:
                checked = check_order(op, order)
            except UsageError:
                continue
            assert all(name in checked for name in op.needed)


@pytest.mark.parametrize("ordType", ["market", "optimal_limit_ioc", "mmp", "some_new_type"])
def test_a_price_is_asked_for_only_where_it_is_certainly_missing(ordType):
    """OKX invents types; what they need is OKX's to say."""
    order = {name: value for name, value in ORDER.items() if name != "px"}
    assert check_order(OPS["order"], {**order, "ordType": ordType})["ordType"] == ordType
    assert check_order(OPS["order"], {**order, "pxVol": "0.5"})["pxVol"] == "0.5"


def test_fields_that_nobody_here_knows_are_passed_on():
    """OKX's next one needs no new release."""
    assert check_order(OPS["order"], {**ORDER, "zzzNew": True, "attachAlgoOrds": [{"tpTriggerPx": Decimal("1.50")}]})
    assert check_order(OPS["order"], {**ORDER, "attachAlgoOrds": [{"tpTriggerPx": Decimal("1.50")}]})[
        "attachAlgoOrds"
    ] == [{"tpTriggerPx": "1.50"}]


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_every_field_of_an_operation_is_accepted_as_okx_spells_it(op):
    """And no other spelling of it."""
    for name in op.fields:
        with pytest.raises(UsageError, match=f"OKX writes {name}, not {name.upper()}"):
            check_order(op, {name.upper(): "1"})


def test_limits_are_counted_by_instrument_and_alone_or_in_a_batch():
    """okx-protocol 7.1: a batch of one counts as a single; options by family; spreads by user."""
    one, two = {"instIdCode": 1, "instId": "BTC-USDT"}, {"instIdCode": 2, "instId": "ETH-USDT"}
    assert costs_of(OPS["order"], [one]) == [Cost(("order", "1"), 60)]
    assert costs_of(OPS["amend-order"], [one]) == [Cost(("amend-order", "1"), 60)]
    batch = costs_of(BATCHES["batch-orders"], [one, two, one])
    assert batch == [Cost(("batch-orders", "1"), 300, n=2), Cost(("batch-orders", "2"), 300, n=1)]
    options = [{"instIdCode": code, "instId": f"BTC-USD-261225-{code}-C"} for code in (60000, 70000)]
    assert costs_of(OPS["order"], options[:1]) == [Cost(("order", "BTC-USD"), 60)]
    assert costs_of(OPS["sprd-order"], [{"sprdId": "x"}]) == [Cost(("sprd-order", ""), 20)]
    assert costs_of(OPS["sprd-mass-cancel"], [{}]) == [Cost(("sprd-mass-cancel", ""), 5)]
    assert costs_of(OPS["mass-cancel"], [{}]) == [Cost(("mass-cancel", ""), 5)]
    assert costs_of(OPS["order"], [one], 4) == [Cost(("order", "1"), 4)]
    assert costs_of(OPS["sprd-order"], [{}], 4) == [Cost(("sprd-order", ""), 20)]


@pytest.mark.parametrize(
    ("instId", "listing"),
    [
        ("BTC-USDT", ("SPOT", None)),
        ("BTC-USDT-SWAP", ("SWAP", None)),
        ("BTC-USD_UM-SWAP", ("SWAP", None)),
        ("BTC-USD-261225", ("FUTURES", None)),
        ("BTC-USD-261225-60000-P", ("OPTION", "BTC-USD")),
    ],
)
def test_a_name_tells_its_type(instId, listing):
    """As OKX names instruments."""
    assert instType_of(instId) == listing


@pytest.mark.parametrize("instId", ["", "BTC", "BTC-", "-USDT", "A-B-C-D", "A-B-C-D-E", "A-B-C-D-C-F"])
def test_a_name_that_does_not_tell_is_refused(instId):
    """With the way out."""
    with pytest.raises(UsageError, match="give the instIdCode"):
        instType_of(instId)


def test_expTime_is_for_what_expires():
    """Orders and changes, single and batch."""
    assert expiry_of("order", 1779000005000) == expiry_of("batch-amend-orders", "1779000005000") == "1779000005000"
    assert expiry_of("cancel-order", None) is None
    for word, expTime in [("cancel-order", 1779000005000), ("order", 1779000005), ("order", 1779000005000.5)]:
        with pytest.raises(UsageError):
            expiry_of(word, expTime)


def test_the_ticks_of_options_are_not_checked():
    """They grow with the price."""
    row = {"instId": "X", "instType": "OPTION", "tickSz": "0.1", "lotSz": "1", "minSz": "1"}
    check_steps({"px": "0.05", "sz": "1"}, row)
    with pytest.raises(UsageError, match="lots"):
        check_steps({"sz": "1.5"}, row)
    check_steps({"px": "1.23", "sz": "0.1"}, {"instId": "X"})


@pytest.mark.parametrize("sz", ["1e40", "1e999999", "9" * 40])
def test_a_size_beyond_all_counting_is_a_usage_error(sz):
    """Not an error of the arithmetic."""
    row = {"instId": "X", "instType": "SPOT", "tickSz": "0.1", "lotSz": "0.00000001", "minSz": "1"}
    with pytest.raises(UsageError, match="sz .* lots"):
        check_steps({"sz": sz}, row)
