"""What a language model brings to a search and what it costs, with servers on loopback that play one.

    python bench/llm.py                        all parts, every open task, 60 s a run: about three hours
    python bench/llm.py --tasks sae,sparsity --budget 20s
    python bench/llm.py --parts nonsense,idle --repeats 5
    python bench/llm.py --table                bench/llm.md from what was measured so far

Three parts:

- useful: a server that replays published laws, while the search runs without its catalogue. How long until the search
  has the fold score that it reaches alone in the whole budget? `--ideas best` replays the published laws that suit the
  table, in the order of their own fold scores (a model that knows the literature and reads the table), `catalogue` in
  the order of the catalogue (one that only knows the literature), `earlier` the common front of three earlier searches
  with other seeds and the catalogue (one that has worked on such tables before), constants to four digits.
- nonsense: a server that replays formulas that are none or explain nothing. How many fits does the search lose?
- idle: a server that never answers. Likewise.

Every run is one line of bench/results/llm.jsonl, so that the same command goes on where it was stopped. Runs with and
without a model alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sld.core.errors import SldError
from sld.core.files import write_text_atomic
from sld.data.splits import rung_folds
from sld.data.task import Task, load_task
from sld.fit.kernel import linear_constants
from sld.search.candidates.candidate import Candidate
from sld.search.candidates.hall_of_fame import HallOfFame
from sld.search.candidates.selection import rank
from sld.search.discovery import SearchSettings, discover
from sld.search.judging.judge import Judge
from sld.search.llm.settings import LLM
from sld.search.proposing.proposers import from_catalogue
from sld.search.run_folder import EVENTS, from_event
from sld.search.screening.rows import SEARCH_GROUPS, SEARCH_ROWS, of_few_groups, thinned, with_enough_rows

HERE = Path(__file__).resolve().parent
PARTS = ("useful", "nonsense", "idle")
IDEAS = ("best", "catalogue", "earlier")
WITHOUT_CATALOGUE = ("enumeration", "evolution")
PER_REPLY = 16
EARLIER = 3  # searches whose best laws a model knows
RESULTS, TABLE = HERE / "results" / "llm.jsonl", HERE / "llm.md"


# -- servers, each in a process of its own, as a model would be elsewhere ----------------------------------------------


def serve(file: Path, latency: float) -> None:
    """Answer with the formulas of a JSON file, some each time, until the input is closed; never if there are none."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from llm_server import Answer, Request, Server, reply, silence

    ideas: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    given = 0

    def handler(_: Request) -> Answer:
        nonlocal given
        part, given = ideas[given : given + PER_REPLY], given + PER_REPLY
        text = json.dumps({"proposals": [{**idea, "reason": "replayed"} for idea in part]})
        return reply(text, usage=(1500, 300), wait_s=latency)

    with Server(handler=handler if ideas else lambda _: silence(3600.0)) as server:
        print(server.url, flush=True)
        sys.stdin.read()


class Playing:
    """A server as a context; inside, the environment points at it."""

    def __init__(self, ideas: Sequence[Mapping[str, Any]], latency: float) -> None:
        """Write down what it says."""
        self.file = Path(tempfile.mkstemp(suffix=".json")[1])
        self.file.write_text(json.dumps(list(ideas)), encoding="utf-8")
        self.latency = latency

    def __enter__(self) -> None:
        """Start it."""
        command = [sys.executable, __file__, "--serve", str(self.file), "--latency", str(self.latency)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        os.environ["OPENAI_BASE_URL"] = self.process.stdout.readline().strip()
        os.environ["OPENAI_API_KEY"] = "none"

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.file.unlink()


# -- what they say -----------------------------------------------------------------------------------------------------


def published(task: Task, how: str, seed: int) -> list[dict[str, Any]]:
    """Return the catalogue's forms over the task's variables, one text for all targets or one for each."""
    columns = [t.column for t in task.train.targets]
    proposals = list({p.key: p for p in from_catalogue(task.train)}.values())
    if how == "best":
        table = with_enough_rows(task.train, task.card.max_constants)
        table = thinned(of_few_groups(table, SEARCH_GROUPS), SEARCH_ROWS)
        judge = Judge(table, rung_folds(table), seed=seed, max_constants=task.card.max_constants)
        by_key = {p.key: p for p in proposals}
        proposals = [by_key[c.key] for c in rank(judge.judge(p)[0] for p in proposals)]
    texts = []
    for p in proposals:
        own = [f.expression.text for f in p.forms]
        texts.append(
            own[0] if len(set(own)) == 1 else "; ".join(f"{c}: {t}" for c, t in zip(columns, own, strict=True))
        )
    return [{"expression": text} for text in texts]


def fronts_of_earlier(task: Task, budget: str, seed: int, cache: Path | None) -> list[dict[str, Any]]:
    """Return the common front of searches with other seeds, the best first; `cache` keeps it for the next time."""
    kept = None if cache is None else cache / f"{task.name}-{budget}-{seed}.json"
    if kept is not None and kept.exists():
        known: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    hall = HallOfFame()
    for k in range(EARLIER):
        with tempfile.TemporaryDirectory() as folder:
            discover(
                task.train,
                SearchSettings(seed=seed + 1000 + k, budget=budget, workers=1, max_constants=task.card.max_constants),
                out=Path(folder) / "run",
            )
            best: dict[int, dict[str, Any]] = {}  # by length: a front needs no more
            for line in (Path(folder) / "run" / EVENTS).read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                if event["status"] == "ok" and event["admissible"]:
                    n = len(str(event["expression"]))
                    best[n] = min(best.get(n, event), event, key=lambda e: float(e["score"]))
        for event in best.values():
            hall.add(from_event(event, task.train)[0])
    ideas = [_as_idea(c) for c in rank(hall.front())]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(kept, json.dumps(ideas, indent=1) + "\n")
    return ideas


def _as_idea(c: Candidate) -> dict[str, Any]:
    """Return a candidate as a model would write it: what groups share, and about what the constants are."""
    texts, shared = {}, []
    start = []
    for k, (column, expression) in enumerate(c.expressions.items()):
        # each target has constants of its own
        names = {n: f"{n}_{k + 1}" if len(c.expressions) > 1 else n for n in expression.constants}
        texts[column] = _renamed(expression.text, names)
        shared += [names[n] for n in c.shared.get(column, ())]
        linear = linear_constants(expression)[1]  # the engine finds those by itself
        for group, values in c.constants[column].items():
            where = {"group": group} if len(c.constants[column]) > 1 else {}
            start += [
                {"name": names[n], "value": float(f"{v:.4g}"), **where} for n, v in values.items() if n not in linear
            ]
    one = len(texts) == 1
    text = next(iter(texts.values())) if one else "; ".join(f"{t}: {x}" for t, x in texts.items())
    return {"expression": text, "shared": sorted(set(shared)), "start": start}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return re.sub(r"[^\W\d]\w*", lambda word: names.get(word[0], word[0]), text)


def nonsense(task: Task, seed: int, n: int = 4000) -> list[dict[str, Any]]:
    """Return formulas that explain nothing, and texts that are none."""
    rng = np.random.default_rng([seed, 99])
    symbols = list(task.train.symbols)

    def pick() -> str:
        return symbols[int(rng.integers(len(symbols)))]

    shapes = (
        lambda: f"E + A*exp(-{pick()})*{rng.integers(2, 9)}**a",
        lambda: f"A*tanh({pick()}*{pick()})**a + B*{rng.uniform(1, 9):.3f}",
        lambda: f"E + A*min({pick()}, B)*max({pick()}, C)/{rng.uniform(1, 99):.4f}",
        lambda: f"A + B*abs({pick()} - {rng.uniform(1, 1e3):.3f})**{rng.integers(2, 6)}",
        lambda: f"E*sin({pick()})",
        lambda: f"__import__('os').getpid() + {pick()}",
        lambda: f"A*{pick()} +* B",
    )
    return [{"expression": shapes[int(rng.integers(len(shapes)))]()} for _ in range(n)]


# -- measuring ---------------------------------------------------------------------------------------------------------


def run(
    task: Task, budget: str, seed: int, workers: int, llm: LLM | None, proposers: Sequence[str] | None
) -> dict[str, Any]:
    """Search once; return what it found when, and how much it did."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begun = time.monotonic()
        found = discover(
            task.train,
            SearchSettings(
                seed=seed, budget=budget, workers=workers, proposers=proposers, max_constants=task.card.max_constants
            ),
            out=out,
            asynchronous=llm,
        )
        wall = time.monotonic() - begun
        curve: list[tuple[float, int, float]] = []
        n_fits, own_fits, last = 0, 0, 0.0
        for line in (out / EVENTS).read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            n_fits += event["fits"]
            own_fits += event["fits"] if event["origin"].startswith("llm:") else 0
            last = event["t"]
            if event["status"] == "ok" and event["admissible"] and (not curve or event["score"] < curve[-1][2]):
                curve.append((event["t"], n_fits, event["score"]))
    return {
        "curve": [[round(t, 2), n, round(s, 5)] for t, n, s in curve],
        "tried": found.counts["tried"],
        "fits": n_fits,
        "fits_of_engine": n_fits - own_fits,
        "seconds": last,
        "wall": round(wall, 2),
        "llm": {k: found.llm[k] for k in ("calls", "judged", "bred", "share_of_fits")} if found.llm else None,
    }


def reached(curve: Sequence[Sequence[float]], score: float, k: int = 0) -> float | None:
    """Return when a curve of (seconds, fits, best score) first is at `score` or below: seconds, or fits with k = 1."""
    return next((float(clock[k]) for *clock, s in curve if s <= score + 1e-9), None)


def measure(task: Task, part: str, seed: int, repeat: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return one pair of runs, without and with the model, the order alternating."""
    proposers = WITHOUT_CATALOGUE if part == "useful" else None
    if part == "useful":
        if args.ideas == "earlier":
            ideas = fronts_of_earlier(task, args.budget, seed, args.ideas_cache)
            ideas += published(task, "catalogue", seed)
        else:
            ideas = published(task, args.ideas, seed)
    else:
        ideas = nonsense(task, seed) if part == "nonsense" else []

    def with_model() -> dict[str, Any]:
        with Playing(ideas, args.latency):
            return run(task, args.budget, seed, args.workers, LLM("replayed"), proposers)

    def without() -> dict[str, Any]:
        return run(task, args.budget, seed, args.workers, None, proposers)

    first_with = repeat % 2 == 1
    one = with_model() if first_with else without()
    other = without() if first_with else with_model()
    return {"without": other if first_with else one, "with": one if first_with else other, "n_ideas": len(ideas)}


def ratio_of(result: Mapping[str, Any], k: int = 0) -> float | None:
    """Return how many times sooner the model brought the search to the score that it reaches alone; in fits with k = 1.

    Fits do not depend on what else the machine does; seconds are what a user waits.
    """
    alone, with_model = result["without"]["curve"], result["with"]["curve"]
    if not alone:
        return None
    goal = alone[-1][2]
    then, now = reached(alone, goal, k), reached(with_model, goal, k)
    assert then is not None
    return 0.0 if now is None else then / max(now, 0.05)


def per_second(run: Mapping[str, Any], what: str) -> float:
    """Return a rate over the search itself."""
    return float(run[what]) / max(float(run["seconds"]), 1e-9)


# -- files -------------------------------------------------------------------------------------------------------------


def key_of(result: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(result[k] for k in ("task", "part", "seed", "repeat", "budget", "ideas", "workers", "latency"))


def measured(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def find_tasks(data: Path, names: Sequence[str]) -> list[Path]:
    """Return the open tasks, or the bundled ones where the open ones are not there."""
    folders = [card.parent for card in sorted((data / "open").glob("*/task.toml"))]
    if not folders:
        print(f"{data / 'open'} is not there: bundled tasks instead", file=sys.stderr)
        folders = [card.parent for card in sorted((HERE.parent / "tasks").glob("*/task.toml"))]
    if unknown := [n for n in names if n not in {f.name for f in folders}]:
        raise SystemExit(f"no task {', '.join(unknown)}; there are {', '.join(f.name for f in folders)}")
    return [f for f in folders if not names or f.name in names]


def table_of(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield bench/llm.md."""
    yield "# A language model beside the search\n"
    yield "Servers on loopback play the model, see `bench/llm.py`. The runs of a pair alternate.\n"
    for budget, ideas in sorted({(r["budget"], r["ideas"]) for r in results if r["part"] == "useful"}):
        some = [r for r in results if r["part"] == "useful" and (r["budget"], r["ideas"]) == (budget, ideas)]
        n = some[0]["workers"]
        how = f"{n} worker{'s' * (n > 1)}, {some[0]['latency']:g} s a reply"
        yield f"## Useful ideas ({ideas}), {budget} a run, {how}\n"
        yield "Without the catalogue. The goal is the fold score that the search reaches alone in the whole time.\n"
        yield "| task | seed | ideas | goal | alone (s) | with (s) | times sooner | in fits | final with | its share |"
        yield "|---|---|---|---|---|---|---|---|---|---|"
        ratios: dict[str, list[float]] = {}
        for r in sorted(some, key=lambda r: (r["task"], r["seed"], r["repeat"])):
            ratio = ratio_of(r)
            if ratio is None:
                continue
            goal = r["without"]["curve"][-1][2]
            then, now = reached(r["without"]["curve"], goal), reached(r["with"]["curve"], goal)
            ratios.setdefault(r["task"], []).append(ratio)
            shown = "never" if now is None else f"{now:.1f}"
            final, share = r["with"]["curve"][-1][2], r["with"]["llm"]["share_of_fits"]
            yield (
                f"| {r['task']} | {r['seed']} | {r['n_ideas']} | {goal:.3f} | {then:.1f} | {shown} "
                f"| {ratio:.1f} | {ratio_of(r, 1):.1f} | {final:.3f} | {100 * share:.0f} % |"
            )
        good = sum(median(v) >= 3.0 for v in ratios.values())
        yield f"\nThree times sooner or more (median of a task): **{good} of {len(ratios)} tasks** (bar: half).\n"
    for part, about in (("nonsense", "A model that talks nonsense"), ("idle", "A model that never answers")):
        some = [r for r in results if r["part"] == part]
        if not some:
            continue
        yield f"## {about}\n"
        yield "Fits by the engine itself per second, with the model as a share of without; one line a pair of runs.\n"
        yield "| task | budget | seed | fits/s without | with | share | formulas judged for it | of all fits |"
        yield "|---|---|---|---|---|---|---|---|"
        shares = []
        for r in sorted(some, key=lambda r: (r["task"], r["seed"], r["repeat"])):
            a, b = (per_second(r[k], "fits_of_engine") for k in ("without", "with"))
            shares.append(b / a)
            llm = r["with"]["llm"]
            yield (
                f"| {r['task']} | {r['budget']} | {r['seed']} | {a:.0f} | {b:.0f} | {100 * b / a:.1f} % "
                f"| {llm['judged']} | {100 * llm['share_of_fits']:.2f} % |"
            )
        yield f"\nMedian: **{100 * median(shares):.1f} %** of the fits (bar: 98 %).\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--tasks", default="", help="names, with commas; all by default")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--ideas", choices=IDEAS, default="best")
    parser.add_argument("--ideas-cache", type=Path, help="folder that keeps the laws of earlier searches")
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--repeats", type=int, default=1, help="pairs of runs of each seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds until a reply comes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the table")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.latency)
        return
    results = measured(args.out)
    done = {key_of(r) for r in results}
    tasks = [] if args.table else find_tasks(args.data, [n for n in args.tasks.split(",") if n])
    for repeat in range(args.repeats):
        for folder in tasks:
            for part in args.parts.split(","):
                for seed in map(int, args.seeds.split(",")):
                    about = {
                        "task": folder.name,
                        "part": part,
                        "seed": seed,
                        "repeat": repeat,
                        "budget": args.budget,
                        "ideas": args.ideas if part == "useful" else "",
                        "workers": args.workers,
                        "latency": args.latency,
                    }
                    if key_of(about) in done:
                        continue
                    try:
                        result = {**about, **measure(load_task(folder), part, seed, repeat, args)}
                    except SldError as error:
                        print(f"{folder.name}, {part}: {error}", file=sys.stderr)
                        continue
                    results.append(result)
                    with open(args.out, "a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
                    a, b = result["without"], result["with"]
                    said = f"times sooner {ratio_of(result)}" if part == "useful" else ""
                    share = per_second(b, "fits_of_engine") / per_second(a, "fits_of_engine")
                    print(
                        f"{folder.name} {part} seed {seed}: {said} fits {100 * share:.1f} %",
                        file=sys.stderr,
                        flush=True,
                    )
    text = "\n".join(table_of(results)) + "\n"
    (TABLE if args.out == RESULTS else args.out.with_suffix(".md")).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
