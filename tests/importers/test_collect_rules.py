"""The rules about resumed, restarted, continued, copied and diverged runs, each on attempts made for it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from sld.core.errors import UsageError
from sld.data.collecting.account import Remark
from sld.data.collecting.asked import Summary, read_scales, read_summaries
from sld.data.collecting.resolve import Run, resolve
from sld.data.collecting.tidy import Tidy, Wanted, tidy
from sld.data.importers.attempt import Attempt, Cell, Series, run_name


def attempt(
    losses: Iterable[float],
    steps: Iterable[float] | None = None,
    *,
    name: str = "a",
    order: float = 0.0,
    **more: object,
) -> Attempt:
    """Return a stretch with a loss, at steps 10, 20, ... unless said otherwise."""
    values = list(losses)
    at = list(steps) if steps is not None else [10.0 * (k + 1) for k in range(len(values))]
    series = {"loss": Series.of(at, values)}
    fields: dict[str, object] = {"id": name, "place": f"here/{name}", "series": series, **more}
    return Attempt(name=name, order=order, **fields)  # type: ignore[arg-type]


def resolved(*attempts: Attempt, reader: str = "wandb", join: str | None = None) -> tuple[list[Run], list[Remark]]:
    return resolve([(reader, a) for a in attempts], join)


def curve(run: Run, metric: str = "loss") -> list[tuple[float, float]]:
    steps, values = run.series[metric].pairs()
    return list(zip(steps.tolist(), values.tolist(), strict=True))


def table(*attempts: Attempt, wanted: Wanted | None = None, reader: str = "wandb") -> tuple[Tidy, list[Remark]]:
    runs, remarks = resolved(*attempts, reader=reader)
    return tidy(runs, wanted or Wanted(summaries=(Summary("loss"),)), remarks), remarks


def kinds(remarks: list[Remark]) -> list[str]:
    return [remark.kind for remark in remarks if remark.kind != "note"]


def test_a_later_stretch_counts_from_where_it_begins() -> None:
    (run,), remarks = resolved(attempt([5, 4, 3, 2.9]), attempt([3.1, 2], [30, 40], order=1))
    assert curve(run) == [(10, 5), (20, 4), (30, 3.1), (40, 2)]
    assert kinds(remarks) == ["resumed"]


def test_the_order_is_that_of_the_starts_not_of_the_files() -> None:
    (run,), _ = resolved(attempt([3.1, 2], [30, 40], order=1), attempt([5, 4, 3, 2.9]))
    assert curve(run) == [(10, 5), (20, 4), (30, 3.1), (40, 2)]


def test_a_counter_that_began_again_is_moved_on_where_the_loss_goes_on() -> None:
    (run,), remarks = resolved(attempt([9, 5, 4, 3.5]), attempt([3.4, 3.2], [0, 10], order=1))
    assert curve(run) == [(10, 9), (20, 5), (30, 4), (40, 3.5), (50, 3.4), (60, 3.2)]
    assert kinds(remarks) == ["resumed"]


def test_a_counter_of_tokens_says_where_a_stretch_belongs_that_began_again() -> None:
    def with_tokens(losses: list[float], first: int, order: float) -> Attempt:
        base = attempt(losses, order=order)
        tokens = [1000.0 * (first + k) for k in range(len(losses))]
        return attempt(
            losses, order=order, series={**base.series, "tokens": Series.of(base.series["loss"].steps, tokens)}
        )

    # the loss alone would say that it began anew: it is as high as at first
    (run,), remarks = resolved(with_tokens([9, 5, 4, 3.5], 1, 0), with_tokens([8.9, 3, 2], 4, 1))
    assert curve(run) == [(10, 9), (20, 5), (30, 4), (40, 8.9), (50, 3), (60, 2)]
    assert curve(run, "tokens") == [(10.0 * k, 1000.0 * k) for k in range(1, 7)]
    assert kinds(remarks) == ["resumed"]


def test_tokens_that_are_counted_from_zero_after_a_resume_go_on() -> None:
    first, later = attempt([5, 4, 3]), attempt([2.5, 2], [40, 50], order=1)
    tokens = {"tokens": Series.of([10, 20, 30], [100, 200, 300])}, {"tokens": Series.of([40, 50], [100, 200])}
    stretches = [
        attempt([], series={**a.series, **t}, order=a.order) for a, t in zip((first, later), tokens, strict=True)
    ]
    (run,), _ = resolved(*stretches)
    assert [v for _, v in curve(run, "tokens")] == [100, 200, 300, 400, 500]


def test_a_run_that_was_started_again_from_the_beginning_counts_once() -> None:
    (run,), remarks = resolved(attempt([9, 5, 4, 3.5]), attempt([9.1, 4.8, 3.9], order=1))
    assert curve(run) == [(10, 9.1), (20, 4.8), (30, 3.9)]
    assert kinds(remarks) == ["restarted"]


def test_a_resume_without_settings_keeps_those_of_the_run() -> None:
    """W&B offline and trackio write a resume with an empty configuration."""
    (run,), _ = resolved(attempt([5, 4], config={"n_params": 7}), attempt([3], [30], order=1, config={}))
    assert run.config == {"n_params": 7}


def test_settings_that_a_resume_changed_are_named() -> None:
    (run,), remarks = resolved(attempt([5, 4], config={"lr": 0.1}), attempt([3], [30], order=1, config={"lr": 0.2}))
    assert run.config["lr"] == 0.2 and "lr from 0.1 to 0.2" in str(remarks[0])


def test_a_step_that_a_source_says_it_resumes_from_makes_later_points_void() -> None:
    (run,), _ = resolved(attempt([5, 4, 3, 2.9]), attempt([2], [50], order=1, resumes_at=30.0))
    assert curve(run) == [(10, 5), (20, 4), (50, 2)]


def test_a_run_that_names_the_one_it_continues_is_joined_to_it() -> None:
    first, then = (
        attempt([5, 4, 3]),
        attempt([2.5, 2], [40, 50], name="b", config={"resume_from": "runs/a/checkpoint-30"}),
    )
    (run,), remarks = resolved(first, then)
    assert run.name == "a" and [s for s, _ in curve(run)] == [10, 20, 30, 40, 50]
    assert kinds(remarks) == ["resumed"]


def test_a_chain_and_a_circle_of_resumes_end() -> None:
    chain = [
        attempt([5, 4]),
        attempt([3, 2], [30, 40], name="b", config={"resume_from": "a"}),
        attempt([1], [50], name="c", config={"resume_from": "b"}),
    ]
    (run,), _ = resolved(*chain)
    assert [v for _, v in curve(run)] == [5, 4, 3, 2, 1]
    circle = [attempt([5, 4], config={"resume_from": "b"}), attempt([3], [30], name="b", config={"resume_from": "a"})]
    runs, _ = resolved(*circle)
    assert len(runs) <= 2


def test_a_second_recording_that_begins_later_goes_on_with_its_namesake() -> None:
    settings: dict[str, Cell] = {"n_params": 7, "seed": 0}
    parts = [
        attempt([5, 4, 3], id="x", config=settings),
        attempt([2.5, 2], [40, 50], id="y", config=settings),
        attempt([6, 5, 4], id="z", config={**settings, "seed": 1}),
    ]
    runs, remarks = resolved(*parts)
    assert [run.name for run in runs] == ["a", "a-2"]
    assert [s for s, _ in curve(runs[0])] == [10, 20, 30, 40, 50]
    assert sorted(kinds(remarks)) == ["renamed", "resumed"]


def test_a_copy_of_a_recording_is_kept_once() -> None:
    settings: dict[str, Cell] = {"n_params": 7}
    runs, remarks = resolved(
        attempt([5, 4, math.nan], id="x", config=settings),
        attempt([5, 4, math.nan], id="y", config=settings, place="there"),
    )
    assert len(runs) == 1 and kinds(remarks) == ["copies"]


def test_a_copy_that_went_on_takes_the_place_of_the_shorter_one() -> None:
    """Every checkpoint of the Trainer repeats the history so far; so does a synced file."""
    (run,), remarks = resolved(attempt([5, 4]), attempt([5, 4, 3], order=1))
    assert [v for _, v in curve(run)] == [5, 4, 3] and kinds(remarks) == []


def test_points_that_only_come_late_are_put_in_their_place() -> None:
    (run,), remarks = resolved(attempt([5, 3, 4], [10, 30, 20]))
    assert curve(run) == [(10, 5), (20, 4), (30, 3)] and kinds(remarks) == []


def test_a_step_logged_twice_has_its_later_value() -> None:
    (run,), remarks = resolved(attempt([5, 4, 3.9, 3], [10, 20, 20, 30]))
    assert curve(run) == [(10, 5), (20, 3.9), (30, 3)] and kinds(remarks) == ["repeated"]


@pytest.mark.parametrize(("last", "bad"), [(math.nan, 1), (math.inf, 1), (1.7976931348623157e308, 1)])
def test_a_curve_that_ends_in_no_number_has_diverged(last: float, bad: int) -> None:
    """MLflow keeps infinity as 1.797e308, for its client too."""
    found, remarks = table(attempt([5, 4, last]), wanted=Wanted(summaries=(Summary("loss", "min"),)))
    assert found.columns["loss"] == [None] and found.columns["status"] == ["diverged"]
    assert kinds(remarks) == ["diverged"] and bad


def test_a_best_value_is_never_one_that_is_no_number() -> None:
    """W&B's own summary="min" stays NaN after one NaN; the curve tells the true one."""
    found, remarks = table(
        attempt([5, math.nan, 2, 3], summary={"loss.min": math.nan}), wanted=Wanted(summaries=(Summary("loss", "min"),))
    )
    assert found.columns["loss"] == [2.0] and kinds(remarks) == ["not finite"]


def test_an_unfinished_run_is_left_out_unless_asked_for() -> None:
    short = attempt([5, 4], config={"max_steps": 100})
    whole = attempt([5, 4, 3], name="b", config={"max_steps": 30})
    found, remarks = table(short, whole)
    assert found.columns["run"] == ["b"]
    assert [str(r) for r in remarks if r.kind == "unfinished"] == ["a: ended at step 20 of 100 (max_steps)"]
    kept, _ = table(short, whole, wanted=Wanted(summaries=(Summary("loss"),), keep_unfinished=True))
    assert kept.columns["status"] == ["unfinished", "finished"]


def test_a_run_that_its_source_calls_killed_is_unfinished_unless_it_did_all_its_steps() -> None:
    killed = attempt([5, 4], state="unfinished")
    done = attempt([5, 4], name="b", state="unfinished", config={"max_steps": 20})
    found, _ = table(killed, done)
    assert found.columns["run"] == ["b"]


def test_a_plan_in_epochs_is_not_compared_with_steps() -> None:
    found, _ = table(attempt([5, 4], config={"num_train_epochs": 1000}))
    assert found.columns["status"] == ["finished"]
    epochs, _ = table(attempt([5, 4], [0, 1], config={"epochs": 1000}), attempt([3], name="b"), reader="keras")
    assert epochs.columns["run"] == ["b"]


def with_tokens(losses: list[float], tokens: list[float], at: list[float]) -> Attempt:
    base = attempt(losses)
    return attempt([], series={**base.series, "tokens": Series.of(at, tokens)})


def test_a_counter_logged_at_other_steps_is_read_on_the_line_between_its_neighbours() -> None:
    wanted = Wanted(summaries=(Summary("loss"),), scales=tuple(read_scales("D=tokens")))
    found, remarks = table(with_tokens([5, 4, 3], [100, 300, 900], [5, 25, 35]), wanted=wanted)
    assert found.columns["D"] == [600] and kinds(remarks) == ["interpolated"]


def test_a_counter_is_not_guessed_beyond_its_last_value_unless_it_grew_evenly() -> None:
    wanted = Wanted(summaries=(Summary("loss"),), scales=tuple(read_scales("D=tokens")))
    uneven, remarks = table(with_tokens([5, 4, 3], [100, 300, 900], [5, 15, 25]), wanted=wanted)
    assert uneven.columns["D"] == [None] and uneven.columns["status"] == ["incomplete"]
    assert "empty" in kinds(remarks)
    even, _ = table(with_tokens([5, 4, 3], [100, 200, 300], [5, 15, 25]), wanted=wanted)
    assert even.columns["D"] == [350]


def test_the_scale_is_read_where_the_target_was_taken() -> None:
    """The best loss of a run is that of fewer tokens than the run has seen."""
    wanted = Wanted(summaries=(Summary("loss", "min"),), scales=tuple(read_scales("D=step*100")))
    found, _ = table(attempt([5, 2, 3]), wanted=wanted)
    assert (found.columns["loss"], found.columns["D"]) == ([2.0], [2000])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("last:loss", 4.0),
        ("first:loss", 8.0),
        ("max:loss", 8.0),
        ("mean:loss", 5.0),
        ("median:loss", 4.0),
        ("mean(last 2):loss", 3.5),
        ("mean(last 40%):loss", 3.5),
        ("min(last 1):loss", 4.0),
        ("at(step=20):loss", 6.0),
        ("at(step=25):loss", 5.0),
        ("at(tokens=300):loss", 4.0),
        ("at(step=60):loss", None),
    ],
)
def test_a_summary_is_what_its_name_says(text: str, value: float | None) -> None:
    run = with_tokens([8, 6, 4, 3, 4], [100, 200, 300, 400, 500], [10, 20, 30, 40, 50])
    found, _ = table(run, wanted=Wanted(summaries=tuple(read_summaries(text))))
    assert found.columns["loss"] == [value]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("meen:loss", "no summary 'meen'; did you mean 'mean'"),
        ("mean(first 3):loss", r"wanted \(last 100\)"),
        ("at:loss", "at needs a counter"),
        ("at(tokens=many):loss", "'many' is not a number"),
        ("last:losss", "no metric 'losss'; did you mean 'loss'"),
        ("x=last:loss,x=min:loss", "two columns"),
        ("run=last:loss", "has the name of another"),
    ],
)
def test_a_summary_that_cannot_be_is_refused_in_a_line(texts: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        table(attempt([3, 2]), wanted=Wanted(summaries=tuple(read_summaries(texts))))


def test_points_that_are_gone_from_a_history_are_said() -> None:
    steps = [s for s in range(10, 210, 10) if s not in (60, 70, 130)]
    _, remarks = table(attempt(np.linspace(5, 3, len(steps)), steps), wanted=Wanted("step", (Summary("loss"),)))
    (gap,) = [str(r) for r in remarks if r.kind == "gaps"]
    assert gap == "a: about 3 points of loss are gone (first between steps 50 and 80)"


def test_settings_written_apart_belong_to_the_run_above_if_there_is_one() -> None:
    """add_hparams of TensorBoard writes them into a folder of their own."""
    curve_, settings = attempt([5, 4]), attempt([], series={}, id="a/1", name="1", part_of="a", config={"lr": 0.1})
    (run,), _ = resolved(curve_, settings, reader="tensorboard")
    assert run.config == {"lr": 0.1} and run.name == "a"
    alone, _ = resolved(settings, reader="tensorboard")
    assert [r.name for r in alone] == ["1"]


def test_a_tracker_that_was_told_of_the_end_is_believed() -> None:
    """Steps of W&B count calls of log() where the run logs no counter of its own: 2 calls of 100 steps."""
    found, _ = table(attempt([5, 4], [0, 1], config={"max_steps": 100}, state="finished"))
    assert found.columns["status"] == ["finished"]


def test_runs_are_named_below_the_source_that_was_given(tmp_path: Path) -> None:
    assert run_name(tmp_path / "lightning_logs" / "version_3", tmp_path / "lightning_logs") == "version_3"
    assert run_name(tmp_path / "size-1" / "lightning_logs" / "version_0", tmp_path) == "size-1"
    assert run_name(tmp_path / "logs" / "train.log", tmp_path) == tmp_path.name


def test_a_setting_that_is_a_scale_comes_along_once() -> None:
    runs = [attempt([5, 4], name=str(n), config={"model.n_params": n, "lr": n * 0.1}) for n in (1, 2, 3)]
    found, _ = table(*runs, wanted=Wanted(summaries=(Summary("loss"),), scales=tuple(read_scales("N=n_params"))))
    assert list(found.columns) == ["run", "N", "lr", "loss", "status"]
