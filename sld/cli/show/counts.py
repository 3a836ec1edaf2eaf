"""How `sld count` looks."""

from __future__ import annotations

from sld.cli.output import notes, say, say_json, say_table
from sld.core.numbers import short
from sld.data.counting.counted import CONVENTIONS, ModelCount

_SIX_N = ("non-embedding", "total", "active-non-embedding")  # what papers multiply by six


def count(counted: ModelCount, convention: str | None, json: bool) -> None:
    """Show `sld count`."""
    number = None if convention is None else counted.parameters(convention)
    if json:
        chosen = {} if number is None else {"convention": convention, "N": number}
        say_json({**counted.to_json(), **chosen})
        return
    if number is not None:
        say(str(number))
    else:
        _everything(counted)
    notes(counted.notes)


def _everything(counted: ModelCount) -> None:
    experts = counted.active != counted.total
    say(f"{counted.architecture}: {counted.total:,} parameters{', head tied to the embedding' if counted.tied else ''}")
    print()
    say("N, as papers count it (--convention NAME prints one):")
    conventions = [name for name in CONVENTIONS if experts or not name.startswith("active")]
    say_table([[name, f"{counted.parameters(name):,}", CONVENTIONS[name]] for name in conventions])
    print()
    say("where they are:")
    say_table(
        [
            [part.name, part.kind, f"{part.parameters:,}", *([f"{part.active:,}"] if experts else [])]
            for part in counted.parts
            if part.parameters
        ],
        ("part", "kind", "parameters", *(("used by a token",) if experts else ())),
    )
    print()
    _flops(counted, experts)


def _flops(counted: ModelCount, experts: bool) -> None:
    flops = counted.flops()
    say(f"FLOPs of a step of training per {counted.model.unit}:")
    shown = [name for name in _SIX_N if experts or not name.startswith("active")]
    rows = [[f"6 N, N {name}", short(counted.six_n(name), 4), ""] for name in shown]
    sums = (
        ("layers", flops.layers, "weights that it is multiplied with"),
        ("attention", flops.attention, f"comparing it with the {flops.sequence:,} of its sequence (--seq)"),
        ("output head", flops.vocabulary, "a number for each token of the vocabulary"),
        ("sum", flops.forward, "all matrix products, three times a forward pass"),
    )
    rows += [[name, short(3 * number, 4), meaning] for name, number, meaning in sums if number]
    say_table(rows)
