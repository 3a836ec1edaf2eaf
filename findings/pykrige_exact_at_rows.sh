#!/usr/bin/env bash
# PyKrige: a nugget does not smooth at the rows themselves, the range is three lengths, the first number the whole sill.
#
# Seen with PyKrige 1.7.3, numpy 2.2.6 and scipy 1.17.1 (Python 3.11). Who corrects a fitted law by kriging its residuals
# wants noise of single runs taken out, and sets a nugget. `OrdinaryKriging` then still returns the measured value at a
# point that coincides with a row, with a variance of 0, and something else a ten-thousandth beside it, with a variance
# above the nugget: for runs at sizes that were measured already, noise is foretold as if it came again. Way out:
# `exact_values=False`. The "exponential" variogram with range r is 1 - exp(-3 d / r): a length L, as Gaussian-process
# libraries have it, is a range of 3 L here. And in the list of `variogram_parameters` the first number is the whole
# sill, nugget included, while the parameters that the model functions take begin with the partial one.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q PyKrige==1.7.3 numpy==2.2.6 scipy==1.17.1
"$place/venv/bin/python" - <<'PYTHON'
import numpy as np
from pykrige.ok import OrdinaryKriging

size = np.linspace(0.0, 5.0, 6)  # logarithms of six sizes
residual = np.array([0.3, -0.1, 0.4, 0.2, -0.3, 0.1])


def kriged(at, values=residual, **options):
    model = OrdinaryKriging(size, np.zeros(6), values, variogram_model="exponential", **options)
    value, variance = model.execute("points", np.array([at]), np.array([0.0]))
    return float(value[0]), float(variance[0])


noisy = {"variogram_parameters": {"psill": 1.0, "range": 3.0, "nugget": 0.2}}
row, beside = kriged(2.0, **noisy), kriged(2.0001, **noisy)
print(f"measured {residual[2]}; at the row {row[0]:.4f} ± {max(row[1], 0) ** 0.5:.2f}, beside it {beside[0]:.4f} ± {beside[1] ** 0.5:.2f}")
smooth = kriged(2.0, exact_values=False, **noisy)
print(f"exact_values=False: {smooth[0]:.4f}")
assert abs(row[0] - 0.4) < 1e-9 and abs(row[1]) < 1e-9
assert abs(beside[0] - 0.4) > 0.04 and beside[1] > 0.2
assert abs(smooth[0] - 0.4) > 0.04


def by_hand(length, nugget):
    """Return the weights of ordinary kriging at 6.5 with the variogram nugget + 1 - exp(-d / length)."""
    apart = np.abs(size[:, None] - size)
    system = np.ones((7, 7))
    system[:6, :6] = np.where(apart > 0, nugget + 1 - np.exp(-apart / length), 0.0)
    system[6, 6] = 0.0
    return np.linalg.solve(system, np.append(nugget + 1 - np.exp(-np.abs(6.5 - size) / length), 1.0))[:6]


def weights(parameters):
    return np.array([kriged(6.5, unit, variogram_parameters=parameters)[0] for unit in np.eye(6)])


found = weights({"psill": 1.0, "range": 3.0, "nugget": 0.2})
print("weight of the last row:", found[-1].round(4), "; by hand with length 1:", by_hand(1.0, 0.2)[-1].round(4), ", 3:", by_hand(3.0, 0.2)[-1].round(4))
assert np.allclose(found, by_hand(1.0, 0.2)) and not np.allclose(found, by_hand(3.0, 0.2), atol=0.05)
listed = weights([1.0, 3.0, 0.2])
print("the same three numbers as a list:", listed[-1].round(4), "; as a whole sill:", weights({"sill": 1.0, "range": 3.0, "nugget": 0.2})[-1].round(4))
assert np.allclose(listed, weights({"sill": 1.0, "range": 3.0, "nugget": 0.2})) and not np.allclose(listed, found, atol=1e-3)
PYTHON
