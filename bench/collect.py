"""Event files of TensorBoard read whole: seconds and memory of `sld collect`, first and again.

    python bench/collect.py [--runs 1000] [--steps 10000]

Writes the runs into a temporary folder: the loss of a Chinchilla law with a thousandth of noise, a count of tokens and
a learning rate, a third of the points each. Collects them in a process of its own, and once more. The figures go to
bench/collect.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "importers"))

from event_files import event_file  # noqa: E402  (beside the tests, which use it too)

TAGS = 3
OLD = 1_700_000_000  # a time of files that nobody writes to any more


def write(folder: Path, runs: int, steps: int) -> int:
    """Write the runs and return how many bytes they are."""
    rng = np.random.default_rng(0)
    total = 0
    at = np.arange(1, steps // TAGS + 1) * TAGS
    for k in range(runs):
        n = 10 ** (6 + 3 * (k % 50) / 50)
        tokens = at * 1e6
        loss = (1.69 + 406.4 * n**-0.34 + 410.7 * tokens**-0.28) * (1 + 1e-3 * rng.normal(size=len(at)))
        place = folder / f"run-{k:04d}"
        place.mkdir()
        data = event_file({"eval/loss": (at, loss), "tokens": (at, tokens), "lr": (at, np.full(len(at), 1e-3))})
        path = place / "events.out.tfevents.1700000000.host.1.0"
        path.write_bytes(data)
        os.utime(path, (OLD, OLD))
        total += len(data)
    return total


def collect(folder: Path, out: Path) -> tuple[float, float, str]:
    """Return seconds, peak memory in MB and the first line of a collection in a process of its own."""
    script = (
        "import resource, sys\nfrom sld.__main__ import main\ncode = main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)\nsys.exit(code)\n"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, "collect", str(folder), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    return time.perf_counter() - begun, float(done.stderr.splitlines()[-1]), done.stdout.splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "runs"
        folder.mkdir()
        size = write(folder, given.runs, given.steps)
        rows = []
        for what in ("first", "again, nothing changed"):
            cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds, memory, line = collect(folder, Path(name) / "runs.csv")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
            rows.append(f"| {what} | {seconds:.1f} | {used:.1f} | {memory:.0f} |")
            print(rows[-1], line)
    points = given.runs * (given.steps // TAGS) * TAGS
    text = [
        "# Event files collected", "",
        f"`python bench/collect.py --runs {given.runs} --steps {given.steps}`: {given.runs} runs, {points:,} points in "
        f"{TAGS} tags, {size / 2**20:.0f} MB.", "",
        "| collection | seconds | CPU seconds | peak memory, MB |", "|---|---|---|---|", *rows, "",
    ]  # fmt: skip
    (ROOT / "bench" / "collect.md").write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
