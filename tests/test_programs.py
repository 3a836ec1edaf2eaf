"""Programs as submissions: which texts are programs, what the functions get, which answers count."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from many_cases import each
from programs import GOOD, GROUPED, TRAIN, TWO_TARGETS, law, run

import sld
from sld.board.entries.submission import points_of
from sld.board.programs import child
from sld.board.programs.program import MAX_BYTES, Limits, program_from, read_program, run_program
from sld.board.programs.sandbox import Protection, detect
from sld.core.errors import DataError, UsageError
from sld.data.scoring import scores

EXAMPLES = Path(__file__).resolve().parents[1] / "leaderboard" / "examples"
NOTHING = Protection(None, 0, False, ("Landlock, seccomp and bubblewrap are Linux's, this is plan9",))

pytestmark = pytest.mark.skipif(not detect().enough, reason=f"programs cannot be locked up here: {detect()}")


# reading


def test_a_program_of_the_first_shape_is_recognised() -> None:
    assert program_from(GOOD).shape == "fit"


def test_a_program_of_the_second_shape_is_recognised() -> None:
    assert program_from(law("pass")).shape == "law"


def test_byte_order_mark_and_line_ends_do_not_make_another_program(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_bytes(GOOD.encode())
    (tmp_path / "other.py").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    plain, other = read_program(tmp_path / "plain.py"), read_program(tmp_path / "other.py")
    assert (plain.source, plain.sha256) == (other.source, other.sha256)


def test_reading_a_program_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text(f"open({str(tmp_path / 'mark')!r}, 'w')\n{GOOD}")
    read_program(path)
    assert not (tmp_path / "mark").exists()


@each(
    ("text", "words"),
    [
        ("", "it has neither"),
        ("x = 1", "it has neither"),
        ("def scaling_law_func(x, p): return x", "it has only scaling_law_func"),
        ("def fit_scaling_law(x, y): return y", "it has only fit_scaling_law"),
        ("def law(x): return x", "called with 2 arguments"),
        ("def law(x, group, *, key): return x", "called with 2 arguments"),
        ("async def law(x, group): return x", "it has neither"),
        ("class A:\n    def law(self, x): pass", "it has neither"),
        ("def law(x, group:\n", "is not Python: line 1"),
        ("def law(x, group):\nreturn 1", "is not Python: line 2"),
        ("a\0b", "is not Python"),
        ("x = " + "-" * 90_000 + "1", "nested too deeply"),
        ("x = " + "(" * 90_000, "too many nested parentheses"),
        ("x = a" + ".a" * 40_000, "nested too deeply"),
        ("x = 1" + "+1" * 40_000, "nested too deeply"),
        ("x = '" + "y" * MAX_BYTES + "'", "100 kB"),
    ],
)
def test_what_is_no_program_gets_one_line(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words.replace("(", r"\(")) as caught:
        program_from(text, "mine.py")
    assert str(caught.value).startswith("mine.py ") or "mine.py: " in str(caught.value)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)


@pytest.mark.slow
@given(st.text(max_size=300) | st.text("def law(),:\n group=()[]{}'\"\\#\t*", max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_program_or_a_line(text: str) -> None:
    try:
        assert program_from(text, "p.py").shape in ("fit", "law")
    except DataError as error:
        assert str(error).startswith(("p.py ", "p.py:")) and "\n" not in str(error)


def test_a_program_may_take_more_arguments_when_they_have_defaults() -> None:
    assert program_from("def law(input_data, group=None, verbose=False): return []").shape == "law"
    assert program_from("def law(*arguments): return []").shape == "law"


def test_a_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(DataError, match="longer than 100 kB"):
        read_program(tmp_path / "long.py")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_bytes(b"# \xff\n")
    with pytest.raises(DataError, match=r"not UTF-8 text \(byte 2\)"):
        read_program(tmp_path / "p.py")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no program"):
        read_program(tmp_path / "none.py")
    with pytest.raises(UsageError, match="Is a directory"):
        read_program(tmp_path)


# what the functions get, and what comes of it


@pytest.mark.slow
def test_a_good_program_predicts() -> None:
    result = run(GOOD)
    assert result.status == ""
    assert result.predictions == pytest.approx(TRAIN.Y)
    assert result.parameters == {"all": pytest.approx([10, 1])}
    assert result.n_constants == 2 and result.note == ""
    assert "seccomp" in result.protection


@pytest.mark.slow
def test_groups_are_fitted_one_by_one() -> None:
    result = run(GOOD, GROUPED)
    assert result.predictions == pytest.approx(GROUPED.Y)
    assert result.parameters == {"a": pytest.approx([10, 0]), "b": pytest.approx([10, 1])}


@pytest.mark.slow
def test_rows_keep_their_order_when_groups_are_mixed() -> None:
    mixed = GROUPED.take([7, 0, 5, 2, 1, 6, 3, 4])
    assert run(GOOD, mixed).predictions == pytest.approx(mixed.Y)


@pytest.mark.slow
def test_several_targets_come_as_columns() -> None:
    source = """
    import numpy as np
    def fit_scaling_law(data_points, loss_values):
        assert loss_values.shape == (len(data_points), 2)
        return loss_values[0] / data_points[0]
    def scaling_law_func(data_points, params):
        return data_points * params
    """
    result = run(source, TWO_TARGETS)
    assert result.status == "" and result.predictions == pytest.approx(TWO_TARGETS.Y)
    assert result.n_constants == 1


def test_law_gets_columns_by_name_and_the_name_of_the_group() -> None:
    source = """
    def law(input_data, group):
        return [{"loss": 10 / p["N"] + {"a": 0, "b": 1}[group], "other": None} for p in input_data]
    """
    result = run(source, GROUPED)
    assert result.status == "" and result.predictions == pytest.approx(GROUPED.Y)
    assert result.n_constants is None and result.parameters == {} and "not counted" in result.note


def test_law_gets_no_group_where_rows_are_not_grouped() -> None:
    assert run(law("assert group is None")).status == ""


@pytest.mark.slow
def test_what_fits_and_what_predicts_share_nothing_but_the_parameters() -> None:
    source = """
    import os
    SEEN = []
    def fit_scaling_law(data_points, loss_values):
        SEEN.append(1)
        open("note.txt", "w").write("8")
        return 1.0
    def scaling_law_func(data_points, params):
        assert not SEEN and os.listdir(".") == [] and params == 1.0
        return data_points[:, 0]
    """
    assert run(source).status == ""


PARAMETERS = [3, 2.5, True, np.float32(2), [1, 2.5], (1, (2, 3)), {"a": 1, "b": {"c": [2]}}, np.eye(2), np.zeros(0)]


@each("value", PARAMETERS)
def test_parameters_arrive_as_they_left(value: Any) -> None:
    back = child.decoded(json.loads(json.dumps(child.encoded(value, "f"))))
    assert type(back) in (type(value), float, int)
    assert np.array_equal(back, value) if isinstance(value, np.ndarray) else back == value


@each(
    ("value", "words"),
    [
        (np.zeros(10**6), "an array of 1000000 numbers"),
        ([1.0] * 10**6, "a list of 1000000 entries"),
        ([1.0, float("nan")], "a parameter that is nan"),
        (np.array([np.inf]), "a parameter that is inf"),
        (10**400, "a parameter that is inf"),
        ("text", "returned str; wanted numbers"),
        (None, "returned NoneType; wanted numbers"),
        ({"a b": 1}, "keys are not names"),
        ({"a" * 41: 1}, "keys are not names"),
        (np.array(["a"]), "an array of <U1; wanted numbers"),
        (1j, "returned complex; wanted numbers"),
        (len, "returned builtin_function_or_method; wanted numbers"),
        (json.loads("[" * 20 + "]" * 20), "nested more than 4 deep"),
        (np.zeros((1, 1, 1, 1)), "an array with 4 axes"),
    ],
)
def test_parameters_that_are_no_plain_numbers_are_refused(value: Any, words: str) -> None:
    with pytest.raises(child._RefusedError, match=words):
        child.encoded(value, "fit_scaling_law")


@pytest.mark.slow
@pytest.mark.parametrize("value", ["np.arange(7)", "[1, [2, 3], {'a': (4, 5, 6), 'b': 7}]"])
def test_more_parameters_than_the_task_allows_are_refused(value: str) -> None:
    source = f"""
    import numpy as np
    def fit_scaling_law(data_points, loss_values):
        return {value}
    def scaling_law_func(data_points, params):
        return data_points[:, 0]
    """
    result = run(source, max_constants=6)
    assert result.status == "fit_scaling_law returned 7 parameters; the task allows 6" and result.predictions is None
    assert run(source, max_constants=7).status == ""


def test_a_flood_of_parameters_is_refused() -> None:
    result = run(GOOD.replace("[0]\n", "[0].repeat(40000)\n", 1), max_constants=6)
    assert result.status.startswith("fit_scaling_law answered with more than") and result.predictions is None


@pytest.mark.slow
def test_parameters_are_counted_per_group_and_target() -> None:
    source = """
    import numpy as np
    def fit_scaling_law(data_points, loss_values):
        return np.ones(4)
    def scaling_law_func(data_points, params):
        return data_points * np.ones(2)
    """
    assert run(source, TWO_TARGETS, max_constants=2).n_constants == 2
    assert "4 parameters; the task allows 2" in run(source, TWO_TARGETS, max_constants=1).status


def test_a_group_without_training_rows_is_refused_for_a_program_that_fits() -> None:
    only_a = GROUPED.take(GROUPED.group_index == 0)
    result = run_program(program_from(GOOD), only_a, points_of(GROUPED))
    assert result.status == "there are no training rows to fit group 'b'"


@each(
    ("value", "words"),
    [
        (np.full(8, np.nan), "predicted nan for point 1 of 8"),
        (np.array([1, 1, np.inf, 1, 1, 1, 1, 1]), "predicted inf for point 3 of 8"),
        (np.ones(7), r"returned shape \(7,\); wanted \(8,\) or \(8, 1\)"),
        (np.ones((8, 2)), r"returned shape \(8, 2\)"),
        (1.0, r"returned shape \(\)"),
        (None, r"returned shape \(\)"),
        ([None] * 8, "predicted nan for point 1 of 8"),
        (np.ones(8) * 1j, "returned complex128; wanted numbers"),
        (["a"] * 8, "returned <U1; wanted numbers"),
        ([object()] * 8, "TypeError"),
        ([[1.0], [1.0, 2.0]] * 4, "ValueError"),
    ],
)
def test_predictions_that_are_not_one_finite_number_per_point_are_refused(value: Any, words: str) -> None:
    with pytest.raises(child._RefusedError, match=f"^scaling_law_func .*{words}"):
        child.array_of_predictions(value, 8, 1)


@each("value", [[1] * 8, np.ones((8, 1), dtype=np.float32), [[True]] * 8, np.ones(8, dtype=object)])
def test_predictions_of_any_numbers_count(value: Any) -> None:
    assert child.array_of_predictions(value, 8, 1) == [[1.0]] * 8


@each(
    ("value", "words"),
    [
        (None, "returned NoneType; wanted a list of one dict per point"),
        ([{"loss": 1.0}], "returned 1 predictions; wanted 8, one per point"),
        ([1.0] * 8, "returned float for point 1; wanted a dict"),
        ([{"los": 1.0}] * 8, "returned no 'loss' for point 1"),
        ([{"loss": "much"}] * 8, "no number for 'loss' of point 1"),
        ([{"loss": [1.0, 2.0]}] * 8, "no number for 'loss' of point 1"),
        ([{"loss": float("inf")}] * 8, "predicted inf for point 1 of 8"),
    ],
)
def test_a_law_that_answers_something_else_is_refused(value: Any, words: str) -> None:
    with pytest.raises(child._RefusedError, match=f"^law .*{words}"):
        child.predictions_of_dicts(value, 8, ["loss"])


def test_a_refusal_reaches_the_result() -> None:
    result = run("def law(input_data, group):\n    return [{'loss': float('nan')}] * len(input_data)")
    assert result.status == "law predicted nan for point 1 of 8" and result.predictions is None


def test_an_exception_is_one_sentence_with_the_line() -> None:
    result = run("def law(input_data, group):\n    x = {}\n    return x['missing']\n")
    assert result.status == "law failed in line 3: KeyError: 'missing'"


def test_what_fails_while_loading_says_where() -> None:
    result = run(f"import no_such_package\n{GOOD}")
    assert (
        result.status == "loading the program failed in line 1: ModuleNotFoundError: No module named 'no_such_package'"
    )


def test_a_function_that_is_gone_once_loaded_is_named() -> None:
    assert run(f"{law('pass')}\ndel law").status == "the program has no function law once it is loaded"


@pytest.mark.slow
def test_the_same_program_gives_the_same_numbers() -> None:
    source = """
    import random
    import numpy as np
    def law(input_data, group):
        seen = {str(i) for i in range(50)}
        x = np.random.rand() + random.random() + hash("word") % 1000 + float(list(seen)[0])
        return [{"loss": x} for _ in input_data]
    """
    one, other = run(source), run(source)
    assert one.predictions is not None and np.array_equal(one.predictions, np.asarray(other.predictions))


def test_what_is_printed_comes_back_without_control_characters() -> None:
    assert run(law("print('caf\\u00e9 \\033[31m\\u202e')")).stdout == "café \ufffd[31m\ufffd\n"


def test_without_protection_a_program_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"this is plan9\. --unsafe runs it all the same"):
        run(GOOD, protection=NOTHING)


@pytest.mark.slow
def test_unsafe_runs_it_all_the_same_and_says_so() -> None:
    result = run(GOOD, protection=NOTHING, unsafe=True)
    assert result.predictions == pytest.approx(TRAIN.Y)
    assert result.protection == f"none ({NOTHING.missing[0]})"


@pytest.mark.slow
def test_unsafe_still_stops_in_time() -> None:
    result = run(law("while True: pass"), protection=NOTHING, unsafe=True, predict_timeout_s=0.3)
    assert result.status == "law did not finish within 0.3 s" and result.seconds < 2


def test_points_with_targets_are_never_passed_on() -> None:
    with pytest.raises(ValueError, match="without targets"):
        run_program(program_from(GOOD), TRAIN, TRAIN)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_the_example_programs_score(path: Path) -> None:
    task = sld.load_task("nanolm_chinchilla")
    held_out = task.held_out()
    assert held_out is not None
    result = run_program(path, task.train, points_of(held_out), limits=Limits(max_constants=task.card.max_constants))
    assert result.status == ""
    assert result.predictions is not None and scores(held_out.Y, result.predictions).r2 > 0.9


def test_there_is_an_example_of_each_shape() -> None:
    assert {read_program(path).shape for path in EXAMPLES.glob("*.py")} == {"fit", "law"}
