"""Commands and the world outside: full disks, readers that leave, pipes, Ctrl-C, terminals."""

import csv
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_runs import COLUMNS, QUICK, in_terminal, loss, one_line, surroundings
from commands import Run

from sld import api
from sld.cli import output as cli_output
from sld.laws.law import Law


def test_disk_full_is_one_line_and_leaves_no_half_file(
    sld: Run, law_file: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sld.core.files.os.fsync", full)
    before = sorted(tmp_path.iterdir())
    one_line(sld("predict", law_file, runs, "--out", "p.csv"), "could not write p.csv", "No space left")
    assert sorted(tmp_path.iterdir()) == before
    refused = sld("discover", runs, *COLUMNS, *QUICK, "--out", "here")
    assert refused.code == 2
    assert re.fullmatch("sld: could not write .*: No space left on device", refused.err.splitlines()[-1])
    assert not (tmp_path / "here" / "law.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sld", "laws"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=surroundings())
    assert run.returncode == 2
    assert [line for line in run.stderr.splitlines() if line.startswith("sld: ")][-1].endswith(
        "No space left on device"
    )
    assert "Traceback" not in run.stderr and "Exception ignored" not in run.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, whose pipelines tell each exit code")
@pytest.mark.parametrize(
    ("arguments", "reader"),
    [
        ("laws --json", "head -n 1"),
        ("tasks show nanolm_moe --json", "head -n 1"),
        ("leaderboard --json", "head -n 1"),
        ("predict law.json many.csv", "head -n 1"),
        ("predict law.json many.csv", "true"),
        ("fit runs.csv --target loss --scale N,D --law E+A*N**-a+B*D**-b", "true"),
        ("--help", "true"),
    ],
)
def test_a_reader_that_leaves_is_no_drama(tmp_path: Path, law_file: Path, arguments: str, reader: str) -> None:
    (tmp_path / "many.csv").write_text("N,D\n" + "1e6,1e8\n" * 20_000, encoding="utf-8")
    line = f"{sys.executable} -m sld {arguments} | {reader} >/dev/null; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=surroundings())
    assert (run.stdout, run.stderr) == ("0\n", "")


def test_a_reader_of_the_progress_that_leaves_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Left())
    line = cli_output.ProgressLine("title")
    line.show("state")
    line.close()
    cli_output.remark("done")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_a_program_without_output_ends_well(tmp_path: Path) -> None:
    line = f"{sys.executable} -m sld tasks >&-"
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=surroundings())
    assert run.returncode == 0 and "Traceback" not in run.stderr


class _Pipe:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_points_may_come_from_a_pipe(sld: Run, law_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = 'run,N,D\nnächster,1B,"100,000,000,000"\n\nb,2e9,1e11\n'
    monkeypatch.setattr(sys, "stdin", _Pipe(points.encode()))
    predicted = sld("predict", law_file, "-")
    rows = list(csv.DictReader(io.StringIO(predicted.out)))
    assert [(row["run"], row["N"]) for row in rows] == [("nächster", "1B"), ("b", "2e9")]
    assert float(rows[0]["loss"]) == pytest.approx(loss(1e9, 1e11), rel=1e-3)
    assert "note: column 'N': 1B was read as 1e9 (1 value)" in predicted.err
    monkeypatch.setattr(sys, "stdin", _Pipe(b""))
    one_line(sld("predict", law_file, "-"), "standard input is empty")
    monkeypatch.setattr(sys, "stdin", None)
    one_line(sld("predict", law_file, "-"), "standard input, which is closed")


@pytest.mark.slow
def test_a_pipe_is_read_by_every_command(sld: Run, runs: Path, law_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(csv.reader(runs.read_text(encoding="utf-8").splitlines()))[1:]
    lines = "\n".join(json.dumps({"N": r[0], "D": r[1], "loss": r[2]}) for r in rows)
    pipe = lines.encode()
    monkeypatch.setattr(sys, "stdin", _Pipe(pipe))
    assert sld("score", law_file, "-", "--json").document["n_rows"] == 25
    monkeypatch.setattr(sys, "stdin", _Pipe(pipe))
    found = sld("discover", "-", *COLUMNS, *QUICK, "--drop", "N<2M")
    assert found.code == 0 and "note: 5 rows were left out by drop 'N<2M'" in found.out
    report = Path("sld-runs/stdin-0/report.md").read_text(encoding="utf-8")
    assert "sld discover - --target loss --scale N,D --drop 'N<2M'" in report
    monkeypatch.setattr(sys, "stdin", _Pipe(b"N,loss\n"))
    one_line(sld("fit", "-", *COLUMNS, "--law", "E"), "standard input: no column 'D'")


def test_a_wide_export_is_fitted_and_scored(sld: Run, tmp_path: Path) -> None:
    steps = (0, 10, 20, 40, 80, 160)
    rows = "".join(f"{s},{9 if not s else 2 + s**-0.5!r},{9 if not s else 3 + s**-0.5!r}\n" for s in steps)
    (tmp_path / "export.csv").write_text(f"Step,small - loss,large - loss\n{rows}", encoding="utf-8")
    options = ("--target", "loss", "--scale", "Step", "--group", "run")
    one_line(
        sld("fit", "export.csv", *options, "--law", "E"), "no column 'loss'", "--melt makes rows with columns Step"
    )
    law = ("--law", "E + A*Step**-a", "--out", "law.json")
    one_line(sld("fit", "export.csv", *options, *law, "--melt"), "got 0", '--drop "Step==0"')
    fitted = sld("fit", "export.csv", *options, *law, "--melt", "--drop", "Step==0", "--json").document["law"]
    assert fitted["constants"]["small"]["E"] == pytest.approx(2, abs=1e-3)
    scored = sld("score", "law.json", "export.csv", "--melt", "--drop", "Step==0", "--json").document
    assert scored["r2"] == pytest.approx(1, abs=1e-6) and scored["n_rows"] == 10
    one_line(sld("score", "law.json", "nanolm_moe", "--melt"), "melt is for bare tables")


def test_points_left_out_are_not_written(sld: Run, law_file: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("N,D\n0,1e8\n1e6,1e8\n", encoding="utf-8")
    one_line(sld("predict", law_file, "points.csv"), "got 0", '--drop "N==0"')
    predicted = sld("predict", law_file, "points.csv", "--drop", "N==0")
    assert predicted.out.count("\n") == 2 and "1 row was left out" in predicted.err


def test_a_pattern_that_the_shell_expanded_is_explained(sld: Run, runs: Path) -> None:
    one_line(sld("discover", runs, runs, *COLUMNS), "extra argument", "quote a pattern: 'runs/*.csv'")


def test_ctrl_c_before_anything_was_found(sld: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "discover", interrupted)
    one_line(sld("discover", runs, *COLUMNS), "interrupted", code=130)


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_law_so_far(runs: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sld", "discover", str(runs), *COLUMNS, "--budget", "10min", "--out", "here"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", cwd=tmp_path, env=surroundings()
    )
    events = tmp_path / "here" / "events.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if events.exists() and len(events.read_bytes().splitlines()) > 20:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("interrupted")
    assert Law.load(tmp_path / "here").text()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", out + err)


def test_an_error_message_stays_one_printable_line(sld: Run) -> None:
    one_line(sld("discover", "a\nb\x1b[31m.csv", *COLUMNS), "\\x1b[31m")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("tasks",), ("tasks", "show", "nanolm_moe"), ("laws", "show", "chinchilla")])
def test_lines_fit_a_narrow_terminal(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, text = in_terminal(*arguments, columns=40, cwd=tmp_path)
    assert code == 0
    # a formula or number that is longer than the terminal has no place to break
    assert [line for line in text.splitlines() if len(line) > 40 and " " in line.strip()] == []


@pytest.mark.slow
def test_progress_is_redrawn_on_a_terminal_and_wiped(runs: Path, tmp_path: Path) -> None:
    arguments = ("discover", runs, *COLUMNS, "--budget", "1s", "--workers", "1", "--out", "here")
    code, text = in_terminal(*arguments, columns=60, cwd=tmp_path)
    assert code == 0, text
    frames = re.findall(r"\r\x1b\[K([^\r\n]*)", text)
    assert any("formulas" in frame for frame in frames)
    assert max(map(len, frames)) < 60
    assert frames[-1] == "" or not frames[-1].startswith("\x1b")
    assert text.count("\x1b") == text.count("\r\x1b[K")  # no other control sequence
