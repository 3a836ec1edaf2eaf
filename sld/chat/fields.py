"""Which fields of a request a server takes: learned from what it refuses, and remembered for the run.

Servers differ: reasoning models refuse `temperature` and want `max_completion_tokens`, old local ones know no schemas.
A refusal names the field, or at least speaks of it; where it says nothing, fields are left out one after the other.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from typing import Any

_WORDS = {  # how servers speak of a field
    "stream_options": r"stream[_ ]options|include_usage",
    "response_format": r"response[_ ]?format|json[_ ](schema|object|mode)|structured output|guided|grammar|strict",
    "max_completion_tokens": r"max_completion_tokens",
    "max_tokens": r"max_tokens",
    "temperature": r"temperature",
    "seed": r"\bseed\b",
    "tool_choice": r"tool_choice",
    "tools": r"\btools?\b|tool use|function[_ ]call",
    "stream": r"\bstream(ing)?\b",
}
# what servers take for a schema, the most exact first
_SCHEMA_STEPS = ("json_schema", "json_object", "none")
_UNNAMED = (
    "stream_options",
    "response_format",
    "seed",
    "temperature",
    "stream",
    "tool_choice",
    "tools",
)  # cheapest loss first
_LEAST_TOKENS = 256  # an answer has no room for formulas below it
# how servers say that prompt and answer do not fit together
_TOO_LONG = r"context (length|window|size)|maximum context|prompt is too long|too many tokens"


class Fields:
    """The fields that the server takes, as far as is known.

    Examples:
        >>> fields = Fields(max_tokens=100)
        >>> fields.learn(["temperature", "seed"], 400, "this model does not support temperature", "")
        True
        >>> fields.left_out
        ['temperature']
    """

    def __init__(self, *, max_tokens: int) -> None:
        """Assume that it takes all."""
        self.version = 0  # changes with every lesson
        self.max_tokens = max_tokens
        self._schema_step = 0
        self._tokens_name = "max_tokens"
        self._refused: set[str] = set()
        self._before_search: dict[str, Any] | None = None
        self._searched = False

    @property
    def left_out(self) -> list[str]:
        """What is not sent as asked, in words."""
        out = sorted(self._refused)
        if self._schema_step:
            out.append(f"json_schema (sent as {_SCHEMA_STEPS[self._schema_step]})")
        if self._tokens_name != "max_tokens":
            out.append(f"max_tokens (sent as {self._tokens_name or 'none'})")
        return out

    def body(self, request: Mapping[str, Any], *, stream: bool) -> dict[str, Any]:
        """Return the request as this server takes it."""
        settings = request["settings"]
        body: dict[str, Any] = {"model": request["model"], "messages": request["messages"]}
        if request["tools"]:
            body["tools"] = request["tools"]
            if request.get("must_call"):
                body["tool_choice"] = "required"
        body |= self._response_format(request["schema"])
        if self._tokens_name:
            body[self._tokens_name] = self.max_tokens
        for name in ("temperature", "seed"):
            if settings[name] is not None:
                body[name] = settings[name]
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        for name in self._refused:
            body.pop(name, None)
        for name, of in (("stream_options", "stream"), ("tool_choice", "tools")):
            if of not in body:
                body.pop(name, None)
        return body

    def _response_format(self, schema: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the field that asks for a schema, as far down the steps as this server takes it."""
        if schema is None:
            return {}
        match _SCHEMA_STEPS[self._schema_step]:
            case "json_schema":
                named = {"name": "reply", "schema": schema, "strict": True}
                return {"response_format": {"type": "json_schema", "json_schema": named}}
            case "json_object":
                return {"response_format": {"type": "json_object"}}
        return {}

    def learn(self, sent: Collection[str], code: int, message: str, param: str) -> bool:
        """Change what is sent after a refusal of `sent`; return whether there is something to try."""
        if code in (400, 422) and re.search(_TOO_LONG, message, re.IGNORECASE):
            return self._shorter(message)
        if code in (400, 404, 422, 500, 501) and (name := _named(sent, message, param)):
            # a server with an accident may mention anything; only what is about a field's support counts
            if code in (400, 422) or re.search(r"support|require|unknown|invalid|not allowed", message, re.IGNORECASE):
                return self._leave_out(name)
            return False
        return code in (400, 422) and not param.startswith("messages") and self._search(sent)

    def worked(self) -> None:
        """Keep what is left out: the server has taken a request."""
        self._before_search = None

    def _leave_out(self, name: str) -> bool:
        self.version += 1
        if name == "response_format":
            self._schema_step += 1
        elif name == "max_tokens":
            self._tokens_name = "max_completion_tokens"
        elif name == "max_completion_tokens":
            self._tokens_name = ""
        else:
            self._refused.add(name)
        return True

    def _shorter(self, message: str) -> bool:
        """Ask for a shorter answer where prompt and answer together do not fit."""
        if self.max_tokens // 2 < _LEAST_TOKENS or not re.search(r"max_|completion|requested", message):
            return False
        self.version += 1
        self.max_tokens //= 2
        return True

    def _search(self, sent: Collection[str]) -> bool:
        """Leave out the next field after a refusal that names none; back to the start when none was to blame."""
        if self._searched:
            return False
        if self._before_search is None:
            self._before_search = copy.deepcopy(self._state())
        for name in _UNNAMED:
            if name in sent:
                return self._leave_out(name)
        self.__dict__.update(self._before_search)
        self.version += 1
        self._searched = True
        return False

    def _state(self) -> dict[str, Any]:
        return {k: self.__dict__[k] for k in ("_schema_step", "_tokens_name", "_refused", "max_tokens")}


def _named(sent: Collection[str], message: str, param: str) -> str:
    """Return the field among those sent that the server speaks of first."""
    root = re.split(r"[.\[]", param)[0]
    if root in sent and root in _WORDS:
        return root
    places = {}
    for name, words in _WORDS.items():
        match = re.search(words, message, re.IGNORECASE)
        if match and name in sent:
            places[name] = match.start()
    return min(places, key=lambda name: places[name]) if places else ""
