"""What public functions are given against what they declare: keywords by name, values by type.

Python does not look at annotations. A name where a list of names is meant would be read letter by letter, and a number
where a path is meant fail deep inside a library. Kind where that does no harm: numbers of numpy are numbers, and any
container of the right things is a list of them. Whether a value of the right type can be used, a function says itself.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from operator import index
from types import MappingProxyType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin

from sld.core.errors import UsageError, suggest

P = ParamSpec("P")
T = TypeVar("T")

_LISTS = (Sequence, Collection, Iterable, list, set, frozenset, tuple)
_LOOKED_AT = (list, tuple, set, frozenset)  # others may be endless, or read only once
_MOST = 1000  # elements of a list, or entries of a mapping, that are looked at
_SHOWN = 60  # characters of a value
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", type(None): "None"}
_PLURALS = {bool: "True or False", int: "whole numbers", float: "numbers", str: "text"}


def checked(
    *, renamed: Mapping[str, str] = MappingProxyType({}), explained: Collection[str] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a public function refuse what it does not take: a keyword that it has not, a value of another type.

    The name nearest to a keyword is given, and what a value should be. A TypedDict that stands for further keywords
    (`**options: Unpack[SearchOptions]`) counts as they do. Missing arguments are left to Python.

    Args:
        renamed: Keywords of earlier versions, and what they are called now.
        explained: What the function itself says more about than its type.

    Raises:
        UsageError: From the function that is returned.
    """

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        name = f"sld.{function.__name__}"

        @cache
        def known() -> tuple[tuple[str, ...], Mapping[str, Any], Mapping[str, Any] | None]:
            hints = hints_of(function)
            parameters = signature(function).parameters.values()
            further = [hints.pop(p.name) for p in parameters if p.kind is Parameter.VAR_KEYWORD]
            options = next((get_args(f)[0] for f in further if get_origin(f) is Unpack), None)
            by_place = tuple(p.name for p in parameters if p.kind is Parameter.POSITIONAL_OR_KEYWORD)
            anything = further and options is None
            return by_place, hints, None if anything else {} if options is None else hints_of(options)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            by_place, own, further = known()
            for given, value in (*zip(by_place, args, strict=False), *kwargs.items()):
                if given in renamed:
                    raise UsageError(f"{name}: {given} is now {renamed[given]}")
                hint = own.get(given, Any if further is None else further.get(given))
                if hint is None:
                    names = [*(p for p in own if p not in (*by_place, "return")), *sorted(further or ())]
                    listing = f"help({name}) lists all"
                    raise UsageError(f"{name}: {suggest(given, names, kind='keyword', listing=listing)}")
                if given not in explained and (said := misfit(value, hint)) is not None:
                    raise UsageError(f"{name}: {given} must be {said}")
            return function(*args, **kwargs)

        return call

    return decorated


class _StandIn(type):
    """Type of a name that only type checkers import; what is asked of it is such a name again."""

    def __getattr__(cls, name: str) -> _StandIn:
        return _StandIn(name, (), {})


def hints_of(described: Callable[..., Any] | type) -> dict[str, Any]:
    """Return the declared types of a function or TypedDict; a stand-in for what only type checkers import."""
    unknown: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(described, localns=unknown)
        except NameError as error:
            if error.name is None or error.name in unknown:
                raise
            unknown[error.name] = _StandIn(error.name, (), {})


def misfit(value: object, hint: Any) -> str | None:
    """Return "WHAT IS WANTED, got VALUE" where a value is none of a type; None where it is, or nobody can tell."""
    if _fits(value, hint):
        return None
    text = repr(value)
    return f"{_words(hint)}, got {text if len(text) <= _SHOWN else text[: _SHOWN - 3] + '...'}"


def _fits(value: object, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:  # which of them the function says better
        return isinstance(value, tuple({type(one) for one in inner}))
    if hint in _WORDS:
        return _is_plain(value, hint)
    kind: Any = origin or hint
    if not isinstance(kind, type):
        return True
    if kind is tuple and Ellipsis not in inner and inner:
        return _is_list(value) and isinstance(value, Collection) and _all_fit(value, inner)
    if kind in _LISTS or _is_array(kind):
        element = inner[0] if inner and kind in _LISTS else Any
        return _is_list(value) and (not isinstance(value, _LOOKED_AT) or all(_fits(v, element) for v in _some(value)))
    if kind is Mapping or kind is dict:
        key, item = inner or (Any, Any)
        if not isinstance(value, Mapping):
            return hasattr(value, "keys") and hasattr(value, "__getitem__")  # a DataFrame, a Series
        return all(_fits(k, key) and _fits(v, item) for k, v in _some(value.items()))
    if kind is Callable:
        return callable(value)
    if issubclass(kind, os.PathLike):
        return isinstance(value, os.PathLike)
    return True  # of a class of ours, or of a library: what takes it knows better what it can be


def _is_plain(value: object, hint: type) -> bool:
    if isinstance(value, str) or hint is str:
        return hint is str and isinstance(value, str)
    if hint is type(None):
        return value is None
    single = getattr(value, "ndim", 0) == 0
    truth = isinstance(value, bool) or (single and getattr(getattr(value, "dtype", None), "kind", "") == "b")
    if hint is bool:
        return truth
    if hint is float:
        return single and not truth and hasattr(value, "__float__")
    try:
        index(value)  # type: ignore[arg-type]  # what is none raises
    except TypeError:
        return False
    return single and not truth


def _is_array(kind: type) -> bool:
    """Tell whether a type is numpy's array, which is not imported for this."""
    return kind.__name__ == "ndarray"


def _is_list(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _all_fit(values: Collection[object], hints: Sequence[Any]) -> bool:
    return len(values) == len(hints) and all(_fits(v, h) for v, h in zip(values, hints, strict=True))


def _some(values: Iterable[Any]) -> list[Any]:
    return [value for value, _ in zip(values, range(_MOST), strict=False)]


def _words(hint: Any, *, plural: bool = False) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        said = list(dict.fromkeys(_words(one, plural=plural) for one in inner))
        return " or ".join([s for s in said if s != "None"] + [s for s in said if s == "None"])
    if origin is Literal:
        return " or ".join(repr(one) for one in inner)
    if hint in _WORDS:
        return _PLURALS.get(hint, _WORDS[hint]) if plural else _WORDS[hint]
    kind: Any = origin or hint
    many = "s" if plural else ""
    a = "" if plural else "a "
    if kind is tuple and Ellipsis not in inner and inner:
        return f"{a}tuple{many} ({', '.join(_words(one) for one in inner)})"
    if kind in _LISTS or _is_array(kind):
        of = f" of {_words(inner[0], plural=True)}" if inner and kind in _LISTS else ""
        return f"{a}list{many}{of}"
    if kind is Mapping or kind is dict:
        of = f" of {_words(inner[0])} to {_words(inner[1])}" if inner else ""
        return f"{a}mapping{many}{of}"
    if kind is Callable:
        return f"{a}function{many}"
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return f"{a}path{many}"
    return str(getattr(kind, "__name__", kind))
