"""Names in a formula that somebody wrote: is a name that is no column a constant, or a column misspelt?

The grammar takes every name that is no column for a constant, so `E + A*N**-a` on a table with the columns params and
tokens is a formula without a variable, fits, and says nothing. A name is refused, with a suggestion, where it is a
column in other letters (`n` for `N`, `log_N`, `token` for `tokens`), a column of the file that got no role, what a
variable is usually called (`N`, `lr`, `tokens`), or where it stands as only a variable does: alone under an exponent or
in a logarithm. What constants are usually called (`E`, `A`, `b`, `alpha`, `K`, `N_c`, `D0`) is never refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from sld.core.errors import UsageError, suggest
from sld.data.card import Variable
from sld.data.table import Table
from sld.formula.expression import Expression, Node
from sld.laws.catalogue import kind_of

# what the quantities of training runs are called; a constant seldom is
_VARIABLES = frozenset(
    "params param parameters n_params num_params n_parameters model_size size non_embedding "
    "tokens token n_tokens num_tokens training_tokens train_tokens data dataset_size data_size samples n_samples "
    "examples n_examples images flops flop compute budget train_flops training_flops "
    "lr learning_rate learningrate max_lr peak_lr wd weight_decay batch batch_size batchsize bsz bs global_batch_size "
    "step steps n_steps num_steps iteration iterations iters epoch epochs n_epochs "
    "width depth layers n_layers num_layers n_layer d_model hidden_size n_heads n_embd "
    "vocab vocab_size context context_length seq_len sequence_length experts n_experts".split()
)
# letters that papers use for variables, and people for coefficients as well: where they stand decides
_EITHER = frozenset("CDNdnxXyT")
_GREEK = (
    "alpha beta gamma delta epsilon eps zeta eta theta iota kappa lambda lam lmbda mu nu xi omicron pi rho sigma tau "
    "upsilon phi chi psi omega"
).split()
_LETTER = re.compile(rf"(?:[^\W\d_]|{'|'.join(_GREEK)})(?:\d\w*|_\w*)?", re.IGNORECASE)  # E, b2, alpha_N, N_c, L_inf
_LOGARITHM = re.compile(r"(?:log|ln|log10|log2|lg)_?(?=.)", re.IGNORECASE)
CONSTANTS_OPTION = "If it is a constant to be fitted, say --constants {name}"
_SHORT = 4  # letters; shorter names are one edit from everything


def check_names(
    expressions: Iterable[Expression],
    table: Table,
    *,
    where: str,
    allowed: Collection[str] = (),
    unnamed: Sequence[str] = (),
    way_out: str = CONSTANTS_OPTION,
) -> None:
    """Refuse a name that looks like a misspelt column.

    Args:
        expressions: Formulas that a person wrote over the table's symbols.
        table: The table.
        where: What the table is called in messages.
        allowed: Names that are constants, whatever they look like.
        unnamed: Columns of the source that have no role.
        way_out: What to do with a name that is a constant after all; `{name}` stands for it.

    Raises:
        UsageError: There is such a name, or one of `allowed` is in no formula or is a column.
    """
    formulas = list(expressions)
    _check_allowed(allowed, formulas, table)
    for expression in formulas:
        for name in expression.constants:
            if name in allowed:
                continue
            if found := _trouble(name, expression, table, where, unnamed):
                stop = "" if found.endswith("?") else "."
                raise UsageError(f"{found}{stop} {way_out.format(name=name)}")
        if not expression.used_variables and len(expression.constants) > 1 and not allowed:
            raise UsageError(f"{expression.text} uses no column of {where} ({_listed(table)}); name at least one")


def unused_columns(expressions: Mapping[str, Expression], table: Table) -> tuple[str, ...]:
    """Return the variables' columns that none of the formulas uses."""
    used = {s for e in expressions.values() for s in e.used_variables}
    return tuple(v.column for v in table.variables if v.symbol not in used)


def _check_allowed(allowed: Collection[str], formulas: Sequence[Expression], table: Table) -> None:
    constants = dict.fromkeys(c for e in formulas for c in e.constants)
    for name in allowed:
        if name in table.symbols:
            raise UsageError(f"{name!r} is a column of the table, so it cannot be a constant; rename the constant")
        if name not in constants and formulas:
            raise UsageError(suggest(name, constants, kind="constant"))


def _listed(table: Table) -> str:
    return ", ".join(v.column for v in table.variables)


def _trouble(name: str, expression: Expression, table: Table, where: str, unnamed: Sequence[str]) -> str:
    """Return what is wrong with a constant's name, without the full stop; empty when nothing is."""
    standing = _stands_as_variable(name, expression)
    ordinary = _is_ordinary(name)
    no_column = f"{name!r} is no column of {where} ({_listed(table)})"
    if not ordinary and name in {x for t in table.targets for x in (t.column, t.symbol)}:
        return f"{name!r} is the column to predict and cannot stand in its own formula"
    if not ordinary and name in unnamed:
        return f"{name!r} is a column of {where} that has no role; give it one (e.g. {_option(name)})"
    for variable in table.variables:
        twin = _twin(name, variable)
        # E beside a column e is a constant, and so is D beside a column d that the formula uses as well
        doubtful = ordinary or (name in _EITHER and not standing and variable.symbol in expression.used_variables)
        if twin and not (doubtful and len(name) < _SHORT):
            return f"{no_column}; did you mean {twin!r}?"
    if (standing and not ordinary) or name == "N" or name.casefold() in _VARIABLES:
        return no_column + _instead(name, expression, table, unnamed)
    near = [v.symbol for v in table.variables if _one_edit(name, v.symbol) or _one_edit(name, v.column)]
    return f"{no_column}; did you mean {near[0]!r}?" if near else ""


def _is_ordinary(name: str) -> bool:
    """Tell whether constants are usually called so."""
    return bool(_LETTER.fullmatch(name)) and name not in _EITHER and name.casefold() not in _VARIABLES


def _twin(name: str, variable: Variable) -> str:
    """Return what stands for a column that `name` is up to case and a logarithm; empty when it is not."""
    for known in (variable.symbol, variable.column):
        if name.casefold() == known.casefold():
            return variable.symbol
        if _LOGARITHM.sub("", name, count=1).casefold() == known.casefold() and _LOGARITHM.match(name):
            return variable.symbol if variable.log else f"log({variable.symbol})"
        if _LOGARITHM.match(known) and _LOGARITHM.sub("", known, count=1).casefold() == name.casefold():
            return variable.symbol
    return ""


def _stands_as_variable(name: str, expression: Expression) -> bool:
    """Tell whether a name stands under an exponent or in a logarithm without a variable of the table beside it.

    There a constant would be one too many: `K**-a` and `log(K)` are constants themselves.
    """
    variables = set(expression.variables)

    def alone(node: Node) -> bool:
        return name in node.names and not variables & node.names

    for node in expression.tree.walk():
        if node.op in ("**", "log", "sqrt") and alone(node.args[0]) and not variables & node.names:
            return True
    return False


def _instead(name: str, expression: Expression, table: Table, unnamed: Sequence[str]) -> str:
    """Return "; did you mean ...?" with the column that holds such a quantity."""
    letter = name.upper() if len(name) == 1 else name
    kind = kind_of(Variable(letter))
    free = [v for v in table.variables if v.symbol not in expression.used_variables]
    same = [v.symbol for v in (*free, *table.variables) if kind != "other" and kind_of(v) == kind]
    if same:
        return f"; did you mean {same[0]!r}?"
    alike = [c for c in unnamed if kind != "other" and kind_of(Variable(c)) == kind]
    if near := [*(c for c in unnamed if c.casefold() == name.casefold()), *alike]:
        return f"; did you mean column {near[0]!r}, which has no role yet (e.g. {_option(near[0])})?"
    close = [v.symbol for v in free] if len(free) == 1 else difflib.get_close_matches(name, table.symbols, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _option(column: str) -> str:
    """Return the option that gives a column the role that it most likely has."""
    tuned = kind_of(Variable(column)) in ("learning_rate", "weight_decay", "batch")
    return f"--hyper {column}" if tuned else f"--scale {column}"


def _one_edit(name: str, column: str) -> bool:
    """Tell whether two names of four letters or more differ by one letter too many, too few, wrong or swapped.

    A digit or `_0` at the end makes a constant of a column's name: `tokens0` is a number of tokens.
    """
    one, other = name.casefold(), column.casefold()
    if min(len(one), len(other)) < _SHORT or abs(len(one) - len(other)) > 1 or one == other:
        return False
    if one.startswith(other) and not one[len(other) :].isalpha():
        return False
    k = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    rest = (one[k:], other[k:])
    return (
        rest[0][1:] == rest[1]
        or rest[0] == rest[1][1:]
        or (rest[0][1:] == rest[1][1:] and not (rest[0][0] + rest[1][0]).isdigit())
        or (rest[0][:2] == rest[1][:2][::-1] and rest[0][2:] == rest[1][2:])
    )
