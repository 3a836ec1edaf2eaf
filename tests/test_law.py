import json
from pathlib import Path

import numpy as np
import pytest
from many_cases import each

from sld.core.errors import DataError, SldError, UsageError
from sld.data.card import Target, Variable
from sld.data.table import Table
from sld.formula.expression import parse
from sld.laws.law import Law

N = Variable("N", role="scale", extrapolate=True)
D = Variable("D (tokens)", role="scale")
LOSS = Target("loss")

# Hoffmann et al. (2022), equation 10
CHINCHILLA = {"E": 1.69, "A": 406.4, "a": 0.34, "B": 410.7, "b": 0.28}


def chinchilla() -> Law:
    expression = parse("E + A*N**-a + B*D_tokens**-b", ["N", "D_tokens"])
    return Law({"loss": expression}, {"loss": {"all": CHINCHILLA}}, (N, D), (LOSS,), task={"name": "t", "version": 2})


def grouped() -> Law:
    constants = {"pile": {"E": 1.0, "A": 2.0}, "stack": {"E": 0.1 + 0.2, "A": 1e-300}}
    return Law({"loss": parse("E + A/N", ["N"])}, {"loss": constants}, (N,), (LOSS,), group_column="corpus")


def two_targets() -> Law:
    variables = (Variable("p1", role="proportion"), Variable("p2", role="proportion"))
    targets = (Target("loss 1"), Target("loss 2"))
    shares = ["p1", "p2"]
    expressions = {
        "loss 1": parse("c + sum(k_share*share) + d*own", shares, shares=shares, own="p1"),
        "loss 2": parse("c + exp(-t*own)", shares, shares=shares, own="p2"),
    }
    constants = {
        "loss 1": {g: {"c": 1.0 + i, "k_1": 2.0, "k_2": 3.0, "d": -1.0} for i, g in enumerate(("70M", "160M"))},
        "loss 2": {g: {"c": 0.5 + i, "t": 4.0} for i, g in enumerate(("70M", "160M"))},
    }
    return Law(expressions, constants, variables, targets, group_column="model")


POINTS = {"N": [1e8, 1e9, 7e10], "D (tokens)": [1e10, 2e10, 1.4e12]}


def test_prediction_is_the_formula() -> None:
    n, d = (np.array(POINTS[k]) for k in POINTS)
    wanted = 1.69 + 406.4 * n**-0.34 + 410.7 * d**-0.28
    assert chinchilla().predict(POINTS)[:, 0] == pytest.approx(wanted, rel=1e-12)


def test_points_come_as_mapping_frame_file_or_table(tmp_path: Path) -> None:
    import pandas as pd

    law = chinchilla()
    wanted = law.predict(POINTS)
    frame = pd.DataFrame(POINTS)
    frame.to_csv(tmp_path / "points.csv", index=False)
    # a table has its own order of variables and may have more
    table = Table((D, Variable("lr"), N), (LOSS,), np.c_[POINTS["D (tokens)"], [1, 2, 3], POINTS["N"]], np.ones((3, 1)))
    for points in (frame, tmp_path / "points.csv", str(tmp_path / "points.csv"), table):
        assert np.array_equal(law.predict(points), wanted)


def test_each_group_has_its_constants_in_any_row_order() -> None:
    prediction = grouped().predict({"N": [1.0, 2.0, 4.0], "corpus": ["stack", "pile", "stack"]})
    assert prediction[:, 0] == pytest.approx([0.3, 2.0, 0.3])


def test_groups_of_a_table_in_memory_need_no_column_name() -> None:
    law = Law({"loss": parse("E", [])}, {"loss": {"a": {"E": 1.0}, "b": {"E": 2.0}}}, (N,), (LOSS,))
    table = Table((N,), (LOSS,), np.ones((3, 1)), np.ones((3, 1)), ("b", "a"), np.array([0, 1, 0]))
    assert law.predict(table)[:, 0].tolist() == [2.0, 1.0, 2.0]
    with pytest.raises(UsageError, match="does not name their column"):
        law.predict({"N": [1.0]})


def test_law_without_groups_ignores_those_of_a_table() -> None:
    table = Table((N, D), (LOSS,), np.ones((2, 2)), np.ones((2, 1)), ("b", "a"), np.array([0, 1]), (), "family")
    assert len(chinchilla().predict(table)) == 2


def test_targets_keep_the_order_of_the_law() -> None:
    points = {"p1": [0.25, 0.5], "p2": [0.75, 0.5], "model": ["160M", "70M"]}
    prediction = two_targets().predict(points)
    assert prediction[0] == pytest.approx([2 + 0.5 + 2.25 - 0.25, 1.5 + np.exp(-3.0)])
    assert prediction[1] == pytest.approx([1 + 1.0 + 1.5 - 0.5, 0.5 + np.exp(-2.0)])


def test_prediction_outside_the_domain_stays_what_it_is() -> None:
    law = Law({"loss": parse("log(N - 2) + 1/(N - 4)", ["N"])}, {"loss": {"all": {}}}, (N,), (LOSS,))
    prediction = law.predict({"N": [1.0, 2.0, 4.0, 5.0]})[:, 0]
    assert np.isnan(prediction[0])
    assert prediction[1] == -np.inf
    assert np.isinf(prediction[2])
    assert np.isfinite(prediction[3])


def test_no_points_give_no_predictions() -> None:
    empty = Table((N, D), (), np.empty((0, 2)), np.empty((0, 0)))
    assert chinchilla().predict(empty).shape == (0, 1)


def test_unknown_group_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"no group 'pil'; did you mean 'pile'\?.*constants for 2"):
        grouped().predict({"N": [1.0], "corpus": ["pil"]})


def test_missing_column_is_refused() -> None:
    with pytest.raises(DataError, match=r"D \(tokens\)"):
        chinchilla().predict({"N": [1.0]})
    with pytest.raises(DataError, match=r"D \(tokens\)"):
        chinchilla().predict(Table((N,), (), np.ones((1, 1)), np.empty((1, 0))))
    with pytest.raises(DataError, match="corpus"):
        grouped().predict({"N": [1.0]})
    with pytest.raises(DataError, match="corpus"):
        grouped().predict(Table((N,), (), np.ones((1, 1)), np.empty((1, 0))))


@pytest.mark.parametrize("law", [chinchilla(), grouped(), two_targets()], ids=["one", "grouped", "two targets"])
def test_law_round_trips_to_the_last_bit(law: Law, tmp_path: Path) -> None:
    law.save(tmp_path / "law.json")
    again = Law.load(tmp_path)
    assert again == law
    assert Law.load(tmp_path / "law.json") == law
    again.save(tmp_path / "again.json")
    assert (tmp_path / "law.json").read_bytes() == (tmp_path / "again.json").read_bytes()


def test_same_law_same_bytes_whatever_the_order_of_its_parts(tmp_path: Path) -> None:
    law = grouped()
    groups = law.constants["loss"]
    turned = {"loss": {g: dict(reversed(list(groups[g].items()))) for g in reversed(list(groups))}}
    law.save(tmp_path / "a.json")
    Law(law.expressions, turned, law.variables, law.targets, law.group_column).save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_json_has_the_promised_keys() -> None:
    one, two = chinchilla().to_json(), two_targets().to_json()
    assert set(one) == {
        *("schema", "expression", "constants", "task", "variables", "targets", "group_column", "intervals"),
        *("provenance", "settings"),
    }
    assert one["expression"] == "E + A*N**-a + B*D_tokens**-b"
    assert one["constants"] == {"all": CHINCHILLA}
    assert one["task"] == {"name": "t", "version": 2}
    assert two["expression"]["loss 2"] == "c + exp(-t*p2)"
    assert two["constants"]["70M"]["loss 2"] == {"c": 0.5, "t": 4.0}


def test_hand_written_law_may_share_one_formula_and_sum_over_shares() -> None:
    data = two_targets().to_json()
    data["expression"] = "c + sum(k_share*share) + d*own"
    names = {"c": 1, "k_1": 2, "k_2": 3, "d": 4}
    data["constants"] = {"70M": {"loss 1": names, "loss 2": names}}
    law = Law.from_json(data)
    assert law.expressions["loss 2"].text.endswith("d*p2")
    assert law.constants["loss 1"]["70M"]["c"] == 1.0


def test_provenance_of_numpy_values_is_written_and_nan_becomes_null(tmp_path: Path) -> None:
    law = grouped()
    provenance = {"seed": np.int64(3), "score": np.float64("nan"), "folds": np.array([0.5, 1.5]), "out": tmp_path}
    intervals = {"method": "bootstrap", "draws": [[1.0, 2.0]]}
    Law(law.expressions, law.constants, law.variables, law.targets, "corpus", {}, provenance, intervals).save(
        tmp_path / "law.json"
    )
    again = Law.load(tmp_path)
    assert again.provenance == {"seed": 3, "score": None, "folds": [0.5, 1.5], "out": str(tmp_path)}
    assert again.intervals == intervals


def test_text_fills_in_the_constants() -> None:
    assert chinchilla().text() == "1.69 + 406.4*N**-0.34 + 410.7*D_tokens**-0.28"
    assert grouped().text(digits=3).splitlines() == ["loss [pile] = 1 + 2/N", "loss [stack] = 0.3 + 1e-300/N"]
    assert len(two_targets().text().splitlines()) == 4
    assert len(two_targets().text("loss 2").splitlines()) == 2
    with pytest.raises(UsageError, match="no target 'los'"):
        chinchilla().text("los")


def test_text_reads_back_as_a_formula_without_constants() -> None:
    law = Law({"loss": parse("E - A*N**-a", ["N"])}, {"loss": {"all": {"E": -1, "A": -2.5, "a": -0.5}}}, (N,), (LOSS,))
    again = parse(law.text(), ["N"])
    assert again.constants == ()
    filled = Law({"loss": again}, {"loss": {"all": {}}}, (N,), (LOSS,))
    assert filled.predict({"N": [4.0]})[0, 0] == law.predict({"N": [4.0]})[0, 0] == 4.0


@each(
    ("constants", "words"),
    [
        ({"all": {"E": 1.0}}, "constant 'A' of 'loss', group 'all' has no value"),
        ({"all": {"E": 1.0, "A": float("nan")}}, "must be a finite number, got nan"),
        ({"all": {"E": 1.0, "A": 2.0, "B": 3.0}}, "no constant 'B'"),
        ({}, "no constants for any group"),
    ],
)
def test_constants_must_fit_the_formula(constants: dict[str, dict[str, float]], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Law({"loss": parse("E + A/N", ["N"])}, {"loss": constants}, (N,), (LOSS,))


def test_parts_that_do_not_belong_together_are_refused() -> None:
    formula = parse("E/M", ["M"])
    with pytest.raises(DataError, match="no variable 'M'"):
        Law({"loss": formula}, {"loss": {"all": {"E": 1.0}}}, (N,), (LOSS,))
    with pytest.raises(DataError, match="nothing for target 'loss'"):
        Law({}, {"loss": {"all": {}}}, (N,), (LOSS,))
    with pytest.raises(DataError, match="no target 'acc'"):
        Law({"loss": parse("E"), "acc": parse("E")}, {"loss": {"all": {"E": 1.0}}}, (N,), (LOSS,))
    with pytest.raises(DataError, match="at least one target"):
        Law({}, {}, (N,), ())
    with pytest.raises(DataError, match="two columns named 'N'"):
        Law({"loss": parse("E")}, {"loss": {"all": {"E": 1.0}}}, (N, N), (LOSS,))
    with pytest.raises(DataError, match="nothing for group 'b'"):
        both = {"loss": {"a": {"E": 1.0}, "b": {"E": 1.0}}, "acc": {"a": {"E": 1.0}}}
        Law({"loss": parse("E"), "acc": parse("E")}, both, (N,), (LOSS, Target("acc")))


def _edited(**changes: object) -> object:
    data = chinchilla().to_json()
    for key, value in changes.items():
        if value is ...:
            del data[key]
        else:
            data[key] = value
    return data


@each(
    ("data", "words"),
    [
        ([], "wanted a table of keys"),
        (_edited(expression=...), "wanted a key 'expression'"),
        (_edited(expresion="E"), "no key 'expresion'; did you mean 'expression'"),
        (_edited(schema=9), "newer than this sld reads"),
        (_edited(expression=3), "must be a formula"),
        (_edited(expression="E + A*N**-a + sinh(B) + b"), "formula of 'loss': .*sinh"),
        (_edited(expression="__import__('os')"), "formula of 'loss'"),
        (_edited(expression={"acc": "E"}), "no formula for target 'loss'"),
        (_edited(expression={"loss": "E", "acc": "E"}), "no target 'acc'"),
        (_edited(constants={"all": 3}), "constants of group 'all' must be a table"),
        (_edited(constants={"all": CHINCHILLA | {"E": "1.69"}}), "'E' must be a number, got '1.69'"),
        (_edited(constants={"all": CHINCHILLA | {"E": True}}), "'E' must be a number"),
        (_edited(constants={"all": CHINCHILLA | {"E": 10**400}}), "too large"),
        (_edited(constants={}), "no constants"),
        (_edited(variables=[{"column": "N", "role": "size"}]), "role"),
        (_edited(variables=[]), "constant"),
        (_edited(targets=[]), "at least one target"),
        (_edited(group_column=3), "group_column"),
        (_edited(intervals=3), "intervals"),
        (_edited(provenance=[]), "provenance"),
    ],
)
def test_json_that_is_no_law_is_refused(data: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Law.from_json(data)


@each("text", ["", "{", "[" * 100_000, '{"expression": NaN', b"\xff\xfe", "null", '{"a": 1e999}'])
def test_file_that_is_no_law_is_refused_in_one_line(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "law.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as failure:
        Law.load(path)
    assert "law.json" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_infinite_constant_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    path.write_text(json.dumps(chinchilla().to_json()).replace("1.69", "1e999"))
    with pytest.raises(DataError, match="'E' of 'loss', group 'all' must be a finite number"):
        Law.load(path)


def test_missing_law_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no law\.json; sld discover writes one"):
        Law.load(tmp_path)
    with pytest.raises(UsageError, match=r"no file .*nothing\.json"):
        Law.load(tmp_path / "nothing.json")


def test_law_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SldError, match="could not write"):
        chinchilla().save(tmp_path / "missing" / "law.json")


def test_sympy_gets_the_constants_of_the_group_that_is_named() -> None:
    law = grouped()
    formula = law.to_sympy(group="pile")
    (n,) = formula.free_symbols
    assert float(formula.subs(n, 4.0)) == law.predict({"N": [4.0], "corpus": ["pile"]})[0, 0] == 1.5
    assert {s.name for s in law.to_sympy(fitted=False).free_symbols} == {"N", "E", "A"}
    assert float(chinchilla().to_sympy().subs({s: 1e9 for s in chinchilla().to_sympy().free_symbols})) == pytest.approx(
        chinchilla().predict({"N": [1e9], "D (tokens)": [1e9]})[0, 0]
    )


@each(
    ("law", "named", "message"),
    [
        (grouped(), {}, "name a group: the law has 'pile', 'stack'"),
        (grouped(), {"group": "pie"}, "no group 'pie'; did you mean 'pile'"),
        (two_targets(), {}, "name a target: the law has 'loss 1', 'loss 2'"),
        (two_targets(), {"target": "loss 3"}, "no target 'loss 3'"),
    ],
)
def test_sympy_needs_to_know_which_formula(law: Law, named: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        law.to_sympy(**named)  # type: ignore[arg-type]
