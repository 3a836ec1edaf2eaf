"""The keywords of the public verbs that are too many for one signature."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from sld.data.roles import RoleOptions

if TYPE_CHECKING:
    from sld.search.judging.cluster import Cluster
    from sld.search.loop import Progress


class ColumnOptions(RoleOptions, total=False):
    """What a bare table's columns are, as `sld.table_from` takes it; a task with a card says so itself.

    Attributes:
        name: Of the task that the table becomes; that of its file if not given.
        target: Column(s) to predict.
        scale: Columns that grow with money, e.g. N (parameters) or D (tokens).
        hyper: Columns with an interior optimum, e.g. a learning rate.
        proportion: Shares of a mixture; together they sum to 1.
        covariate: Other columns that a law may use.
        group: Column naming the group of rows that share one set of constants.
        log: Columns that already are logarithms, to base 10 unless a mapping says otherwise.
        lower: Bound that no target can fall below.
        upper: Bound that no target can exceed.
        higher_is_better: The targets are scores, not losses.
        monotone: Column to "increasing" or "decreasing": a known effect on the target.
        missing: "error" refuses rows with empty cells, "drop" leaves them out.
        drop: Rows to leave out, e.g. "Step==0".
        melt: The table has one column per run.
        run: Column naming the run that a row is a checkpoint of.
        yerr: Columns with the standard errors of the targets, in their order and units.
        weights: Column with the relative weight of each row in a fit.
    """

    name: str | None
    target: str | Sequence[str]
    missing: str
    drop: str | Sequence[str]
    melt: bool


class SearchOptions(ColumnOptions, total=False):
    """What a search can be told beside its seed, budget and folder; and the roles of a bare table's columns.

    Attributes:
        aim: Planned runs that the law is for, inputs only: a table, a mapping of variables to numbers, or text such as
            `"N=1e11,D=2e12"`. Folds, weights and checks then imitate the step from the rows to these runs.
        proposers: Who proposes forms: "catalogue", "enumeration", "evolution" (the default), and "operon" and "pysr",
            engines of others which need the extras of these names.
        formulas: Formulas of your own to try first; one for all targets, or a mapping of target to formula.
        constants: Names in these formulas that are constants although they look like columns, such as N or lr.
        outliers: "drop" (the default) sets runs aside that look diverged and names them, "keep" does not look for any.
        executor: Where formulas are judged instead of `workers` processes here: "dask://HOST:PORT" of a scheduler of
            Dask, "dask" for one that is started here, a file such as "dask-slurm.yaml" that asks a queue of jobs for
            workers, or a connected `sld.search.judging.cluster.Cluster`. Needs the extra dask; the same law for a
            budget in fits.
        progress: True shows a bar while the search goes on, in a notebook and on a terminal; a function is called with
            the state (`seconds`, `fraction` of the budget, `tried`, `best`) a few times a second.
        tell: Called with a sentence when an earlier search in the folder is taken up or set aside (otherwise it is a
            note), and before jobs of a queue are waited for.
    """

    aim: object
    proposers: Sequence[str] | None
    formulas: Sequence[str | Mapping[str, str]]
    constants: Collection[str]
    outliers: str
    executor: Cluster | str | Path | None
    progress: Callable[[Progress], None] | bool | None
    tell: Callable[[str], None] | None


class FormOptions(ColumnOptions, total=False):
    """How a form is fitted and what is known of its constants; and the roles of a bare table's columns.

    Attributes:
        delta: Where Huber's function turns linear: in units of the target for loss "huber", of its logarithm for
            "log_huber". If not given, 1.345 robust standard deviations of the residuals, and 1e-3. For "envelope" the
            weight of a row on the worse side as a share of both sides, 0.02 if not given.
        pins: Constant to the value that it is held at, or to the name of another constant that it equals.
        shared: Constants that all groups have in common.
        positive: Constants that must be positive.
        bounds: Constant to (lower, upper), in the units of the columns; "exponents" stands for every constant that is
            the exponent of a power, but for its sign.
        constants: Names in the formula that are constants although they look like columns, such as N or lr.
        outliers: "keep" (the default) fits to every row and says which runs look diverged, "drop" leaves these out.
        priors: "learned" draws the constants of a sum of powers towards what such constants are in other tables; "none"
            does not; "auto" (the default) does where no group has more than five rows and nothing else is said of the
            fit.
    """

    delta: float | None
    pins: Mapping[str, float | str] | None
    shared: Collection[str]
    positive: Collection[str]
    bounds: Mapping[str, tuple[float, float]] | None
    constants: Collection[str]
    outliers: str
    priors: str


class EntryOptions(TypedDict, total=False):
    """What stands beside the name of an entry.

    Attributes:
        author: Who submits it.
        url: Where more is told (https://...).
        note: One line about it.
    """

    author: str
    url: str
    note: str


def keys_of(options: type) -> frozenset[str]:
    """Return the keys of a TypedDict."""
    found: frozenset[str] = options.__optional_keys__ | options.__required_keys__  # type: ignore[attr-defined]
    return found


def columns_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a verb's options that say what a bare table's columns are."""
    return {name: value for name, value in given.items() if name in keys_of(ColumnOptions)}
