"""Write docs/gallery.md, its pictures and the picture of README from real searches: `python docs/gallery.py`.

Each search has a budget in fits, so that the same law comes out again. About a minute and a half on two cores.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sld
from sld.analysis.sections import axis_label, magnitude, section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
ROOT = HERE.parent
BUDGET = "5000fits"
README_BUDGET = BUDGET
README_SIZES = (
    (24_600.0, True),
    (197_000.0, True),
    (786_000.0, True),
    (10_600_000.0, False),
)  # parameters; in the runs
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.92",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "sld",  # the same picture is the same file
    "svg.fonttype": "path",
}
HEAD = """\
# Gallery

What a short search makes of the seven tasks that ship with `sld`. `python docs/gallery.py` writes this page. Each
search has a budget of {fits} fits, which takes some seconds. The same command gives the same law.

In the pictures, filled points are the runs that the law was fitted to. Hollow points are larger runs, which no search
ever saw. The shaded range lies beyond the fitted runs.
"""
ENTRY = """
## {name}

{what}. The search saw {n_train} rows; {n_held_out} larger ones were held out.

![{name}: measured runs and the law]({picture})

```text
{law}
```

R² on the held-out rows: **{r2:.3f}**. Verdict: {verdict}.

```bash
sld discover {name} --budget {budget}
```
"""
NOTEBOOKS = """
## Notebooks

Each is a Python file with cells in `examples/`. [I work in a notebook](guides/notebooks.md) says how to open it.
"""
NOTEBOOK = """
### {title}

{text}

![{title}](img/{name}.png)

`examples/{name}.py`
"""


def colour(k: int, n: int) -> str:
    """Return one of `n` colours that stay apart in grey print."""
    import matplotlib
    from matplotlib.colors import to_hex

    return to_hex(matplotlib.colormaps["viridis"](0.8 * k / max(n - 1, 1)))


def darker(ink: str) -> str:
    """Return a colour in which words can be read."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = to_rgb(ink)
    return to_hex((0.6 * red, 0.6 * green, 0.6 * blue))


def decorated(ax: Axes, x_log: bool, y_log: bool) -> None:
    """Set logarithmic axes with few round labels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    for axis, logarithmic, name in ((ax.xaxis, x_log, "x"), (ax.yaxis, y_log, "y")):
        if logarithmic:
            ax.set(**{f"{name}scale": "log"})
            low, high = axis.get_view_interval()
            finest = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0)
            steps = (1.0,) if high > 100 * low else (1.0, 3.0) if high > 10 * low else finest
            axis.set_major_locator(LogLocator(subs=steps, numticks=20))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))


def new_axes(width: float, height: float) -> tuple[Any, Axes]:
    """Return a figure and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def draw(law: sld.Law, table: sld.Table, held_out: sld.Table | None, path: Path) -> None:
    """Draw the law's curves for the first target, with the rows behind them."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        figure, ax = new_axes(6.4, 3.9)
        shown = section(law, table, 0, held_out)
        lines = [line for line in shown.lines if not line.faint]
        for k, line in enumerate(lines):
            ink = colour(k, len(lines))
            ax.plot(line.x, line.y, color=ink, linewidth=1.6, label=line.label or None)
            ax.plot(line.measured[0], line.measured[1], "o", color=ink, markersize=4)
            ax.plot(line.held_out[0], line.held_out[1], "o", color=ink, markersize=5, markerfacecolor="none")
        rows = np.concatenate([np.r_[line.measured[1], line.held_out[1]] for line in lines])
        room = 0.06 * float(np.ptp(np.log(rows)))
        ax.set_ylim(float(rows.min()) * np.exp(-room), float(rows.max()) * np.exp(room))
        x = np.concatenate([line.x for line in lines])
        ax.set_xlim(float(x.min()), float(x.max()))
        if shown.beyond is not None:
            ax.axvspan(*shown.beyond, color="0.94", zorder=0)
        decorated(ax, bool(x.min() > 0 and x.max() > 10 * x.min()), y_log=True)
        ax.set_xlabel(axis_label(shown.variable))
        ax.set_ylabel(axis_label(shown.target))
        if shown.told_apart_by:
            ax.legend(
                title=shown.told_apart_by, fontsize=8.5, title_fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5)
            )
        figure.savefig(path, dpi=100, metadata={"Software": None}, pil_kwargs={"optimize": True})


def entry(name: str, pictures: Path) -> str:
    """Return what a search makes of a bundled task, after writing its picture."""
    task = sld.load_task(name)
    run = sld.discover(task, budget=BUDGET)
    held_out = task.held_out()
    assert held_out is not None and run.verdict is not None
    draw(run.law, run.table, held_out, pictures / f"{name}.png")
    return ENTRY.format(
        name=name,
        what=task.card.title.rstrip("."),
        n_train=task.train.n_rows,
        n_held_out=held_out.n_rows,
        picture=f"img/{name}.png",
        law="\n".join(run.law.expressions[t.column].text for t in run.law.targets),
        r2=sld.score(run.law, task).r2,
        verdict=run.verdict.sentence,
        budget=BUDGET,
    )


def notebooks() -> list[Path]:
    """Return the notebooks of examples/, which are Python files with cells."""
    return [path for path in sorted((ROOT / "examples").glob("*.py")) if "# %%" in path.read_text(encoding="utf-8")]


def notebook_entry(path: Path, pictures: Path) -> str:
    """Return what a notebook is about, after running it and taking its picture."""
    about = path.read_text(encoding="utf-8").partition("# %% [markdown]\n")[2].partition("\n\n")[0]
    lines = [line.removeprefix("#").strip() for line in about.splitlines()]
    title, text = lines[0].removeprefix("# "), " ".join(" ".join(lines[1:]).split())
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
        subprocess.run([sys.executable, path], cwd=folder, env=environment, check=True, capture_output=True)
        shutil.copy(Path(folder) / f"{path.stem}.png", pictures / f"{path.stem}.png")
    return NOTEBOOK.format(title=title, text=text, name=path.stem)


def page(pictures: Path) -> str:
    """Return the gallery, after writing its pictures into a folder."""
    fits = f"{int(BUDGET.removesuffix('fits')):,}"
    tasks = "".join(entry(name, pictures) for name in sorted(sld.bundled_tasks()))
    told = "".join(notebook_entry(path, pictures) for path in notebooks())
    return HEAD.format(fits=fits) + tasks + NOTEBOOKS + told


def readme_picture(path: Path) -> None:
    """Draw what was found on examples/runs.csv, and the larger runs that it was not shown."""
    import matplotlib.style

    roles: dict[str, Any] = {"target": "loss", "scale": ["params", "tokens"]}
    run = sld.discover(ROOT / "examples" / "runs.csv", budget=README_BUDGET, **roles)
    small, larger = run.table, sld.table_from(ROOT / "examples" / "larger_runs.csv", **roles)
    largest = float(small.column("tokens").max())
    tokens = np.geomspace(float(small.column("tokens").min()), 2.4 * largest, 120)
    with matplotlib.style.context(["default", STYLE]):
        figure, ax = new_axes(7.2, 4.0)
        for k, (size, known) in enumerate(README_SIZES):
            ink = colour(k, len(README_SIZES))
            predicted = sld.predict(run.law, {"params": np.full(len(tokens), size), "tokens": tokens})
            inside = known & (tokens <= largest)
            ax.fill_between(tokens, predicted["loss_low"], predicted["loss_high"], color=ink, alpha=0.13, linewidth=0)
            ax.plot(tokens, predicted["loss"], color=ink, linestyle=(0, (4, 2)), linewidth=1.3)
            ax.plot(tokens, np.where(inside, predicted["loss"], np.nan), color=ink, linewidth=2)
            for table, face in ((small, ink), (larger, "white")):
                at = np.isclose(table.column("params"), size, rtol=0.01)
                ax.plot(table.column("tokens")[at], table.Y[at, 0], "o", color=ink, mfc=face, markersize=5.5)
            label = f"{magnitude(size)} parameters" + ("" if known else ",\nno such run in the table")
            end = (tokens[-1], predicted["loss"][-1])
            ax.annotate(label, end, (8, 0), textcoords="offset points", color=darker(ink), va="center")
        ax.axvspan(largest, tokens[-1], color="0.95", zorder=0)
        ax.plot([], [], "o", color="0.3", label="runs in the table")
        ax.plot([], [], "o", color="0.3", mfc="white", label="larger runs, measured afterwards")
        ax.set_xlim(tokens[0] / 1.1, tokens[-1])
        decorated(ax, x_log=True, y_log=True)
        ax.set_xlabel("training tokens")
        ax.set_ylabel("loss (nats per byte)")
        ax.legend(loc="upper right")
        figure.savefig(path, metadata={"Date": None})
    text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()) + "\n"
    path.write_text(text, encoding="utf-8")


def without_numbers(text: str) -> str:
    """Return text with a mark for each decimal number: another processor may round the last digit differently."""
    return re.sub(r"\d+\.\d+", "#", text)


def main() -> int:
    """Write the page, or with --check make it anew elsewhere and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page would change")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not arguments.check:
        (HERE / "img").mkdir(exist_ok=True)
        (HERE / "gallery.md").write_text(page(HERE / "img"), encoding="utf-8")
        readme_picture(HERE / "img" / "extrapolation.svg")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        made = page(Path(folder))
    there = (HERE / "gallery.md").read_text(encoding="utf-8")
    for old, new in zip(there.splitlines(), made.splitlines(), strict=False):
        if without_numbers(old) != without_numbers(new):
            print(f"docs/gallery.md is out of date:\n- {old}\n+ {new}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
