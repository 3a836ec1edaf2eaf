"""What public functions are given against what they declare: keywords by name, values by type.

Python does not look at annotations. A name where a list of names is meant would be read letter by letter, and a number
where a path is meant fail deep inside a library. What is as good is taken, and made plain before the function sees it:
a number of numpy or torch, or as text, becomes Python's; a whole float an int, where such is meant; an index or a
generator of names, or a single name, a list; a Series a mapping. Whether a value of the right type can be used, a
function says itself.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from inspect import Parameter, signature
from operator import index
from types import MappingProxyType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, Unpack, get_args, get_origin

from sld.core.errors import UsageError, suggest

P = ParamSpec("P")
T = TypeVar("T")

_LISTS = (Sequence, Collection, Iterable, list, set, frozenset, tuple)
_CONTAINERS = (list, tuple, set, frozenset)
_PLAIN = (str, bytes, bool, int, float, complex, dict, *_CONTAINERS)
_SHOWN = 60  # characters of a value
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", type(None): "None"}
_PLURALS = {int: "whole numbers", float: "numbers"}


class Misfit(ValueError):
    """A value is none of a type."""


def checked(
    *, renamed: Mapping[str, str] = MappingProxyType({}), explained: Collection[str] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a public function refuse what it does not take: a keyword that it has not, a value of another type.

    The name nearest to a keyword is given, and what a value should be. A TypedDict that stands for further keywords
    (`**options: Unpack[SearchOptions]`) counts as they do. None for what need not be given counts as not given. Missing
    arguments are left to Python.

    Args:
        renamed: Keywords of earlier versions, and what they are called now.
        explained: What the function itself says more about than its type.

    Raises:
        UsageError: From the function that is returned.
    """

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        name = f"sld.{function.__name__}"
        known = cache(lambda: _Declared.of(function))

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            declared = known()
            taken: dict[str, Any] = {}
            for given, value in (*zip(declared.by_place, args, strict=False), *kwargs.items()):
                if given in renamed:
                    raise UsageError(f"{name}: {given} is now {renamed[given]}")
                hint = declared.hint_of(given)
                if hint is None:
                    listing = f"help({name}) lists all"
                    said = suggest(given, declared.names, kind="keyword", listing=listing)
                    raise UsageError(f"{name}: {said}")
                try:
                    taken[given] = value if given in explained else fitted(value, hint)
                except Misfit as error:
                    if value is None and given not in declared.needed:
                        continue
                    raise UsageError(f"{name}: {given} must be {error}") from None
                if given == "seed" and isinstance(value, int) and value < 0:
                    raise UsageError(f"{name}: seed must be 0 or more, got {value}")
            by_place = [taken.get(p, declared.defaults.get(p)) for p, _ in zip(declared.by_place, args, strict=False)]
            rest = {given: taken[given] for given in kwargs if given in taken}
            return function(*by_place, *args[len(by_place) :], **rest)  # type: ignore[arg-type]

        return call

    return decorated


@dataclass(frozen=True)
class _Declared:
    """What a function says of its arguments.

    Attributes:
        by_place: Names of those that may be given without a name.
        own: Name to type.
        further: The same of what a TypedDict adds; None where any keyword is taken.
        defaults: Of those that have one.
    """

    by_place: tuple[str, ...]
    own: dict[str, Any]
    further: dict[str, Any] | None
    defaults: dict[str, Any]

    @staticmethod
    def of(function: Callable[..., Any]) -> _Declared:
        """Read the annotations of a function."""
        hints, parameters = hints_of(function), list(signature(function).parameters.values())
        options = [hints[p.name] for p in parameters if p.kind is Parameter.VAR_KEYWORD]
        named = [p for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
        records = [get_args(hint)[0] for hint in options if get_origin(hint) is Unpack]
        further = {k: v for record in records for k, v in hints_of(record).items()}
        return _Declared(
            tuple(p.name for p in named if p.kind is Parameter.POSITIONAL_OR_KEYWORD),
            {p.name: hints.get(p.name, Any) for p in named},
            None if len(records) < len(options) else further,
            {p.name: p.default for p in named if p.default is not Parameter.empty},
        )

    @property
    def needed(self) -> set[str]:
        """Names of those without a default."""
        return set(self.own) - set(self.defaults)

    @property
    def names(self) -> list[str]:
        """All names."""
        return [*self.own, *sorted(self.further or ())]

    def hint_of(self, name: str) -> Any:
        """Return the type of an argument; None where there is no such."""
        return self.own.get(name, Any if self.further is None else self.further.get(name))


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


def fitted(value: Any, hint: Any) -> Any:
    """Return a value as a type has it.

    Raises:
        Misfit: It is none; the message is "WHAT IS WANTED, got VALUE".
    """
    for plainly in (True, False):  # 1 is a number before it is true
        try:
            return _as(value, hint, plainly)
        except Misfit:
            continue
    raise Misfit(f"{_words(hint)}, got {_shown(value)}")


def _as(value: Any, hint: Any, plainly: bool) -> Any:
    """Return a value as a type has it; as it is, if `plainly`."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for one in inner:
            try:
                return _as(value, one, plainly)
            except Misfit:
                continue
        raise Misfit
    if origin is Literal:  # which of them, the function says better
        return _as(value, Union[tuple({type(one) for one in inner})], plainly)  # noqa: UP007 - made of a tuple
    if hint in _WORDS:
        return _plain(value, hint, plainly)
    kind: Any = origin or hint
    if not isinstance(kind, type) or kind in (Any, object):
        return value
    if kind in _LISTS:
        return _listed(value, kind, inner, plainly)
    if kind is Mapping or kind is dict:
        return _mapped(value, inner or (Any, Any), plainly)
    if kind is Callable:
        good = callable(value)
    elif issubclass(kind, os.PathLike):
        good = isinstance(value, os.PathLike)
    elif kind.__name__ == "ndarray":  # numpy is not imported for this
        good = not isinstance(value, str | bytes | Mapping)
    else:  # a class of ours, or of a library: what takes it knows what it can be, but it is none of these
        good = not isinstance(value, _PLAIN)
    if not good:
        raise Misfit
    return value


def _plain(value: Any, hint: type, plainly: bool) -> Any:
    if type(value) is hint or (hint is float and type(value) is int):
        return value
    single = getattr(value, "ndim", 0) == 0
    truth = isinstance(value, bool) or (single and getattr(getattr(value, "dtype", None), "kind", "") == "b")
    if hint is str and isinstance(value, str):
        return value
    if plainly or not single or hint in (str, type(None)) or (truth and hint is not bool):
        raise Misfit
    try:
        if hint is bool:
            if truth or value in (0, 1):
                return bool(value)
        elif hint is float:
            if isinstance(value, str) or hasattr(value, "__float__"):
                return float(value)
        elif hasattr(value, "__index__") and getattr(getattr(value, "dtype", None), "kind", "i") in "iu":
            return index(value)
        elif float(value).is_integer():
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise Misfit


def _listed(value: Any, kind: type, inner: Sequence[Any], plainly: bool) -> Any:
    """Return a container with elements as they should be; the same one where all are."""
    shaped = kind is tuple and bool(inner) and Ellipsis not in inner
    if isinstance(value, str) and not plainly and str in inner and not shaped:  # one name where several may stand
        return [value]
    if not isinstance(value, _CONTAINERS):
        iterable = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
        if plainly or not iterable or getattr(value, "ndim", 1) != 1:
            raise Misfit
        value = value.tolist() if hasattr(value, "tolist") else list(value)
    if shaped:
        if len(value) != len(inner):
            raise Misfit
        hints: Sequence[Any] = inner
    else:
        hints = [inner[0] if inner else Any] * len(value)
    found = [_either(v, h, plainly) for v, h in zip(value, hints, strict=True)]
    return value if all(a is b for a, b in zip(found, value, strict=True)) else type(value)(found)


def _mapped(value: Any, inner: Sequence[Any], plainly: bool) -> Any:
    if not isinstance(value, Mapping):
        if plainly or not hasattr(value, "to_dict"):
            raise Misfit
        value = value.to_dict("list") if getattr(value, "ndim", 1) == 2 else value.to_dict()
    found = {_either(k, inner[0], plainly): _either(v, inner[1], plainly) for k, v in value.items()}
    same = all(a is b and value[a] is v for (a, v), b in zip(found.items(), value, strict=True))
    return value if same else found


def _either(value: Any, hint: Any, plainly: bool) -> Any:
    """Return an element as it should be; plainly where that goes, also in a container that had to be changed."""
    if not plainly:
        try:
            return _as(value, hint, True)
        except Misfit:
            pass
    return _as(value, hint, plainly)


def _shown(value: object) -> str:
    if getattr(value, "ndim", 0) or isinstance(value, type):
        return f"a {type(value).__name__}" if not isinstance(value, type) else value.__name__
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - whatever the class of somebody else raises
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _words(hint: Any, *, plural: bool = False) -> str:
    """Return a type in words. That something may be left out need not be said to who gives it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(one, plural=plural) for one in inner if one is not type(None)))
    if origin is Literal:
        return " or ".join(repr(one) for one in inner)
    if hint in _WORDS:
        return _PLURALS.get(hint, _WORDS[hint]) if plural else _WORDS[hint]
    kind: Any = origin or hint
    a, many = ("", "s") if plural else ("a ", "")
    if kind is tuple and inner and Ellipsis not in inner:
        return f"{a}tuple{many} ({', '.join(_words(one) for one in inner)})"
    if kind in _LISTS:
        known = bool(inner) and inner[0] not in (Any, object)
        return f"{a}list{many} of {_words(inner[0], plural=True)}" if known else f"{a}list{many}"
    if kind is Mapping or kind is dict:
        return f"{a}mapping{many} of {_words(inner[0])} to {_words(inner[1])}" if inner else f"{a}mapping{many}"
    if kind is Callable:
        return f"{a}function{many}"
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return f"{a}path{many}"
    return f"{a}{getattr(kind, '__name__', kind)}{many}"
