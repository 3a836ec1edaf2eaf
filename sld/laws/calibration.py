r"""How wide intervals are made: a few numbers, measured once on many tables and shipped.

Which parts count, and by how much, was chosen on 79 tables (those to build on of `bench/split.md`, and the older ones)
by the interval score of held-out rows at 50, 80 and 90 %; tails and stretch so that the 38 tables to build on hold at
each of these levels what is promised (`python bench/intervals.py --calibrate`). What was tried beside them (a power of
the error on the folds, of the rows per group, of the distance from the data, the spread of the laws that a consensus
asks) changed the score by less than one per cent.
"""

from __future__ import annotations

TAILS = 3.0  # degrees of freedom of Student's t: a law that fails fails by far, so tails are heavier than normal ones
STRETCH = 1.25  # of the spread around a law that a search chose: forms nobody tried disagree as well
RIVALS = 0.65  # of the distance to the runners-up: they are worse than the law, and several say the same
LEVEL = 0.25  # of the noise: a law of few constants on many rows hardly moves, yet misfits
MOST = 1.2  # times what the rows of the group span, and the distance: so far values may lie outside where a law is lost
AT_EDGE = 0.3  # of a span of the variables, added to the distance: a law may be lost at the edge of the data as well
