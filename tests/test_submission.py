"""From a law to an entry: what is fitted, what is scored, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
from boards import entry_of, law_of, rows_in, write_task
from many_cases import each

import sld
from sld.api import known_tasks
from sld.board.entries.entry import Entry
from sld.board.entries.limits import n_constants_of, numbers_that_count
from sld.board.entries.refit import FitPlan, distance
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.submission import Signature, given_entry, key_of, points_of
from sld.core.errors import DataError, SldError, UsageError
from sld.data.scoring import scores
from sld.data.task import load_task
from sld.formula.expression import parse
from sld.laws.fit_settings import FitSettings

TRUE = {"E": 1.5, "A": 8.0, "a": 0.3}


@pytest.fixture(scope="module")
def folder(rows: ScoredTask) -> Path:
    assert rows.task.path is not None
    return rows.task.path


def submitted(law: object, task: object, board: Path, **keywords: str) -> Entry:
    return sld.submit(law, task, name=keywords.pop("name", "a law"), board=board, **keywords).entry  # type: ignore[arg-type]


def test_constants_are_fitted_to_the_training_rows(rows: ScoredTask) -> None:
    entry = entry_of(rows, "E + A*N**-a")
    found = entry.constants["loss"]["all"]
    # noise of 0.002 on 16 rows that span three decades
    assert found == pytest.approx(TRUE, rel=0.03)
    assert entry.scores["r2"] > 0.99 and entry.fit["objective"]["loss"] < 1e-3


def test_submitted_constants_do_not_change_a_refitted_law(rows: ScoredTask) -> None:
    start = law_of(rows.task, "E + A*N**-a", E=900.0, A=-3.0, a=7.0)
    plain = entry_of(rows, "E + A*N**-a")
    entry = entry_of(rows, "E + A*N**-a", start=start)
    assert distance(rows, plain.law(rows.task), entry.law(rows.task)) < 1e-6


def test_constants_as_given_are_left_as_they_are(rows: ScoredTask, tmp_path: Path) -> None:
    entry = submitted(law_of(rows.task, "E + A*N**-a", E=1.4, A=8.0, a=0.3), rows.task, tmp_path, constants="given")
    assert entry.label == "as given" and not entry.fit
    assert entry.constants["loss"]["all"] == {"E": 1.4, "A": 8.0, "a": 0.3}
    assert entry.scores["r2"] < entry_of(rows, "E + A*N**-a").scores["r2"]


def test_a_law_of_the_card_is_scored_as_published(rows: ScoredTask, tmp_path: Path) -> None:
    entry = submitted("true law", rows.task, tmp_path, constants="given")
    assert entry.label == "as published" and entry.constants["loss"]["all"] == TRUE
    assert entry.provenance["origin"] == "card" and entry.provenance["law"] == "true law"


def test_scores_are_those_of_the_held_out_rows(rows: ScoredTask) -> None:
    entry = entry_of(rows, "E + A*N**-a")
    held_out = rows.task.held_out()
    assert held_out is not None
    expected = scores(held_out.Y, entry.law(rows.task).predict(held_out), held_out.group_index).to_json()
    assert {key: entry.scores[key] for key in expected} == expected


@pytest.mark.slow
def test_the_interval_is_the_bootstrap_of_r2_within_groups(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, groups=("a", "b"))
    entry = entry_of(rows, "E + A*N**-a")
    held_out = rows.held_out
    predictions = entry.law(rows.task).predict(held_out)
    rng = np.random.default_rng(5)
    values = []
    for _ in range(4000):
        picked = np.concatenate([rng.choice(np.flatnonzero(held_out.group_index == g), 9) for g in (0, 1)])
        values.append(scores(held_out.Y[picked], predictions[picked], held_out.group_index[picked]).r2)
    expected = np.quantile(values, [0.05, 0.95])
    width = expected[1] - expected[0]
    # two bootstraps of thousands of replicates differ by a few per cent of the interval's width
    assert np.allclose(entry.scores["r2_interval"], expected, atol=0.15 * width)


def test_each_replicate_draws_every_group_as_often_as_it_has_rows(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, groups=("a", "b"))
    for g in (0, 1):
        assert (rows.draws[:, rows.held_out.group_index == g].sum(axis=1) == 9).all()
    assert abs(rows.draws.mean() - 1.0) < 1e-12 and rows.draws.std() > 0.5


def test_a_law_that_leaves_its_domain_has_minus_one_and_no_interval(rows: ScoredTask, tmp_path: Path) -> None:
    # fine on the training rows, up to 10,000, and not beyond
    law = law_of(rows.task, "E + A*log(c - N)", E=1.5, A=0.1, c=15000.0)
    entry = submitted(law, rows.task, tmp_path, constants="given")
    assert entry.scores["r2"] == -1.0 and entry.scores["failed"] and entry.scores["r2_interval"] is None


def test_constants_shared_and_per_group_are_fitted_as_the_law_says(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, groups=("a", "b"))
    entry = entry_of(rows, "E + A*N**-a", plan=FitPlan({"loss": FitSettings(shared=("a",))}))
    a, b = (entry.constants["loss"][g] for g in ("a", "b"))
    assert a["a"] == b["a"] and b["A"] == pytest.approx(2 * a["A"], rel=0.05)
    assert entry.fit["shared"] == {"loss": ["a"]}


def test_what_a_law_minimises_comes_with_it(rows: ScoredTask, tmp_path: Path) -> None:
    fitted = sld.fit(rows.task, "E + A*N**-a", loss="log_huber", positive=["A"], bounds={"a": (0.0, math.inf)})
    fitted.save(tmp_path / "law.json")
    entry = submitted(tmp_path / "law.json", rows.task, tmp_path)
    assert entry.fit["loss"] == {"loss": "log_huber"} and entry.fit["positive"] == {"loss": ["A"]}
    assert entry.fit["bounds"] == {"loss": {"a": [0.0, None]}}
    assert distance(rows, fitted, entry.law(rows.task)) < 1e-4


def test_settings_come_back_from_an_entry() -> None:
    settings = FitSettings(loss="huber", weights=("frontier",), bounds={"a": (0.0, math.inf)}, positive=("A",))
    plan = FitPlan({"loss": settings}, seed=3)
    assert FitPlan.from_json(plan.to_json(["loss"])) == plan


@each(
    ("text", "n"),
    [
        ("E + A/N**a", 0),
        ("6*N*A + 12 - 0.5*N**2", 0),
        ("N/1e9 + 1e-3 + 1000*N", 0),
        ("1.69 + 406.4*N**-0.34", 3),
        ("0.34*N + 0.34*N**2 + 0.35", 2),
        ("13*N", 1),
        ("N**1.5", 1),
    ],
)
def test_numbers_written_into_a_formula_count_unless_they_belong_to_its_form(text: str, n: int) -> None:
    assert numbers_that_count(parse(text, ["N"])) == n


@each(
    ("text", "message"),
    [
        ("E + A*N**-a + B*N**-b", "allows 4 constants.*has 5"),
        ("E + A*N**-a + 1.23*N + 4.56*log(N)", "3 and 2 numbers"),
        ("E + " + " + ".join(f"{k % 12 + 1}*N" for k in range(41)), "40 numbers"),
        ("mean(N) + E", "unknown function|mean"),
    ],
)
def test_limits_of_the_task_are_kept(rows: ScoredTask, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        submitted(text, rows.task, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_more_constants_than_training_rows_are_refused(tmp_path: Path) -> None:
    rows = rows_in(tmp_path, groups=tuple("abcdefgh"))
    law = law_of(rows.task, "E + A*N**-a + B*log(N)")
    values = {g: {c: k + j / 10 for j, c in enumerate(("E", "A", "a", "B"))} for k, g in enumerate(rows.train.groups)}
    few = rows.train.take(np.arange(rows.train.n_rows) % 16 < 3)
    with pytest.raises(UsageError, match=r"32 constants in all groups.*24 training rows"):
        short = ScoredTask(rows.task)
        short.train = few
        given_entry(
            short,
            sld.Law(law.expressions, {"loss": values}, law.variables, law.targets, law.group_column),
            Signature("x"),
            constants_from="as given",
            provenance={},
        )


def test_constants_for_groups_that_the_task_lacks_are_refused(tmp_path: Path) -> None:
    one = rows_in(tmp_path / "1", groups=("a", "b"))
    two = rows_in(tmp_path / "2", groups=("a", "c"))
    with pytest.raises(UsageError, match="group 'b'"):
        submitted(law_of(one.task, "E + A*N**-a"), two.task, tmp_path / "board", constants="given")


def test_a_fit_that_never_rests_is_refused(rows: ScoredTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sld.board.entries import refit

    steps = iter(range(1, 10_000))

    def drift(rows: ScoredTask, law: sld.Law, plan: FitPlan) -> tuple[sld.Law, dict[str, float]]:
        k = next(steps)
        return law_of(rows.task, "E + A*N**-a", E=1.5 + k / 100, A=8.0, a=0.3), {"loss": 1.0 / k}

    monkeypatch.setattr(refit, "improved", drift)
    with pytest.raises(SldError, match="does not come to rest"):
        submitted("E + A*N**-a", rows.task, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_task_without_held_out_rows_is_refused(tmp_path: Path) -> None:
    task = write_task(tmp_path, held_out=False)
    with pytest.raises(UsageError, match="no held-out rows"):
        submitted("E + A*N**-a", task, tmp_path / "board")


def test_a_law_over_other_columns_is_refused(rows: ScoredTask, tmp_path: Path) -> None:
    other = sld.fit({"D": [1.0, 2, 4, 8], "loss": [4.0, 3, 2.5, 2.2]}, "E + A*D**-a", target="loss", scale="D")
    with pytest.raises(UsageError, match="column 'D'"):
        submitted(other, rows.task, tmp_path)


@pytest.mark.parametrize("constants", ["given", "refit"])
def test_given_constants_need_constants(rows: ScoredTask, tmp_path: Path, constants: str) -> None:
    if constants == "given":
        with pytest.raises(UsageError, match="without values"):
            submitted("E + A*N**-b", rows.task, tmp_path, constants=constants)
    else:
        assert submitted("E + A*N**-b", rows.task, tmp_path, constants=constants).label == "refitted"
    with pytest.raises(UsageError, match="'refit' or 'given'"):
        submitted("E", rows.task, tmp_path, constants="best")


@each("law", ["no/such/law.json", "tru law", "E +", "", 3, "no_such_program.py"])
def test_what_is_no_law_is_refused_in_one_line(rows: ScoredTask, tmp_path: Path, law: object) -> None:
    with pytest.raises(SldError) as caught:
        submitted(law, rows.task, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


def test_a_catalogue_law_is_fitted_to_the_task(rows: ScoredTask, tmp_path: Path) -> None:
    with pytest.raises(SldError, match="needs variables"):
        submitted("chinchilla", rows.task, tmp_path)  # tokens as well
    entry = submitted("kaplan_n", rows.task, tmp_path)
    assert (entry.provenance["origin"], entry.provenance["law"]) == ("catalogue", "kaplan_n")


def test_one_formula_per_target_can_be_submitted(tmp_path: Path) -> None:
    task = load_task("nanolm_mixture")
    columns = [t.column for t in task.card.targets]
    text = "; ".join(f"{c}: E + A*N**-a + B*{task.train.symbols[k]}" for k, c in enumerate(columns))
    entry = submitted(text, task, tmp_path)
    assert set(entry.expressions) == set(columns) and "; " in entry.key


def test_the_key_names_targets_only_where_they_differ() -> None:
    one, other = parse("E + A*N**-a", ["N"]), parse("A*N**-a", ["N"])
    assert key_of({"x": one, "y": one}) == key_of({"z": one})
    assert key_of({"x": one, "y": other}) != key_of({"x": other, "y": one})
    assert n_constants_of({"x": one, "y": other}) == 3


def test_bare_points_have_no_targets(rows: ScoredTask) -> None:
    points = points_of(rows.held_out)
    assert points.Y.shape == (9, 0) and points.targets == ()
    assert (points.X == rows.held_out.X).all()


def test_a_command_that_derives_the_entry_again_stands_in_it(rows: ScoredTask, tmp_path: Path) -> None:
    entry = submitted("E + A*N**-a", rows.task, tmp_path, name="it's mine", author="A. Person")
    expected = """sld submit 'E + A*N**-a' --task powers --name 'it'"'"'s mine' --author 'A. Person'"""
    assert entry.provenance["command"] == expected


def test_known_tasks_are_those_with_held_out_rows(folder: Path, tmp_path: Path) -> None:
    names = [task.name for task in known_tasks([folder])]
    assert set(sld.bundled_tasks()) <= set(names) and names[-1] == "powers"
    with pytest.raises(DataError):
        known_tasks([tmp_path])
