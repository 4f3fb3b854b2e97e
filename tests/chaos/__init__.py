"""Random faults of the exchange against a manager, and readers that compare what they got with what there was.

The invariant, for channels whose messages have an identity: every message that the exchange made for a subscription is
delivered once, in order, or lies in a hole that was told at its place, with bounds that contain it. And an order book
that can be read is the exchange's.

``python -m tests.chaos --faults 10000`` is the long run; the same seed makes the same faults.
"""
