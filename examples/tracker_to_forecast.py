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
# # From tracker to forecast
#
# Runs lie in logs, one file each. Two lines make a table and a law of them, a third forecasts the run that
# comes next.

# %%
import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt

import sld

HERE = Path(__file__).parent if "__file__" in globals() else Path()
LOGS = Path("logs")

# %% [markdown]
# ## Logs
#
# This cell stands for your tracker. It writes a log for each run of the table beside this notebook: the
# settings, then what was logged. One run diverged at its end, as runs do.

# %%
LOGS.mkdir(exist_ok=True)
with (HERE / "runs.csv").open(encoding="utf-8", newline="") as table:
    runs = list(csv.DictReader(table))


def number(text: str) -> float:
    """Read 24.6k and 1.05M."""
    return float(text.rstrip("kM")) * {"k": 1e3, "M": 1e6}.get(text[-1], 1.0)


for k, run in enumerate(runs):
    lines = [
        {"n_params": round(number(run["params"])), "optimizer": "adamw"},
        {"step": 100, "tokens": number(run["tokens"]), "eval_loss": float(run["loss"])},
    ]
    lines += [{"step": 101, "tokens": number(run["tokens"]), "eval_loss": float("nan")}] if k == 5 else []
    (LOGS / f"{run['run']}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")

# %% [markdown]
# ## Collect
#
# `sld.collect` recognises the kind of log, makes one row of each run, and says what it did with which. Beside
# the table it writes a card, which says what each column is for.

# %%
collected = sld.collect(LOGS, out="collected.csv")
print("\n".join(collected.attrs["account"]))
collected.head()

# %% [markdown]
# ## Discover
#
# The card is read with the table, so nothing has to be said again.

# %%
found = sld.discover("collected.toml", budget="2000fits", workers=1, progress=True)
found

# %% [markdown]
# ## Forecast
#
# The run that comes next has ten million parameters and 134 million tokens. What will its loss be? It was made
# later, so it is not among the logs.

# %%
names = [v.column for v in found.law.variables]
forecast = sld.predict(found, dict(zip(names, ([1.06e7], [1.34e8]), strict=True)))
target = found.law.targets[0].column
low, high = forecast[f"{target}_low"][0], forecast[f"{target}_high"][0]
print(f"forecast {forecast[target][0]:.3f}, with 90 % between {low:.3f} and {high:.3f}")
with (HERE / "larger_runs.csv").open(encoding="utf-8", newline="") as table:
    later = [
        float(row["loss"]) for row in csv.DictReader(table) if row["params"] == "10.6M" and row["tokens"] == "134M"
    ]
print("measured:", later)

# %%
ax = plt.subplots(figsize=(6.4, 4.6), layout="constrained")[1]
found.plot(ax)
ax.set_title("what the logs say")
ax.figure.savefig("tracker_to_forecast.png", dpi=110)
