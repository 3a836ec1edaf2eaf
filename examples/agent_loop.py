# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An agent's loop
#
# An agent that runs experiments needs to know three things after each run: what the law is now, how sure its
# forecast is, and which run to pay for next. Here a short rule plays the agent, so that the loop can be read
# and repeated. A language model takes its place without a change to the rest.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np

import sld

task = sld.load_task("nanolm_chinchilla")
N, D, loss = (task.train.column(name) for name in ("N", "D", "loss"))
cost = 6 * N * D
roles = {"target": "loss", "scale": ["N", "D"]}
goal = {"N": np.array([1.06e7]), "D": np.array([1.34e8])}

# %% [markdown]
# ## What the agent may do
#
# It begins with the cheapest runs of the table. All others can be bought: a lookup stands for the training. It
# has a budget, and wants to know the loss of a run that costs more than everything it may spend.

# %%
order = np.argsort(cost, kind="stable")
known, budget = list(order[:24]), 6e14
goal_cost = 6 * goal["N"][0] * goal["D"][0]
print(f"{len(known)} runs at first, {len(order) - len(known)} to buy; the goal costs {goal_cost:.1e}")


def discovered() -> sld.Law:
    """Return the law of what is known."""
    rows = {"N": N[known], "D": D[known], "loss": loss[known]}
    return sld.discover(rows, budget="500fits", workers=1, **roles).law


def chosen(law: sld.Law) -> list[int]:
    """Return three runs at different points that the agent can pay for, those of which least is known."""
    left = np.array([k for k in order if k not in known and cost[k] <= budget / 10], dtype=int)
    if not len(left):
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sld.SldWarning)
        told = sld.predict(law, {"N": N[left], "D": D[left]})
    worth = told["loss_high"] - told["loss_low"]
    picked: list[int] = []
    for k in left[np.argsort(-worth)]:
        if len(picked) < 3 and all((N[k], D[k]) != (N[p], D[p]) for p in picked):
            picked.append(int(k))
    return picked


# %% [markdown]
# ## The loop
#
# Discover, forecast, buy, and again. The form may change from turn to turn. The interval of the goal says when
# to stop.

# %%
history = []
for turn in range(6):
    law = discovered()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sld.SldWarning)  # the goal lies far beyond what the first runs support
        told = sld.predict(law, goal)
    low, value, high = (float(told[name][0]) for name in ("loss_low", "loss", "loss_high"))
    spent = cost[known].sum()
    history.append((spent, low, value, high))
    print(f"turn {turn}: {len(known)} runs, spent {spent:.1e}, forecast {value:.3f} ({low:.3f} to {high:.3f})")
    buy = chosen(law)
    if not buy or high - low < 0.05:
        break
    known += buy
    budget -= cost[buy].sum()

# %% [markdown]
# ## What it came to
#
# The run was made in the end, and lies among the held-out rows of the task.

# %%
held_out = task.held_out()
same = np.isclose(held_out.column("N"), goal["N"], rtol=0.01) & np.isclose(held_out.column("D"), goal["D"], rtol=0.01)
measured = held_out.column("loss")[same]
spent, low, value, high = np.array(history).T
ax = plt.subplots(figsize=(6.4, 4), layout="constrained")[1]
turns = np.arange(len(value))
ax.errorbar(turns, value, [value - low, high - value], fmt="o", capsize=4, label="forecast, 90 % interval")
ax.axhline(measured.mean(), color="0.3", linestyle="--", label="measured later")
ax.set_xticks(turns, [f"{c:.1e}" for c in spent])
ax.set(xlabel="compute spent (FLOP)", ylabel="loss of the goal", ylim=(0.2, 1.6))
ax.legend(frameon=False)
ax.figure.savefig("agent_loop.png", dpi=110)
print(f"measured {measured.mean():.3f}, forecast at the end {value[-1]:.3f}")

# %% [markdown]
# ## The same from outside Python
#
# Every verb is a command with `--json`, and refuses what it cannot do in one line. So an agent in any language
# can run `sld fit runs.csv --json`, `sld predict law.json goal.csv --json`, and read what it needs from stdout.
