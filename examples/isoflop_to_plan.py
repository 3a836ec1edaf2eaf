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
# # From isoFLOP sweeps to a plan
#
# In an isoFLOP sweep several model sizes share one compute: small models read many tokens, large ones few. The
# table has twelve such budgets. How should a budget ten times the largest be split, and how sure is that?

# %%
import matplotlib.pyplot as plt

import sld

task = sld.load_task("nanolm_chinchilla")
BUDGET = 3e15
task.train.n_rows

# %% [markdown]
# ## Read the sweep in three ways
#
# The run with the lowest loss of each budget, a parabola through the runs of each budget, and a law fitted to
# all runs. Where a budget has no lowest loss inside its sizes, nothing is read off it.

# %%
sweep = sld.isoflop(task, budget=BUDGET).only
print(sweep.believe, "is the way to believe here")
sld.isoflop(task, budget=BUDGET).to_frame()[["budget", "runs", "sizes", "law_D"]]

# %% [markdown]
# ## Plan the run
#
# The law says which size and how much data give the lowest loss that the budget can buy. Its interval comes
# from laws that the rows cannot tell from this one: each has an optimum of its own.

# %%
law = sld.fit(task, "E + A*N**-a + B*D**-b")
plan = sld.allocate(law, budget=[BUDGET / 10, BUDGET])
print(plan.summary())

# %% [markdown]
# The optimum is flat. Any size in the last column of the plan costs at most a tenth of a per cent of loss, so
# there is room to choose a smaller model that is cheaper to run.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
sld.isoflop(task, budget=BUDGET).plot(left)
plan.plot(right)
figure.savefig("isoflop_to_plan.png", dpi=80)

# %% [markdown]
# ## Before you train
#
# - A plan says how far the rows support it. Beyond that, one more rung of the sweep is worth more than a better
#   fit.
# - Parabolas lean to one side even without noise. How much, on these very sizes, stands in `sweep.bias`.
