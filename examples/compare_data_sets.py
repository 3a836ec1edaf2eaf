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
# # Compare two data sets
#
# Two ways to train: on fresh text, each token read once, or on two million tokens that are read again and
# again. The second set costs less to make. From which compute on does it cost more in loss, and how much?

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import sld

rows = sld.load_task("nanolm_data_repeat").train
N, D, U, loss = (rows.column(name) for name in ("N", "D", "U", "loss"))
fresh, repeated = D <= 1.01 * U, U == 2_097_152
runs = pd.concat(
    pd.DataFrame({"N": N[some], "D": D[some], "loss": loss[some], "data": name})
    for name, some in (("fresh", fresh), ("repeated", repeated))
)
runs.groupby("data").size()

# %% [markdown]
# ## One form, constants for each
#
# Each data set is followed at its own best size and number of tokens for a compute. A comparison with intervals
# says what the runs can tell apart and what they cannot.

# %%
roles = {"target": "loss", "scale": ["N", "D"]}
found = sld.compare(runs, by="data", law="E + A*N**-a + B*D**-b", **roles)
print(found.summary())

# %% [markdown]
# ## What it is worth
#
# A multiplier of 2 means: the other data set needs twice the compute for the same loss. Rows that lie beyond
# the runs of both rest on the formula, and the column `supported` says so.

# %%
table = found.to_frame()
table[["C", "difference", "difference_low", "difference_high", "probability_one_better", "supported"]].round(3)

# %%
ax = plt.subplots(figsize=(7, 4.4), layout="constrained")[1]
found.plot(ax)
ax.figure.savefig("compare_data_sets.png", dpi=110)

# %% [markdown]
# ## Did the runs say so before?
#
# A look at the rows themselves: the same size and number of tokens, once with fresh text and once with repeated
# text.

# %%
pairs = runs.groupby(["N", "D", "data"])["loss"].mean().unstack().dropna()
lost = 100 * (pairs["repeated"] / pairs["fresh"] - 1)
epochs = pairs.index.get_level_values("D") / 2_097_152
for n in np.unique(np.round(epochs[epochs >= 1])):
    print(f"{n:3.0f} times read: {lost[np.round(epochs) == n].mean():+.1f} % loss")
