"""Which rows a search sees: groups that can be judged, and of large tables as many as it can judge in the time."""

from __future__ import annotations

import numpy as np

from sld.core.errors import UsageError
from sld.core.numbers import exact
from sld.data.table import Table
from sld.search.screening.counting import points_per_group

SEARCH_ROWS = 800  # more rows than this are thinned for the search; the chosen law is fitted on all
SEARCH_GROUPS = 60  # likewise for groups
FIT_ROWS = 100_000  # of the last fit: constants are known to more digits than anybody needs long before
LEAST_POINTS = 3  # distinct ones, of a group that is judged
_FEW_NAMED = 5  # groups that a note names


def with_enough_rows(table: Table, max_constants: int) -> Table:
    """Return the groups that can be judged by themselves; the others borrow the shape of the law afterwards.

    Too few are fewer than three distinct points, or fewer than the most constants and two while other groups have twice
    as many: such a group would limit the length of every formula.
    """
    counts = points_per_group(table)
    least = max(LEAST_POINTS, min(max_constants + 2, int(np.median(counts)) // 2))
    few = counts < least
    if len(counts) < 2 or not few.any() or few.all():
        return table
    return table.take(~few[table.group_index])


def about_borrowing(everything: Table, table: Table) -> list[str]:
    """Return the note on groups of `everything` that are not in `table`, if there are any."""
    few = [g for g in everything.groups if g not in table.groups]
    if not few:
        return []
    counts = points_per_group(everything)
    named = [f"{g} ({counts[everything.groups.index(g)]})" for g in few[:_FEW_NAMED]]
    more = f" and {len(few) - _FEW_NAMED} more" if len(few) > _FEW_NAMED else ""
    return [
        "groups with too few distinct points to be judged by themselves borrow the shape of the law from the others, "
        f"and take level and scale from their own rows as far as these go: {', '.join(named)}{more}"
    ]


def check(table: Table) -> None:
    """Refuse a table that cannot be searched.

    Raises:
        UsageError: A group has too few distinct points, or a target never changes.
    """
    counts = points_per_group(table)
    least = int(counts.min()) if len(counts) else 0
    if least < LEAST_POINTS:
        group = int(counts.argmin()) if len(counts) else 0
        n_rows = int((table.group_index == group).sum())
        several = len(table.groups) > 1
        where = f" in group {table.groups[group]!r}" if several else ""
        got = f"{least} in {n_rows} rows (repeats do not count)" if n_rows > least else f"{least}"
        way_out = "add runs at others" + (" or leave the group out" if several else "")
        raise UsageError(f"a search needs at least {LEAST_POINTS} distinct points{where}, got {got}; {way_out}")
    for j, target in enumerate(table.targets):
        if float(np.ptp(table.Y[:, j])) == 0.0:
            raise UsageError(
                f"target {target.column!r} is {exact(table.Y[0, j])} in every row; there is nothing to explain"
            )


def of_few_groups(table: Table, limit: int) -> Table:
    """Return the rows of about `limit` groups: evenly spaced by their mean target, and the one with fewest points.

    The smallest group decides how many constants a form may have, so it takes part. So do the groups that runs are
    planned in, if they are few.
    """
    n = len(table.groups)
    if n <= limit:
        return table
    counts = np.bincount(table.group_index, minlength=n)
    level = np.bincount(table.group_index, weights=table.Y[:, 0], minlength=n) / counts
    order = np.argsort(level, kind="stable")
    smallest = int(points_per_group(table).argmin())
    chosen = {int(order[round(k)]) for k in np.linspace(0, n - 1, limit - 1)} | {smallest}
    asked = set() if table.aim is None else {k for k, g in enumerate(table.groups) if g in table.aim.groups}
    chosen |= asked if len(asked) <= limit // 2 else set()
    return table.take(np.isin(table.group_index, sorted(chosen)))


def thinned(table: Table, limit: int) -> Table:
    """Return about `limit` rows that keep every group and both ends of every variable."""
    if table.n_rows <= limit:
        return table
    keys = [table.X[:, i] for i in range(table.X.shape[1] - 1, -1, -1)]
    order = np.lexsort([*keys, table.group_index])
    step = table.n_rows / limit
    take = {int(order[int(k * step)]) for k in range(limit)}
    for g in range(len(table.groups)):
        rows = np.flatnonzero(table.group_index == g)
        for i in range(table.X.shape[1]):
            by = rows[np.argsort(table.X[rows, i], kind="stable")]
            take.update(int(r) for r in (*by[:3], *by[-3:]))
    return table.take(np.array(sorted(take), dtype=np.intp))
