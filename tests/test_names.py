"""The public names: complete, sorted, documented; errors are what they say."""

import inspect
import pickle
import re
import subprocess
import sys

import pytest

import okx_ws
from okx_ws import errors, events


def test_all_is_sorted_and_complete():
    """Every public class of the package is there, and nothing that is not."""
    assert okx_ws.__all__ == sorted(okx_ws.__all__)
    public = {name for name, value in vars(okx_ws).items() if inspect.isclass(value)}
    assert public == set(okx_ws.__all__)


def test_every_error_is_importable_from_the_package():
    """Design 3.5: all public names, errors included."""
    assert set(errors.__all__) <= set(okx_ws.__all__)


def test_the_tree_in_the_docstring_is_the_tree():
    """The drawing names every error."""
    for name in errors.__all__:
        assert name in (errors.__doc__ or "")
        assert issubclass(getattr(errors, name), errors.OkxWsError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [("UsageError", ValueError), ("ConnectionLost", ConnectionError), ("AckTimeout", TimeoutError)],
)
def test_errors_also_are_the_matching_builtin(error, builtin):
    """Code that catches the builtin catches ours."""
    assert issubclass(getattr(errors, error), builtin)


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("x"),
        errors.ProtocolError("x", 1002),
        errors.LoginError("60009", "Login failed.", "check the key"),
        errors.SubscribeError("60018", "no", "look", {"channel": "x"}),
    ],
)
def test_errors_survive_a_pickle(error):
    """They cross process boundaries with everything they carry."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_subscribe_error_says_code_words_remedy_and_arg():
    """All a user needs to act."""
    text = str(errors.SubscribeError("60018", "no such thing", "check it", {"channel": "x", "instId": "Y"}))
    assert text == "60018: no such thing (check it) for {'channel': 'x', 'instId': 'Y'}"


def test_every_public_thing_has_a_docstring():
    """A newcomer reads help()."""
    for name in okx_ws.__all__:
        thing = getattr(okx_ws, name)
        assert thing.__doc__, name
        for attribute, value in vars(thing).items():
            if not attribute.startswith("_") and callable(value):
                assert value.__doc__, f"{name}.{attribute}"


def test_every_event_type_stands_in_the_table():
    """And the table has no other."""
    rows = re.findall(r"^(\w+) {2,}\S", inspect.getdoc(events.Event) or "", flags=re.MULTILINE)
    assert sorted(rows) == sorted([*events.EVENT_TYPES, "type"])


def test_an_event_shows_only_what_applies():
    """Readable in a log."""
    assert repr(events.Event("connected", "public", at_ms=5)) == "Event(type='connected', endpoint='public', at_ms=5)"


def test_requests_is_imported_with_the_first_question_only():
    """It takes as long as all the rest, and burdens the cyclic collector of those who only stream."""
    code = "import sys, okx_ws; okx_ws.OkxWebSocketManager().close(); sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
