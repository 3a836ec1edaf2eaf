"""Grammar-guided enumeration: formulas built from the parts of scaling laws, by role of variable, simplest first.

A law is an irreducible constant plus terms; a term is a coefficient times atoms, one per variable; the sum may pass
through a link. `ATOMS` is the table of atoms. Structures (which variables share a term) come first with plain powers;
then one atom after the other is exchanged. Duplicates are left to the canonical key.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sld.data.levels import two_valued
from sld.data.table import Table

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


# shapes in one variable that papers use, and where
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


@dataclass(frozen=True)
class Part:
    """Something that formulas are made of, beside atoms.

    Attributes:
        name: What the literature calls it.
        text: Template; what stands in braces is filled in by the method that uses the table.
        source: Where it is known from, or the reason to have it.
        bounded: Only for targets that are bounded on both sides.
        plain: Only for columns that are no logarithms.
    """

    name: str
    text: str
    source: str
    bounded: bool = False
    plain: bool = False


# What a polynomial in the logarithms is sent through: {g}
LINKS = (
    Part("none", "{g}", "scores linear in log compute, Isik et al. 2024"),
    Part("power law", "exp({g})", "products of powers; with order 2 log-bilinear, Clark et al. 2022"),
    Part("power law above a floor", "E + exp({g})", "irreducible loss, Henighan et al. 2020"),
    Part("logistic between free ends", "E + A*sigmoid({g})", "Owen 2024; Ruan et al. 2024"),
    Part("logistic", "sigmoid({g})", "accuracies from 0 to 1, Owen 2024", bounded=True),
    Part("coverage", "exp(-exp({g}))", "share of problems solved, Brown et al. 2024", bounded=True),
    Part("coverage above a floor", "E + A*exp(-exp({g}))", "the same with guessing", bounded=True),
)

# What a sum of powers {s} is sent through
OUTER = (
    Part("power of a sum above a floor", "E + ({s})**g", "Kaplan et al. 2020, eq. 1.5; Rosenfeld et al. 2020"),
    Part("power of a sum", "({s})**g", "the same without a floor"),
    Part("exponential of a sum", "exp(E + {s})", "perplexity of a loss that follows a sum"),
    Part("error as a function of loss", "E0 - k*exp(-E - {s})", "Gadre et al. 2024"),
    Part("score as a logistic function of loss", "E0 + k*sigmoid(E + {s})", "two-step laws, Bhagia et al. 2024"),
)

# How two variables u and v work together: {u}, {v} themselves, {lu}, {lv} their logarithms, {pu} a power of u, {pv} one
# of v with exponent g; a sum of powers of the other variables follows
PAIRS = (
    Part("log-bilinear", "E + A*exp(-(b)*{lu} + c*{lv} + d*{lu}*{lv})", "Clark et al. 2022, eq. 1"),
    Part("exponent that moves", "E + A*exp(-(c + d*{lv})*{lu})", "exponents that depend on the other, Clark et al."),
    Part("exponent that moves, two terms", "E + B*{pv} + A*exp(-(c + d*{lv})*{lu})", "Farseer, Li et al. 2025"),
    Part("everything in proportion", "(E + A*{pu})*(1 + k*{lv})", "the other variable scales floor and term alike"),
    Part(
        "effective quantity, logarithmic", "E + A*({u}*(1 + k*log({v})))**-g",
        "parallel streams, Chen et al. 2025", plain=True,
    ),
    Part("effective quantity, power", "E + A*({u}*{v}**h + k)**-g", "Krajewski et al. 2024", plain=True),
    Part("saturating factor", "E + A*{u}**-g*(1 + {v}/k)**-h", "gains that begin at a size of the other", plain=True),
    Part(
        "coefficient that moves", "E + A*{u}**-g + B*{v}**-h*(1 + k*{u}**-g)",
        "larger models learn more from a token", plain=True,
    ),
    Part(
        "power of the ratio", "E + A*{u}**-g + B*{v}**-h + C*({u}/{v})**k",
        "over-training, Gadre et al. 2024; over-fitting, Kaplan et al. 2020", plain=True,
    ),
    Part(
        "delayed by the ratio", "E + A*{u}**-g + B*{v}**-h + C*exp(-({u}/{v})**k)",
        "what only starts at so many tokens a parameter", plain=True,
    ),
    Part(
        "repeated data", "E + A*({v}*(1 + h*(1 - exp(-({u}/{v} - 1)/h))))**-g",
        "the value of seeing {v} again and again decays, Muennighoff et al. 2023", plain=True,
    ),
)  # fmt: skip

# A hyperparameter whose logarithm is {x} away from its optimum; {z} is the logarithm of a scale
VALLEYS = (
    Part("quadratic", "{k}*({x})**2", "local form of any optimum; DeepSeek 2024, Li et al. 2025 (Step Law)"),
    Part("quadratic of moving width", "{k}*exp({w}*{z})*({x})**2", "optima grow sharper or flatter with scale"),
    Part("hyperbolic cosine", "{k}*(exp({w}*({x})) + exp(-{w}*({x})))", "power laws on both sides of the optimum"),
    Part("tilted", "{k}*(exp({w}*({x})) - {w}*({x}))", "too large a learning rate costs more than too small a one"),
)

# How a base law takes a quadratic in the logarithms of the hyperparameters
RESPONSES = (
    Part("added", "{base} + {surface}", "response surfaces, Box and Wilson 1951"),
    Part("in proportion", "({base})*(1 + {surface})", "a bad setting costs a share of the loss"),
    Part("in the logarithm", "exp({base} + {surface})", "the same for large effects"),
)

# What the shares of a mixture do; sum(...) runs over the shares, `share` is one of them
SHARES = (
    Part("exponential", "k*exp(sum(t_share*share))", "Ye et al. 2024, eq. 6 (M4)"),
    Part("linear", "sum(t_share*share)", "canonical polynomial of a mixture, Scheffé 1958"),
    Part("exponential without a factor", "exp(sum(t_share*share))", "Ye et al. 2024 with the factor in the exponent"),
    Part(
        "logarithm of effective tokens",
        "k*log(sum(exp(t_share)*share))",
        "every domain is worth a share of the target's",
    ),
    Part("power of effective tokens", "k*sum(exp(t_share)*share)**-g", "the same in a power law"),
    Part(
        "quadratic", "sum(t_share*share) + sum(u_share*share**2)", "canonical polynomial of second order, Scheffé 1958"
    ),
    Part("inverse", "k/sum(exp(t_share)*share)", "power of effective tokens with exponent 1"),
)

# The same for a target with a share of its own, {own}
OWN_SHARE = (
    Part("shifted power", "k*({own} + b)**-g", "own share against transfer from the rest, D-CPT, Que et al. 2024"),
    Part("exponential", "k*exp(-g*{own})", "Ye et al. 2024 in one share"),
    Part("logarithm", "k*log({own} + b)", "slow gains from the own share"),
    Part("exponential and the others", "k*exp(-g*{own}) + sum(t_share*share)", "transfer adds"),
    Part("shifted power and the others", "k*({own} + b)**-g + sum(t_share*share)", "transfer adds"),
    Part("logarithm and the others", "k*log({own} + b) + sum(t_share*share)", "transfer adds"),
    Part("stretched exponential", "k*exp(-g*{own}**h)", "between exponential and power"),
    Part("shifted power times exponential", "k*({own} + b)**-g*exp(sum(t_share*share))", "transfer multiplies"),
    Part("logarithm of effective tokens", "k*log(b + {own} + sum(exp(t_share)*share))", "transfer is worth tokens"),
)

# The own share together with one other, {other}
CROSS_SHARE = (
    Part("effective share", "k*({own} + b + c*{other})**-g", "a related domain counts in part"),
    Part("two exponentials", "k*exp(-g*{own} - h*{other})", "Ye et al. 2024 in two shares"),
    Part("additive transfer", "k*({own} + b)**-g + c*{other}", "transfer adds"),
)

# How a function {core} of the shares and a power {p} of a scale, whose logarithm is {l}, work together
WITH_SCALE = (
    Part("sum", "E + A*{p} + {core}", "mixture and size add, Ye et al. 2024"),
    Part("in proportion", "(E + A*{p})*(1 + {core})", "the mixture scales the whole loss"),
    Part("coefficient", "E + A*{p}*({core})", "the mixture scales what size can remove"),
    Part("floor that follows", "(E + {core})*{p}", "all of it falls with size"),
    Part("floor and coefficient", "E + F*({core}) + A*{p}*({core})", "bivariate mixing law, Ge et al. 2024 (BiMix)"),
    Part("floor and coefficient, one factor", "E + (F + A*{p})*({core})", "the same with one factor"),
    Part("logarithm of size", "E + c1*{l} + ({core})*(1 + c2*{l})", "slow laws in size"),
)

_ONE_CONSTANT = ("power", "logarithm")  # atoms that two values of a variable determine
_MANY = 6  # variables; sets of terms over all of more are too many to list
_MANY_CHOICES = 5000  # ways to move the optima of several hyperparameters; most are never reached
_WORD = re.compile(r"[^\W\d]\w*")  # a name in a formula

# names of constants as papers have them, drawn in this order
_COEFFICIENTS = ("A", "B", "C", "F", "G", "H", "J")
_EXPONENTS = ("alpha", "beta", "gamma", "delta", "eta", "mu", "nu")
# letter of a constant in a template to the names it may get
_POOLS = {"a": _EXPONENTS, "b": _EXPONENTS, **{c: (c,) for c in "sKmwkpq"}}


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
    level: bool = False  # two values, and no shape

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
        levels = two_valued(table)
        axes = [
            _Axis(stand_in[v.symbol], v.log is not None, v.role, i in levels) for i, v in enumerate(table.variables)
        ]
        self.scales = [a for a in axes if a.role == "scale"]
        self.hypers = [a for a in axes if a.role == "hyperparameter" and not a.level]
        self.covariates = [a for a in axes if a.role == "covariate" or (a.role == "hyperparameter" and a.level)]
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

    @staticmethod
    def whole(axes: Sequence[_Axis]) -> Texts:
        """Yield laws of one constant: inversely proportional, to the root, proportional."""
        for axis in axes:
            if not axis.on_logs:
                for exponent in ("-1", "-0.5", "1"):
                    yield f"A*{axis.symbol}**{exponent}" if exponent != "1" else f"A*{axis.symbol}"

    # -- sums of products of atoms -----------------------------------------------------------------------------

    def atoms(self, axis: _Axis, tiers: Sequence[int]) -> list[str]:
        """Return the templates that suit an axis."""
        found = []
        for atom in ATOMS:
            text = atom.on_logs if axis.on_logs else atom.text
            if atom.tier in tiers and text is not None and (not axis.level or atom.name in _ONE_CONSTANT):
                found.append(text)
        if axis in self.covariates and 1 in tiers and not axis.on_logs:
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
        yield from self.whole(axes)
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
            pieces += [f"{names.new(('h1', 'h'))}*{a.log}**2" for a in axes if not a.level]
        return " + ".join(pieces)

    def linked(self, axes: Sequence[_Axis]) -> Texts:
        """Polynomials in the logarithms through a link: log-bilinear laws (Clark et al. 2022), logistic curves."""
        links = [link.text for link in LINKS if self.bounded or not link.bounded]
        for order in (1, 2, 3):
            if order == 2 and len(axes) == 1:
                continue
            for link in links:
                names = self.names()
                names.taken.add("A")
                yield link.format(g=self.logs(axes, names, order))

    def wrapped(self, axes: Sequence[_Axis], structures: Sequence[tuple[tuple[int, ...], ...]]) -> Texts:
        """Sums of powers inside another function: power of a sum, error as a function of loss, exponents that move."""
        for terms in structures:
            inner = self.render(axes, terms, {}, offset=False)
            yield from (outer.text.format(s=inner) for outer in OUTER)
        for one, other in itertools.permutations(axes, 2):
            names = _Names(["E", "A", "B", "C"])
            rest = [a for a in axes if a not in (one, other)]
            more = "".join(f" + {names.new(_COEFFICIENTS)}*{names.fill(a.power, a.symbol)}" for a in rest)
            fields = {
                "u": one.symbol, "v": other.symbol, "lu": one.log, "lv": other.log,
                "pu": names.fill(one.power, one.symbol),
                "pv": other.symbol if other.on_logs else f"{other.symbol}**-g",
            }  # fmt: skip
            for pair in PAIRS:
                if not (pair.plain and (one.on_logs or other.on_logs)):
                    yield pair.text.format(**fields) + more

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
            for response in RESPONSES:
                names = _Names(["E", *_words(base)])
                pieces = []
                for h in self.hypers:
                    one, two = names.new(("c1", "c")), names.new(("c1", "c"))
                    pieces += [f"{one}*{h.log}", f"{two}*{h.log}**2"]
                    pieces += [f"{names.new(('g1', 'g'))}*{h.log}*{s.log}" for s in moving]
                if crossed:
                    pieces += [f"{names.new(('h1', 'h'))}*{a.log}*{b.log}" for a, b in pairs]
                yield response.text.format(base=base, surface=" + ".join(pieces))

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
        choices = list(itertools.product(movers, repeat=len(self.hypers)))
        choices.sort(key=lambda c: sum(len(m) for m in c))
        for (axes, terms), shape, choice in _diagonal(bases, VALLEYS, choices):
            yield self.valley_law(axes, terms, shape, choice, "+")
        for (axes, terms), shape, choice in _diagonal(bases[:4], VALLEYS[:2], choices):
            yield self.valley_law(axes, terms, shape, choice, "*")

    def valley_law(
        self,
        axes: Sequence[_Axis],
        terms: Sequence[Sequence[int]],
        shape: Part,
        movers: Sequence[Sequence[_Axis]],
        how: str,
    ) -> str:
        """Return a base law plus or times one valley per hyperparameter."""
        base = self.render(axes, terms, {})
        names = _Names(["E", *_words(base)])
        pieces = []
        for hyper, moving in zip(self.hypers, movers, strict=True):
            optimum = " - ".join(
                [hyper.log, names.new(("p1", "p")), *(f"{names.new(('q1', 'q'))}*{s.log}" for s in moving)]
            )
            k = names.new(("k1", "k"))
            w = names.new(("w1", "w")) if "{w}" in shape.text else ""
            pieces.append(shape.text.format(k=k, w=w, x=optimum, z=(moving or self.scales)[0].log))
        valley = " + ".join(pieces)
        return f"{base} + {valley}" if how == "+" else f"({base})*(1 + {valley})"

    # -- proportions ---------------------------------------------------------------------------------------------

    def mixtures(self, axes: Sequence[_Axis]) -> Texts:
        """Laws in the shares of a mixture (Ye et al. 2024, data mixing laws), alone and with scale."""
        cores = [part.text for part in SHARES]
        if own := self.own:
            others = [s.symbol for s in self.shares if s.symbol != own]
            crossed = [part.text.format(own=own, other=o) for part in CROSS_SHARE for o in others]
            cores = [*(part.text.format(own=own) for part in OWN_SHARE), *crossed, *cores]
        for core in cores:
            yield f"E + {core}"
            yield core
        for axis in axes:
            power = f"exp(-alpha*{axis.symbol})" if axis.on_logs else f"{axis.symbol}**-alpha"
            for core in cores:
                yield from (part.text.format(core=core, p=power, l=axis.log) for part in WITH_SCALE)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text))


def plainest(table: Table) -> Texts:
    """Yield formulas that are linear in all constants and so can always be fitted: a logarithm or the variable itself.

    A search that has nothing else to show is left with these.
    """
    terms = [
        v.symbol if v.log or v.role == "proportion" or not (table.X[:, i] > 0).all() else f"log({v.symbol})"
        for i, v in enumerate(table.variables)
    ]
    yield from (f"E + A*{term}" for term in terms)


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
