"""Whatever a server sends, reading it ends, raises nothing and keeps to its bounds."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from many_cases import each

from sld.chat.reply import Gathering

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner), max_leaves=8
)


def optional(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Return anything, or an object that has some of the fields."""
    return ANYTHING | st.fixed_dictionaries({}, optional=fields)


CALL = optional(id=ANYTHING, index=ANYTHING, function=optional(name=ANYTHING, arguments=ANYTHING))
MESSAGE = optional(
    content=ANYTHING, refusal=ANYTHING, tool_calls=ANYTHING | st.lists(CALL, max_size=3), function_call=CALL
)
CHOICE = optional(message=MESSAGE, delta=MESSAGE, finish_reason=ANYTHING)
USAGE = optional(prompt_tokens=ANYTHING, completion_tokens=ANYTHING, prompt_tokens_details=ANYTHING)
DOCUMENT = optional(choices=ANYTHING | st.lists(CHOICE, max_size=3), usage=USAGE, error=ANYTHING)


def gathered(data: bytes, *, streaming: bool, size: int = 7, max_bytes: int = 10_000) -> Gathering:
    gathering = Gathering(streaming=streaming, max_bytes=max_bytes)
    for start in range(0, len(data), size):
        gathering.feed(data[start : start + size])
        if gathering.full:
            break
    gathering.end()
    return gathering


def check(got: Gathering) -> None:
    assert isinstance(got.text, str) and len(got.text) <= 10_000
    assert all(isinstance(x, str) for call in got.tool_calls for x in (call.id, call.name, call.arguments))
    assert got.usage is None or (got.usage.tokens_in > 0 and 0 <= got.usage.tokens_cached <= got.usage.tokens_in)
    assert isinstance(got.finish, str) and isinstance(got.garbage, str) and isinstance(got.refusal, str)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(DOCUMENT, st.integers(0, 60))
def test_any_document_is_read(document: object, lost: int) -> None:
    data = json.dumps(document).encode()
    check(gathered(data, streaming=False))
    check(gathered(data[: max(0, len(data) - lost)], streaming=False))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(DOCUMENT, max_size=4), st.integers(0, 60))
def test_any_stream_is_read(documents: list[object], lost: int) -> None:
    data = b"".join(b"data: " + json.dumps(d).encode() + b"\n\n" for d in documents) + b"data: [DONE]\n\n"
    check(gathered(data, streaming=True))
    check(gathered(data[: max(0, len(data) - lost)], streaming=True))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read(data: bytes, streaming: bool) -> None:
    check(gathered(data, streaming=streaming))
    check(gathered(b'data: {"choices": [{"delta": {"content": "' + data, streaming=True))


@each("size", [1, 2, 3, 50])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    events = [{"choices": [{"delta": {"content": c}}]} for c in "aé→∑b"]
    data = b"".join(b"data: " + json.dumps(e, ensure_ascii=False).encode() + b"\r\n\r\n" for e in events)
    got = gathered(data + b"data: [DONE]", streaming=True, size=size)
    assert got.text == "aé→∑b" and not got.cut


@pytest.mark.slow
def test_endless_small_pieces_end_at_the_bound_quickly() -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": "x"}}
    event = b"data: " + json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode() + b"\n"
    gathering = Gathering(streaming=True, max_bytes=20_000)
    start = time.perf_counter()
    tracemalloc.start()
    try:
        while not gathering.full and time.perf_counter() - start < 30:
            gathering.feed(event * 500)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    gathering.end()
    assert gathering.cut and len(gathering.tool_calls[0].arguments) <= 21_000 and peak < 10e6


def test_a_line_without_end_is_not_kept() -> None:
    gathering = Gathering(streaming=True, max_bytes=50_000)
    for _ in range(100):
        gathering.feed(b"data: " + b"x" * 10_000)
        if gathering.full:
            break
    gathering.end()
    assert gathering.cut and not gathering.usable
