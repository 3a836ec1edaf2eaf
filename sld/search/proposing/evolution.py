"""Evolution: children of the best formulas so far, by mutation and crossover.

Each mutation is a function from a tree to a tree and one row of `MUTATIONS` with its weight. Trees are changed at the
level of the field's parts: terms, atoms in one variable, exponents, links. Children keep the constants they share with
their parent as a starting point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from sld.core.arrays import Array
from sld.core.errors import GrammarError
from sld.data.table import Table
from sld.fit.kernel import linear_constants
from sld.formula.expression import Expression, Node, as_parsed, call, name, number, parse
from sld.laws.form import Form
from sld.search.candidates.candidate import Candidate
from sld.search.judging.judge import Proposal
from sld.search.proposing.enumeration import ATOMS

MAX_COMPLEXITY = 45  # nodes: longer children are hardly ever better, and take longer to judge
_SLACK = 10  # nodes that a child may have too many before it is shortened
_SHARE = 0.5  # chance that a child of a grouped table changes what its groups share
_TRIES = 12  # mutations tried for one child before giving up on its parent


@dataclass
class Context:
    """What a mutation may use: random numbers, the table's variables, fresh names, another parent's tree."""

    rng: np.random.Generator
    table: Table
    taken: set[str]
    other: Node  # not to be put into a tree as it is: its parts may occur in two places

    def fresh(self, *pool: str) -> Node:
        """Return a constant with a name that is not in use."""
        for candidate in pool:
            if candidate not in self.taken:
                self.taken.add(candidate)
                return name(candidate)
        i = 2
        while f"{pool[0]}{i}" in self.taken:
            i += 1
        self.taken.add(f"{pool[0]}{i}")
        return name(f"{pool[0]}{i}")

    def pick(self, options: Sequence[Node]) -> Node | None:
        """Return one of the options, or None when there are none."""
        return options[int(self.rng.integers(len(options)))] if options else None

    def is_constant(self, node: Node) -> bool:
        """Return whether node is a single free constant."""
        return node.op == "name" and node.name not in self.table.symbols

    def variables(self, node: Node) -> list[str]:
        """Return the variables below node, in the table's order."""
        return [s for s in self.table.symbols if s in node.names]

    def variable(self) -> str:
        """Return a variable of the table at random."""
        return self.table.symbols[int(self.rng.integers(len(self.table.symbols)))]

    def log(self, symbol: str) -> Node:
        """Return the logarithm of a variable (itself, if the column already is one)."""
        declared = self.table.variables[self.table.symbols.index(symbol)]
        return name(symbol) if declared.log else call("log", name(symbol))

    def atom(self, symbol: str) -> Node:
        """Return an atom in one variable with fresh constants; plain powers come most often."""
        declared = self.table.variables[self.table.symbols.index(symbol)]
        atoms, chances = _atoms(bool(declared.log), declared.role == "proportion")
        atom = atoms[_drawn(chances, self.rng)]
        assert atom is not None
        fresh = {c: self.fresh(*_POOLS.get(c, (c,))) for c in atom.constants}
        return _renamed(atom.tree, {"v": name(symbol), **fresh})


@lru_cache
def _atoms(logs: bool, share: bool) -> tuple[list[Expression | None], Array]:
    """Return the atoms in a variable v (None where one has no form for logarithms), and their cumulated chances."""
    texts = [a.on_logs if logs else a.text for a in ATOMS]
    weights = np.array([0.0 if t is None else (6.0, 2.0, 1.0)[a.tier] for a, t in zip(ATOMS, texts, strict=True)])
    if share:
        texts, weights = [*texts, "v", "exp(-k*v)"], np.append(weights, [4.0, 4.0])
    return [None if t is None else parse(t, ["v"]) for t in texts], _cumulated(weights / weights.sum())


def _cumulated(chances: Array) -> Array:
    found = chances.cumsum()
    return np.asarray(found / found[-1])


def _drawn(cumulated: Array, rng: np.random.Generator) -> int:
    """Return the number that `rng.choice` draws with these chances, which takes ten times as long to look at them."""
    return int(cumulated.searchsorted(rng.random(), side="right"))


# letter of a constant in an atom to the names it may get
_POOLS = {"a": ("alpha", "beta", "gamma", "delta"), "b": ("beta", "gamma", "delta"), "K": ("K",), "m": ("m",)}


def _renamed(node: Node, names: Mapping[str, Node]) -> Node:
    if node.op == "name":
        return names.get(node.name, node)
    return call(node.op, *(_renamed(a, names) for a in node.args)) if node.args else node


def _copied(node: Node) -> Node:
    """Return the same tree without nodes that occur in two places: one place is changed at a time.

    A formula that was read back from a run folder shares no nodes, one that was put together may; children must not
    depend on that.
    """
    return Node(node.op, tuple(_copied(a) for a in node.args), node.value, node.name)


@lru_cache(maxsize=256)
def _unshared(tree: Node) -> Node:
    """Return `_copied`, the same for all children of a parent: a mutation makes new nodes and changes none."""
    return _copied(tree)


def _replaced(root: Node, old: Node, new: Node) -> Node:
    """Replace one occurrence of `old` (by identity)."""
    if root is old:
        return new
    if not root.args:
        return root
    return call(root.op, *(_replaced(a, old, new) for a in root.args))


def _terms(node: Node) -> list[Node]:
    return [t for a in node.args for t in _terms(a)] if node.op == "+" else [node]


def _single(root: Node, ctx: Context) -> list[Node]:
    """Return the sub-trees in exactly one variable that are more than the variable: candidates for another atom."""
    found = []
    for n in root.walk():
        if n.op in ("**", "exp", "log", "sigmoid", "tanh", "/", "sqrt") and len(ctx.variables(n)) == 1:
            found.append(n)
    return found


def swap_atom(root: Node, ctx: Context) -> Node | None:
    """Exchange the shape in one variable for another one."""
    old = ctx.pick(_single(root, ctx))
    return None if old is None else _replaced(root, old, ctx.atom(ctx.variables(old)[0]))


def add_term(root: Node, ctx: Context) -> Node | None:
    """Add a term in one variable to a sum (the outermost, or one inside a power or link)."""
    old = ctx.pick([root, root, *(n for n in root.walk() if n.op == "+")])
    assert old is not None
    return _replaced(root, old, call("+", old, call("*", ctx.fresh("B", "C", "F", "G"), ctx.atom(ctx.variable()))))


def multiply_term(root: Node, ctx: Context) -> Node | None:
    """Multiply a term by an atom in another variable: an interaction."""
    options = [t for t in _terms(root) if ctx.variables(t)]
    old = ctx.pick(options)
    if old is None:
        return None
    missing = [s for s in ctx.table.symbols if s not in ctx.variables(old)] or [ctx.variable()]
    return _replaced(root, old, call("*", old, ctx.atom(missing[int(ctx.rng.integers(len(missing)))])))


def interact(root: Node, ctx: Context) -> Node | None:
    """Let a coefficient change with the logarithm of a variable: c becomes c + k log v."""
    old = ctx.pick([n for n in root.walk() if ctx.is_constant(n)])
    if old is None:
        return None
    return _replaced(root, old, call("+", old, call("*", ctx.fresh("k", "q"), ctx.log(ctx.variable()))))


def drop(root: Node, ctx: Context) -> Node | None:
    """Leave out a term or factor: keep one side of an operator."""
    old = ctx.pick([n for n in root.walk() if len(n.args) == 2])
    return None if old is None else _replaced(root, old, old.args[int(ctx.rng.integers(2))])


def unwrap(root: Node, ctx: Context) -> Node | None:
    """Take a function off its argument."""
    old = ctx.pick([n for n in root.walk() if len(n.args) == 1])
    return None if old is None else _replaced(root, old, old.args[0])


def fix_constant(root: Node, ctx: Context) -> Node | None:
    """Set a constant to 0 or 1: a simpler law if nothing is lost."""
    old = ctx.pick([n for n in root.walk() if ctx.is_constant(n)])
    return None if old is None else _replaced(root, old, number(float(ctx.rng.integers(2))))


def tie(root: Node, ctx: Context) -> Node | None:
    """Make two shape constants one; a coefficient has the units of its term, and has nothing to share."""
    linear = linear_constants(Expression(root, ctx.table.symbols))[1]
    constants = list(dict.fromkeys(n.name for n in root.walk() if ctx.is_constant(n)))
    shape = [c for c in constants if c not in linear]
    pairs = [(a, b) for a in shape for b in shape if a != b]
    if not pairs:
        return None
    one, other = pairs[int(ctx.rng.integers(len(pairs)))]
    return _renamed(root, {one: name(other)})


def untie(root: Node, ctx: Context) -> Node | None:
    """Give one occurrence of a repeated constant a name of its own."""
    names = [n.name for n in root.walk() if ctx.is_constant(n)]
    old = ctx.pick([n for n in root.walk() if ctx.is_constant(n) and names.count(n.name) > 1])
    return None if old is None else _replaced(root, old, ctx.fresh("u", "gamma", "delta"))


def other_variable(root: Node, ctx: Context) -> Node | None:
    """Exchange one occurrence of a variable for another variable."""
    old = ctx.pick([n for n in root.walk() if n.op == "name" and n.name in ctx.table.symbols])
    others = [s for s in ctx.table.symbols if old is not None and s != old.name]
    if old is None or not others:
        return None
    return _replaced(root, old, name(others[int(ctx.rng.integers(len(others)))]))


def shift(root: Node, ctx: Context) -> Node | None:
    """Shift a variable: v becomes v + K."""
    old = ctx.pick([n for n in root.walk() if n.op == "name" and n.name in ctx.table.symbols])
    return None if old is None else _replaced(root, old, call("+", old, ctx.fresh("K", "K2", "K3")))


def combine_variables(root: Node, ctx: Context) -> Node | None:
    """Make a variable an effective one: v becomes v * w**h."""
    old = ctx.pick([n for n in root.walk() if n.op == "name" and n.name in ctx.table.symbols])
    if old is None or len(ctx.table.symbols) < 2:
        return None
    other = ctx.variable()
    if other == old.name or ctx.table.variables[ctx.table.symbols.index(old.name)].log:
        return None
    if ctx.table.variables[ctx.table.symbols.index(other)].log:
        factor = call("exp", call("*", ctx.fresh("h", "g"), name(other)))
    else:
        factor = call("**", name(other), ctx.fresh("h", "g"))
    return _replaced(root, old, call("*", old, factor))


def raise_power(root: Node, ctx: Context) -> Node | None:
    """Raise a sub-tree to a free power."""
    old = ctx.pick([n for n in root.walk() if n.op in ("+", "/", "exp") and ctx.variables(n)])
    return None if old is None else _replaced(root, old, call("**", old, ctx.fresh("g", "h")))


def link(root: Node, ctx: Context) -> Node | None:
    """Send the whole through a link."""
    e, a = ctx.fresh("E0", "E1"), ctx.fresh("A0", "A1")
    match int(ctx.rng.integers(5)):
        case 0:
            return call("exp", root)
        case 1:
            return call("+", e, call("exp", root))
        case 2:
            return call("+", e, call("*", a, call("sigmoid", root)))
        case 3:
            return call("+", e, call("*", a, call("exp", call("neg", call("exp", root)))))
    return call("+", e, call("*", a, call("log", root)))


def add_offset(root: Node, ctx: Context) -> Node | None:
    """Add an irreducible constant."""
    return call("+", ctx.fresh("E", "E0", "L"), root)


def stay(root: Node, _: Context) -> Node | None:
    """Leave the formula alone; in a grouped table the child may still share other constants."""
    return root


def cross(root: Node, ctx: Context) -> Node | None:
    """Exchange a term for one of the other parent's."""
    mine, theirs = ctx.pick(_terms(root)), ctx.pick(_terms(ctx.other))
    if mine is None or theirs is None:
        return None
    return _replaced(root, mine, _foreign(theirs, ctx))


def cross_add(root: Node, ctx: Context) -> Node | None:
    """Add one of the other parent's terms."""
    theirs = ctx.pick(_terms(ctx.other))
    return None if theirs is None else call("+", root, _foreign(theirs, ctx))


def _foreign(node: Node, ctx: Context) -> Node:
    constants = dict.fromkeys(n.name for n in node.walk() if ctx.is_constant(n))
    return _renamed(node, {c: ctx.fresh(f"{c.rstrip('0123456789')}1", "z") for c in constants})


Mutation = Callable[[Node, Context], Node | None]
# how often each is drawn, relative to the others
MUTATIONS: Mapping[Mutation, float] = {
    swap_atom: 4.0,
    add_term: 3.0,
    multiply_term: 2.5,
    interact: 2.0,
    drop: 3.0,
    unwrap: 0.7,
    fix_constant: 2.0,
    tie: 1.0,
    untie: 0.7,
    other_variable: 1.5,
    shift: 1.5,
    combine_variables: 1.5,
    raise_power: 1.2,
    link: 0.7,
    add_offset: 0.7,
    stay: 1.0,
    cross: 2.0,
    cross_add: 2.0,
}


class Seen(Protocol):
    """Keys of families, as a set has them."""

    def __contains__(self, key: object, /) -> bool:
        """Whether a family was tried."""
        ...

    def add(self, key: str, /) -> None:
        """Remember one more."""


def children(
    parents: Sequence[Candidate],
    table: Table,
    seen: Seen,
    n: int,
    rng: np.random.Generator,
    max_constants: int,
    partners: Sequence[Candidate] = (),
) -> Iterator[Proposal]:
    """Yield up to `n` new families made from the parents, best parents first and most often.

    Args:
        parents: Candidates, best first.
        table: The rows they were judged on.
        seen: Keys already tried; new ones are added.
        n: How many to make, at most.
        rng: Where chance comes from.
        max_constants: Limit per group and target.
        partners: Whose terms a child may take over, best first; the parents themselves by default.
    """
    if not parents:
        return
    mutations = list(MUTATIONS)
    weights = np.array([MUTATIONS[m] for m in mutations])
    weights = weights / weights.sum()
    partners = partners or parents
    chance, chance_of_partner = _cumulated(_chances(len(parents))), _cumulated(_chances(len(partners)))
    chance_of_mutation = _cumulated(weights)
    for _ in range(n):
        for _ in range(_TRIES):
            parent = parents[_drawn(chance, rng)]
            other = partners[_drawn(chance_of_partner, rng)]
            steps = 1 + int(rng.random() < 0.35) + int(rng.random() < 0.1)
            chosen = [mutations[_drawn(chance_of_mutation, rng)] for _ in range(steps)]
            proposal = _child(parent, other, chosen, table, int(rng.integers(2**31)), max_constants)
            if proposal is not None and proposal.key not in seen:
                seen.add(proposal.key)
                yield replace(proposal, lineage=parent.descent) if parent.of_model else proposal
                break


def _chances(n: int) -> Array:
    chance = 1.0 / (np.arange(n) + 3.0)
    chances: Array = chance / chance.sum()
    return chances


def _child(
    parent: Candidate, other: Candidate, steps: Sequence[Mutation], table: Table, seed: int, max_constants: int
) -> Proposal | None:
    forms = []
    for target in table.targets:
        expression = parent.expressions[target.column]
        tree = expression.tree
        ctx = Context(
            # every target gets the same random choices: one form, changed in the same way
            np.random.default_rng(seed),
            table,
            {*table.symbols, *expression.constants},
            other.expressions[target.column].tree,
        )
        for step, mutate in enumerate(steps):
            changed = mutate(_copied(tree) if step else _unshared(tree), ctx)
            if changed is None:
                return None
            tree = changed
        nodes = list(tree.walk())
        if len(nodes) > MAX_COMPLEXITY + _SLACK:
            return None  # shortening it would take longer than judging ten others
        if any(n.op == "/" and n.args[1].op == "number" and n.args[1].value == 0.0 for n in nodes):
            return None
        try:
            child = as_parsed(tree, table.symbols)
        except (GrammarError, RecursionError):
            return None
        if not child.used_variables or not child.constants or len(child.constants) > max_constants:
            return None
        known = parent.constants.get(target.column, {})
        shared = _shared(child, parent.shared.get(target.column, ()), len(table.groups), seed)
        forms.append(Form(child, "evolution", start=known, shared=shared, needs_simplify=True))
    return Proposal.of(forms)


def _shared(child: Expression, before: Sequence[str], n_groups: int, seed: int) -> tuple[str, ...]:
    """Return which constants the groups have in common: the parent's choice, often changed in one constant.

    Shape is what groups tend to share, so only constants that do not enter linearly are offered; all of them at once
    is as likely as one.
    """
    if n_groups < 2:
        return ()
    linear = linear_constants(child)[1]
    shape = [c for c in child.constants if c not in linear]
    kept = [c for c in before if c in shape]
    rng = np.random.default_rng([seed, 1])
    if shape and rng.random() < _SHARE:
        pick = shape[int(rng.integers(len(shape)))]
        if rng.random() < 0.5:
            kept = list(shape) if len(kept) < len(shape) else []
        else:
            kept = [c for c in kept if c != pick] if pick in kept else [*kept, pick]
    return tuple(c for c in child.constants if c in kept)
