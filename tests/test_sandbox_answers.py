"""Whatever a program answers, prints or changes: it is checked like any other, and hurts nobody else."""

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
from many_cases import each
from programs import GOOD, PROTECTIONS, TRAIN, law, run, variant

from sld.board.programs.sandbox import Protection, detect

pytestmark = pytest.mark.skipif(not detect().enough, reason=f"programs cannot be locked up here: {detect()}")


@pytest.fixture(params=PROTECTIONS)
def protection(request: pytest.FixtureRequest) -> Protection:
    return variant(request.param)


@pytest.mark.slow
def test_a_stack_overflow_hurts_nobody_else() -> None:
    body = "import sys\nsys.setrecursionlimit(10**9)\nx = []\nfor _ in range(10**6): x = [x]\nrepr(x)"
    assert run(law(body)).status == "law ended its process (SIGSEGV) without an answer"


@each(
    "body",
    [
        "raise ValueError('x' * 10**7)",
        "class E(Exception):\n    def __str__(self): return 'x' * 10**7\nraise E",
        "class E(Exception):\n    def __str__(self): raise E\nraise E",
        "raise type('E' * 10**6, (Exception,), {})()",
        "raise ValueError('\\n\\033[2J\\u202e' * 1000)",
    ],
)
@pytest.mark.slow
def test_a_huge_or_hostile_message_becomes_one_short_line(body: str) -> None:
    status = run(law(body)).status
    assert status.startswith("law failed in line") and len(status) <= 400 and status.isprintable()


@pytest.mark.slow
def test_a_patched_numpy_does_not_reach_the_scores(protection: Protection) -> None:
    body = """
    import numpy as np
    for name in ("mean", "square", "abs", "asarray", "array", "isfinite", "var"):
        setattr(np, name, lambda *a, **k: 0.0)
    """
    result = run(law(body), protection=protection)
    assert np.mean([1.0, 3.0]) == 2.0
    assert result.predictions is None or np.array_equal(result.predictions, np.ones((8, 1)))
    assert run(GOOD, protection=protection).predictions == pytest.approx(TRAIN.Y)


def test_nothing_is_unpickled(tmp_path: Path, protection: Protection) -> None:
    mark = tmp_path / "mark"
    source = f"""
    import pickle
    class Bomb(float):
        def __reduce__(self):
            return (open, ({str(mark)!r}, "w"))
    def law(input_data, group):
        open("answer.pkl", "wb").write(pickle.dumps(Bomb(1.0)))
        return [{{"loss": Bomb(1.0)}} for _ in input_data]
    """
    result = run(source, protection=protection)
    assert not mark.exists()
    assert result.status == "" and result.predictions == pytest.approx(np.ones((8, 1)))


FORGED = """
    import json, os, stat, sys
    def send(text):
        for fd in range(3, 128):
            try:
                if stat.S_ISFIFO(os.fstat(fd).st_mode):
                    os.write(fd, text)
            except OSError:
                pass
        os._exit(0)
    def law(input_data, group):
        send({text})
    """


@pytest.mark.parametrize(
    "text",
    [
        "b'junk'",
        "b'{}'",
        "b'{\"answer\": null}'",
        "b'{\"answer\": [[[NaN]] * 8]}'",
        "json.dumps({'answer': [[[True]] * 8]}).encode()",
        "json.dumps({'answer': [[[1.0, 2.0]] * 8]}).encode()",
        "b'{\"answer\": ' + b'[' * 30000",
        *(
            pytest.param(text, marks=pytest.mark.slow)  # more of the same: each starts a child
            for text in (
                "b'[]'",
                "b'null'",
                "json.dumps({'answer': [[[float('nan')]] * 8]}).encode()",
                "json.dumps({'answer': [[[float('inf')]] * 8]}).encode()",
                "json.dumps({'answer': [[['1.0']] * 8]}).encode()",
                "json.dumps({'answer': [[[1.0]] * 9]}).encode()",
                "json.dumps({'answer': [[[1.0]] * 8, []]}).encode()",
                "json.dumps({'answer': {'0': 1}}).encode()",
                "json.dumps({'status': 3}).encode()",
                "b'{\"answer\": [[' + b'[1e999],' * 7 + b'[1e999]]]}'",
                "b'{\"answer\": [[' + b'[' + b'9' * 400 + b'],' * 1 + b'[1],' * 6 + b'[1]]]}'",
                "b'{\"answer\": [[[' + b'9' * 5000 + b']]]}'",
                "b'\\xff\\xfe'",
            )
        ),
    ],
)
def test_a_forged_answer_is_checked_like_any_other(text: str) -> None:
    result = run(FORGED.replace("{text}", text))
    assert (
        result.status == "law wrote something else in place of predictions" or "in place of the answer" in result.status
    )
    assert result.predictions is None


@pytest.mark.slow
def test_forged_parameters_are_checked_like_any_others() -> None:
    forged = dedent(FORGED).replace("law(input_data, group)", "fit_scaling_law(data_points, loss_values)")
    forgeries: list[object] = [
        [{"array": [1], "shape": [2]}],
        [{"dict": {"a b": {"number": 1}}}],
        [{"text": "x"}],
        [3],
        {},
    ]
    for answer in forgeries:
        text = f"json.dumps({{'answer': {answer!r}}}).encode()"
        result = run(forged.replace("{text}", text) + "\ndef scaling_law_func(x, params): return x\n")
        assert result.status == "fit_scaling_law wrote something else in place of parameters"


@pytest.mark.slow
def test_a_changed_driver_changes_nothing_outside() -> None:
    body = """
    import json, os, sys
    driver = sys.modules["__main__"]
    for name in dir(driver):
        if callable(getattr(driver, name)) and not name.startswith("__"):
            setattr(driver, name, lambda *a, **k: [["not a number"]])
    json.dumps = json.loads = os.write = lambda *a: "nonsense"
    """
    result = run(law(body))
    assert result.predictions is None and "in place of" in result.status
    assert run(GOOD).status == ""


def test_an_endless_answer_is_cut() -> None:
    text = "b'x' * 2**20"
    result = run(
        dedent(FORGED)
        .replace("        os._exit(0)", "        send(text)", 1)
        .replace("{text}", text)
        .replace("send(text):", "send(text, n=0):", 1)
    )
    assert "answered with more than" in result.status or "RecursionError" in result.status
