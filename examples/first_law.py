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
# # A first law
#
# From a table of training runs to a law, and how far to trust it. The table has 108 runs of tiny language
# models, up to 3 million parameters. The runs with 10 million were made as well, but the search does not see
# them: they show at the end who was right.

# %%
from pathlib import Path

import matplotlib.pyplot as plt

import sld

HERE = Path(__file__).parent if "__file__" in globals() else Path()
roles = {"target": "loss", "scale": ["params", "tokens"]}
runs = sld.table_from(HERE / "runs.csv", **roles)
runs.n_rows, runs.symbols

# %% [markdown]
# ## Search
#
# The search tries formulas, fits their constants to small runs, and judges each by what it says of larger ones.
# A budget in fits gives the same law every time; `"60s"` would search for a minute.

# %%
run = sld.discover(runs, budget="2000fits", workers=1, progress=True)
run

# %% [markdown]
# The verdict says up to which size the law is supported, and why not further. Constants come with 90 %
# intervals: how well these rows determine them, if the formula is right.

# %%
run.law.summary().round(4)

# %% [markdown]
# The formula was chosen from many. The best one of each size, with its error on larger runs that its fit had
# not seen:

# %%
run.summary()[["formula", "chosen", "n_constants", "fold_error"]]

# %% [markdown]
# ## What is left over
#
# Residuals of a law that fits have no pattern left. These are within a few per cent.

# %%
left = run.residuals()
figure, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.axhline(0, color="0.7", linewidth=1)
ax.scatter(left["params"], 100 * left["relative"], s=14)
ax.set(xscale="log", xlabel="parameters", ylabel="residual (%)")
figure.savefig("first_law_residuals.png", dpi=110)

# %% [markdown]
# ## Predict, and compare with what was measured
#
# `sld.predict` gives an interval for a new run. A point beyond what the law supports gives a warning.

# %%
larger = sld.table_from(HERE / "larger_runs.csv", **roles)
predicted = sld.predict(run, larger)
inside = (predicted["loss_low"] <= larger.column("loss")) & (larger.column("loss") <= predicted["loss_high"])
print(f"{inside.mean():.0%} of {larger.n_rows} larger runs lie inside their 90 % intervals")
print(f"R² on these runs: {sld.score(run, larger).r2:.3f}")

# %%
ax = run.law.plot(data=larger)
ax.set_title("Runs that the law never saw, beside the law")
ax.figure.savefig("first_law.png", dpi=110)

# %% [markdown]
# ## Tell others
#
# One page, one file, no network:

# %%
page = sld.report(run, "first_law.html")
print(f"first_law.html has {len(page) / 1000:.0f} kB")
