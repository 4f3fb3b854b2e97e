"""`protocol.replies`: a reply says yes, no, or that OKX does not know; whatever it looks like. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from okx_ws import OrderRejected, OutcomeUnknown
from okx_ws.protocol.replies import OrderResult, only_result, results_of, whole_reply

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
ROW = st.dictionaries(st.sampled_from(["sCode", "sMsg", "subCode", "ordId", "clOrdId", "result"]), JSON)
REPLY = st.fixed_dictionaries(
    {},
    optional={
        "code": st.one_of(st.sampled_from(["0", "1", "2", "50004"]), JSON),
        "msg": JSON,
        "data": st.one_of(JSON, st.lists(ROW)),
    },
)


@given(REPLY, st.integers(1, 3))
def test_whatever_comes_is_read_or_refused_or_unknown(reply, n):
    """A peer that has lost its mind ends no thread; and nothing is called accepted that OKX did not accept."""
    for read in (lambda: results_of(reply, n), lambda: [only_result(reply)], lambda: whole_reply(reply, n)):
        try:
            found = read()
        except (OrderRejected, OutcomeUnknown) as exc:
            assert str(exc) is not None
            continue
        for row in found if isinstance(found, list) else []:
            assert all(isinstance(text, str) for text in (row.ordId, row.clOrdId, row.sCode, row.sMsg, row.subCode))
            assert row.ok is False or str(row.get("sCode") or reply["code"]) == "0"


@pytest.mark.parametrize(
    ("row", "code", "ok"),
    [
        ({"sCode": "0"}, "0", True),
        ({"sCode": "0"}, "2", True),
        ({"sCode": "51008"}, "0", False),
        ({"sCode": "51008"}, "2", False),
        ({}, "0", True),
        ({}, "1", False),
        ({"result": True}, "0", True),
        ({"result": False}, "0", False),
    ],
)
def test_the_row_has_the_last_word_and_the_reply_that_of_rows_without_one(row, code, ok):
    """okx-protocol 7.3: mass-cancel has a result; spreads have an sCode and nothing else."""
    assert OrderResult(row, {"code": code}).ok is ok


def test_the_words_of_a_refusal_are_okxs_own():
    """Acceptance 75."""
    row = {"clOrdId": "a", "ordId": "", "sCode": "51000", "sMsg": "Parameter clOrdId  error ", "subCode": "7"}
    with pytest.raises(OrderRejected) as caught:
        only_result({"code": "1", "msg": "All operations failed", "data": [row]})
    error = caught.value
    assert (error.code, error.msg, error.sCode, error.subCode) == ("1", "All operations failed", "51000", "7")
    assert error.sMsg == "Parameter clOrdId  error " and error.data == row
