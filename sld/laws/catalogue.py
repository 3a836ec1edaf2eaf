"""The catalogue of published laws (`laws.toml`, `laws_2026.toml`), and their matching to the variables of a table.

A law speaks of N, D and C; a table has columns of its own. `match` writes the law over the table's symbols, once for
every assignment that respects the roles, the likeliest first. It does not drop forms that are equal up to their
constants (Chinchilla with N and D exchanged): the search recognises those by their canonical key.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from itertools import combinations, permutations
from typing import Any, Literal

from sld.core.errors import UsageError, suggest
from sld.data.card import Log, Role, Variable
from sld.formula.canonical import simplify
from sld.formula.expression import Expression, Node, call, name, number, parse, substitute
from sld.laws.form import Form

_FILES = ("laws.toml", "laws_2026.toml")  # in the order of the catalogue

Sign = Literal["positive", "negative", "any"]
Status = Literal["verified", "partly_verified", "from_memory", "derived"]


@dataclass(frozen=True)
class LawVariable:
    """An input of a published law.

    Attributes:
        domain: Range on which the formula is finite, in the paper's units.
        kind: What quantity it is (`"parameters"`, `"data"`, `"compute"`, ...); orders the assignments.
        also: Further roles under which tables declare this quantity.
        log: The formula takes this logarithm of the quantity.
    """

    symbol: str
    meaning: str
    unit: str
    domain: tuple[float, float]
    role: Role
    kind: str
    also: tuple[Role, ...] = ()
    log: Log | None = None


@dataclass(frozen=True)
class LawConstant:
    """A constant of a published law: box of sensible values and example, both in the paper's units."""

    symbol: str
    bounds: tuple[float, float]
    example: float
    sign: Sign = "any"
    meaning: str = ""


@dataclass(frozen=True)
class PublishedValues:
    """Values (or intervals) of constants as a source prints them."""

    label: str
    source: str
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Paper:
    """Where a law was published; `arxiv` is empty when it has no number there."""

    title: str
    authors: str
    year: int
    arxiv: str = ""


@dataclass(frozen=True)
class CatalogueLaw:
    """One published law.

    Attributes:
        formula: Text in the grammar; names that are not variables are constants.
        general: The same law for any number of proportions, where it has one.
        share_constants: The constants of `general` that are one per proportion (`C_share`).
        expressible: False when the grammar lacks a function of the formula; `reason` says which.
        implicit: The formula gives the scale needed for a response instead of the response.
        proposed: Whether a search tries it by itself.
        status: How far the formula was checked against its source; "derived" when put together from `composed_of`.
    """

    id: str
    name: str
    category: str
    formula: str
    response: str
    variables: tuple[LawVariable, ...]
    constants: tuple[LawConstant, ...]
    paper: Paper
    asymptotics: str
    status: Status
    published: tuple[PublishedValues, ...] = ()
    general: str = ""
    share_constants: tuple[LawConstant, ...] = ()
    expressible: bool = True
    reason: str = ""
    implicit: bool = False
    proposed: bool = True
    composed_of: tuple[str, ...] = ()
    notes: str = ""
    url: str = ""

    @cached_property
    def expression(self) -> Expression:
        """The formula over the law's own symbols; raises UsageError when the grammar cannot express it."""
        if not self.expressible:
            raise UsageError(f"law {self.id!r} cannot be used as a formula: {self.reason}")
        return parse(self.formula, [v.symbol for v in self.variables])

    @cached_property
    def fitted(self) -> Expression:
        """The formula that a search fits: `expression`, unless its constants can be had with fewer or simpler ones.

        `k*(N/N0)**p` has a constant too many, which no data determine and which a choice by length holds against it.
        In `(1 + (x/d)**(1/f))**(-c*f)` the exponents depend on each other, and few fits find them.
        """
        short = simplify(self.expression)
        fewer = len(short.constants) < len(self.expression.constants)
        untangled = _mentions_in_exponents(short) < _mentions_in_exponents(self.expression)
        return short if fewer or untangled else self.expression

    @cached_property
    def examples(self) -> dict[str, float]:
        """Example value of every constant, in the paper's units."""
        return {c.symbol: c.example for c in self.constants}


@cache
def load_catalogue() -> tuple[CatalogueLaw, ...]:
    """Return every law of the catalogue, in its order."""
    folder = resources.files("sld.laws")
    texts = (folder.joinpath(name).read_text(encoding="utf-8") for name in _FILES)
    return tuple(_law(entry) for text in texts for entry in tomllib.loads(text)["law"])


def get_law(law_id: str) -> CatalogueLaw:
    """Return the law called `law_id`; raises UsageError with the closest names.

    >>> law = get_law("chinchilla")
    >>> law.formula, law.paper.year
    ('E + A*N**-alpha + B*D**-beta', 2022)
    """
    known = {law.id: law for law in load_catalogue()}
    if law_id not in known:
        listing = f"sld laws lists all {len(known)}"
        raise UsageError(suggest(law_id, known, kind="law", listing=listing))
    return known[law_id]


def _law(entry: Mapping[str, Any]) -> CatalogueLaw:
    rest = dict(entry)
    return CatalogueLaw(
        variables=tuple(_variable(v) for v in rest.pop("variables")),
        constants=tuple(_constant(c) for c in rest.pop("constants")),
        share_constants=tuple(_constant(c) for c in rest.pop("share_constants", ())),
        published=tuple(_published(p) for p in rest.pop("published", ())),
        paper=Paper(**rest.pop("paper")),
        composed_of=tuple(rest.pop("composed_of", ())),
        **rest,
    )


def _mentions_in_exponents(expression: Expression) -> int:
    """Return how often constants are named in exponents."""
    exponents = (node.args[1] for node in expression.tree.walk() if node.op == "**")
    return sum(n.op == "name" and n.name in expression.constants for node in exponents for n in node.walk())


def _keeps_signs(expression: Expression) -> bool:
    """Whether what is made of constants alone is made by products and powers: positive if they are."""
    variables = set(expression.variables)
    for node in expression.tree.walk():
        if node.op not in ("name", "number", "*", "/", "**", "neg") and not any(
            n.op == "name" and n.name in variables for n in node.walk()
        ):
            return False
    return True


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _variable(entry: Mapping[str, Any]) -> LawVariable:
    return LawVariable(**{**entry, "domain": _pair(entry["domain"]), "also": tuple(entry.get("also", ()))})


def _constant(entry: Mapping[str, Any]) -> LawConstant:
    return LawConstant(**{**entry, "bounds": _pair(entry["bounds"]), "example": float(entry["example"])})


def _published(entry: Mapping[str, Any]) -> PublishedValues:
    values = {k: float(v) for k, v in entry.get("values", {}).items()}
    intervals = {k: _pair(v) for k, v in entry.get("intervals", {}).items()}
    return PublishedValues(entry["label"], entry["source"], values, intervals)


# The papers' letters, and patterns for words; specific patterns come before those whose words they contain.
_LETTERS = {"N": "parameters", "NS": "parameters", "D": "data", "DS": "data", "C": "compute", "LT": "loss"}
_KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("tokens_per_parameter", r"tokens? per param|token multiplier"),
        ("learning_rate", r"learning rate|\blr\b"),
        ("weight_decay", r"weight decay|\bwd\b"),
        ("batch", r"batch|\bbsz\b|\bbs\b"),
        ("unique_data", r"unique"),
        ("epochs", r"\bepochs?\b"),
        ("vocabulary", r"(?<!non )(?<!non-)\bvocab"),
        ("context", r"context|sequence length"),
        ("compute", r"compute|flops?\b|\bgmacs?\b|pf-days|gpu-hours|core-days"),
        ("experts", r"\bexperts\b"),
        ("sparsity", r"sparsity|total-to-active|total/active|inactive|active latents"),
        ("loss", r"\bloss\b|perplexity|entropy"),
        ("parameters", r"param|model size"),
        ("steps", r"\bsteps?\d*\b|iterations"),
        ("streams", r"parallel"),
        ("bits", r"\bbits\b|precision"),
        ("width", r"\bwidth\b|\bd model\b|latents|hidden size"),
        ("depth", r"\bdepth\b|\blayers\b"),
        ("data", r"token|sample|data|example|character|sentence|image|pairs|bytes"),
    )
)


def kind_of(variable: Variable) -> str:
    """Return what quantity a table's variable seems to be, by its column, meaning or unit; else `"other"`."""
    if variable.role == "proportion":
        return "proportion"
    if variable.column in _LETTERS:
        return _LETTERS[variable.column]
    for text in (variable.column, variable.meaning, variable.unit):
        words = text.casefold().replace("_", " ")
        for kind, pattern in _KINDS:
            if pattern.search(words):
                return kind
    return "other"


@dataclass(frozen=True)
class _Atom:
    """Something that can stand for a variable of a law: a variable of the table, a product or a quotient of two."""

    node: Node
    symbols: tuple[str, ...]
    kind: str
    op: str = ""  # "", "*" or "/"
    plain: Node | None = None  # the column itself when it already is a logarithm


def match(law: CatalogueLaw, variables: Sequence[Variable], *, own: str | None = None) -> Iterator[Form]:
    """Yield `law` over the symbols of a table, for every sensible assignment of variables, the likeliest first.

    A variable of the law takes variables of its role; compute is also the product of two scale variables, tokens per
    parameter also their quotient. A law may leave variables of the table unused. In a table of one variable its role
    does not matter. Laws over proportions take all of the table's: by their general form for any number, by every
    permutation when the numbers agree; a law in one proportion takes `own`, or each in turn when there is none.
    Columns that hold logarithms enter as such.

    >>> [form.expression.text for form in match(get_law("chinchilla"), [Variable("params"), Variable("tokens")])][0]
    'E + A*params**-alpha + B*tokens**-beta'

    Args:
        law: The law.
        variables: The table's variables.
        own: Symbol of the proportion that belongs to the target.
    """
    if not law.expressible:
        return
    shares = [v.symbol for v in variables if v.role == "proportion"]
    if law.general and shares:
        holders = [f"share{k}" for k in range(1, len(shares) + 1)]
        plain = [v for v in law.variables if v.role != "proportion"]
        tree = parse(law.general, [v.symbol for v in plain] + holders, shares=holders).tree
        share_maps = [dict(zip(holders, shares, strict=True))]
        law_symbols = {v.symbol for v in plain} | set(holders)
    else:
        plain = [v for v in law.variables if v.role != "proportion"]
        tree = law.fitted.tree
        share_maps = list(_share_maps([v.symbol for v in law.variables if v.role == "proportion"], shares, own))
        law_symbols = {v.symbol for v in law.variables}
    if not share_maps:
        return
    symbols = tuple(v.symbol for v in variables)
    constants = _constants(law, tree, law_symbols)
    renamed = _renamed(constants, symbols)
    exponents = _exponents(tree, law_symbols)
    known = {renamed[c]: (about, c in exponents) for c, about in constants.items()}
    # a constant that stands for several has their sign only if all are positive and only multiplied
    sure = law.fitted is law.expression or (
        all(c.sign == "positive" for c in law.constants) and _keeps_signs(law.expression)
    )
    positive = tuple(c for c, (about, _) in known.items() if sure and about.sign == "positive")
    signs = {"positive": (0.0, math.inf), "negative": (-math.inf, 0.0)}
    bounds = {c: signs[about.sign] for c, (about, _) in known.items() if sure and about.sign != "any"}
    hints = {c: about.bounds for c, (about, is_exponent) in known.items() if is_exponent}
    new_names = {old: name(new) for old, new in renamed.items()}
    for mismatch, atoms in _assignments(plain, variables):
        for share_map in share_maps:
            nodes = {v.symbol: _node(v, atom) for v, atom in zip(plain, atoms, strict=True)}
            nodes |= {old: name(new) for old, new in share_map.items()}
            written = _simplified(substitute(tree, nodes | new_names))
            yield Form(Expression(written, symbols), f"catalogue:{law.id}", bounds, positive, hints, mismatch=mismatch)


def _share_maps(wanted: Sequence[str], shares: Sequence[str], own: str | None) -> Iterator[dict[str, str]]:
    """Yield the assignments of a law's proportions to a table's."""
    if len(wanted) == 1 and shares:
        for share in [own] if own else shares:
            yield {wanted[0]: share}
    elif len(wanted) == len(shares) or not wanted:
        for order in permutations(shares, len(wanted)):
            yield dict(zip(wanted, order, strict=True))


def _constants(law: CatalogueLaw, tree: Node, law_symbols: set[str]) -> dict[str, LawConstant]:
    """Return what is known of every constant of `tree`; `C_1`, `C_2`, ... are described by `C_share`."""
    described = {c.symbol: c for c in law.constants}
    by_prefix = {c.symbol.removesuffix("_share"): c for c in law.share_constants}
    names = dict.fromkeys(n.name for n in tree.walk() if n.op == "name" and n.name not in law_symbols)
    return {n: described[n] if n in described else by_prefix[n.rpartition("_")[0]] for n in names}


def _renamed(constants: Mapping[str, LawConstant], symbols: Sequence[str]) -> dict[str, str]:
    """Return a name for every constant that no variable of the table has."""
    taken = set(symbols) | {c for c in constants if c not in symbols}
    new_names = {}
    for constant in constants:
        new = constant
        if constant in symbols:
            tries = (f"{constant}_c{k}" for k in ("", *range(2, len(taken) + 3)))
            new = next(t for t in tries if t not in taken)
            taken.add(new)
        new_names[constant] = new
    return new_names


def _exponents(tree: Node, law_symbols: set[str]) -> set[str]:
    """Return the names in exponents without a variable: pure numbers, whatever the units of the table."""
    found: set[str] = set()
    for node in tree.walk():
        if node.op == "**":
            names = {n.name for n in node.args[1].walk() if n.op == "name"}
            if not names & law_symbols:
                found |= names
    return found


def _assignments(wanted: Sequence[LawVariable], variables: Sequence[Variable]) -> list[tuple[float, tuple[_Atom, ...]]]:
    """Return every assignment of atoms to the law's variables, least mismatch first."""
    ranked: list[tuple[float, int, tuple[_Atom, ...]]] = []
    candidates = [_candidates(v, variables) for v in wanted]

    def extend(chosen: tuple[_Atom, ...], mismatch: float) -> None:
        if len(chosen) == len(wanted):
            ranked.append((mismatch, len(ranked), chosen))
            return
        for atom, cost in candidates[len(chosen)]:
            if _compatible(atom, chosen):
                extend((*chosen, atom), mismatch + cost)

    extend((), 0.0)
    return [(mismatch, atoms) for mismatch, _, atoms in sorted(ranked, key=lambda r: r[:2])]


def _compatible(atom: _Atom, chosen: Sequence[_Atom]) -> bool:
    """Say whether `atom` can join: columns stand for one variable each, compute and ratio come from one pair."""
    for other in chosen:
        if not atom.op and not other.op and atom.symbols == other.symbols:
            return False
        if atom.op and other.op and (atom.op == other.op or set(atom.symbols) != set(other.symbols)):
            return False
    return True


def _candidates(wanted: LawVariable, variables: Sequence[Variable]) -> list[tuple[_Atom, float]]:
    """Return the atoms that may stand for `wanted`, each with its mismatch."""
    plain = [v for v in variables if v.role != "proportion"]
    found: list[tuple[_Atom, float]] = []
    for variable in plain:
        if variable.role in (wanted.role, *wanted.also) or len(variables) == 1:
            kind = kind_of(variable)
            column = name(variable.symbol) if variable.log else None
            atom = _Atom(_quantity(variable), (variable.symbol,), kind, plain=column)
            found.append((atom, _mismatch(wanted.kind, kind) + (0.0 if variable.role == wanted.role else 0.5)))
    scale = [v for v in plain if v.role == "scale"]
    if wanted.kind in ("compute", "any"):
        for a, b in combinations(scale, 2):
            kinds = {kind_of(a), kind_of(b)}
            atom = _Atom(call("*", _quantity(a), _quantity(b)), (a.symbol, b.symbol), "compute", "*")
            # the product of size and data is compute; that of other quantities seldom means anything
            cost = 0.25 if "data" in kinds and kinds & {"parameters", "compute"} else 3.0
            found.append((atom, _mismatch(wanted.kind, "compute") + cost))
    elif wanted.kind == "tokens_per_parameter":
        for a, b in permutations(scale, 2):
            atom = _Atom(call("/", _quantity(a), _quantity(b)), (a.symbol, b.symbol), wanted.kind, "/")
            found.append((atom, 0.25 if (kind_of(a), kind_of(b)) == ("data", "parameters") else 3.0))
    return found


def _mismatch(wanted: str, got: str) -> float:
    if wanted == got:
        return 0.0
    return 1.0 if {"any", "other"} & {wanted, got} else 2.0


def _quantity(variable: Variable) -> Node:
    """Return the quantity itself, undoing the logarithm of a column that holds one."""
    column = name(variable.symbol)
    if variable.log is None:
        return column
    if variable.log == "log":
        return call("exp", column)
    return call("exp", call("*", call("log", number(variable.log_base)), column))


def _node(wanted: LawVariable, atom: _Atom) -> Node:
    """Return what is written for a variable of the law."""
    if wanted.log is None:
        return atom.node
    # Every law over a logarithm has coefficients that absorb its base.
    return atom.plain if atom.plain is not None else call("log", atom.node)


def _simplified(node: Node) -> Node:
    """Return `node` with logarithms, powers and products of exp(...) worked out: log(exp(u)) is u."""
    if not node.args:
        return node
    args = tuple(_simplified(arg) for arg in node.args)
    left, right = args[0], args[-1]
    if left.op == "exp":
        (u,) = left.args
        if node.op == "log":
            return u
        if node.op == "sqrt":
            return call("exp", _times(number(0.5), u))
        if node.op == "**":
            return call("exp", _times(right, u))
        if node.op in ("*", "/") and right.op == "exp":
            return call("exp", call("+" if node.op == "*" else "-", u, right.args[0]))
    return call(node.op, *args)


def _times(factor: Node, product: Node) -> Node:
    """Return factor*product with the product's factors in a row, so that its text needs no parentheses."""
    if product.op == "*":
        return call("*", _times(factor, product.args[0]), product.args[1])
    return call("*", factor, product)
