"""The child process of `engines`: reads a job in JSON, runs the engine on each part, writes formulas as text.

The job: `{"engine", "seed", "evaluations", "parts": [{"X": columns, "y": values, "target": number}]}`. The answer:
`[{"target": number, "texts": [...]}]`, each list a Pareto front, shortest first, over the names v0, v1, ... A part with
`"group"` (numbers of the rows' groups from 1), `"n_groups"` and `"own"` (names) wants one form whose constants of these
names are the group's own; its texts are PySR's: `f = #1*#3 + 2.0; p0 = [1.0, 2.0]`, where #1 is v0, and the names
follow the variables.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

_GROUP = "group"  # name of the column with the number of each row's group

Part = Mapping[str, Any]
Front = Callable[[Part, int, int], list[str]]


def operon_front(part: Part, seed: int, evaluations: int) -> list[str]:
    """Run pyoperon's regressor (Burlacu et al. 2020) and return its front of error against length."""
    import numpy as np
    from pyoperon.sklearn import SymbolicRegressor

    model = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,constant,variable,exp,log,pow,sqrt",
        objectives=["r2", "length"],
        optimizer_iterations=5,
        max_length=30,
        population_size=500,
        generations=10**6,
        max_evaluations=evaluations,
        n_threads=1,  # one thread and a number of evaluations: the same seed gives the same front
        random_state=seed + 1,  # zero would mean a random one
    )
    model.fit(np.array(part["X"]).T, np.array(part["y"]))
    names = _names(part)
    front = sorted(model.pareto_front_, key=lambda entry: (entry["length"], entry["mean_squared_error"]))
    # a tree is asked for its text where it lies: copying one crashes
    return [str(model.get_model_string(entry["tree"], 9, names)) for entry in front]


def pysr_front(part: Part, seed: int, evaluations: int) -> list[str]:
    """Run PySR (Cranmer 2023), which needs Julia, and return its hall of fame."""
    import numpy as np

    model = pysr_model(part, seed, evaluations)
    columns = [*part["X"], *([part["group"]] if part.get("group") else [])]
    names = [*_names(part), *([_GROUP] if part.get("group") else [])]
    model.fit(np.array(columns, dtype=np.float64).T, np.array(part["y"]), variable_names=names)
    return [str(text) for text in model.equations_.sort_values("complexity")["equation"]]


def pysr_model(part: Part, seed: int, evaluations: int) -> Any:
    """Return PySR's regressor for a part; with groups one form in a template, which gives each group its constants."""
    import pysr

    template: dict[str, Any] = {}
    if part.get("group"):
        own = [f"{name}[{_GROUP}]" for name in part["own"]]
        template["expression_spec"] = pysr.TemplateExpressionSpec(
            combine=f"f({', '.join([*_names(part), *own])})",
            expressions=["f"],
            variable_names=[*_names(part), _GROUP],
            parameters=dict.fromkeys(part["own"], part["n_groups"]),
        )
    return pysr.PySRRegressor(
        binary_operators=["+", "-", "*", "/", "^"],
        unary_operators=["exp", "log"],
        maxsize=30,
        niterations=1_000_000,
        max_evals=evaluations,
        deterministic=True,
        parallelism="serial",
        random_state=seed,
        progress=False,
        verbosity=0,
        temp_equation_file=True,
        **template,
    )


def _names(part: Part) -> list[str]:
    return [f"v{i}" for i in range(len(part["X"]))]


FRONTS: dict[str, Front] = {"operon": operon_front, "pysr": pysr_front}  # the engines that this child can run


def main() -> None:
    """Answer the job on stdin; whatever an engine prints goes to stderr, so that stdout holds the answer alone."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job: dict[str, Any] = json.load(sys.stdin)
    front = FRONTS[job["engine"]]
    found = [{"target": part["target"], "texts": front(part, job["seed"], job["evaluations"])} for part in job["parts"]]
    json.dump(found, answer)
    answer.close()


if __name__ == "__main__":
    main()
