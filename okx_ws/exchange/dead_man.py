"""The dead-man's switch: cancel-all-after. Pure; it goes along with the world, in the world's time."""

from __future__ import annotations

from .accounts import Account
from .markets import Trades, World
from .matching import Engine

__all__ = ["MOST_TAGS", "DeadManSwitches"]

#: Tags of one account that may have a switch of their own.
MOST_TAGS = 20

#: cancelSource.
CANCEL_ALL_AFTER = "20"


class DeadManSwitches:
    """The switches of all accounts.

    Args:
        world: Its clock.
        engine: Cancels.
    """

    def __init__(self, world: World, engine: Engine) -> None:
        self._world = world
        self._engine = engine
        #: The account and the tag → the account, and when it is too late, in the world's ms.
        self._due: dict[tuple[int, str], tuple[Account, float]] = {}
        # Before the engine goes along: it tells what both have done.
        world.followers = {"dead-man switches": self, **world.followers}

    def arm(self, account: Account, tag: str, after_s: int) -> bool:
        """Cancel the account's orders with this tag (all of them, without one) after so many seconds; 0: never.

        Returns False if the account has too many switches.
        """
        key = (id(account), tag)
        if not after_s:
            self._due.pop(key, None)
            return True
        if key not in self._due and sum(whose == id(account) for whose, _ in self._due) >= MOST_TAGS:
            return False
        self._due[key] = (account, self._world.now_ms + after_s * 1000)
        return True

    def watch(self, ts: int, trades: Trades) -> None:
        """See a step of the world."""
        for key, (account, due_ms) in list(self._due.items()):
            if self._world.now_ms >= due_ms:
                del self._due[key]
                for order in account.log.open:
                    if not key[1] or order.draft.tag == key[1]:
                        self._engine.cancel(order, CANCEL_ALL_AFTER)
