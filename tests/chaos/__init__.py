"""Random faults of the exchange against a manager, and readers that compare what they got with what there was.

The invariant, for channels whose messages have an identity: every message that the exchange made for a subscription is
delivered once, in order, or lies in a hole that was told at its place, with bounds that contain it. And an order book
that can be read is the exchange's. And an order that was told to be accepted is there, one that was certainly not
carried out is not, each end is told once, and the live views of orders and account are the exchange's once all is calm.

``python -m tests.chaos --faults 10000`` is the long run; the same seed makes the same faults. With ``--hands 1000``,
users subscribe, leave, come back and rotate at random meanwhile, and each of their readers is judged by itself.
"""
