"""Numbers of the instructions that tapes are made of, named after the operators of `formula/operators.py`.

Scalar and row instructions share them. For rows the suffix tells the operands: R is a row or column slot, S a scalar
slot. Every operator of the table gets its numbers here without being named; a power is compiled to others (`tape.py`).
The compiled machine takes the numbers in as constants, so its files on disk are thrown away when one changes.
"""

from __future__ import annotations

from itertools import count

from sld.formula.operators import OPERATORS

_next = count()
_TWO = [row for row in OPERATORS.values() if row.n_args == 2 and row.name != "**"]
ROW_ROW: dict[str, int] = {row.name: next(_next) for row in _TWO}
ROW_SCALAR: dict[str, int] = {row.name: next(_next) for row in _TWO}
SCALAR_ROW: dict[str, int] = {row.name: next(_next) for row in _TWO if not row.commutes}  # where the order matters
ONE_OPERAND: dict[str, int] = {row.name: next(_next) for row in OPERATORS.values() if row.n_args == 1}

ADD_RR, SUB_RR, MUL_RR, DIV_RR, MIN_RR, MAX_RR = (ROW_ROW[op] for op in ("+", "-", "*", "/", "min", "max"))
ADD_RS, SUB_RS, MUL_RS, DIV_RS, MIN_RS, MAX_RS = (ROW_SCALAR[op] for op in ("+", "-", "*", "/", "min", "max"))
SUB_SR, DIV_SR = (SCALAR_ROW[op] for op in ("-", "/"))
NEG, EXP, LOG, SQRT, TANH, SIGMOID, ABS = (
    ONE_OPERAND[op] for op in ("neg", "exp", "log", "sqrt", "tanh", "sigmoid", "abs")
)
LAST_RR = max(ROW_ROW.values())  # up to here the second operand is a row
FIRST_UNARY, LAST_UNARY = min(ONE_OPERAND.values()), max(ONE_OPERAND.values())
FILL = next(_next)  # a row of one scalar; the first operand only lends its length
EXPMUL_RS = next(_next)  # exp(row * scalar): a power, its row being the base's logarithm

NUMBERING = repr((ROW_ROW, ROW_SCALAR, SCALAR_ROW, ONE_OPERAND, FILL, EXPMUL_RS))  # what compiled code was made for
