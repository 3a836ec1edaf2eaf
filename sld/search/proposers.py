"""Proposers: whatever suggests formulas. Each is a function from a table to proposals, and one row of `PROPOSERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from sld.core.canonical import simplify
from sld.core.errors import GrammarError, UsageError, suggest
from sld.core.table import Table
from sld.search.catalogue import load_catalogue, match
from sld.search.enumeration import Space
from sld.search.forms import Form
from sld.search.judge import Proposal

Proposer = Callable[[Table], Iterator[Proposal]]


def from_catalogue(table: Table) -> Iterator[Proposal]:
    """Published laws, the table's variables in every role that makes sense."""
    for law in load_catalogue():
        per_target = [list(match(law, table.variables, own=table.own_share(j))) for j in range(len(table.targets))]
        if len({len(forms) for forms in per_target}) == 1:
            for forms in zip(*per_target, strict=True):
                yield Proposal.of(forms)


def from_enumeration(table: Table) -> Iterator[Proposal]:
    """The parts of scaling laws put together, simplest first."""
    spaces = [Space(table, j).texts() for j in range(len(table.targets))]
    for texts in zip(*spaces, strict=True):
        try:
            yield Proposal.of([Form(simplify(table.parse(text, j)), "enumeration") for j, text in enumerate(texts)])
        except GrammarError:
            continue  # a formula over many proportions can pass the limits of the grammar


PROPOSERS: dict[str, Proposer] = {"catalogue": from_catalogue, "enumeration": from_enumeration}


def from_texts(
    table: Table, formulas: Sequence[str | Mapping[str, str]], origin: str, positive: Sequence[str] = ()
) -> Iterator[Proposal]:
    """Formulas given by a person or a card: one text for all targets, or a text per target column.

    Raises:
        GrammarError: A formula is not in the grammar.
        UsageError: A mapping does not name every target.
    """
    for formula in formulas:
        forms = []
        for j, target in enumerate(table.targets):
            if isinstance(formula, str):
                text = formula
            elif target.column in formula:
                text = formula[target.column]
            else:
                raise UsageError(f"a formula per target needs one for {target.column!r}; got {', '.join(formula)}")
            forms.append(Form(table.parse(text, j), origin, positive=tuple(positive)))
        yield Proposal.of(forms)


def proposals(table: Table, names: Sequence[str], first: Iterator[Proposal] | None = None) -> Iterator[Proposal]:
    """Yield each family once: the given ones first, then every named proposer in turn.

    Raises:
        UsageError: There is no such proposer.
    """
    for name in names:
        if name not in PROPOSERS:
            raise UsageError(suggest(name, PROPOSERS, kind="proposer"))
    return _distinct(table, names, first)


def _distinct(table: Table, names: Sequence[str], first: Iterator[Proposal] | None) -> Iterator[Proposal]:
    seen: set[str] = set()
    for source in [first or iter(()), *(PROPOSERS[name](table) for name in names)]:
        for proposal in source:
            if proposal.key not in seen:
                seen.add(proposal.key)
                yield proposal
