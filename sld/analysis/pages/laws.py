"""What a task's page and a law's page both show of a law: its formulas and its constants."""

from __future__ import annotations

from sld.analysis.pages.formulas import constant, count, formula, symbol
from sld.analysis.pages.html import Html, cut, el, join, said
from sld.analysis.pages.tables import table_of, th
from sld.data.table import ALL_ROWS
from sld.laws.law import Law

MOST_CONSTANTS = 4000  # cells of the tables of constants


def formulas_of(law: Law, filled: bool = False) -> Html:
    """Return the formula of every target, one where all have the same."""
    columns = [t.column for t in law.targets]
    texts = {law.expressions[c].text for c in columns}
    single = len(law.groups) == 1
    if len(texts) == 1 and len(columns) > 1 and not filled:
        return join(formula(law.expressions[columns[0]], "y"), el("p", "The same form for each target.", class_="hint"))
    shown = columns[:12]
    symbols = {t.column: t.symbol for t in law.targets}
    return join(
        *(
            formula(
                law.expressions[c], symbols[c], dict(law.constants[c][law.groups[0]]) if filled and single else None
            )
            for c in shown
        )
    )


def constants_of(law: Law, most: int, of: str) -> Html:
    """Return the constants per group, a table per target, with at most so many cells."""
    tables, left = [], most
    for target in law.targets:
        names = law.expressions[target.column].constants
        groups = law.constants[target.column]
        if not names:
            tables.append(el("p", said(target.column), " has no constants.", class_="hint"))
            continue
        n = min(len(groups), max(left // len(names), 1))
        if left <= 0:
            tables.append(el("p", "The other targets' constants are in the entry.", class_="hint"))
            break
        left -= n * len(names)
        heading = law.group_column or "group"
        grouped = tuple(groups) != (ALL_ROWS,)
        head = [th(heading, None) if grouped else None, *(th(symbol(name), None, kind="num") for name in names)]
        body = [
            el(
                "tr",
                el("th", said(group, 80), scope="row") if grouped else None,
                *(el("td", constant(values[name]), class_="num") for name in names),
            )
            for group, values in list(groups.items())[:n]
        ]
        name = f"Constants of {target.column if len(law.targets) > 1 else cut(of, 80)}"
        tables.append(table_of(name, head, body, sortable=False, caption=len(law.targets) > 1))
        if n < len(groups):
            tables.append(el("p", f"{n} of {count(len(groups), 'group')}; the entry has all.", class_="hint"))
    return join(*tables)
