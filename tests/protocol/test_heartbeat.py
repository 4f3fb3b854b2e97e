"""`protocol.heartbeat`: ping, life and death, with a clock the test moves."""

from okx_ws.protocol.heartbeat import Heartbeat


def test_silence_for_the_interval_brings_a_ping():
    """Acceptance 10: not before the interval is over, and once."""
    beat = Heartbeat(15, 10, now=100)
    assert beat.check(114.9) == ""
    assert beat.due == 115
    assert beat.check(115) == "ping"
    assert beat.check(115.1) == ""


def test_any_message_starts_the_interval_anew():
    """Acceptance 10: life restarts the timer."""
    beat = Heartbeat(15, 10, now=100)
    beat.life(110)
    assert beat.check(115) == ""
    assert beat.check(125) == "ping"


def test_a_pong_in_time_keeps_the_link_and_tells_the_round_trip():
    """Acceptance 11: with the pong nothing happens."""
    beat = Heartbeat(15, 10, now=0)
    assert beat.check(15) == "ping"
    beat.pong(15.25)
    beat.life(15.25)
    assert beat.round_trip_s == 0.25
    assert beat.check(25) == ""
    assert beat.check(30.25) == "ping"


def test_no_life_after_a_ping_is_death():
    """Acceptance 11: the limit runs from the ping."""
    beat = Heartbeat(15, 10, now=0)
    assert beat.check(16) == "ping"
    assert beat.check(25.9) == ""
    assert beat.check(26) == "dead"


def test_data_without_a_pong_is_life():
    """Acceptance 12: a link whose data flows is alive, whatever its pongs do."""
    beat = Heartbeat(15, 10, now=0)
    for now in range(0, 100, 20):
        assert beat.check(now + 15) == "ping"
        beat.life(now + 20)


def test_what_came_before_the_ping_does_not_answer_it():
    """Bytes that were read late must not hide a dead link."""
    beat = Heartbeat(15, 10, now=0)
    assert beat.check(16) == "ping"
    beat.life(15.5)
    assert beat.check(26) == "dead"


def test_a_paused_reader_pings_and_does_not_die():
    """A queue that is full stops our reading: the peer's silence proves nothing then."""
    beat = Heartbeat(15, 10, now=0)
    beat.pause(True, 5)
    pings = [now for now in range(5, 105) if beat.check(now) == "ping"]
    assert len(pings) >= 3 and max(b - a for a, b in zip(pings, pings[1:])) < 30
    beat.pause(False, 105)
    assert beat.check(119) == ""
    assert beat.check(120) == "ping"
    assert beat.check(130) == "dead"
