"""One entry: written and read back, strictly; free texts that cannot be misused."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from boards import edited, entry_of, rehashed
from many_cases import each

from sld.board.entries.entry import (
    MAX_BYTES,
    MAX_NAME,
    Entry,
    check_url,
    check_words,
    content_hash,
    slug_of,
    task_digest,
)
from sld.board.entries.scored_task import ScoredTask
from sld.board.entries.submission import Signature
from sld.core.errors import DataError, UsageError


@pytest.fixture(scope="module")
def entry(rows: ScoredTask) -> Entry:
    return entry_of(rows, "E + A*N**-a", "Käthe's law")


def test_an_entry_comes_back_from_its_file(entry: Entry) -> None:
    assert Entry.from_bytes(entry.file_bytes(), "a file") == entry


def test_the_hash_covers_everything_else(entry: Entry) -> None:
    data = json.loads(entry.file_bytes())
    assert data.pop("hash") == content_hash(data) == entry.hash


@each("key", ["name", "author", "note", "key", "tool", "provenance", "scores", "constants", "fit"])
def test_a_changed_value_is_seen_by_the_hash(entry: Entry, key: str) -> None:
    data: dict[str, Any] = json.loads(entry.file_bytes())
    if isinstance(data[key], str):
        data[key] += "x"
    elif key == "constants":
        data[key]["loss"]["all"]["E"] += 1e-9
    elif key == "provenance":
        data[key]["more"] = 1
    else:
        part = "nmse" if key == "scores" else "seed"
        data[key][part] += 1
    with pytest.raises(DataError, match="edited or damaged"):
        Entry.from_json(data, "a file")


@each(
    ("path", "value", "message"),
    [
        (("schema",), 2, "upgrade"),
        (("schema",), "1", "whole number"),
        (("kind",), "formulas", "did you mean"),
        (("constants_from",), "best", "must be"),
        (("name",), "", "name is empty"),
        (("name",), "a\nb", "character"),
        (("name",), "x" * 81, "80 characters"),
        (("url",), "javascript:alert(1)", "https"),
        (("task", "digest"), "abc", "hexadecimal"),
        (("task", "name"), "../up", "folder"),
        (("task", "version"), 0, "at least 1"),
        (("expressions",), {}, "per target"),
        (("expressions", "loss"), 3, "formula per target"),
        (("constants", "loss"), {}, "table of groups"),
        (("constants", "loss", "all", "E"), "1", "numbers"),
        (("constants", "loss", "all", "E"), True, "numbers"),
        (("scores", "r2"), None, "finite number"),
        (("scores", "r2_interval"), [1.0, 0.5], "low, high"),
        (("scores", "r2_interval"), [1.0], "low, high"),
        (("scores", "n_rows"), 2.5, "whole number"),
        (("fit", "starts"), -1, "starts and seed"),
        (("fit", "loss"), {}, "per target"),
        (("fit", "weights"), "heavy", "equal"),
        (("complexity",), -1, "whole number"),
        (("provenance",), [], "a table"),
    ],
)
def test_a_wrong_value_is_refused_by_name(entry: Entry, path: tuple[str, ...], value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        edited(entry, *path, value=value)


@each("key", ["schema", *Entry.__dataclass_fields__])
def test_a_missing_key_is_named(entry: Entry, key: str) -> None:
    data = {k: v for k, v in entry.to_json().items() if k != key}
    with pytest.raises(DataError, match=f"a file.*'{key}'"):
        Entry.from_json(data, "a file")


def test_an_unknown_key_is_refused(entry: Entry) -> None:
    with pytest.raises(DataError, match="no key 'extra'"):
        rehashed({**entry.to_json(), "extra": 1})


@each(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"schema": 1, "schema": 1}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 6000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"\xff\xfe{}",
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_plain_json_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^some/file") as caught:
        Entry.from_bytes(content, "some/file")
    assert len(str(caught.value)) < 300


@each(
    "text",
    ["a\u202eb", "a\u2066b", "\u200eb", "a\x00b", "a\x1b[31mb", "a\tb", "a\u2028b", "\ud800", "e" + "\u0301\u0302" * 3],
)
def test_characters_not_to_be_seen_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="character"):
        Signature(text)


@pytest.mark.parametrize("text", ["x" * (MAX_NAME + 1), "x" * 10_000, "e\u0301" * 10_000])
def test_long_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="80 characters"):
        Signature(text)


@each("text", ["", "  ", "...", "../..", "-", "🙂"])
def test_a_name_needs_a_letter_or_digit(text: str) -> None:
    with pytest.raises(UsageError, match="letter"):
        Signature(text)


@each(
    ("name", "slug"),
    [
        ("Käthe's Law (v2)", "kathe-s-law-v2"),
        ("../../etc/passwd", "etc-passwd"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("法則", "entry"),
        ("C:\\x|y", "c-x-y"),
        ("x" * 80, "x" * 48),
        ("con", "con"),
    ],
)
def test_a_slug_is_plain(name: str, slug: str) -> None:
    assert slug_of(Signature(name).name) == slug


def test_names_are_kept_in_one_normal_form() -> None:
    assert Signature("Ka\u0308the").name == unicodedata.normalize("NFC", "Ka\u0308the") == "K\xe4the"
    assert check_words(" עברית ", "name", 80) == "עברית"


@pytest.mark.parametrize("url", ["https://example.org/a?b=c#d", "http://localhost:80/", ""])
def test_web_addresses_are_taken(url: str) -> None:
    assert check_url(url) == url


@each(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "https://", "//x.org", "https://a b", 'https://a"b', "https://[", "ftp://x.org",
     "https://x.org/<script>", "https://x.org/" + "a" * 300, "https://bücher.de", "https:// x"],
)  # fmt: skip
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="url"):
        check_url(url)


def test_the_digest_of_a_task_depends_on_both_tables(tmp_path: Path) -> None:
    from boards import write_task

    from sld.data.task import load_task

    digests = set()
    for k, file in enumerate([None, "train.csv", "held_out.csv"]):
        path = write_task(tmp_path / str(k))
        if file is not None:
            text = (path / file).read_text(encoding="utf-8").splitlines()
            (path / file).write_text("\n".join([text[0], *text[2:]]) + "\n", encoding="utf-8")
        digests.add(task_digest(load_task(path)))
    assert len(digests) == 3


def test_the_identity_is_the_same_however_a_law_is_written(rows: ScoredTask) -> None:
    one, other = entry_of(rows, "E + A*N**-a", "one"), entry_of(rows, "c0/N**k + b", "other")
    assert one.identity == other.identity and one.hash != other.hash
    assert entry_of(rows, "A*N**-a").identity != one.identity
