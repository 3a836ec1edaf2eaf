"""Measurements of systems: seconds, rates, bytes and errors over the sizes of a job, each a table with held-out rows.

    python bench/measure_systems.py OUT [--only NAME,NAME]

The tables are in `systems_*.py`, by subject. Each is one function: its design (a grid, sweeps of one variable, random
sizes, a ladder), with seeds that are fixed, and its split, which holds out the largest jobs. What is timed is CPU time
on the machine at hand, on one thread (the server's alone is wall-clock time), so that the rows differ from one machine,
and from one call, to the next; the counts of bytes and the errors of approximations do not. Noise stays in: whether a
row is one timing or a median, its card says.

Needs numpy and scipy; further scikit-learn, polars and torch for the tables that use them, which are left out with a
line where those are absent. About five minutes on one core, and 2 GB of memory.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "POLARS_MAX"):  # read when numpy and polars are first imported
    os.environ.setdefault(f"{_name}_THREADS", "1")

import systems_arrays  # noqa: E402
import systems_data  # noqa: E402
import systems_errors  # noqa: E402
import systems_fits  # noqa: E402
import systems_networks  # noqa: E402
import systems_server  # noqa: E402
from measuring import main  # noqa: E402

MODULES = (systems_arrays, systems_networks, systems_fits, systems_data, systems_server, systems_errors)
TABLES = [experiment for module in MODULES for experiment in module.TABLES]

if __name__ == "__main__":
    main(__doc__, TABLES)
