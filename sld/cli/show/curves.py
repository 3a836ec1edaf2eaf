"""How `sld curve` looks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sld.cli.output import notes, plain, say, say_json, say_table, shown
from sld.core.numbers import signed

if TYPE_CHECKING:
    from sld.analysis.curves.curve_law import CurveLaw, Foretold
    from sld.analysis.curves.finals import Final, FinalValues
    from sld.analysis.curves.overlay import CurveAlignment

MOST_RUNS = 40  # rows that are shown; --out and --json have all


def finals(found: FinalValues, json: bool) -> None:
    """Show the ends of runs."""
    if json:
        say_json(found.to_json())
        return
    same = len({f.at for f in found.finals}) == 1
    where = f" at {found.step} = {shown(found.finals[0].at, 6)}" if same else ""
    say(f"{found.target}{where}, foretold from the part of each run that there is")
    say()
    compared = any(f.best is not None for f in found.finals)
    drawn = found.finals[:MOST_RUNS]
    header = ["run", "last", "now", *(() if same else ("end",)), "at the end", f"{100 * found.level:g} % interval"]
    rows = [_row(f, same) for f in drawn]
    if compared:
        header.append("best")
        rows = [[*row, _share(f.best)] for row, f in zip(rows, drawn, strict=True)]
    say_table(rows, header)
    if len(found.finals) > len(drawn):
        say(f"  and {len(found.finals) - len(drawn)} further runs (--out FILE or --json has all)")
    _larger(found)
    say()
    if any(f.cooled for f in found.finals):
        say("now: not cooled, where the run stands; at the end: cooled, after the learning rate has fallen")
    say("the interval holds a single measurement there; --json also has the curve's own")
    if found.cost is not None:
        once, apart = shown(found.cost.once, 4), shown(found.cost.apart, 4)
        say(f"cost so far, in {found.step}: {once} with every shared trunk counted once; {apart} as separate runs")
    if compared:
        say("best: the probability that no other run ends better")
        if found.can_stop:
            names = ", ".join(found.can_stop[:12]) + (" ..." if len(found.can_stop) > 12 else "")
            say(f"can stop (within 1 % of the best with less than 5 % probability): {names}")
    if found.schedule:
        say(f"learning rate: {found.schedule}")
    notes(found.notes)


def _larger(found: FinalValues) -> None:
    """Show the ends of runs of other sizes."""
    if not found.larger:
        return
    say()
    say("the same of models of other sizes, from the ends of these and what such laws are like in other tables:")
    header = ["size", "at the end", f"{100 * found.level:g} % interval"]
    say_table([[shown(m.size, 4), shown(m.value), f"{shown(m.low)} to {shown(m.high)}"] for m in found.larger], header)


def _row(f: Final, same: bool) -> list[str]:
    end = [] if same else [shown(f.at, 6)]
    ends = "has ended" if f.over else f"{shown(f.low)} to {shown(f.high)}"
    return [f.run, shown(f.last, 6), shown(f.now), *end, shown(f.value), ends]


def _share(value: float | None) -> str:
    return "-" if value is None else "< 1 %" if value < 0.01 else f"{value:.0%}".replace("%", " %")


def law(found: CurveLaw, words: str | None, foretold: Mapping[str, Foretold] | None, json: bool) -> None:
    """Show a law of curves, and what it says of another schedule."""
    if json:
        document = found.to_json()
        if foretold is not None:
            document["predicted"] = {
                "schedule": words,
                "sizes": {
                    s: {k: plain(getattr(f, k)) for k in ("step", "value", "low", "high")} for s, f in foretold.items()
                },
            }
        say_json(document)
        return
    say(f"{found.target} = {found.formula}")
    say()
    ends = found.intervals()
    say_table(
        [[n, shown(v, 5), f"{shown(ends[n][0])} to {shown(ends[n][1])}"] for n, v in found.constants.shared.items()],
        ["constant", "value", f"{100 * found.level:g} % interval"],
    )
    say_table(
        [[found.sizes[k], shown(L0, 5), shown(A, 5)] for k, (L0, A) in found.constants.own.items()], ["size", "L0", "A"]
    )
    say()
    say(_meaning(found.law))
    say(f"on the runs it was fitted to: relative error {found.error:.2%}, R² {found.r2:.4f}")
    if found.fits:
        each = ", ".join(f"{n} {e:.2%}" if e < 1 else f"{n}: no fit" for n, e in found.fits.items())
        say(f"error on the last third of the runs when fitted to the rest: {each}")
    if foretold is not None:
        say()
        say(f"under {words}, at the end of the run:")
        say_table(
            [
                [
                    s,
                    shown(f.step[-1], 6),
                    shown(float(f.value[-1]), 5),
                    f"{shown(float(f.low[-1]), 5)} to {shown(float(f.high[-1]), 5)}",
                ]
                for s, f in foretold.items()
            ],
            ["size", found.step, found.target, f"{100 * found.level:g} % interval"],
        )
    notes(found.notes)


def _meaning(law: str) -> str:
    if law == "annealing":
        return (
            "S1: sum of the learning rates so far; S2: the falls of the rate, summed, each of which goes on working "
            "for about 1/(1 - lambda) steps"
        )
    return (
        "S1: sum of the learning rates since the warm-up; fall: each fall of the rate, to `rate`; S_k: sum of the "
        "rates since it"
    )


def alignment(found: CurveAlignment, json: bool) -> None:
    """Show how far apart runs lie, over each column and for each pair."""
    if json:
        say_json(found.to_json())
        return
    say(f"{found.target} of {len(found.runs)} runs, laid over one another where both of a pair were measured")
    say()
    rows = [
        [a.column, str(len(a.pairs)), shown(a.distance, 3), _whole(a.share), _whole(a.offset_share), shown(a.noise, 3)]
        for a in found.alignments
    ]
    say_table(rows, ["by", "pairs", "apart", "of the span", "offset", "noise alone"])
    say()
    every = [(a.column, p) for a in found.alignments for p in a.pairs]
    rows = [
        [
            *(f"{p.first}, {p.second}", column, f"{shown(p.low, 3)} to {shown(p.high, 3)}", shown(p.distance, 3)),
            *(_whole(p.share), signed(p.offset), shown(p.noise, 3)),
        ]
        for column, p in every[:MOST_RUNS]
    ]
    say_table(rows, ["runs", "by", "from", "apart", "of the span", "second higher by", "noise alone"])
    if len(every) > MOST_RUNS:
        say(f"  and {len(every) - MOST_RUNS} further pairs (--out FILE or --json has all)")
    say()
    say(found.sentence)
    say(
        f"apart: root mean square difference in {found.target}; of the span: beside the highest less the lowest value "
        "there; offset: share of the squared difference that is the same all along; noise alone: what runs alike "
        "would be apart"
    )
    if len(found.alignments) > 1:
        say("closest goes by checkpoints that lie in the common part of every column, so that the same are compared")
    notes(found.notes)


def _whole(share: float) -> str:
    return f"{100 * share:.0f} %"


def watched(found: FinalValues, json: bool) -> None:
    """Show one look at runs under way: a line for each run, or one document on one line."""
    if json:
        import json as encoder

        print(encoder.dumps(plain(found.to_json()), ensure_ascii=False), flush=True)
        return
    for f in found.finals[:MOST_RUNS]:
        ends = "has ended" if f.last >= f.at * (1 - 1e-9) else f"{shown(f.low)} to {shown(f.high)}"
        say(
            f"{f.run}: {found.step} {shown(f.last, 6)} of {shown(f.at, 6)}, {found.target} {shown(f.now)}, "
            f"at the end {shown(f.value)} ({ends})"
        )
    sys.stdout.flush()


def stamp_of(table: str) -> object:
    """Return what changes when a table does: sizes and times of its files."""
    import glob

    paths = [Path(p) for p in sorted(glob.glob(table))] if not Path(table).exists() else [Path(table)]
    paths = [q for p in paths for q in (sorted(p.iterdir()) if p.is_dir() else [p])]
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
