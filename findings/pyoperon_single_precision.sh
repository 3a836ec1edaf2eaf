#!/usr/bin/env bash
# pyoperon computes in single precision: predictions differ from its own formula, and FLOPs squared are infinite.
#
# Seen with pyoperon 0.6.2, numpy 2.4.6 and scikit-learn 1.9.1 (Python 3.11). `SymbolicRegressor` takes arrays of doubles
# and says nothing, but keeps 24 bits of them, and `predict` returns float32. Evolved formulas like differences of large
# terms. The one found here for a loss (1.7 + 400 N**-0.34, seed 0) is 287.84 - 412.82 log(...): its text with twelve
# digits and `predict` differ by 5e-5, while seeds of a large run differ by about 1e-3 and curves near their end by less.
# Nothing above 3.4e38 exists: a product of compute with itself, 1e20 x 1e20, is infinite, so such a formula is never
# kept, whatever it would explain. Counts above 16,777,216 lose their last digits. Way out: give logarithms, which a
# scaling law wants anyway, and evaluate the text in double precision.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pyoperon==0.6.2 numpy==2.4.6 scikit-learn==1.9.1
"$place/venv/bin/python" - <<'PYTHON'
import numpy as np
from pyoperon.sklearn import SymbolicRegressor

N = np.geomspace(1e6, 1e10, 60)
loss = 1.7 + 400 * N**-0.34
x = np.log(N)[:, None]
settings = {"allowed_symbols": "add,mul,constant,variable,exp,log,pow", "n_threads": 1, "random_state": 0}
model = SymbolicRegressor(**settings, max_evaluations=50_000, optimizer_iterations=5).fit(x, loss)
text = model.get_model_string(model.model_, 12)
print(text)
double = eval(text.replace("^", "**"), {"log": np.log, "exp": np.exp, "X1": x[:, 0]})
apart = float(np.abs(model.predict(x) - double).max())
print(f"predict gives {model.predict(x).dtype}; it and the text differ by {apart:.1e} at most")

# what one and the same tree makes of compute: a square, found from small numbers
small = np.linspace(1, 3, 40)
square = SymbolicRegressor(
    allowed_symbols="mul,variable", n_threads=1, random_state=0, max_evaluations=20_000, max_length=3
).fit(small[:, None], small**2)
print(square.get_model_string(square.model_, 6), "at 1e18 and 1e20:", square.predict(np.array([[1e18], [1e20]])))
steps = np.array([[16_777_216.0], [16_777_217.0]])
once = SymbolicRegressor(allowed_symbols="variable,add,constant", n_threads=1, random_state=0, max_evaluations=5_000)
print("two steps apart by one:", np.diff(once.fit(small[:, None], small).predict(steps)))

assert model.predict(x).dtype == np.float32
assert apart > 1e-6
assert np.isinf(square.predict(np.array([[1e20]]))).all()
assert np.diff(once.predict(steps)) == 0
PYTHON
echo "as described: doubles in, single precision out"
