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
# # The best learning rate at scale
#
# A learning rate has a best value, and it moves when the model grows. Here it was swept on models of up to 442
# thousand parameters, with a batch size and a number of tokens that vary too. What is the best value for a
# model four times as large?

# %%
import matplotlib.pyplot as plt
import numpy as np

import sld

task = sld.load_task("nanolm_lr_batch")
task.train.symbols, task.train.n_rows

# %% [markdown]
# ## Search the law
#
# The card of the task declares `lr` and `batch` as hyperparameters: columns with a best value inside. In a
# table of your own you say so with `hyper=["lr", "batch"]`.

# %%
run = sld.discover(task, budget="2000fits", workers=1, progress=True)
run

# %% [markdown]
# ## Read off the valley
#
# At a fixed size the law gives the loss for each learning rate. Valleys are flat, so the range in which the
# loss is within 0.5 % of the best says more than the best value itself.

# %%
lr = np.geomspace(2.5e-4, 6e-2, 300)
BATCH, TOKENS = 8192, 16_777_216
measured_sizes = np.unique(task.train.column("N"))
sizes = [*measured_sizes[[1, -1]], 4 * measured_sizes[-1]]


def valley(size: float) -> np.ndarray:
    """Return the loss along the learning rates."""
    n = len(lr)
    points = {"lr": lr, "batch": np.full(n, BATCH), "N": np.full(n, size), "D": np.full(n, TOKENS)}
    return run.law.predict(points)[:, 0]


for size in sizes:
    loss = valley(size)
    near = lr[loss < 1.005 * loss.min()]
    print(f"N = {size:9.0f}: best {lr[loss.argmin()]:.2g}, within 0.5 % from {near.min():.2g} to {near.max():.2g}")

# %%
figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for size in sizes:
    loss = valley(size)
    (line,) = ax.plot(lr, loss, label=f"{size:.3g} parameters")
    ax.plot(lr[loss.argmin()], loss.min(), "o", color=line.get_color())
ax.set(xscale="log", xlabel="learning rate", ylabel="loss (nats per byte)")
ax.legend(frameon=False)
figure.savefig("learning_rate_at_scale.png", dpi=110)

# %% [markdown]
# ## Did it hold?
#
# The task kept the runs of the larger models back. Of these, the best learning rate that was tried at each
# size, beside the law's:

# %%
held_out = task.held_out()
for size in np.unique(held_out.column("N")):
    of_size = held_out.take(held_out.column("N") == size)
    best = of_size.take([int(of_size.Y[:, 0].argmin())])
    at = {v.column: np.full(len(lr), best.column(v.column)[0]) for v in best.variables} | {"lr": lr}
    says = lr[run.law.predict(at)[:, 0].argmin()]
    print(f"N = {size:9.0f}: best of {of_size.n_rows} runs {best.column('lr')[0]:.2g}, the law says {says:.2g}")

# %% [markdown]
# ## Before you trust it
#
# - A best value at the edge of what was swept is no best value: sweep further there.
# - Sweep at three sizes or more. Two cannot show how the valley moves.
# - Outside the learning rates that were tried the law knows nothing. `sld.predict` warns there.
