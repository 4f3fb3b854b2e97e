"""`net.pacing`: the orders of one key, counted together by all managers of the process."""

import gc
import os
import threading
import time
import warnings

from okx_ws.config import Credentials
from okx_ws.net import pacing
from okx_ws.net.pacing import OrderPace
from okx_ws.protocol.windows import Cost

URL = "wss://ws.example/ws/v5/private"
ORDER = [Cost(("order", "BTC-USDT"), 2)]


def key(name):
    return Credentials(name, "secret-1234567", "phrase-1234567")


def room(pace, now):
    """Return how many orders may go at once; they are counted."""
    return next(n for n in range(100) if pace.reserve(ORDER, now) > now)


def test_managers_with_one_key_at_one_host_share_their_limits():
    """Another key, another host: another count; without a key, each has its own."""
    now = time.monotonic()
    one, same = OrderPace(URL, key("key-a")), OrderPace("wss://ws.example/ws/v5/business", key("key-a"))
    assert one.reserve(ORDER, now) == now and same.reserve(ORDER, now) == now
    assert one.reserve(ORDER, now) > now and same.reserve(ORDER, now) > now
    assert room(OrderPace(URL, key("key-b")), now) == 2
    assert room(OrderPace("wss://ws.example:8443/ws/v5/private", key("key-a")), now) == 2
    assert [room(OrderPace(URL, Credentials()), now) for _ in range(2)] == [2, 2]


def test_what_okx_found_too_many_has_the_others_of_the_key_wait():
    """50011 came to one manager: it is as true for the other."""
    now = time.monotonic()
    one, same = OrderPace(URL, key("key-c")), OrderPace(URL, key("key-c"))
    one.full(ORDER, now)
    assert same.reserve(ORDER, now) > now


def test_a_new_manager_goes_on_where_one_that_is_gone_has_stopped():
    """A program that makes a manager for each order is counted, too."""
    now = time.monotonic()
    assert room(OrderPace(URL, key("key-d")), now) == 2
    gc.collect()
    assert room(OrderPace(URL, key("key-d")), now) == 0


def test_a_key_that_took_the_place_of_another_has_its_count():
    """It is the same user's; unless it is known already, and has a count of its own."""
    now = time.monotonic()
    credentials = key("key-e")
    one = OrderPace(URL, credentials)
    assert room(one, now) == 2
    credentials.replace("key-f", "secret", "phrase")
    one.renew()
    assert room(one, now) == 0 and room(OrderPace(URL, key("key-f")), now) == 0
    known = OrderPace(URL, key("key-g"))
    credentials.replace("key-g", "secret", "phrase")
    one.renew()
    assert room(one, now) == 2 and room(known, now) == 0


def test_a_manager_that_goes_on_with_a_known_key_is_counted_with_it(connect):
    """Acceptance 94: `login_again` tells its pace."""
    urls = {name: "wss://127.0.0.1:9/" for name in ("public", "private", "business")}
    words = {"secretKey": "secret-1234567", "passphrase": "phrase-1234567"}
    one, known = (connect(urls=urls, clock_sync=False, apiKey=name, **words) for name in ("key-l", "key-m"))
    now = time.monotonic()
    assert room(known._order_pace, now) == 2
    one.login_again("key-m", **words)
    assert room(one._order_pace, now) == 0


def test_nothing_is_kept_of_managers_that_are_gone_and_never_a_key(monkeypatch):
    """Acceptance 94: what is known for a while are digests; what is over is forgotten with the next manager."""
    monkeypatch.setattr(pacing, "_known", {})
    for number in range(50):
        pace = OrderPace(URL, key(f"key-{number}"))
        pace.reserve(ORDER, time.monotonic() - 60)
    alive = OrderPace(URL, key("key-alive"))
    del pace
    gc.collect()
    OrderPace(URL, key("key-last"))
    assert len(pacing._known) == 2 and alive
    assert "key-" not in repr(pacing._known) + repr(vars(alive))


def test_threads_that_share_a_limit_never_pass_it():
    """Taken and looked at in one step."""
    now, went = time.monotonic(), []
    wide = [Cost(("order", "BTC-USDT"), 500)]

    def send(pace):
        went.extend(1 for _ in range(400) if pace.reserve(wide, now) <= now)

    threads = [threading.Thread(target=send, args=(OrderPace(URL, key("key-h")),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(went) == 500


def test_a_forked_child_counts_anew_though_its_parent_held_the_lock():
    """Whatever threads were doing."""
    now = time.monotonic()
    OrderPace(URL, key("key-i")).full(ORDER, now)
    with pacing._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
        if not child:
            done = []
            thread = threading.Thread(target=lambda: done.append(room(OrderPace(URL, key("key-i")), now)))
            thread.start()
            thread.join(5)
            os._exit(0 if done == [2] else 1)
    assert os.waitpid(child, 0)[1] == 0
