"""Promises of time on machines of any speed: what the same steps of Python take here and where they were measured."""

from __future__ import annotations

import time

# CPU seconds of `_steps` where the promises were measured
_REFERENCE_S = 0.04


def _steps() -> int:
    total = 0
    for i in range(1_000_000):
        total += i
    return total


def pace() -> float:
    """How many times as long this machine takes, 1 at least: a promise is not tightened by a fast one.

    The fastest of three counts, in CPU seconds. Ask for it right after what was timed: a core that two processes
    share, or a busy machine, slows both.
    """
    taken = []
    for _ in range(3):
        start = time.process_time()
        _steps()
        taken.append(time.process_time() - start)
    return max(1.0, min(taken) / _REFERENCE_S)
