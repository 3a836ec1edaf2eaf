"""What a server says when it refuses reaches the user as its own sentence, on one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from many_cases import each

from sld.chat.refusals import reason_of

PAGE = """<!DOCTYPE html>
<html><head><title>502 Bad Gateway</title><style>h1 {color: red}</style></head>
<body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx/1.18 &amp; co</center></body></html>"""


@each(
    ("body", "reason"),
    [
        ({"error": {"message": "model not found", "type": "error"}}, "model not found"),
        ({"error": "model 'x' not found, try pulling it first"}, "model 'x' not found, try pulling it first"),
        ({"object": "error", "message": "too long", "code": 400}, "too long"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "messages", 0], "msg": "field required"}]}, "messages.0: field required"),
        ([{"error": {"code": 400, "message": "API key not valid"}}], "API key not valid"),
        ({"errors": [{"message": "quota"}, {"message": "quota"}]}, "quota"),
        ({"error": {"message": json.dumps({"error": {"message": "the inner one"}})}}, "the inner one"),
        ({"error": {"type": "overloaded_error", "message": ""}}, "overloaded_error"),
        ({"error": "invalid_token", "error_description": "the token expired"}, "the token expired"),
        ("model is overloaded", "model is overloaded"),
        ('{"error": {"message": "as text"}}', "as text"),
        ('{"error": {"mess', '{"error": {"mess'),
        (PAGE, "a web page, '502 Bad Gateway nginx/1.18 & co'"),
        ("<html><title>Access denied</title><p>Blocked", "a web page, 'Access denied: Blocked'"),
        ("<html></html>", "a web page"),
        (None, ""),
        ("", ""),
        ({}, ""),
        ([], ""),
        ({"code": 400}, ""),
        ("<not a page", "<not a page"),
    ],
)
def test_the_reason_is_found(body: Any, reason: str) -> None:
    assert reason_of(body) == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "loc", "msg", "code"]), inner, max_size=4)
    ),
)


@pytest.mark.slow
@given(JSON)
def test_any_body_is_read(body: Any) -> None:
    assert isinstance(reason_of(body), str)


def test_deep_bodies_end() -> None:
    nested: Any = "reason"
    for _ in range(10_000):
        nested = {"error": nested}
    assert reason_of(nested) == ""
    assert reason_of("[" * 30_000) != ""
