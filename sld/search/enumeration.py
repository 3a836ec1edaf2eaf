"""Grammar-guided enumeration: formulas built from the parts of scaling laws, by role of variable, simplest first.

A law is an irreducible constant plus terms; a term is a coefficient times atoms, one per variable; the sum may pass
through a link. `ATOMS` is the table of atoms. Structures (which variables share a term) come first with plain powers;
then one atom after the other is exchanged. Duplicates are left to the canonical key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sld.core.table import Table

Texts = Iterator[str]
_A = TypeVar("_A")
_B = TypeVar("_B")
_C = TypeVar("_C")


@dataclass(frozen=True)
class Atom:
    """One shape in one variable.

    Attributes:
        name: What the literature calls it.
        text: Template over `v` (the variable) and constants `a K m w s b`; each becomes a fresh name.
        on_logs: The same for a column that already is a logarithm, or None if it makes no sense there.
        tier: 0 tried in every structure, 1 exchanged for one power at a time, 2 only in short laws.
        source: Where it is known from.
    """

    name: str
    text: str
    on_logs: str | None
    tier: int
    source: str


ATOMS = (
    Atom("power", "v**-a", "exp(-a*v)", 0, "Kaplan et al. 2020; Hoffmann et al. 2022"),
    Atom("logarithm", "log(v)", "v", 1, "downstream scores, Isik et al. 2024"),
    Atom("shifted power", "(v + K)**-a", "(exp(v) + K)**-a", 1, "rectified law, Lin et al. 2024"),
    Atom("saturating", "1/(1 + (v/K)**a)", "sigmoid(m - a*v)", 1, "Hill form; Owen 2024"),
    Atom("shifted logarithm", "log(v + K)", "log(1 + exp(s*v - m))", 2, "effective count, Clark et al. 2022"),
    Atom("valley", "(log(v) - m)**2", "(v - m)**2", 1, "quadratic in log, DeepSeek 2024; U-shapes, Wei et al. 2023"),
    Atom("exponential", "exp(-v/K)", None, 2, "Muennighoff et al. 2023"),
    Atom("stretched exponential", "exp(-(v/K)**a)", "exp(-exp(a*v - m))", 2, "coverage, Brown et al. 2024"),
    Atom("broken power", "v**-a*(1 + (v/K)**s)**-b", "exp(-a*v)*(1 + exp(s*v - m))**-b", 2, "Caballero et al. 2023"),
    Atom("bump", "exp(-((log(v) - m)/w)**2)", "exp(-((v - m)/w)**2)", 2, "dips and bumps, Wei et al. 2023"),
    Atom("power of log", "log(1 + v)**-a", None, 2, "slow laws, Bahri et al. 2021"),
)

_MANY = 6  # variables; sets of terms over all of more are too many to list
_MANY_CHOICES = 5000
_WORD = re.compile(r"[^\W\d]\w*")

_COEFFICIENTS = ("A", "B", "C", "F", "G", "H", "J")
_EXPONENTS = ("alpha", "beta", "gamma", "delta", "eta", "mu", "nu")
_POOLS = {
    "a": _EXPONENTS,
    "b": _EXPONENTS,
    "s": ("s",),
    "K": ("K",),
    "m": ("m",),
    "w": ("w",),
    "k": ("k",),
    "p": ("p",),
    "q": ("q",),
}


class _Names:
    """Fresh constant names that are not variables of the table."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)

    def new(self, pool: Sequence[str]) -> str:
        numbered = (f"{pool[0]}{i}" for i in itertools.count(2))
        for candidate in itertools.chain(pool, numbered):
            if candidate not in self.taken:
                self.taken.add(candidate)
                return candidate
        raise AssertionError

    def fill(self, template: str, variable: str) -> str:
        """Replace `v` by the variable and each one-letter constant by a fresh name."""
        fresh: dict[str, str] = {"v": variable}
        out = []
        word = ""
        for ch in template + " ":
            if ch.isalnum() or ch == "_":
                word += ch
                continue
            if word in _POOLS or word == "v":
                if word not in fresh:
                    fresh[word] = self.new(_POOLS[word])
                word = fresh[word]
            out.append(word + ch)
            word = ""
        return "".join(out).strip()


@dataclass(frozen=True)
class _Axis:
    symbol: str
    on_logs: bool
    role: str

    @property
    def log(self) -> str:
        return self.symbol if self.on_logs else f"log({self.symbol})"

    @property
    def power(self) -> str:
        return "exp(-a*v)" if self.on_logs else "v**-a"


class Space:
    """The formulas for one table and target, as texts."""

    def __init__(self, table: Table, target: int = 0) -> None:
        """Sort the table's variables by role."""
        self.table = table
        self.target = target
        # formulas are written over stand-ins, so that a variable may be called E or alpha; `_spelled` names them
        stand_in = {v.symbol: f"_{i}" for i, v in enumerate(table.variables)}
        self.symbols = {stand: symbol for symbol, stand in stand_in.items()}
        axes = [_Axis(stand_in[v.symbol], v.log is not None, v.role) for v in table.variables]
        self.scales = [a for a in axes if a.role == "scale"]
        self.hypers = [a for a in axes if a.role == "hyperparameter"]
        self.covariates = [a for a in axes if a.role == "covariate"]
        self.shares = [a for a in axes if a.role == "proportion"]
        own = table.own_share(target)
        self.own = None if own is None else stand_in[own]
        # the spaces of all targets must run in step
        self.bounded = any(t.lower is not None and t.upper is not None for t in table.targets)

    def names(self) -> _Names:
        """Return fresh names for one formula."""
        return _Names(["E"])

    def texts(self) -> Texts:
        """Yield formulas, simplest and most usual first; a formula may come twice in different writing."""
        return map(self._spelled, self._texts())

    def _spelled(self, text: str) -> str:
        """Put the variables' own names in; a constant that would be taken for one of them gets another name."""
        words = _words(text)
        spelling = dict(self.symbols)
        taken = {*words, *self.table.symbols}
        for word in words - spelling.keys():
            stem = word.removesuffix("_share") if word.endswith("_share") else None  # becomes stem_1, stem_2, ...
            if not (word in self.table.symbols or (stem and self._numbered(stem))):
                continue
            for i in itertools.count(2):
                new = f"{stem}{i}_share" if stem else f"{word}{i}"
                if new not in taken and not (stem and self._numbered(f"{stem}{i}")):
                    break
            taken.add(new)
            spelling[word] = new
        return _WORD.sub(lambda match: spelling.get(match[0], match[0]), text)

    def _numbered(self, stem: str) -> bool:
        return any(re.fullmatch(rf"{stem}_\d+", symbol) for symbol in self.table.symbols)

    def _texts(self) -> Texts:
        main = self.scales or self.covariates or self.hypers
        every = self.scales + self.covariates + self.hypers
        if self.shares:
            yield from self.mixtures(main)
        if self.hypers and self.scales:
            # a hyperparameter is a valley whose optimum moves, or just one more quantity, or irrelevant
            yield from _interleave(self.responses(), self.valleys(), self.sums(every), self.sums(main))
        elif main and not self.shares:
            yield from self.sums(every)

    # -- sums of products of atoms -----------------------------------------------------------------------------

    def atoms(self, axis: _Axis, tiers: Sequence[int]) -> list[str]:
        """Return the templates that suit an axis."""
        found = []
        for atom in ATOMS:
            text = atom.on_logs if axis.on_logs else atom.text
            if atom.tier in tiers and text is not None:
                found.append(text)
        if axis.role == "covariate" and 1 in tiers and not axis.on_logs:
            found.append("v")
        return found

    def structures(self, axes: Sequence[_Axis]) -> list[tuple[tuple[int, ...], ...]]:
        """Sets of terms, each a set of variables, that together use every variable; fewest factors first."""
        n = len(axes)
        if n > _MANY:
            pairs = list(itertools.combinations(range(n), 2))
            every = (tuple((i,) for i in range(n)), (tuple(range(n)),))
            return [
                *(((i,),) for i in range(n)),
                *(((i,), (j,)) for i, j in pairs),
                *((pair,) for pair in pairs),
                *every,
            ]
        subsets = [s for k in range(1, min(n, 3) + 1) for s in itertools.combinations(range(n), k)]
        found = []
        for count in range(1, 5 if n <= 2 else 4):
            for terms in itertools.combinations(subsets, count):
                used = {i for term in terms for i in term}
                if len(used) == n or (n >= 3 and len(used) == n - 1):
                    found.append(terms)
        return sorted(found, key=lambda terms: (sum(len(t) for t in terms) + len(terms), terms))

    def render(
        self,
        axes: Sequence[_Axis],
        terms: Sequence[Sequence[int]],
        swaps: dict[tuple[int, int], str],
        offset: bool = True,
        tied: bool = False,
    ) -> str:
        """Return a sum of terms; `swaps` replaces the power of (term, axis), `tied` shares one power per axis."""
        names = self.names()
        pieces = ["E"] if offset else []
        kept: dict[int, str] = {}
        for t, term in enumerate(terms):
            factors = []
            for i in term:
                axis = axes[i]
                if tied and i in kept and (t, i) not in swaps:
                    factors.append(kept[i])
                    continue
                text = names.fill(swaps.get((t, i), axis.power), axis.symbol)
                kept.setdefault(i, text)
                factors.append(text)
            pieces.append("*".join([names.new(_COEFFICIENTS), *factors]))
        return " + ".join(pieces)

    def sums(self, axes: Sequence[_Axis]) -> Texts:
        """Yield sums of products of atoms, plain ones first."""
        if not axes:
            return
        structures = self.structures(axes)
        short = [s for s in structures if sum(len(t) for t in s) + len(s) <= (8 if len(axes) <= 2 else 7)]
        stages: list[Texts] = [self.plain(axes, structures), self.linked(axes)]
        stages.append(self.swapped(axes, short, (1,)))
        stages.append(self.wrapped(axes, short))
        stages.append(self.swapped(axes, short, (2,)))
        stages.append(self.swapped_twice(axes, [s for s in short if sum(len(t) for t in s) <= len(axes) + 1]))
        yield from stages[0]
        yield from stages[1]
        yield from _interleave(*stages[2:])

    def plain(self, axes: Sequence[_Axis], structures: Sequence[tuple[tuple[int, ...], ...]]) -> Texts:
        """Yield every structure with plain powers."""
        for terms in structures:
            yield self.render(axes, terms, {})
            if len(terms) <= 3:
                yield self.render(axes, terms, {}, offset=False)
            if len({i for t in terms for i in t}) < sum(len(t) for t in terms):
                yield self.render(axes, terms, {}, tied=True)

    def swapped(
        self, axes: Sequence[_Axis], structures: Sequence[tuple[tuple[int, ...], ...]], tiers: Sequence[int]
    ) -> Texts:
        """Yield every structure with one power exchanged for another atom."""
        for terms in structures:
            for t, term in enumerate(terms):
                for i in term:
                    for atom in self.atoms(axes[i], tiers):
                        yield self.render(axes, terms, {(t, i): atom})
                        if len(terms) == 1:
                            yield self.render(axes, terms, {(t, i): atom}, offset=False)
        if len(axes) == 1:
            # two terms in the one variable
            for first, second in itertools.combinations_with_replacement(self.atoms(axes[0], (0, *tiers)), 2):
                yield self.render(axes, ((0,), (0,)), {(0, 0): first, (1, 0): second})

    def swapped_twice(self, axes: Sequence[_Axis], structures: Sequence[tuple[tuple[int, ...], ...]]) -> Texts:
        """Yield structures with two powers exchanged for other atoms."""
        for terms in structures:
            places = [(t, i) for t, term in enumerate(terms) for i in term]
            for one, other in itertools.combinations(places, 2):
                for first in self.atoms(axes[one[1]], (1, 2)):
                    for second in self.atoms(axes[other[1]], (1,)):
                        yield self.render(axes, terms, {one: first, other: second})

    def logs(self, axes: Sequence[_Axis], names: _Names, order: int) -> str:
        """A polynomial in the logarithms: linear, with products of two (order 2), with squares (order 3)."""
        pieces = [names.new(("c0", "c"))]
        pieces += [f"{names.new(('c1', 'c'))}*{a.log}" for a in axes]
        if order >= 2:
            pieces += [f"{names.new(('g1', 'g'))}*{a.log}*{b.log}" for a, b in itertools.combinations(axes, 2)]
        if order >= 3:
            pieces += [f"{names.new(('h1', 'h'))}*{a.log}**2" for a in axes]
        return " + ".join(pieces)

    def linked(self, axes: Sequence[_Axis]) -> Texts:
        """Polynomials in the logarithms through a link: log-bilinear laws (Clark et al. 2022), logistic curves."""
        links: list[Callable[[str], str]] = [
            lambda g: g,
            lambda g: f"exp({g})",
            lambda g: f"E + exp({g})",
            lambda g: f"E + A*sigmoid({g})",
        ]
        if self.bounded:
            links += [lambda g: f"sigmoid({g})", lambda g: f"exp(-exp({g}))", lambda g: f"E + A*exp(-exp({g}))"]
        for order in (1, 2, 3):
            if order == 2 and len(axes) == 1:
                continue
            for link in links:
                names = self.names()
                names.taken.add("A")
                yield link(self.logs(axes, names, order))

    def wrapped(self, axes: Sequence[_Axis], structures: Sequence[tuple[tuple[int, ...], ...]]) -> Texts:
        """Sums of powers inside another function: power of a sum, error as a function of loss, exponents that move."""
        for terms in structures:
            inner = self.render(axes, terms, {}, offset=False)
            yield f"E + ({inner})**g"
            yield f"({inner})**g"
            yield f"exp(E + {inner})"
            yield f"E0 - k*exp(-E - {inner})"
            yield f"E0 + k*sigmoid(E + {inner})"
        for one, other in itertools.permutations(axes, 2):
            names = _Names(["E", "A", "B", "C"])
            rest = [a for a in axes if a not in (one, other)]
            more = "".join(f" + {names.new(_COEFFICIENTS)}*{names.fill(a.power, a.symbol)}" for a in rest)
            power = names.fill(one.power, one.symbol)
            a, b, c, g, h, k = (names.new((x,)) for x in ("b", "c", "d", "g", "h", "k"))
            moving = f"exp(-({b} + {c}*{other.log})*{one.log})"
            yield f"E + A*exp(-({a})*{one.log} + {b}*{other.log} + {c}*{one.log}*{other.log}){more}"
            yield f"E + A*{moving}{more}"
            yield f"E + B*{other.symbol if other.on_logs else f'{other.symbol}**-{g}'} + A*{moving}{more}"
            yield f"(E + A*{power})*(1 + {k}*{other.log}){more}"
            if not (one.on_logs or other.on_logs):
                yield f"E + A*({one.symbol}*(1 + {k}*log({other.symbol})))**-{g}{more}"
                yield f"E + A*({one.symbol}*{other.symbol}**{h} + {k})**-{g}{more}"
                yield f"E + A*{one.symbol}**-{g}*(1 + {other.symbol}/{k})**-{h}{more}"
                yield f"E + A*{one.symbol}**-{g} + B*{other.symbol}**-{h}*(1 + {k}*{one.symbol}**-{g}){more}"
                ratio = f"({one.symbol}/{other.symbol})"
                yield f"E + A*{one.symbol}**-{g} + B*{other.symbol}**-{h} + C*{ratio}**{k}{more}"
                yield f"E + A*{one.symbol}**-{g} + B*{other.symbol}**-{h} + C*exp(-{ratio}**{k}){more}"
                # repeated data: one unit of `other` seen again and again is worth less each time
                effective = f"({other.symbol}*(1 + {h}*(1 - exp(-({one.symbol}/{other.symbol} - 1)/{h}))))"
                yield f"E + A*{effective}**-{g}{more}"

    # -- hyperparameters -----------------------------------------------------------------------------------------

    def responses(self) -> Texts:
        """A base law in the scale variables plus a quadratic in the logarithms of the hyperparameters.

        The response surface of experimental design (Box and Wilson 1951): the optimum of each hyperparameter moves with
        the logarithms of the scales and, in a product of two, with the other hyperparameters. All of its constants are
        linear, so it is fitted at once where a valley that is written with its centre has to be searched.
        """
        bases = self.structures(self.scales)[: 8 if len(self.scales) > 1 else 3]
        movers: list[tuple[_Axis, ...]] = [(), *((s,) for s in self.scales)]
        if len(self.scales) > 1:
            movers.append(tuple(self.scales))
        pairs = list(itertools.combinations(self.hypers, 2))[:_MANY]
        for terms, moving, crossed in _diagonal(bases, movers[::-1], (True, False) if pairs else (False,)):
            base = self.render(self.scales, terms, {})
            for link in ("{} + {}", "({})*(1 + {})", "exp({} + {})"):
                names = _Names(["E", *_words(base)])
                pieces = []
                for h in self.hypers:
                    one, two = names.new(("c1", "c")), names.new(("c1", "c"))
                    pieces += [f"{one}*{h.log}", f"{two}*{h.log}**2"]
                    pieces += [f"{names.new(('g1', 'g'))}*{h.log}*{s.log}" for s in moving]
                if crossed:
                    pieces += [f"{names.new(('h1', 'h'))}*{a.log}*{b.log}" for a, b in pairs]
                yield link.format(base, " + ".join(pieces))

    def valleys(self) -> Texts:
        """A base law in the scale variables plus a valley per hyperparameter, its optimum moving with scale.

        The squared distance in log space is the usual local form (DeepSeek 2024; Li et al. 2025, Step Law).
        """
        base_structures = self.structures(self.scales)[: 12 if len(self.scales) > 1 else 3]
        bases = [(self.scales, terms) for terms in base_structures]
        movers: list[tuple[_Axis, ...]] = [()]
        movers += [(s,) for s in self.scales]
        if len(self.scales) > 1:
            movers += list(itertools.combinations(self.scales, 2))
        while len(movers) ** len(self.hypers) > _MANY_CHOICES and len(movers) > 1:
            movers.pop()
        shapes = ("square", "wide", "cosh", "tilted")
        choices = list(itertools.product(movers, repeat=len(self.hypers)))
        choices.sort(key=lambda c: sum(len(m) for m in c))
        for (axes, terms), shape, choice in _diagonal(bases, shapes, choices):
            yield self.valley_law(axes, terms, shape, choice, "+")
        for (axes, terms), shape, choice in _diagonal(bases[:4], shapes[:2], choices):
            yield self.valley_law(axes, terms, shape, choice, "*")

    def valley_law(
        self,
        axes: Sequence[_Axis],
        terms: Sequence[Sequence[int]],
        shape: str,
        movers: Sequence[Sequence[_Axis]],
        how: str,
    ) -> str:
        """Return a base law plus or times one valley per hyperparameter."""
        base = self.render(axes, terms, {})
        names = _Names(["E", *_words(base)])
        pieces, deviations = [], []
        for hyper, moving in zip(self.hypers, movers, strict=True):
            optimum = " - ".join(
                [hyper.log, names.new(("p1", "p")), *(f"{names.new(('q1', 'q'))}*{s.log}" for s in moving)]
            )
            deviations.append(optimum)
            k = names.new(("k1", "k"))
            match shape:
                case "square":
                    pieces.append(f"{k}*({optimum})**2")
                case "wide":
                    width = (moving or self.scales)[0]
                    pieces.append(f"{k}*exp({names.new(('w1', 'w'))}*{width.log})*({optimum})**2")
                case "cosh":
                    w = names.new(("w1", "w"))
                    pieces.append(f"{k}*(exp({w}*({optimum})) + exp(-{w}*({optimum})))")
                case _:
                    # steeper on one side: too large a learning rate costs more than too small a one
                    w = names.new(("w1", "w"))
                    pieces.append(f"{k}*(exp({w}*({optimum})) - {w}*({optimum}))")
        valley = " + ".join(pieces)
        return f"{base} + {valley}" if how == "+" else f"({base})*(1 + {valley})"

    # -- proportions ---------------------------------------------------------------------------------------------

    def mixtures(self, axes: Sequence[_Axis]) -> Texts:
        """Laws in the shares of a mixture (Ye et al. 2024, data mixing laws), alone and with scale."""
        own = self.own
        cores = [
            "k*exp(sum(t_share*share))",
            "sum(t_share*share)",
            "exp(sum(t_share*share))",
            "k*log(sum(exp(t_share)*share))",
            "k*sum(exp(t_share)*share)**-g",
            "sum(t_share*share) + sum(u_share*share**2)",
            "k/sum(exp(t_share)*share)",
        ]
        names = [s.symbol for s in self.shares]
        if own:
            others = [s for s in names if s != own]
            cores = [
                f"k*({own} + b)**-g",
                f"k*exp(-g*{own})",
                f"k*log({own} + b)",
                f"k*exp(-g*{own}) + sum(t_share*share)",
                f"k*({own} + b)**-g + sum(t_share*share)",
                f"k*log({own} + b) + sum(t_share*share)",
                f"k*exp(-g*{own}**h)",
                f"k*({own} + b)**-g*exp(sum(t_share*share))",
                f"k*log(b + {own} + sum(exp(t_share)*share))",
                *(f"k*({own} + b + c*{o})**-g" for o in others),
                *(f"k*exp(-g*{own} - h*{o})" for o in others),
                *(f"k*({own} + b)**-g + c*{o}" for o in others),
                *cores,
            ]
        for core in cores:
            yield f"E + {core}"
            yield core
        for axis in axes:
            power = f"exp(-alpha*{axis.symbol})" if axis.on_logs else f"{axis.symbol}**-alpha"
            for core in cores:
                yield f"E + A*{power} + {core}"
                yield f"(E + A*{power})*(1 + {core})"
                yield f"E + A*{power}*({core})"
                yield f"(E + {core})*{power}"
                yield f"E + F*({core}) + A*{power}*({core})"
                yield f"E + (F + A*{power})*({core})"
                yield f"E + c1*{axis.log} + ({core})*(1 + c2*{axis.log})"


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text))


def _interleave(*sources: Iterable[str]) -> Texts:
    """Take from the sources in turn until all are empty."""
    iterators = [iter(s) for s in sources]
    while iterators:
        alive = []
        for it in iterators:
            try:
                yield next(it)
            except StopIteration:
                continue
            alive.append(it)
        iterators = alive


def _diagonal(first: Sequence[_A], second: Sequence[_B], third: Sequence[_C]) -> Iterator[tuple[_A, _B, _C]]:
    """Yield the product of three lists, small index sums first."""
    indices = itertools.product(range(len(first)), range(len(second)), range(len(third)))
    # the third list is the long one: its index counts for less
    for i, j, k in sorted(indices, key=lambda t: (t[0] + 2 * t[1] + t[2] / 4, t)):
        yield first[i], second[j], third[k]
