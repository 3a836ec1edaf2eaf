"""What training programs print: nanoGPT, litgpt, nanochat, Megatron-LM and OLMo.

The lines are those of the programs' sources. What each prints for NaN differs: Megatron leaves the loss of such an
interval out, or prints 0; litgpt repeats the last validation on every line until the next one; nanoGPT's loss is that
of the last micro-batch; nanochat's is a running mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sld.core.errors import DataError
from sld.data.importers.attempt import Attempt, Cell, Folder, Unit, cell_of, read_text, run_name
from sld.data.importers.sheet import Origin, attempts_of, settings_beside

NANOGPT, LITGPT, NANOCHAT, MEGATRON, OLMO = "nanogpt", "litgpt", "nanochat", "megatron", "olmo"
_SUFFIXES = (".log", ".txt", ".out", ".stdout", ".err")
_STEP = "step"
_NUMBER = r"[-+]?(?:nan|inf(?:inity)?|\d[\d,]*\.?\d*(?:e[-+]?\d+)?)"
_ENDS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}

Row = dict[str, Cell]


@dataclass
class _Read:
    """What a log said so far."""

    rows: list[Row] = field(default_factory=list)
    config: dict[str, Cell] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    validated: Cell = None

    def add(self, step: float, metrics: dict[str, Cell]) -> None:
        """Take metrics at a step; those of the same step as the last line's join it, if it has none of them yet."""
        if self.rows and self.rows[-1][_STEP] == step and not set(metrics) & set(self.rows[-1]):
            self.rows[-1] |= metrics
        else:
            self.rows.append({_STEP: step, **metrics})


def _n(text: str) -> float:
    return float(text.replace(",", ""))


# -- nanoGPT ----------------------------------------------------------------------------------------------------------

_GPT_ITER = re.compile(rf"iter (\d+): loss ({_NUMBER}), time ", re.IGNORECASE)
_GPT_EVAL = re.compile(rf"step (\d+): train loss ({_NUMBER}), val loss ({_NUMBER})", re.IGNORECASE)
_GPT_SIZE = re.compile(r"number of parameters: ([\d.]+)([KMB])")
_GPT_TOKENS = re.compile(r"tokens per iteration will be: ([\d,]+)")
_GPT_SET = re.compile(r"Overriding: (\w+) = (.+)")


def _nanogpt(line: str, read: _Read) -> None:
    if match := _GPT_ITER.search(line):
        read.add(int(match[1]), {"train/loss": _n(match[2])})
        read.notes["nanoGPT prints the training loss of the last micro-batch of a step, not of all"] = None
    elif match := _GPT_EVAL.search(line):
        read.add(int(match[1]), {"eval/train_loss": _n(match[2]), "val/loss": _n(match[3])})
    elif match := _GPT_SIZE.search(line):
        digits = match[1]
        read.config["n_params"] = round(float(digits) * _ENDS[match[2].lower()])
        read.notes[f"the number of parameters is printed as {digits}{match[2]} and known to that precision only"] = None
    elif match := _GPT_TOKENS.search(line):
        read.config["tokens_per_step"] = int(_n(match[1]))
    elif match := _GPT_SET.match(line):
        read.config[match[1]] = cell_of(match[2])


# -- litgpt -----------------------------------------------------------------------------------------------------------

_LIT_ITER = re.compile(
    rf"Epoch \d+ \| iter (\d+) step (\d+) \| loss train: ({_NUMBER}),\s*val: (n/a|{_NUMBER})", re.IGNORECASE
)
_LIT_EVAL = re.compile(rf"iter (\d+): val loss ({_NUMBER}), val time", re.IGNORECASE)
_LIT_FINAL = re.compile(rf"Final evaluation \| val loss: ({_NUMBER})", re.IGNORECASE)
_LIT_SIZE = re.compile(r"(?:Total parameters|Number of trainable parameters): ([\d,]+)")


def _litgpt(line: str, read: _Read) -> None:
    if match := _LIT_ITER.search(line):
        row: Row = {"train/loss": _n(match[3])}
        validated = None if match[4].lower() == "n/a" else _n(match[4])
        if validated is not None and validated != read.validated:  # else the last one again
            row["val/loss"] = validated
        read.validated = validated
        read.add(int(match[2]), row)
    elif (match := _LIT_FINAL.search(line)) and read.rows:
        read.rows[-1]["val/loss"] = _n(match[1])
    elif match := _LIT_SIZE.search(line):
        read.config["n_params"] = int(_n(match[1]))


# -- nanochat ---------------------------------------------------------------------------------------------------------

_CHAT_STEP = re.compile(rf"step (\d+)/(\d+) \([\d.]+%\) \| loss: ({_NUMBER})", re.IGNORECASE)
_CHAT_EVAL = re.compile(rf"Step (\d+) \| Validation bpb: ({_NUMBER})", re.IGNORECASE)
_CHAT_SIZE = re.compile(r"Number of parameters: ([\d,]+)")
_CHAT_TOKENS = re.compile(r"Total batch size ([\d,]+)")


def _nanochat(line: str, read: _Read) -> None:
    if match := _CHAT_EVAL.search(line):
        read.add(int(match[1]), {"val/bpb": _n(match[2])})
    elif match := _CHAT_STEP.search(line):
        read.add(int(match[1]), {"train/loss": _n(match[3])})
        read.config["max_steps"] = int(match[2])
        read.notes["nanochat prints a running mean of the training loss, not the loss of a step"] = None
    elif match := _CHAT_SIZE.search(line):
        read.config["n_params"] = int(_n(match[1]))
    elif match := _CHAT_TOKENS.search(line):
        read.config["tokens_per_step"] = int(_n(match[1]))


# -- Megatron-LM ------------------------------------------------------------------------------------------------------

_MEG_ITER = re.compile(r"iteration\s+(\d+)/\s*(\d+) \|")
_MEG_FIELD = re.compile(rf"([\w ()]+?):\s*({_NUMBER})\s*(?=\||$)", re.IGNORECASE)
_MEG_EVAL = re.compile(rf"validation loss at iteration (\d+).*?\| lm loss value: ({_NUMBER})", re.IGNORECASE)
_MEG_SIZE = re.compile(r"number of parameters on \([^)]*\) model parallel rank \(([^)]*)\): (\d+)")
_MEG_SET = re.compile(r"^(?:\s*\d+: )?\s+(\w+) \.{3,} (\S.*)$")
_MEG_METRICS = ("lm loss", "consumed samples", "learning rate", "grad norm", "global batch size")


def _megatron(line: str, read: _Read) -> None:
    if match := _MEG_EVAL.search(line):
        read.add(int(match[1]), {"validation lm loss": _n(match[2])})
    elif match := _MEG_ITER.search(line):
        fields = {m[1].strip(): _n(m[2]) for m in _MEG_FIELD.finditer(line[match.end() :])}
        read.config["max_steps"] = int(match[2])
        row: Row = {k: fields[k] for k in _MEG_METRICS if k in fields}
        failed = fields.get("number of nan iterations", 0) + fields.get("number of skipped iterations", 0)
        if failed and fields.get("lm loss", 0.0) == 0.0:
            # an interval without a good step has no loss, or one of 0
            row["lm loss"] = math.nan
            read.notes["intervals without a good step have no loss, or 0.0; read as NaN"] = None
        read.add(int(match[1]), row)
    elif match := _MEG_SIZE.search(line):
        read.config[f"parameters on rank ({match[1]})"] = int(match[2])
        on_ranks = [v for k, v in read.config.items() if k.startswith("parameters on rank") and isinstance(v, int)]
        read.config["n_params"] = sum(on_ranks)
    elif match := _MEG_SET.match(line):
        read.config[match[1]] = cell_of(match[2])


# -- OLMo -------------------------------------------------------------------------------------------------------------

_OLMO_STEP = re.compile(r"\[step=(\d+)(?:/(\d+))?(?:,[^\]]*)?\]")
_OLMO_METRIC = re.compile(rf"^\s+((?:[\w.-]+/)+[^=]+?)=({_NUMBER})\s*$", re.IGNORECASE)
_OLMO_SIZE = re.compile(r"(?:Total number of parameters|Number of non-embedding parameters): ([\d,]+)", re.IGNORECASE)


def _olmo(line: str, read: _Read) -> None:
    if match := _OLMO_STEP.search(line):
        read.add(int(match[1]), {})
        if match[2]:
            read.config["max_steps"] = int(match[2])
    elif (match := _OLMO_METRIC.match(line)) and read.rows:
        read.rows[-1][match[1]] = _n(match[2])
    elif match := _OLMO_SIZE.search(line):
        kind = "n_params" if "Total" in match[0] or "total" in match[0] else "n_params_non_embedding"
        read.config[kind] = int(_n(match[1]))


_PARSERS: dict[str, tuple[Callable[[str, _Read], None], tuple[re.Pattern[str], ...]]] = {
    MEGATRON: (_megatron, (_MEG_ITER, _MEG_EVAL)),
    NANOCHAT: (_nanochat, (_CHAT_STEP, _CHAT_EVAL)),
    LITGPT: (_litgpt, (_LIT_ITER, _LIT_EVAL)),
    OLMO: (_olmo, (_OLMO_STEP,)),
    NANOGPT: (_nanogpt, (_GPT_ITER, _GPT_EVAL)),
}


def claims_of(name: str, folder: Folder) -> list[Unit]:
    """Return the logs of one program, told by their lines."""
    files = folder.files if folder.forced else folder.ending(*_SUFFIXES)
    marks = _PARSERS[name][1]
    return [
        Unit(name, folder.path / file, (folder.path / file,))
        for file in files
        if folder.forced or any(mark.search(text) for text in _glimpses(folder, file) for mark in marks)
    ]


def _glimpses(folder: Folder, file: str) -> Iterator[str]:
    """Yield the beginning of a file, and what stands further in: logs may begin with pages of settings."""
    yield folder.head(file).decode("utf-8", errors="replace")
    try:
        with (folder.path / file).open("rb") as opened:
            size = opened.seek(0, 2)
            for at in (size // 2, size - 8192):
                opened.seek(max(at, 0))
                yield opened.read(8192).decode("utf-8", errors="replace")
    except OSError:
        return


def read(unit: Unit) -> list[Attempt]:
    """Return the stretches of a log; raises DataError."""
    path: Path = unit.base
    parse, marks = _PARSERS[unit.reader]
    text = read_text(path)
    found = _Read()
    lines = text.replace("\r", "\n").split("\n")
    if lines and lines[-1]:
        # without its end a number may lack digits
        if any(mark.search(lines[-1]) for mark in marks):
            found.notes[f"{path.name} ends inside a line, which was left out"] = None
        lines.pop()
    for line in lines:
        parse(line, found)
    if not found.rows:
        raise DataError(f"{path} has no line of {unit.reader} with a step and a loss")
    config, _ = settings_beside(path)
    origin = Origin(str(path), run_name(path), str(path), {**config, **found.config}, tuple(found.notes))
    return attempts_of(found.rows, _STEP, origin)
