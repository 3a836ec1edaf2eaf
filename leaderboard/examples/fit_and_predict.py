"""A submission of the first shape: E + A N^-a + B D^-b, fitted to the training rows of each group.

    sld submit leaderboard/examples/fit_and_predict.py --task nanolm_chinchilla --name "Chinchilla, a program"

`data_points` is (n_rows, n_variables) in the order of the task's card, `loss_values` is (n_rows,).
"""

import numpy as np
from scipy.optimize import nnls


def scaling_law_func(data_points, params):
    """Predict the loss of each row."""
    N, D = data_points[:, 0], data_points[:, 1]
    E, A, a, B, b = params
    return E + A * N**-a + B * D**-b


def fit_scaling_law(data_points, loss_values):
    """Try pairs of exponents; the rest enters linearly and has to be positive."""
    N, D = data_points[:, 0], data_points[:, 1]
    best, error = None, np.inf
    for a in np.linspace(0.02, 1.0, 50):
        for b in np.linspace(0.02, 1.0, 50):
            columns = np.column_stack([np.ones_like(N), N**-a, D**-b])
            (E, A, B), residual = nnls(columns, loss_values)
            if residual < error:
                best, error = np.array([E, A, a, B, b]), residual
    return best
