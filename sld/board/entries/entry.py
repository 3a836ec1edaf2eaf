"""One entry of the leaderboard: a law (or the record of a program), its scores, and what is needed to redo them.

An entry is one JSON file. Reading is strict: every key is known and of its type, numbers are finite, and the hash over
everything else has to be right, so an edited score is seen before anything is computed. What the numbers are worth is
another question, which `verify` answers from the task's rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from sld.core.errors import DataError, GrammarError, UsageError, suggest
from sld.core.toml import Keys, kind_of

if TYPE_CHECKING:
    from sld.data.task import Task
    from sld.laws.fit_settings import FitSettings
    from sld.laws.law import Law

SCHEMA = 1
Kind = Literal["formula", "program"]
ConstantsFrom = Literal["refitted", "as published", "as given"]

MAX_BYTES = 4_000_000  # of a file; 500 groups with 20 constants take a quarter of that
MAX_NESTING = 12
MAX_NAME, MAX_URL, MAX_NOTE = 80, 200, 500  # characters

_TASK_KEYS = ("name", "version", "digest")
_SCORE_KEYS = (*("r2", "r2_within", "nmse", "nmae", "are", "n_rows", "failed", "r2_interval", "train_nmse"),)
_RARELY_SAID = ("delta", "pinned", "tied")  # of a fit, for some targets or none
_OF_TARGET = ("loss", "pooling", "shared", "positive", "bounds", *_RARELY_SAID)
_FIT_KEYS = ("loss", "weights", "pooling", "shared", "positive", "bounds", "starts", "seed", "objective")
_HEX = re.compile(r"[0-9a-f]{64}")
_SLUG_LENGTH = 48


@dataclass(frozen=True)
class Entry:
    """What one file of `leaderboard/submissions/<task>/` holds.

    Attributes:
        task: `name`, `version` and `digest` (see `task_digest`) of the task that it was scored on.
        name: Who or what stands in the table.
        author: Who submitted it; may be empty, as may `url` and `note`.
        url: Where more is told.
        note: One line.
        kind: "formula" or "program".
        constants_from: "refitted" (by us, on the training rows), "as published" or "as given".
        expressions: Target to formula, in the grammar; empty for programs.
        key: Canonical key of the formulas; for programs the hash of their source.
        constants: Target to group to constant to value; empty for programs.
        fit: What has to be minimised, and how it was: loss, weights, pooling, shared, positive, bounds, starts, seed
            and the objective reached per target, and delta, pinned and tied constants where there are any; empty where
            nothing was fitted.
        scores: The held-out scores, `r2_interval` (90 %, bootstrap over held-out rows) and `train_nmse`.
        complexity: Nodes of the formulas together.
        n_constants: Constants per group of the target that has most, numbers written into the formula included.
        tool: Which version made it.
        provenance: Where the law came from: command, seed, budget, origin.
        hash: sha256 of the canonical JSON of everything else.
    """

    task: Mapping[str, Any]
    name: str
    author: str
    url: str
    note: str
    kind: str
    constants_from: str
    expressions: Mapping[str, str]
    key: str
    constants: Mapping[str, Mapping[str, Mapping[str, float]]]
    fit: Mapping[str, Any]
    scores: Mapping[str, Any]
    complexity: int | None
    n_constants: int | None
    tool: str
    provenance: Mapping[str, Any]
    hash: str = ""

    def __post_init__(self) -> None:
        """Fill in the hash of a new entry."""
        if not self.hash:
            object.__setattr__(self, "hash", content_hash(self._content()))

    def __hash__(self) -> int:
        """Two entries with one content are one."""
        return hash(self.hash)

    def _content(self) -> dict[str, Any]:
        content = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "hash"}
        return {"schema": SCHEMA, **content}

    @property
    def label(self) -> str:
        """How the table calls it."""
        return "program" if self.kind == "program" else self.constants_from

    @property
    def file_stem(self) -> str:
        """Name of its file, without the suffix."""
        return f"{slug_of(self.name)}-{self.hash[:10]}"

    @property
    def identity(self) -> str:
        """Text that two entries share when they are the same law: same task, forms, loss, and constants if given."""
        fitted = {
            k: self.fit[k]
            for k in (*_FIT_KEYS, *_RARELY_SAID)
            if k in self.fit and k not in ("starts", "seed", "objective")
        }
        given = self.constants if self.kind == "formula" and self.constants_from != "refitted" else {}
        same = [self.task, self.kind, self.constants_from, self.key, fitted, given]
        return hashlib.sha256(canonical_json(same)).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return what the file holds; `from_json` gives the entry back."""
        return {**self._content(), "hash": self.hash}

    def file_bytes(self) -> bytes:
        """Return the content of the file."""
        text = json.dumps(self.to_json(), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8")

    @staticmethod
    def from_json(data: object, where: str) -> Entry:
        """Read what `to_json` gave.

        Raises:
            DataError: A key is missing, unknown or of a wrong type, or the hash is not that of the content; the
                message begins with `where`.
        """
        names = tuple(Entry.__dataclass_fields__)
        keys = Keys(data, where, ("schema", *names))
        for name in ("schema", *names):
            if name not in keys.data:
                raise DataError(f"{where}: wanted a key {name!r}, got none")
        if keys.whole("schema", SCHEMA) != SCHEMA:
            raise DataError(f"{where} has schema {keys.data['schema']}, this sld reads {SCHEMA}; upgrade sld")
        kind = keys.choice("kind", get_args(Kind))
        entry = Entry(
            task=_read_task(keys),
            name=_read_words(keys, "name", MAX_NAME),
            author=_read_words(keys, "author", MAX_NAME),
            url=_checked(where, check_url, keys.text("url")),
            note=_read_words(keys, "note", MAX_NOTE),
            kind=kind,
            constants_from=keys.choice("constants_from", get_args(ConstantsFrom)),
            expressions=_read_expressions(keys),
            key=keys.text("key"),
            constants=_read_constants(keys),
            fit=_read_fit(keys),
            scores=_read_scores(keys),
            complexity=_read_count(keys, "complexity"),
            n_constants=_read_count(keys, "n_constants"),
            tool=_read_words(keys, "tool", MAX_NAME),
            provenance=keys.table("provenance"),
            hash=keys.text("hash"),
        )
        if not _HEX.fullmatch(entry.hash):
            raise keys.wrong("hash", "64 hexadecimal digits")
        if (kind == "formula") != bool(entry.expressions):
            raise DataError(f"{where}: a formula has expressions and a program has none")
        if set(entry.expressions) != set(entry.constants):
            raise DataError(f"{where}: expressions and constants must be of the same targets")
        if (found := content_hash(entry._content())) != entry.hash:
            why = "it was edited or damaged; submit the law again"
            raise DataError(f"{where}: the content has hash {found[:10]}..., the file says {entry.hash[:10]}...: {why}")
        return entry

    @staticmethod
    def from_bytes(content: bytes, where: str) -> Entry:
        """Read the content of a file; raises DataError that begins with `where`."""
        return Entry.from_json(read_json(content, where), where)

    def law(self, task: Task) -> Law:
        """Return the law for its task.

        Raises:
            DataError: It is a program, or its formulas and constants do not suit the task's columns.
        """
        from sld.data.card import parse_for
        from sld.laws.law import Law

        if self.kind != "formula":
            raise DataError(f"{self.name!r} is a program, not a formula")
        targets, variables = task.train.targets, task.train.variables
        expressions = {}
        for j, target in enumerate(targets):
            if target.column not in self.expressions:
                raise DataError(f"no formula for target {target.column!r}")
            try:
                expressions[target.column] = parse_for(self.expressions[target.column], variables, len(targets), j)
            except GrammarError as error:
                raise DataError(f"the formula of {target.column!r}: {error}") from error
        for column in self.expressions:
            if column not in expressions:
                raise DataError(suggest(column, expressions, kind="target"))
        return Law(
            expressions=expressions,
            constants=self.constants,
            variables=variables,
            targets=targets,
            group_column=task.train.group_column,
            task={"name": task.card.name, "version": task.card.version},
            provenance={"origin": f"leaderboard: {self.name}"},
            settings=self.settings,
        )

    @property
    def settings(self) -> dict[str, FitSettings]:
        """How each target was fitted; empty for a program, which nothing here fits."""
        from sld.laws.fit_settings import FitSettings

        if not self.fit:
            return {}
        weights = [w for w in (self.fit.get("weights", "equal"),) if w != "equal"]
        plain = {
            t: {key: self.fit[key][t] for key in _OF_TARGET if t in self.fit.get(key, {})} for t in self.expressions
        }
        return {t: FitSettings.from_json({**of, "weights": weights}, f"entry {self.name!r}") for t, of in plain.items()}


def canonical_json(data: object) -> bytes:
    """Return the one way of writing `data` that hashes are taken of."""
    # ASCII only, so that the bytes do not depend on how a name's accents are written to the file
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def content_hash(data: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(data)).hexdigest()


def task_digest(task: Task) -> str:
    """Return the sha256 of a task's columns, training rows and held-out rows."""
    held_out = task.held_out()
    rows = [task.train.digest(), "" if held_out is None else held_out.digest()]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def slug_of(name: str) -> str:
    """Return a name that is safe in file names and URLs: lower-case letters and digits with single dashes."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().casefold()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_LENGTH].strip("-") or "entry"


def check_words(text: str, what: str, most: int) -> str:
    """Return a free text in one normal form.

    Raises:
        UsageError: It is longer than `most` characters, or holds what is not to be seen: control and formatting
            characters (among them those that turn the direction of writing), or towers of accents.
    """
    text = unicodedata.normalize("NFC", text.strip()) if len(text) <= 20 * most else text
    if len(text) > most:
        raise UsageError(f"the {what} may have {most} characters, got {len(text)}")
    run = 0
    for character in text:
        category = unicodedata.category(character)
        run = run + 1 if category.startswith("M") else 0
        if category[0] == "C" or category in ("Zl", "Zp") or run > 3:
            raise UsageError(f"the {what} holds the character {character!a}; use one line of letters and signs")
    return text


def check_url(text: str) -> str:
    """Return an address of the web; raises UsageError."""
    text = text.strip()
    if not text:
        return ""
    if len(text) > MAX_URL:
        raise UsageError(f"the url may have {MAX_URL} characters, got {len(text)}")
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine or not text.isascii() or any(c <= " " or c in "\"'<>\\`" or c == "\x7f" for c in text):
        raise UsageError(f"wanted a url that begins with https:// or http://, got {ascii(text)[:60]}")
    return text


def read_json(content: bytes, where: str) -> object:
    """Parse JSON without surprises: no NaN, no key twice, no nesting without end; raises DataError."""
    if len(content) > MAX_BYTES:
        raise DataError(f"{where} has {len(content)} bytes; an entry has at most {MAX_BYTES}")
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number too long for Python
        raise DataError(f"{where} is not an entry in JSON: {str(error)[:120]}") from None
    _check_depth(data, where)
    return data


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _check_depth(data: object, where: str) -> None:
    level: list[object] = [data]
    for _ in range(MAX_NESTING):
        deeper: list[object] = []
        for value in level:
            if isinstance(value, float) and not math.isfinite(value):  # 1e999 is read as infinity
                raise DataError(f"{where}: a number is too large")
            if isinstance(value, int) and value.bit_length() > 63:
                raise DataError(f"{where}: a whole number is too large")
            if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
                raise DataError(f"{where}: half a character that cannot be written")
            if isinstance(value, dict):
                deeper.extend(value.values())
                deeper.extend(value)
            elif isinstance(value, list):
                deeper.extend(value)
        if not deeper:
            return
        level = deeper
    raise DataError(f"{where} is nested more than {MAX_NESTING} deep")


def _checked(where: str, check: Any, *arguments: Any) -> str:
    try:
        return str(check(*arguments))
    except UsageError as error:
        raise DataError(f"{where}: {error}") from None


def _read_words(keys: Keys, key: str, most: int) -> str:
    text = _checked(keys.where, check_words, keys.text(key), key, most)
    if key == "name" and not text:
        raise DataError(f"{keys.where}: the name is empty")
    return text


def _read_task(keys: Keys) -> dict[str, Any]:
    task = Keys(keys.data["task"], f"{keys.where}: task", _TASK_KEYS)
    for key in _TASK_KEYS:
        if key not in task.data:
            raise DataError(f"{task.where}: wanted a key {key!r}, got none")
    digest = task.text("digest")
    if not _HEX.fullmatch(digest):
        raise task.wrong("digest", "64 hexadecimal digits")
    return {"name": task.task_name("name"), "version": task.whole("version", 1), "digest": digest}


def _read_expressions(keys: Keys) -> dict[str, str]:
    table = keys.table("expressions")
    if not all(isinstance(text, str) for text in table.values()):
        raise keys.wrong("expressions", "a formula per target")
    return dict(table)


def _read_constants(keys: Keys) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for target, groups in keys.table("constants").items():
        if not isinstance(groups, Mapping) or not groups:
            raise DataError(f"{keys.where}: constants of {target!r} must be a table of groups, got {kind_of(groups)}")
        found[target] = {}
        for group, values in groups.items():
            if not isinstance(values, Mapping) or not all(_is_number(v) for v in values.values()):
                raise DataError(f"{keys.where}: constants of {target!r}, group {group!r}, must be numbers by name")
            found[target][group] = dict(values)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_scores(keys: Keys) -> dict[str, Any]:
    scores = Keys(keys.data["scores"], f"{keys.where}: scores", _SCORE_KEYS)
    for key in _SCORE_KEYS:
        if key not in scores.data:
            raise DataError(f"{scores.where}: wanted a key {key!r}, got none")
        value = scores.data[key]
        if key == "failed":
            scores.flag(key)
        elif key == "n_rows":
            scores.whole(key, 1)
        elif key == "r2_interval":
            ends = value if isinstance(value, list) else []
            if value is not None and (len(ends) != 2 or not all(map(_is_number, ends)) or ends[0] > ends[1]):
                raise scores.wrong(key, "[low, high] or null")
        elif not _is_number(value) and (value is not None or key == "r2"):
            raise scores.wrong(key, "a finite number" if key == "r2" else "a finite number or null")
    return dict(scores.data)


def _read_fit(keys: Keys) -> dict[str, Any]:
    fit = Keys(keys.data["fit"], f"{keys.where}: fit", (*_FIT_KEYS, *_RARELY_SAID))
    if not fit.data:
        return {}
    for key in _FIT_KEYS:
        if key not in fit.data:
            raise DataError(f"{fit.where}: wanted a key {key!r}, got none")
    fit.choice("weights", ("equal", "frontier"))
    if not _is_count(fit.data["starts"], 10_000) or not _is_count(fit.data["seed"], 2**62):
        raise DataError(f"{fit.where}: starts and seed must be whole numbers")
    per_target: dict[str, Any] = {
        "loss": lambda v: isinstance(v, str),
        "pooling": lambda v: isinstance(v, str),
        "shared": _are_names,
        "positive": _are_names,
        "bounds": _are_bounds,
        "objective": _is_number,
    }
    targets = set(keys.table("expressions"))
    for key, fine in per_target.items():
        table = fit.table(key)
        if set(table) != targets or not all(fine(value) for value in table.values()):
            raise fit.wrong(key, "one of its kind per target")
    some_targets: dict[str, Any] = {
        "delta": lambda v: _is_number(v) and v > 0,
        "pinned": lambda v: isinstance(v, Mapping) and all(map(_is_number, v.values())),
        "tied": lambda v: isinstance(v, Mapping) and all(isinstance(name, str) for name in v.values()),
    }
    for key, fine in some_targets.items():
        if not set(fit.table(key)) <= targets or not all(fine(value) for value in fit.table(key).values()):
            raise fit.wrong(key, "one of its kind for targets of the entry")
    return dict(fit.data)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_bounds(value: object) -> bool:
    def end(bound: object) -> bool:
        return bound is None or _is_number(bound)

    return isinstance(value, Mapping) and all(
        isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2 and all(map(end, pair))
        for pair in value.values()
    )


def _read_count(keys: Keys, key: str) -> int | None:
    value = keys.data[key]
    if value is not None and not _is_count(value, 10_000_000):
        raise keys.wrong(key, "a whole number or null")
    return None if value is None else int(value)
