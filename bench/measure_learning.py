"""Tables of learning experiments, measured here: classical learners, small networks, agents and toy theory.

    pip install scikit-learn
    python bench/measure_learning.py OUT [--only NAME,NAME]

The tables are in `learning_*.py`, by subject. Each is a task folder OUT/NAME of real, noisy measurements: learning
curves, sweeps of learning rates, returns of agents over steps, phase transitions, errors of estimates. Rows are single
runs in some and means over seeds in others, as the card says. Data are made up, come with scikit-learn (digits, breast
cancer, wine), or are the texts of Python's own help (`pydoc_data`) and sources, of which only counts and perplexities
are written; with another version of Python or of a library the numbers differ slightly. Seeds are fixed, and everything
runs on one core: some five minutes.
"""

from __future__ import annotations

import os

for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")  # read once, when numpy is imported

import learning_agents  # noqa: E402
import learning_curves  # noqa: E402
import learning_networks  # noqa: E402
import learning_text  # noqa: E402
import learning_theory  # noqa: E402
from measuring import main  # noqa: E402

MODULES = (learning_curves, learning_networks, learning_agents, learning_text, learning_theory)
TABLES = [experiment for module in MODULES for experiment in module.TABLES]

if __name__ == "__main__":
    main(__doc__, TABLES)
