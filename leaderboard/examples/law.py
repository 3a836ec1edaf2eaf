"""A submission of the second shape: its constants stand in the program, one set per group.

    sld submit leaderboard/examples/law.py --task nanolm_chinchilla --name "Chinchilla, constants given"

`input_data` is a list of dicts, column to number; `group` is the group's name, None where rows are not grouped.
"""

CONSTANTS = {None: {"E": 0.785, "A": 10.525, "a": 0.3, "B": 2031.6, "b": 0.58}}


def law(input_data, group):
    """Return a list of dicts, target to number, one per point."""
    c = CONSTANTS[group]
    return [{"loss": c["E"] + c["A"] * p["N"] ** -c["a"] + c["B"] * p["D"] ** -c["b"]} for p in input_data]
