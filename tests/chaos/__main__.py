"""``python -m tests.chaos --faults 10000 --seed 1``: the long run."""

import argparse
import logging
import sys

from tests.chaos.hands import Hands
from tests.chaos.run import main

logging.basicConfig(level=logging.CRITICAL)  # an exchange that ends by a bug of its own
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--faults", type=int, default=1000)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--redundancy", type=int, default=1, choices=(1, 2))
parser.add_argument("--overflow", default="drop_oldest")
parser.add_argument("--queue-size", type=int, default=100_000)
parser.add_argument("--hands", type=int, default=0, help="so many calls of users who come and go, instead")
asked = parser.parse_args()
settings = {"overflow": asked.overflow, "queue_size": asked.queue_size}
if asked.redundancy > 1:
    settings["redundancy"] = asked.redundancy
if asked.hands:
    report = Hands(asked.seed, redundancy=asked.redundancy).go(asked.hands)
    print(report)
    sys.exit(bool(report.wrong))
sys.exit(not main(asked.faults, asked.seed, **settings))
