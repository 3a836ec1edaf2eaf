"""Proposers: whatever suggests formulas. Each is a function from a table to proposals, and one row of `PROPOSERS`.

One that is busy elsewhere, and must not be waited for, is a class and one row of `ASYNCHRONOUS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice

import numpy as np

from sld.core.errors import GrammarError, UsageError, suggest
from sld.data.card import Variable
from sld.data.table import Table
from sld.laws.catalogue import load_catalogue, match
from sld.laws.form import Form
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.limits import Limits
from sld.search.candidates.selection import bar, distinct
from sld.search.judging.judge import Proposal
from sld.search.proposing.asynchronous import AsynchronousProposer, AsynchronousSettings, Maker, SearchContext, Together
from sld.search.proposing.engines import ENGINES, Run
from sld.search.proposing.enumeration import Space
from sld.search.proposing.evolution import children

Proposer = Callable[[Table], Iterator[Proposal]]

EVOLUTION = "evolution"  # what breeds needs a hall of fame, so it is no function of a table
_BATCH = 96  # proposals between two looks at the hall of fame: twelve chunks for the workers
_HEAD = 480  # static proposals before evolution has anything worth breeding
_PARENTS = 32  # candidates that behave differently, of each of which a few children come in a batch
ISLANDS = 4  # with all parents shared every fourth turn: 0.849 to 0.862 on 14 tasks (bench/LOG.md)
_MIGRATION = 4  # every so many turns an island takes its parents from all
_TABLES = 8  # a search asks for the published laws three times for each target, always of the same columns
_COUNT = 64  # candidates that may still become parents, members of a consensus or the choice


def from_catalogue(table: Table) -> Iterator[Proposal]:
    """Published laws, the table's variables in every role that makes sense."""
    yield from _published(table.variables, table.own_shares)


@lru_cache(maxsize=_TABLES)
def _published(variables: tuple[Variable, ...], own_shares: tuple[str | None, ...]) -> tuple[Proposal, ...]:
    found: list[Proposal] = []
    for law in (law for law in load_catalogue() if law.proposed):
        per_target = [list(match(law, variables, own=share)) for share in own_shares]
        if len({len(forms) for forms in per_target}) == 1:
            found.extend(Proposal.of(forms) for forms in zip(*per_target, strict=True))
    # laws that use every variable first, those of these very quantities ahead: on a small budget they are the ones to
    # have tried
    found.sort(key=lambda p: (-len(p.forms[0].expression.used_variables), p.forms[0].mismatch))
    return tuple(found)


def from_enumeration(table: Table) -> Iterator[Proposal]:
    """The parts of scaling laws put together, simplest first."""
    spaces = [Space(table, j).texts() for j in range(len(table.targets))]
    for texts in zip(*spaces, strict=True):
        try:
            yield Proposal.of(
                [Form(table.parse(text, j), "enumeration", needs_simplify=True) for j, text in enumerate(texts)]
            )
        except GrammarError:
            continue  # a formula over many proportions can pass the limits of the grammar


# by the name that --proposers takes
PROPOSERS: dict[str, Proposer] = {"catalogue": from_catalogue, "enumeration": from_enumeration}
ALL = (*PROPOSERS, EVOLUTION)  # what a search uses when nothing is said
ASYNCHRONOUS: dict[str, Maker] = {}  # a language model is none of them: it needs settings (`LLM`)


def known() -> tuple[str, ...]:
    """Return the names of all proposers."""
    return (*PROPOSERS, EVOLUTION, *ENGINES, *ASYNCHRONOUS)


def asynchronous_proposer(
    names: Sequence[str], settings: AsynchronousSettings | None, context: SearchContext
) -> AsynchronousProposer | None:
    """Return those of the named proposers that are asynchronous, and the one of the settings, as one; None for none."""
    parts = [ASYNCHRONOUS[name](context) for name in names if name in ASYNCHRONOUS]
    parts += [] if settings is None else [settings.make(context)]
    return Together(parts) if len(parts) > 1 else parts[0] if parts else None


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


class Source:
    """Draws batches of new families: given formulas, then the static proposers, then evolution from the best so far.

    Once the static proposers have given `_HEAD` families, evolution takes turns with them; when they are exhausted it
    goes on alone until it finds nothing new. It breeds on islands, so that one lucky family does not take over.
    """

    def __init__(
        self, table: Table, names: Sequence[str], first: Iterator[Proposal], *, seed: int, max_constants: int
    ) -> None:
        """Prepare to draw; engines start at once, in the background.

        Raises:
            UsageError: There is no such proposer, or the package of an engine is not installed.
        """
        for name in names:
            if name not in known():
                raise UsageError(suggest(name, known(), kind="proposer"))
        self.table = table
        self.seed = seed
        self.max_constants = max_constants
        self.evolves = EVOLUTION in names
        self.enumerates = "enumeration" in names
        self.seen: set[str] = set()
        self.generation = 0
        self.drawn = 0
        self.bred = 0
        self._turn = False  # whether the latest batch was bred
        self._ahead: list[Proposal] | None = None  # the next batch, where it is drawn already
        self._n_points = int(table.points().max()) + 1
        self.notes: list[str] = []  # what went wrong with an engine
        self._runs = [Run(ENGINES[name], table, seed=seed, notes=self.notes) for name in names if name in ENGINES]
        plain = chain.from_iterable(PROPOSERS[name](table) for name in names if name in PROPOSERS)
        # by then an engine has had time to answer; a fixed place keeps the order the same in every run
        self._static = self._distinct([first, islice(plain, _HEAD), *(run.proposals() for run in self._runs), plain])

    def close(self) -> None:
        """End the engines that still run."""
        for run in self._runs:
            run.close()

    def _distinct(self, sources: Sequence[Iterator[Proposal]]) -> Iterator[Proposal]:
        for source in sources:
            for proposal in source:
                if proposal.key not in self.seen:
                    self.seen.add(proposal.key)
                    yield proposal

    def batch(self, hall: HallOfFame) -> list[Proposal]:
        """Return the next batch, empty when there is nothing left to try."""
        batch, self._ahead = self._ahead if self._ahead is not None else self._drawn(hall), None
        turn = self._turn
        if not batch:
            batch = list(islice(self._static, _BATCH)) if turn else self._bred(hall) if self.evolves else []
            self._turn = not turn and self.evolves
        self.drawn += len(batch)
        if len(self.table.targets) > 1:
            return batch
        # what is proposed as it stands is judged to the end as long as it may be one of the best of its kind: the
        # consensus wants it even where it is behind
        bar = self.bar(hall)
        bred, static = (Limits.of(hall, island) for island in (batch[0].island if batch else None, None))
        origins = {EVOLUTION: (bar, bred), "enumeration": (math.inf, static)}
        return [
            replace(p, bar=limit[0], limits=limit[1]) if (limit := origins.get(p.forms[0].origin)) is not None else p
            for p in batch
        ]

    def draw_ahead(self, hall: HallOfFame) -> None:
        """Draw the next batch while the one before is judged, if nothing that comes of that can change it.

        That is so for what is proposed as it stands, and for what is bred on one island while the children of another
        are judged. Call it with the hall as it was when the batch before was drawn.
        """
        if self._runs or self._ahead is not None:  # an engine may have to be waited for
            return
        island, everywhere = self._place(self.bred + 1)
        if not self._is_turn(self.generation + 1) or (
            self._turn and not everywhere and island != self._place(self.bred)[0]
        ):
            self._ahead = self._drawn(hall)

    def _is_turn(self, generation: int) -> bool:
        """Return whether a batch is bred, as long as there are both ways."""
        return self.evolves and self.drawn >= _HEAD and generation % 3 != 0

    @staticmethod
    def _place(bred: int) -> tuple[int, bool]:
        """Return the island of a batch that is bred, by its number, and whether its parents come from all islands."""
        return bred % ISLANDS, bred // ISLANDS % _MIGRATION == 0

    def _drawn(self, hall: HallOfFame) -> list[Proposal]:
        """Return the next batch of the kind whose turn it is, empty when that kind has nothing left."""
        self.generation += 1
        self._turn = self._is_turn(self.generation)
        return self._bred(hall) if self._turn else list(islice(self._static, _BATCH))

    def bar(self, hall: HallOfFame) -> float:
        """Return the early score that a bred form has to come near."""
        if len(self.table.targets) > 1:
            return math.inf  # a form that is behind for one target may suit another
        return bar(hall.ranked(), _COUNT, self._n_points)

    def _bred(self, hall: HallOfFame) -> list[Proposal]:
        """Return children of the next island; every so often its parents come from all islands."""
        self.bred += 1
        island, everywhere = self._place(self.bred)
        parents = distinct(hall.ranked() if everywhere else hall.island(island), _PARENTS)
        rng = np.random.default_rng([self.seed, self.generation])
        made = children(parents, self.table, self.seen, _BATCH, rng, self.max_constants)
        return [replace(p, island=island) for p in made]
