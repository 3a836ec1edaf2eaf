r"""Whether two forms are one family of functions, up to how their constants are named and combined.

Two forms with the same canonical key are equivalent. Otherwise each is asked to represent random members of the
other: constants are drawn, the form is evaluated on random points, and the other one's constants are fitted to the
values. Only a family that contains the other reaches a residual of $10^{-8}$; both directions make them equal.

Members are drawn with positive constants and on positive points, so `exp(a + b*log(N))` is `A*N**b`: a form that only
lacks the other sign of a constant counts as the same. A nested form (`E + A*N**-a` contains `A*N**-a`) does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from sld.core.arrays import Array
from sld.data.card import Target, Variable
from sld.data.table import Table
from sld.fit.fitter import POLISHING, Fitter
from sld.fit.kernel import evaluate
from sld.formula.canonical import canonical_key, simplify
from sld.formula.expression import Expression, parse
from sld.formula.symbolic import from_sympy

TOLERANCE = 1e-8  # of the standard deviation; a near miss (a power against a logarithm) leaves 1e-3 and more
_MEMBERS = 5  # of which most must be met: now and then a fit stops in a flat valley
_PATIENCE = (60, 400)  # iterations of a fit: in a valley most stop early, and what is plainly different is seen at once
_NEAR = 1e-2  # and none may be missed by more, as one is where another branch of a maximum is active
_STARTS = 48  # of each kind
_POINTS = 48  # and six more per constant
_ATTEMPTS = 60  # draws of constants, until some give finite values
# Ranges of the variables, until one gives finite values: the second is for shares, the third for log(log(x))
_RANGES = ((0.1, 10.0), (0.3, 3.0), (0.05, 0.95), (1.5, 10.0))
_EXTREME = 1e5  # a member whose values spread further hides small terms from the fit
_FLAT = 1e-3  # and one that varies less, relative to its size, hides its constants


def equivalent(a: object, b: object, *, variables: Sequence[str] = (), seed: int = 0) -> bool:
    r"""Return whether two forms over the same variables describe the same family of functions.

    $f(x; \theta)$ and $g(x; \eta)$ are one family if each can take the values of the other: for almost every $\theta$
    there is an $\eta$ with $f(\cdot; \theta) = g(\cdot; \eta)$, and the reverse.

    >>> equivalent("(N_c/N)**alpha", "exp(a - b*log(N))", variables=["N"])
    True
    >>> equivalent("E + A*N**-a", "A*N**-a", variables=["N"])
    False

    Args:
        a: One form: an `Expression`, text, or an expression of sympy.
        b: The other form.
        variables: Names that are variables, where a form is text or of sympy; every other name is a constant.
        seed: Seed of the random members and points; the answer should not depend on it.

    Returns:
        True or False; False too when a form has no finite values for any constants that were tried.

    Raises:
        GrammarError: A text, or an expression of sympy, is not in the grammar.
    """
    one, other = _read(a, variables), _read(b, variables)
    if canonical_key(one) == canonical_key(other):
        return True
    # over-determined forms are shortened first: their fits end in valleys without a bottom
    one, other = simplify(one), simplify(other)
    return represents(one, other, seed=seed) and represents(other, one, seed=seed)


def represents(form: Expression, other: Expression, *, seed: int = 0) -> bool:
    """Return whether `form` can take all values that `other` can: by values alone, no rule of algebra is trusted.

    Args:
        form: The form whose constants are fitted.
        other: The form whose random members are drawn.
        seed: Seed of members, points and starts.
    """
    if set(form.used_variables) != set(other.used_variables):
        return False
    # far from 1 a literal's effect can only be seen where the variables have its size
    scales = sorted({1.0, *_far_literals(form), *_far_literals(other)})
    rng = np.random.default_rng(seed)
    return all(_represents(form, other, scale, rng) for scale in scales)


def _read(form: object, variables: Sequence[str]) -> Expression:
    if isinstance(form, Expression):
        return form
    return parse(form, variables) if isinstance(form, str) else from_sympy(form, variables)


def _far_literals(expression: Expression) -> Iterator[float]:
    for node in expression.tree.walk():
        if node.op == "number" and node.value and not 1e-2 <= abs(node.value) <= 1e2:
            yield 10.0 ** round(math.log10(abs(node.value)))


def _represents(form: Expression, other: Expression, scale: float, rng: np.random.Generator) -> bool:
    """Whether `form` can take the shape of random members of `other`."""
    # a constant form is evaluated over a variable that it does not have
    symbols = other.used_variables or ("x" + "_" * any(c == "x" for e in (form, other) for c in e.constants),)
    n_points = _POINTS + 6 * max(len(form.constants), len(other.constants))
    members = list(_members(other, symbols, scale, n_points, rng))
    if not members:
        # at the size of a far literal nothing may be left to see; near 1 there must be
        return scale != 1.0
    deviations = np.concatenate([np.full(len(y), np.std(y) or abs(y[0])) for _, y in members])
    y = np.concatenate([y for _, y in members])
    table = Table(
        variables=tuple(Variable(column=s, symbol=s) for s in symbols),
        targets=(Target(column="value"),),
        X=np.concatenate([X for X, _ in members]),
        Y=y[:, None],
        groups=tuple(str(k) for k in range(len(members))),
        group_index=np.repeat(np.arange(len(members)), [len(y) for _, y in members]),
    )
    own = Expression(form.tree, symbols)
    for patience in _PATIENCE:
        missed = np.abs(y - _fitted(own, table, rng, patience)) / deviations
        worst = np.array([np.max(missed[table.group_index == k]) for k in range(len(members))])
        if np.mean(worst < TOLERANCE) > 0.5 and np.all(worst < _NEAR):
            return True
        if not np.median(worst) < _NEAR:
            return False
    return False


def _fitted(form: Expression, table: Table, rng: np.random.Generator, iterations: int) -> Array:
    """Return the values of the best fit (NaN where there is none), each group separately."""
    if not form.constants:
        return evaluate(form, table.inputs, {})
    fitter = Fitter(form, table)
    # half of the starts know nothing of scaling laws: constants near 1 of both signs, as the members have
    n_searched = len(fitter.tape.constants)
    blind = rng.choice([-1.0, 1.0], size=(_STARTS, n_searched)) * np.exp(rng.normal(size=(_STARTS, n_searched)))
    starts = np.concatenate([fitter.starts(_STARTS, rng), blind])
    found = fitter.solve(starts, max_iterations=iterations, tolerance=POLISHING)
    closer = fitter.solve(
        starts[:1], inherited=fitter.nonlinear(found), max_iterations=10 * iterations, tolerance=POLISHING
    )
    return fitter.predict(np.where((closer.sums <= found.sums)[:, None], closer.values, found.values))


def _members(
    form: Expression, symbols: Sequence[str], scale: float, n_points: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Yield points (n_points, n_variables) and the values there of random members of a family."""
    found = 0
    for low, high in _RANGES:
        for attempt in range(_ATTEMPTS):
            X = scale * np.exp(rng.uniform(math.log(low), math.log(high), size=(n_points, len(symbols))))
            signs = 1.0 if attempt < _ATTEMPTS / 2 else rng.choice([-1.0, 1.0], size=len(form.constants))
            sizes = signs * np.exp(rng.uniform(math.log(0.3), math.log(2.5), size=len(form.constants)))
            constants = dict(zip(form.constants, sizes.tolist(), strict=True))
            y = evaluate(form, {s: X[:, j] for j, s in enumerate(symbols)}, constants)
            finite = np.isfinite(y)
            if finite.mean() > 0.7 and _is_visible(y[finite], bool(form.used_variables)):
                yield X[finite], y[finite]
                found += 1
                if found == _MEMBERS:
                    return
        if found:
            return


def _is_visible(y: Array, varies: bool) -> bool:
    size = np.abs(y)
    middle = float(np.median(size))
    return bool(middle > 0 and size.max() < _EXTREME * middle and (not varies or np.std(y) > _FLAT * middle))
