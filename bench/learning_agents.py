"""Agents and black-box search: returns, regret and best values over steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from learning_tables import Registry, ladder, over
from measuring import Row, other, scale, target
from numpy.random import Generator, default_rng

from sld.core.arrays import Array, Rows
from sld.data.card import Target

TABLES = Registry()


SIDE, CAP = 8, 80  # of the grid world: cells of a side, steps until an episode is cut


class GridWorlds:
    """Slippery grid worlds, one for each run, all stepped at once: from a corner to the other, -1 a step."""

    MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])

    def __init__(self, runs: int, rng: Generator) -> None:
        """Put all runs into the first corner."""
        self.rng = rng
        self.place = np.zeros((runs, 2), int)
        self.age = np.zeros(runs, int)

    @property
    def state(self) -> Rows:
        """The number of the cell of each run."""
        return self.place[:, 0] * SIDE + self.place[:, 1]

    def step(self, action: Rows) -> tuple[Rows, Any]:
        """Move, one step in ten at random; return the new states and who has arrived. Who is done begins again."""
        slip = self.rng.random(len(action)) < 0.1
        action = np.where(slip, self.rng.integers(0, 4, len(action)), action)
        self.place = np.clip(self.place + self.MOVES[action], 0, SIDE - 1)
        self.age += 1
        state = self.state
        arrived = state == SIDE * SIDE - 1
        over = arrived | (self.age >= CAP)
        self.place[over], self.age[over] = 0, 0
        return state, arrived


def grid_returns(Q: Array, rng: Generator, episodes: int = 10) -> Array:
    """Return the mean return of the greedy policy of each run of Q (runs, states, 4)."""
    owner = np.repeat(np.arange(len(Q)), episodes)
    worlds, total, live = GridWorlds(len(owner), rng), np.zeros(len(owner)), np.ones(len(owner), bool)
    for _ in range(CAP):
        _, arrived = worlds.step(Q[owner, worlds.state].argmax(axis=1))
        total -= live
        live &= ~arrived
    return np.asarray(total.reshape(len(Q), episodes).mean(axis=1))


@TABLES.table(
    "grid_q_learning", "Tabular Q-learning on a slippery grid: return over steps",
    "greedy return of one run (three seeds) at one step, mean of ten episodes",
    [
        scale("steps", "environment steps", "steps", up=True),
        other("lr", "learning rate", "1", "hyperparameter"),
    ],
    Target("ret", "return, minus the steps to the goal", "points", better="higher", lower=-CAP, upper=0.0),
    group=("exploration", "share of random moves"), max_constants=6,
    extrapolation="up in steps: over 24000, training 2000 to 24000",
    notes=["an episode is cut at 80 steps", "values do not fade (discount 1)"],
    held=over(steps=24000),
)  # fmt: skip
def grid_q_learning() -> Iterator[Row]:
    runs = list(itertools.product((0.02, 0.1, 0.4), (0.05, 0.15, 0.5), range(3)))
    explore, lr = np.array([r[0] for r in runs]), np.array([r[1] for r in runs])
    rng, all_runs, at = default_rng(8), np.arange(len(runs)), ladder(2000, 60000, 12)
    worlds, Q = GridWorlds(len(runs), rng), rng.normal(0, 0.01, (len(runs), SIDE * SIDE, 4))
    for step in range(1, max(at) + 1):
        state = worlds.state
        random = rng.random(len(runs)) < explore
        action = np.where(random, rng.integers(0, 4, len(runs)), Q[all_runs, state].argmax(axis=1))
        after, arrived = worlds.step(action)
        wanted = -1 + np.where(arrived, 0, Q[all_runs, after].max(axis=1))
        Q[all_runs, state, action] += lr * (wanted - Q[all_runs, state, action])
        if step in at:
            for (e, rate, _), ret in zip(runs, grid_returns(Q, rng), strict=True):
                yield {"exploration": f"{e:g}", "steps": step, "lr": rate, "ret": float(ret)}


def cart_pole(policies: Array, rng: Generator, cap: int = 200) -> Array:
    """Return how many steps linear policies (n, 4) keep the pole up, one episode each (Barto et al. 1983)."""
    x = rng.uniform(-0.05, 0.05, (len(policies), 4))
    up, steps = np.ones(len(x), bool), np.zeros(len(x))
    for _ in range(cap):
        force = np.where((x * policies).sum(axis=1) > 0, 10.0, -10.0)
        sin, cos = np.sin(x[:, 2]), np.cos(x[:, 2])
        push = (force + 0.05 * x[:, 3] ** 2 * sin) / 1.1
        turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x += 0.02 * np.stack([x[:, 1], push - 0.05 * turn * cos / 1.1, x[:, 3], turn], axis=1)
        up &= (np.abs(x[:, 0]) < 2.4) & (np.abs(x[:, 2]) < 0.209)
        steps += up
        if not up.any():
            break
    return steps


@TABLES.table(
    "cart_pole_random_search", "Random search of a cart-pole policy: return over episodes",
    "mean over 12 seeds after some episodes, ten test episodes each",
    [
        scale("episodes", "training episodes", "episodes", up=True, monotone="increasing"),
        other("directions", "directions tried at an update", "directions", "hyperparameter"),
        other("lr", "step of the search", "1", "hyperparameter"),
    ],
    target("ret", "steps that the pole stays up", "steps", "higher", upper=200.0),
    max_constants=9, extrapolation="up in episodes: 512 and 768, training 32 to 384",
    notes=["an episode is cut at 200 steps", "augmented random search without normalisation of states",
           "seeds begin at random policies, the same for all settings; some never learn"],
    held=over(episodes=512),
)  # fmt: skip
def cart_pole_random_search() -> Iterator[Row]:
    seeds, at = 12, (32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
    for directions, lr in itertools.product((4, 8, 16), (0.1, 0.3, 1.0)):
        rng = default_rng((directions, round(100 * lr)))
        policy = default_rng(0).normal(size=(seeds, 4))
        for episodes in range(2 * directions, max(at) + 1, 2 * directions):
            tried = rng.normal(size=(seeds, directions, 4))
            both = np.stack([tried, -tried])
            returns = cart_pole((policy[:, None] + 0.1 * both).reshape(-1, 4), rng).reshape(2, seeds, directions)
            gain = (returns[0] - returns[1]) / (directions * (returns.std(axis=(0, 2)) + 1e-6))[:, None]
            policy = policy + lr * (gain[:, :, None] * tried).sum(axis=1)
            if episodes in at:
                ret = float(cart_pole(np.repeat(policy, 10, axis=0), rng).mean())
                yield {"episodes": episodes, "directions": directions, "lr": lr, "ret": ret}


@TABLES.table(
    "cross_entropy_method", "The cross-entropy method: best value over evaluations",
    "best value of one run (two seeds) after some evaluations",
    [
        scale("evaluations", "evaluations of the function", "evaluations", up=True, monotone="decreasing"),
        other("d", "dimension", "1", up=True),
        other("population", "points of a generation", "points", "hyperparameter"),
    ],
    target("best", "lowest value found so far of Rastrigin's function, whose least is 0", "1"),
    max_constants=9, extrapolation="up: 8192 evaluations and more, or 32 dimensions with 2048 and more",
    notes=["a tenth of the points is kept, deviations are smoothed", "the search ends in a local minimum as a rule"],
    held=lambda row: float(row["evaluations"]) >= 8192 or (row["d"] == 32 and float(row["evaluations"]) >= 2048),
)  # fmt: skip
def cross_entropy_method() -> Iterator[Row]:
    at = [2**i for i in range(8, 15)]
    for d, population, seed in itertools.product((2, 4, 8, 16, 32), (32, 64, 128), range(2)):
        rng = default_rng((d, population, seed))
        centre, spread, best = rng.uniform(-4, 4, d), np.full(d, 3.0), math.inf
        for evaluations in range(population, max(at) + 1, population):
            X = centre + spread * rng.normal(size=(population, d))
            values = (X**2 - 10 * np.cos(2 * np.pi * X) + 10).sum(axis=1)
            elite = X[np.argsort(values)[: population // 10]]
            centre, spread = elite.mean(axis=0), 0.8 * spread + 0.2 * (elite.std(axis=0) + 0.05)
            best = min(best, float(values.min()))
            if evaluations in at:
                yield {"evaluations": evaluations, "d": d, "population": population, "best": best}


@TABLES.table(
    "linear_bandit", "Regret of a linear bandit: rounds, arms and dimension", "mean regret of six runs",
    [
        scale("rounds", "rounds played", "rounds", up=True, monotone="increasing"),
        other("arms", "arms of a round", "arms"),
        other("d", "dimension of the arms' features", "1", up=True),
    ],
    target("regret", "sum over the rounds of what the best arm would have paid more", "1"),
    max_constants=8, extrapolation="up: 4096 rounds, or 16 dimensions",
    notes=["optimism with a bonus of one standard error", "fresh random arms each round, noise 0.5"],
    held=over(rounds=4096, d=16),
)  # fmt: skip
def linear_bandit() -> Iterator[Row]:
    for arms, d in itertools.product((4, 16, 64), (2, 4, 8, 16)):
        rng, runs, regret = default_rng((arms, d)), 6, 0.0
        truth = rng.normal(size=(runs, d)) / math.sqrt(d)
        inverse, summed = np.tile(np.eye(d), (runs, 1, 1)), np.zeros((runs, d))
        for played in range(1, 4097):
            X = rng.normal(size=(runs, arms, d)) / math.sqrt(d)
            spread = X @ inverse
            guess = (spread @ summed[:, :, None])[:, :, 0]
            arm = (guess + np.sqrt((spread * X).sum(axis=2))).argmax(axis=1)
            value = (X @ truth[:, :, None])[:, :, 0]
            x, paid = X[np.arange(runs), arm], value[np.arange(runs), arm]
            regret += float((value.max(axis=1) - paid).mean())
            u = (inverse @ x[:, :, None])[:, :, 0]  # Sherman and Morrison
            inverse -= u[:, :, None] * u[:, None, :] / (1 + (u * x).sum(axis=1))[:, None, None]
            summed += (paid + 0.5 * rng.normal(size=runs))[:, None] * x
            if played in (32, 64, 128, 256, 512, 1024, 2048, 4096):
                yield {"rounds": played, "arms": arms, "d": d, "regret": regret}


@TABLES.table(
    "random_walk_td", "TD(lambda) on a random walk: steps, learning rate, trace and states", "mean over 20 runs",
    [
        scale("steps", "steps of the walk", "steps", up=True),
        other("lr", "learning rate", "1", "hyperparameter"),
        other("trace", "decay lambda of the eligibility traces", "1", "hyperparameter"),
        other("states", "states of the walk", "states"),
    ],
    target("rmse", "root mean squared error of the values over the states", "1"),
    max_constants=12, extrapolation="up in steps: 2048 and more",
    notes=["ends pay 0 and 1, values begin at 0.5", "diverged settings (error over 1) are left out"],
    held=over(steps=2048),
)  # fmt: skip
def random_walk_td() -> Iterator[Row]:
    settings = list(itertools.product((0.02, 0.05, 0.1, 0.2, 0.4), (0.0, 0.5, 0.9)))
    repeats, at = 20, (64, 128, 256, 512, 1024, 2048, 4096)
    lr, trace = (np.repeat([s[i] for s in settings], repeats) for i in range(2))
    for states in (5, 11, 21):
        rng, all_runs = default_rng(states), np.arange(len(lr))
        V, traces = np.full((len(lr), states), 0.5), np.zeros((len(lr), states))
        place, truth = np.full(len(lr), states // 2), np.arange(1, states + 1) / (states + 1)
        for step in range(1, max(at) + 1):
            after = place + rng.choice([-1, 1], len(lr))
            ended = (after < 0) | (after == states)
            ahead = np.where(ended, after == states, V[all_runs, np.clip(after, 0, states - 1)])
            traces *= trace[:, None]
            traces[all_runs, place] += 1
            V += (lr * (ahead - V[all_runs, place]))[:, None] * traces
            traces[ended] = 0
            place = np.where(ended, states // 2, after)
            if step in at:
                off = np.sqrt(((V - truth) ** 2).mean(axis=1)).reshape(-1, repeats).mean(axis=1)
                for (rate, decay), rmse in zip(settings, off, strict=True):
                    if rmse < 1:
                        yield {"steps": step, "lr": rate, "trace": decay, "states": states, "rmse": float(rmse)}
