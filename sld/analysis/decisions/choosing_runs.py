r"""Which runs of many to pay for: the most variance for the money, a step ahead, and some to fill what is empty.

A plan is built one run after the other. With $\Delta_i$ what run i takes from the variance and $c_i$ its cost, the next
is the one with the largest $(\Delta_i + \Delta_{j|i}) / (c_i + c_j)^\gamma$ over its best follower j: one step of
looking ahead, since two runs may settle together what neither does alone. Plans with $\gamma$ = 1 (the most for the
money), 1/2 and 0 (the most) are built and the best kept, which is never far from the best there is where what a run
adds shrinks with what is known (Khuller et al. 1999 for two such rules). Then runs are exchanged one by one as long as
that helps. A share of the budget goes to runs that lie farthest from all others, whatever any form says of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sld.analysis.decisions.belief import Belief, Known
from sld.core.arrays import Array, Mask, Rows

GUARD = 0.1  # share of the budget for filling what is empty
_POWERS = (1.0, 0.5, 0.0)  # of the cost
_AHEAD = 8  # of the best next runs are looked at with what follows
_AHEAD_RUNS = 40  # of a plan; beyond, one run more or less decides nothing
_EXCHANGED = 60  # runs of a plan that is still improved by exchanges
_PASSES = 2  # of exchanges
_BETTER = 1.005  # an exchange has to help by half a per cent
_NOTHING = 1e-7  # of the variance: a run that takes less teaches nothing


@dataclass(frozen=True)
class Choice:
    """Runs that were chosen, in the order in which they should be made.

    Attributes:
        chosen: Numbers of the candidates; one that is repeated is there more than once.
        left: (n_runs + 1, n_answers) variances of the answers before and after each.
        guards: Which of them fill what is empty.
        spent: What they cost.
    """

    chosen: tuple[int, ...]
    left: Array
    guards: frozenset[int]
    spent: float


@dataclass(frozen=True)
class Rules:
    """How a plan is made.

    Attributes:
        budget: What it may cost.
        most: How often a candidate may be taken.
        runs: How many runs at most; None for any number.
        guard: Share of the budget for filling what is empty.
        narrow: From variances (n_answers,) to whether that is enough; None to spend the budget.
    """

    budget: float
    most: int = 1
    runs: int | None = None
    guard: float = GUARD
    narrow: Callable[[Array], bool] | None = None


def choose(belief: Belief, cost: Array, place: Array, known: Array, rules: Rules, asked: Array | None = None) -> Choice:
    """Return which runs to make.

    Args:
        belief: What is believed of candidates and answers.
        cost: (n,) of each candidate.
        place: (n, k) where they are, for filling what is empty; groups are far from each other.
        known: (n_known, k) where runs are already.
        rules: How much may be spent, and how.
        asked: (n_asked, k) where something is asked about, if it is anywhere.
    """
    guards = _filling(cost, place, known, asked, rules)
    start = Known.before(belief)
    for i in guards:
        start = start.seen(i)
    plans = [_greedy(start, cost, guards, rules, power) for power in _POWERS]
    best = min(plans, key=lambda p: (_reached(p, rules), p[1].total, sum(float(cost[i]) for i in p[0])))
    chosen = best[0]
    if 0 < len(chosen) <= _EXCHANGED and rules.narrow is None:
        chosen = _exchanged(belief, cost, chosen, len(guards), rules)
    return _ordered(belief, cost, chosen, frozenset(chosen[: len(guards)]), rules)


def _reached(plan: tuple[list[int], Known], rules: Rules) -> bool:
    """Tell whether a plan is short of what was to be reached."""
    return rules.narrow is not None and not rules.narrow(plan[1].left)


def _filling(cost: Array, place: Array, known: Array, asked: Array | None, rules: Rules) -> list[int]:
    """Return the runs that fill what is empty, for a share of the budget.

    With $d$ the distance to the nearest run and $a$ that to what is asked, the next is the one with the largest
    $d / (1 + a)$: corners where nobody wants to know anything stay empty.
    """
    money = rules.guard * rules.budget
    allowed: Mask = np.asarray(cost <= money)
    if not allowed.any():
        return []
    far = np.ones(len(cost))
    if asked is not None and len(asked):
        far += np.sqrt(np.min([((place - x) ** 2).sum(axis=1) for x in asked], axis=0))
    distance = np.full(len(cost), math.inf)
    for x in known:
        distance = np.minimum(distance, ((place - x) ** 2).sum(axis=1))
    if not len(known):
        away = ((place - place[allowed].mean(axis=0)) ** 2).sum(axis=1)
        distance = 1.0 + away[allowed].max() - away  # begin in the middle
    found: list[int] = []
    room = len(cost) if rules.runs is None else max(1, int(rules.guard * rules.runs))
    while len(found) < room:
        can = (cost <= money) & (distance > 1e-12)
        if not can.any():
            break
        i = int(np.argmax(np.where(can, np.sqrt(np.maximum(distance, 0.0)) / far, -1.0)))
        found.append(i)
        money -= float(cost[i])
        distance = np.minimum(distance, ((place - place[i]) ** 2).sum(axis=1))
    return found


def _greedy(start: Known, cost: Array, begun: list[int], rules: Rules, power: float) -> tuple[list[int], Known]:
    """Return a plan, and what is believed after it: run by run the most for the money, a step ahead."""
    state, chosen = start, list(begun)
    left = rules.budget - float(cost[begun].sum()) if begun else rules.budget
    count = np.bincount(np.array(begun, dtype=np.intp), minlength=len(cost))
    price = cost**power
    least = _NOTHING * max(float(state.belief.importance @ state.belief.prior), 1e-300)
    while rules.runs is None or len(chosen) < rules.runs:
        if rules.narrow is not None and rules.narrow(state.left):
            break
        can = (cost <= left * (1 + 1e-9)) & (count < rules.most)
        gains = np.where(can, state.gains(), -1.0)
        if not can.any() or not gains.max() > least:  # also where nothing can be said, NaN
            break
        i = int(np.argmax(np.where(can, gains / price, -1.0)))
        if len(chosen) < _AHEAD_RUNS:
            i = _ahead(state, cost, left, gains, np.where(can, gains / price, -1.0), count, rules, power)
        state = state.seen(i)
        chosen.append(i)
        left -= float(cost[i])
        count[i] += 1
    return chosen, state


def _ahead(
    state: Known, cost: Array, left: float, gains: Array, rate: Array, count: Rows, rules: Rules, power: float
) -> int:
    """Return the best next run, with its best follower counted."""
    best, best_rate = -1, -math.inf
    for i in np.argsort(-rate, kind="stable")[:_AHEAD]:
        if rate[i] <= 0:
            break
        after = state.seen(int(i))
        can = (cost <= left - cost[i]) & (count + (np.arange(len(cost)) == i) < rules.most)
        follow = np.where(can, after.gains(), 0.0)
        own = float(rate[i])
        with_next = (gains[i] + follow) / (cost[i] + cost) ** power
        found = max(own, float(with_next[can].max())) if can.any() else own
        if found > best_rate:
            best, best_rate = int(i), found
    return best


def _exchanged(belief: Belief, cost: Array, chosen: list[int], fixed: int, rules: Rules) -> list[int]:
    """Return a plan in which no run has a better one in its place; the first `fixed` stay."""
    chosen = list(chosen)
    for _ in range(_PASSES):
        changed = False
        for at in range(fixed, len(chosen)):
            others = [*chosen[:at], *chosen[at + 1 :]]
            state = Known.before(belief)
            for i in others:
                state = state.seen(i)
            left = rules.budget - float(cost[others].sum())
            count = np.bincount(np.array(others, dtype=np.intp), minlength=len(cost))
            can = (cost <= left * (1 + 1e-9)) & (count < rules.most)
            gains = np.where(can, state.gains(), -1.0)
            new = int(np.argmax(gains))
            if gains[new] > _BETTER * gains[chosen[at]] and new != chosen[at]:
                chosen[at] = new
                changed = True
        if not changed:
            break
    state = Known.before(belief)
    for i in chosen:
        state = state.seen(i)
    # what an exchange saved may buy more
    return _greedy(state, cost, chosen, rules, 1.0)[0]


def _ordered(belief: Belief, cost: Array, chosen: list[int], guards: frozenset[int], rules: Rules) -> Choice:
    """Return the plan with what teaches most for its cost first, so that one may stop at any point."""
    state = Known.before(belief)
    order: list[int] = []
    left = [state.left]
    rest = list(chosen)
    while rest:
        if rules.narrow is not None and rules.narrow(state.left):
            break
        rate = state.gains()[rest] / cost[rest]
        at = int(np.argmax(rate))
        i = rest.pop(at)
        state = state.seen(i)
        order.append(i)
        left.append(state.left)
    return Choice(tuple(order), np.array(left), guards & set(order), float(cost[order].sum()) if order else 0.0)
