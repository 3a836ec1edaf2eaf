"""What the tests of the importers share: recorded runs unpacked, and the scenario in formats that no library writes."""

from __future__ import annotations

import csv
import functools
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenario import EVERY, RUNS, Planned, recordings, stretches

RECORDED = Path(__file__).parent / "recorded"


def unpacked(name: str, folder: Path) -> Path:
    """Unpack the recorded runs of a source; times are those of an old file, as of runs that are done."""
    place = folder / name
    place.mkdir()
    with tarfile.open(RECORDED / f"{name}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place


def _rows(number: int) -> list[dict[str, float]]:
    """Return what a run logs in the order of time, with what a resume makes void."""
    return [{"step": s, **part.metrics(s)} for part in recordings() if part.number == number for s in part.steps]


def jsonl(folder: Path) -> None:
    for number, run in enumerate(RUNS):
        (folder / str(number)).mkdir()
        lines = [json.dumps(run.config()), *map(json.dumps, _rows(number))]
        (folder / str(number) / f"{run.name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def json_files(folder: Path) -> None:
    for number, run in enumerate(RUNS):
        (folder / str(number)).mkdir()
        rows = [{**row, **run.config()} for row in _rows(number)]
        (folder / str(number) / f"{run.name}.json").write_text(json.dumps(rows), encoding="utf-8")


def csv_files(folder: Path) -> None:
    for number, run in enumerate(RUNS):
        place = folder / str(number) / run.name
        place.mkdir(parents=True)
        rows = _rows(number)
        with (place / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        (place / "config.json").write_text(json.dumps({"model": run.config()}), encoding="utf-8")


def parquet(folder: Path) -> None:
    import pandas as pd

    for number, run in enumerate(RUNS):
        (folder / str(number)).mkdir()
        frame = pd.DataFrame(_rows(number)).assign(**run.config())
        frame.to_parquet(folder / str(number) / f"{run.name}.parquet")


def wandb_csv(folder: Path) -> None:
    """The table of runs as W&B's pages export it, after its documented form: settings and last values side by side."""
    names = ["Name", "State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep", "lr", "max_steps", "n_params"]
    with (folder / "wandb_export.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([*names, "seed", "eval/loss", "tokens", "train/loss"])
        for number, run in enumerate(RUNS):
            last = _rows(number)[-1]
            state = "crashed" if run.stops_at else "finished"
            loss = {"inf": "Infinity"}.get(repr(last["eval/loss"]), repr(last["eval/loss"]))
            own = [run.name, state, "-", "somebody", "", "2026-01-01T00:00:00.000Z", "100", ""]
            settings = [run.lr, run.max_steps, run.n_params, run.seed]
            writer.writerow([*own, *settings, loss, int(last["tokens"]), repr(last["train/loss"])])


# -- text logs, line by line as the programs' sources print them -------------------------------------------------------


def _logs(write: Callable[[Planned, list[int]], list[str]]) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        for run, number, stretch, parts, _ in stretches():
            place = folder / str(number)
            place.mkdir(exist_ok=True)
            lines = write(run, [s for part in parts for s in part.steps])
            # what a resume makes void was logged with other values
            with (place / f"{run.name}.log").open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            assert stretch in (0, 1)

    return made


def _nanogpt(run: Planned, steps: list[int]) -> list[str]:
    lines = [f"Overriding: learning_rate = {run.lr}", f"Overriding: seed = {run.seed}"]
    lines += [f"Overriding: max_iters = {run.max_steps}", "tokens per iteration will be: 1,000,000"]
    lines += [f"number of parameters: {run.n_params / 1e6:.2f}M", "compiling the model... (takes a ~minute)"]
    for s in steps:
        lines.append(f"step {s}: train loss {run.train_loss(s):.4f}, val loss {run.eval_loss(s):.4f}")
        lines.append(
            f"iter {s}: loss {run.train_loss(s):.4f}, time 123.45ms, mfu {-100.0 if s == EVERY else 12.34:.2f}%"
        )
    return lines


def _nanochat(run: Planned, steps: list[int]) -> list[str]:
    lines = [f"Number of parameters: {run.n_params:,}", "Total batch size 1,000,000 => gradient accumulation steps: 1"]
    for s in steps:
        lines.append(f"Step {s:05d} | Validation bpb: {run.eval_loss(s):.4f}")
        lines.append(
            f"step {s:05d}/{run.max_steps:05d} ({100 * s / run.max_steps:.2f}%) | loss: {run.train_loss(s):.6f} | "
            "lrm: 1.00 | dt: 123.45ms | tok/sec: 1,234,567 | mfu: 45.67 | total time: 1.23m"
        )
    return lines


def _litgpt(run: Planned, steps: list[int]) -> list[str]:
    lines = [f"Total parameters: {run.n_params:,}", "Validating ..."]
    for s in steps:
        lines.append(
            f"Epoch 1 | iter {4 * s} step {s} | loss train: {run.train_loss(s):.3f}, val: {run.eval_loss(s):.3f} | "
            "iter time: 123.45 ms (step) remaining time: 0:12:34"
        )
    return lines


def _megatron(run: Planned, steps: list[int]) -> list[str]:
    lines = [f"  lr .............................................. {run.lr}"]
    lines += [f"  seed ............................................ {run.seed}"]
    lines += [f" > number of parameters on (tensor, pipeline) model parallel rank (0, 0): {run.n_params}"]
    for s in steps:
        loss = run.eval_loss(s)
        good = loss < 1e9
        field = f" lm loss: {loss:.6E} |" if good else ""
        lines.append(
            f" [2026-01-01 12:00:00.123456] iteration {s:8d}/{run.max_steps:8d} | consumed samples: {s * 500:12d} | "
            f"elapsed time per iteration (ms): 1234.5 | learning rate: {run.lr:.6E} | global batch size:   500 |{field}"
            f" loss scale: 1.0 | grad norm: 0.512 | number of skipped iterations:   0 | number of nan iterations: "
            f"{0 if good else 10:3d} |"
        )
    return lines


def _olmo(run: Planned, steps: list[int]) -> list[str]:
    lines = [f"2026-01-01 INFO [train:1] Total number of parameters: {run.n_params:,d}"]
    for s in steps:
        lines += [
            f"2026-01-01 12:00:00.000\thost:0\tolmo.train:100\tINFO\t[step={s}/{run.max_steps},epoch=0]",
            f"    train/CrossEntropyLoss={run.eval_loss(s):.4g}",
            f"    throughput/total_tokens={s * 1_000_000:,}",
            "    optim/learning_rate_group0=0.001",
        ]
    return lines


WRITERS: dict[str, Callable[[Path], None]] = {
    "jsonl": jsonl,
    "json": json_files,
    "csv": csv_files,
    "parquet": parquet,
    "wandb-csv": wandb_csv,
    "nanogpt": _logs(_nanogpt),
    "nanochat": _logs(_nanochat),
    "litgpt": _logs(_litgpt),
    "megatron": _logs(_megatron),
    "olmo": _logs(_olmo),
}


def source(name: str, folder: Path) -> Path:
    """Return a folder with the scenario as a source has it."""
    if name not in WRITERS:
        return unpacked(name, folder)
    place = folder / name
    place.mkdir()
    WRITERS[name](place)
    return place


@functools.cache
def recorded_names() -> tuple[str, ...]:
    return tuple(sorted(path.name.partition(".")[0] for path in RECORDED.glob("*.tar.gz")))


def rows_of(frame: Any) -> dict[str, dict[str, Any]]:
    """Return the rows of a collected table by run."""
    return {row["run"]: row for row in frame.to_dict("records")}
