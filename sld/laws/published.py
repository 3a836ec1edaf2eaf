"""A published law as a law like any other: with the constants that its source prints, or a formula without constants.

Nobody's rows are behind it, so it has no intervals. `chinchilla` takes the first set of constants in the catalogue that
is complete, `chinchilla@tex` the one whose label begins with or has these letters, and `chinchilla@alpha=0.35,...` has
numbers of one's own in place of those that are published, or for what no source prints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sld.core.errors import GrammarError, UsageError, suggest
from sld.data.card import Better, Role, Target, Variable
from sld.data.table import ALL_ROWS
from sld.formula.expression import parse
from sld.laws.catalogue import CatalogueLaw, PublishedValues, kind_of, load_catalogue
from sld.laws.law import Law
from sld.laws.responses import law_predicts

_HIGHER = re.compile(
    r"acc|score|bleu|\bf1\b|pass@k|coverage|\belo\b|quality|utility|reward|return|leverage|probability|elasticity"
)
_CHOSEN = frozenset("learning_rate weight_decay batch bits streams experts depth width context epochs".split())
_FORMULA = re.compile(r"[*+(]")  # what a formula has; a slash or a dash is in many a path


def named_law(text: str) -> Law | None:
    """Return the law that a name of the catalogue or a formula stands for; None for any other text.

    >>> named_law("chinchilla").text()
    '1.69 + 406.4*N**-0.34 + 410.7*D**-0.28'
    >>> named_law("1.7 + 400*params**-0.34").predict({"params": [1e8]}).round(3).tolist()
    [[2.462]]

    Raises:
        UsageError: The law is in the catalogue, and has no such constants, or none at all.
        GrammarError: The formula cannot be read.
    """
    first, _, chosen = text.strip().partition("@")
    known = {law.id: law for law in load_catalogue()}
    if first in known:
        return published_law(known[first], chosen)
    if not _FORMULA.search(text) or text.endswith(".json"):
        return None
    try:
        return formula_law(text)
    except GrammarError:
        if "*" in text or "/" not in text:
            raise
        return None  # a folder may have brackets in its name


def close_names(text: str) -> list[str]:
    """Return the laws of the catalogue whose names are nearly a text; none for what looks like a path."""
    import difflib

    first = text.strip().partition("@")[0]
    if "/" in first or "\\" in first:
        return []
    return difflib.get_close_matches(first, [law.id for law in load_catalogue()], n=2, cutoff=0.75)


def published_law(law: CatalogueLaw, chosen: str = "") -> Law:
    """Return a law of the catalogue with published constants.

    Args:
        law: The law.
        chosen: Part of the label of a set of constants, or "NAME=NUMBER,..." for numbers of one's own.

    Raises:
        UsageError: The grammar has no such formula, there is no such label, or constants have no value.
    """
    if not law.expressible:
        raise UsageError(f"law {law.id!r} cannot be used here: {law.reason}")
    own = _numbers(chosen, law) if "=" in chosen else {}
    published = _set(law, "" if own else chosen, complete=not own)
    values = {**(published.values if published else {}), **own}
    wanted = law.expression.constants
    if missing := [c for c in wanted if c not in values]:
        some = f"; its sources print {', '.join(_printed(law))}" if _printed(law) else ""
        raise UsageError(
            f"law {law.id!r} has no published value for {', '.join(missing)}{some}; give numbers: "
            f"{law.id}@{','.join(f'{c}=...' for c in missing)}"
        )
    variables = tuple(Variable(v.symbol, v.meaning, v.unit, role=v.role, log=v.log) for v in law.variables)
    constants = {"y": {ALL_ROWS: {c: float(values[c]) for c in wanted}}}
    target = _target(law)
    constants = {target.column: constants["y"]}
    label = ", ".join(filter(None, [published.label if published else "", "with numbers given" if own else ""]))
    about = {
        "id": law.id, "name": law.name, "label": label, "source": published.source if published else "",
        "paper": f"{law.paper.authors} ({law.paper.year})",
        "others": [p.label for p in _complete(law) if p != published],
    }  # fmt: skip
    domain = {v.symbol: [v.domain[0], v.domain[1]] for v in law.variables}
    return Law(
        {target.column: law.expression},
        constants,
        variables,
        (target,),
        provenance={"origin": f"catalogue:{law.id}", "published": about, "domain": domain},
    )


def _target(law: CatalogueLaw) -> Target:
    is_loss = law_predicts(law) == "a loss"
    higher = not is_loss and _HIGHER.search(law.response.casefold()) is not None
    better: Better = "higher" if higher else "lower"
    taken = {v.symbol for v in law.variables} | set(law.expression.constants)
    column = next(c for c in ("loss" if is_loss else "response", "y", "the_response") if c not in taken)
    return Target(column, meaning=law.response, better=better)


def _complete(law: CatalogueLaw) -> list[PublishedValues]:
    """Return the sets that have a value for every constant."""
    return [p for p in law.published if set(law.expression.constants) <= set(p.values)]


def _printed(law: CatalogueLaw) -> list[str]:
    return sorted({c for p in law.published for c in p.values if c in law.expression.constants})


def _set(law: CatalogueLaw, label: str, *, complete: bool) -> PublishedValues | None:
    sets = _complete(law)
    if not label:
        if sets:
            return sets[0]
        # a law with one set that lacks what the user gives
        return law.published[0] if law.published and not complete else None
    wanted = label.strip().casefold()
    labels = [p.label.casefold() for p in sets]
    starting = [p for p, known in zip(sets, labels, strict=True) if known.startswith(wanted)]
    having = starting or [p for p, known in zip(sets, labels, strict=True) if wanted in known]
    if not having:
        listing = "; ".join(p.label for p in sets) or "none that is complete"
        raise UsageError(f"law {law.id!r} has no constants called {label!r}; there are: {listing}")
    return having[0]


def _numbers(text: str, law: CatalogueLaw) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        constant, equals, value = (word.strip() for word in part.partition("="))
        if constant not in law.expression.constants:
            raise UsageError(f"law {law.id!r}: " + suggest(constant, law.expression.constants, kind="constant"))
        try:
            found[constant] = float(value)
        except ValueError:
            raise UsageError(f"{law.id}@ wants NAME=NUMBER, e.g. {constant}=0.34, got {part.strip()!r}") from None
        assert equals
    return found


def formula_law(text: str, roles: Mapping[str, Role] | None = None) -> Law:
    """Return a law from a formula in which every name is a variable: `1.69 + 406.4*N**-0.34 + 410.7*D**-0.28`.

    Args:
        text: The formula.
        roles: Of variables by name; by what their names mean if not given.

    Raises:
        GrammarError: It cannot be read, or has no variable.
    """
    names = parse(text, []).constants
    if not names:
        raise GrammarError(f"the formula {text!r} has no variable; every name in it is one, e.g. N and D")
    given = dict(roles or {})
    variables = tuple(Variable(n, role=given.get(n, _role(n))) for n in names)
    expression = parse(text, names)
    column = "loss" if "loss" not in names else "predicted"
    return Law(
        {column: expression}, {column: {ALL_ROWS: {}}}, variables, (Target(column),),
        provenance={"origin": "a formula without constants"},
    )  # fmt: skip


def _role(name: str) -> Role:
    return "hyperparameter" if kind_of(Variable(name)) in _CHOSEN else "scale"
