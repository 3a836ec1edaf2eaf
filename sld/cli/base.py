"""What all commands are made with: help that stays readable, examples, `--json`, the user's data folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import reduce, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

_WHOLE_SENTENCE = 1000  # letters; longer than any first sentence of a command


class _HelpFormatter(typer.Context.formatter_class):  # type: ignore[misc,valid-type]
    """Help that stays readable where the terminal is narrow: descriptions go below their option."""

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        # arguments come with their Python type, which tells a user nothing
        shown = [(first.partition(" <")[0], second) for first, second in rows]
        super().write_dl(shown, col_max if self.width > 70 else 6, col_spacing)


def _with_own_help(ctx: Any) -> None:
    import shutil

    ctx.formatter_class = _HelpFormatter
    ctx.terminal_width = min(shutil.get_terminal_size().columns, 100) - 2


class Command(TyperCommand):
    """A command with our help."""

    def get_help(self, ctx: Any) -> str:
        """Return the help, as wide as the terminal."""
        _with_own_help(ctx)
        return super().get_help(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words after the command's name; an argument's needs no braces."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


class Group(TyperGroup):
    """A group of commands with our help, which says the whole first sentence of each.

    Attributes:
        headings: Heading to the commands below it, for the help; under one with none stands what is named nowhere else.
    """

    headings: ClassVar[Mapping[str, Sequence[str]]] = {"Commands": ()}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return [name for names in self._by_heading(ctx).values() for name in names]

    def _by_heading(self, ctx: Any) -> dict[str, list[str]]:
        there = super().list_commands(ctx)
        others = [name for name in there if not any(name in names for names in self.headings.values())]
        by_heading = {heading: names or others for heading, names in self.headings.items()}
        return {heading: [name for name in names if name in there] for heading, names in by_heading.items()}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands; a sentence that is too long goes on in the next line."""
        by_heading = self._by_heading(ctx)
        width = max(len(name) for names in by_heading.values() for name in names)
        for heading, names in by_heading.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            shown = [(name.ljust(width), it) for name, it in commands if it and not it.hidden]
            if not shown:
                continue
            with formatter.section(heading):
                formatter.write_dl([(name, it.get_short_help_str(_WHOLE_SENTENCE)) for name, it in shown])

    def get_help(self, ctx: Any) -> str:
        """Return the help, as wide as the terminal."""
        _with_own_help(ctx)
        return super().get_help(ctx)


# command and option of earlier versions: what is typed instead
RENAMED = {
    ("sld compare", "--at"): "--given lr=3e-4",
    ("sld compare", "--setting"): "--given D/N=20",
    ("sld sensitivity", "--point"): "--at N=1e11,D=2e12",
    ("sld worth", "--run"): "--at N=1e9,P=4",
}

PLAIN: dict[str, Any] = {"rich_markup_mode": None, "add_completion": False, "pretty_exceptions_enable": False}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def command(group: typer.Typer, name: str, *lines: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that makes a function a command of `group`, with examples.

    A parameter whose type is a dataclass stands for all the options that are the fields of the class.
    """
    register = group.command(name, cls=Command, epilog=examples(*lines))

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        register(_spread(function))
        return function

    return decorate


def _spread(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with the fields of its records as parameters of its own, where the records stood."""
    types = {name: _named(hint, function.__globals__) for name, hint in function.__annotations__.items()}
    records: dict[str, Any] = {name: type_ for name, type_ in types.items() if is_dataclass(type_)}
    if not records:
        return function
    hints = get_type_hints(function, include_extras=True)
    parameters: list[Parameter] = []
    for given in signature(function).parameters.values():
        if given.name not in records:
            parameters.append(given.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[given.name]))
            continue
        options = get_type_hints(records[given.name], include_extras=True)
        parameters += [
            Parameter(
                option.name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if option.default is MISSING else option.default,
                annotation=options[option.name],
            )
            for option in fields(records[given.name])
        ]

    @wraps(function)
    def gathered(**values: Any) -> None:
        for name, record in records.items():
            values[name] = record(**{option.name: values.pop(option.name) for option in fields(record)})
        function(**values)

    # both: typer asks for the signature, and for the types of what it cannot read there
    gathered.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    gathered.__annotations__ = {p.name: p.annotation for p in parameters}
    return gathered


def _named(hint: object, names: Mapping[str, Any]) -> object:
    """Return what a plain name stands for: a record is one, and to look at all other hints would slow each start."""
    if not isinstance(hint, str):
        return hint
    first, *rest = hint.split(".")
    return reduce(getattr, rest, names.get(first)) if "[" not in hint else None


def json_wanted(ctx: typer.Context, here: bool) -> bool:
    """Whether --json stood after the command or after its group."""
    return here or bool(ctx.parent and ctx.parent.obj)


def data_folder() -> Path | None:
    """Return where a user's own data are: $SLD_DATA, $XDG_DATA_HOME/sld or ~/.local/share/sld; None without a home."""
    import os

    if own := os.environ.get("SLD_DATA"):
        return Path(own)
    shared = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(shared):  # its specification says to ignore others
        return Path(shared) / "sld"
    try:
        return Path.home() / ".local" / "share" / "sld"
    except RuntimeError:  # no home folder
        return None


def tasks_folder() -> Path | None:
    """Return where fetched tasks are; None without a home."""
    folder = data_folder()
    return None if folder is None else folder / "tasks"
