"""The server: its tools, and what stands between a client's words and the verbs.

A tool checks what it was given, turns paths into absolute ones inside the folders that are open to the client, and
leaves the work to a worker. Every failure is one line that says what was wanted, what came, and the way out.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import ListRoots, Resolve
from mcp_types import CallToolResult, ListRootsResult, TextContent, Tool, ToolAnnotations
from pydantic import Field, ValidationError

from sld.core.errors import SldError, UsageError, suggest
from sld.core.version import __version__
from sld.mcp import arguments as a
from sld.mcp import results as r
from sld.mcp.roots import Roots
from sld.mcp.wording import for_agents, notes_for_agents
from sld.mcp.workers import Workers

INSTRUCTIONS = (
    "Scaling laws from tables of training runs. Begin with describe_table, which says what the columns are and what is "
    "doubtful in them. Then discover searches a formula that extrapolates (30 s or more), or fit takes one that you "
    "name (read_catalogue lists published ones). Both return a `law`, which predict, compare, allocate, diagnose and "
    "plan_next_runs take. Believe the verdict: of a weak law, or beyond what is supported, no decision should be made. "
    'Numbers that are not finite are the texts "inf", "-inf" and "nan".'
)
_HANDLE = "law:"  # how the name of a law begins that lasts as long as the server
_MOST_LAWS = 200  # of these; the oldest are forgotten

_READ = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITE = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)

Ctx: TypeAlias = Context[Any, Any]
Out: TypeAlias = Annotated[str | None, Field(description="File (.json) inside the open folders to keep the law in.")]


def _ask_for_roots(ctx: Ctx) -> ListRoots | None:
    """Ask a client for the folders that it grants, if it says that it has any."""
    capabilities = ctx.client_capabilities
    return ListRoots() if capabilities is not None and capabilities.roots is not None else None


Granted: TypeAlias = Annotated[ListRootsResult | None, Resolve(_ask_for_roots)]


class Server(MCPServer[Any]):
    """The SDK's server, with failures in one line and no word about its own functions."""

    desk: Desk

    async def list_tools(self) -> list[Tool]:
        """List the tools, with schemas that are short enough to stand in the context of a model."""
        found = await super().list_tools()
        return [tool.model_copy(update={"input_schema": slim(tool.input_schema)}) for tool in found]

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Ctx | None = None) -> Any:
        """Call a tool; whatever goes wrong is a result that says so."""
        tools = {tool.name: tool.input_schema for tool in await self.list_tools()}
        if name not in tools:
            return refused(suggest(name[:80], tools, kind="tool"))
        known = tools[name].get("properties", {})
        for given in arguments:
            if given not in known:
                return refused(f"{name}: {suggest(given[:80], known, kind='argument')}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            cause = error.__cause__
            if isinstance(cause, SldError):
                return refused(str(cause))
            if isinstance(cause, ValidationError):
                return refused(f"{name}: {_first_of(cause)}")
            raise


def slim(schema: Any) -> Any:
    """Return a schema of arguments without what a model need not read: titles, and that null means not given."""
    if isinstance(schema, list):
        return [slim(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: slim(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}
    arms = kept.get("anyOf", [])
    if {"type": "null"} in arms and kept.get("default", 0) is None:
        others = [arm for arm in arms if arm != {"type": "null"}]
        rest = {k: v for k, v in kept.items() if k not in ("anyOf", "default")}
        return {**others[0], **rest} if len(others) == 1 else {"anyOf": others, **rest}
    return kept


def refused(sentence: str) -> CallToolResult:
    """Return a failure as a client sees it."""
    text = " ".join(for_agents(sentence).split())
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _first_of(error: ValidationError) -> str:
    """Say what is wrong with the first bad argument: of kinds that it may have, with the one that came nearest."""
    errors = [e for e in error.errors() if e["loc"][:1] == error.errors()[0]["loc"][:1]]
    depth = max(len(e["loc"]) for e in errors)
    near = [e for e in errors if len(e["loc"]) == depth]
    first = near[0]
    alike = [e["msg"] for e in near if e["loc"][:-1] == first["loc"][:-1] and e.get("input") is first.get("input")]
    kinds = [text.removeprefix("Input should be ") for text in dict.fromkeys(alike[1:]) if "instance of" not in text]
    message = " or ".join([alike[0], *kinds])
    where = ".".join(str(part) for part in first["loc"] if not _is_kind(str(part)))
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such argument; the schema of the tool lists those that there are"
    came = repr(first.get("input"))
    came = came if len(came) <= 60 else came[:57] + "..."
    return f"{where}: {message}, got {came}"


def _is_kind(part: str) -> bool:
    """Whether a part of an error's place names a kind of value and no argument."""
    return "[" in part or part.startswith(("function-", "constrained-")) or part in ("str", "float", "int", "bool")


class Desk:
    """The tools. Each takes plain arguments and returns a text and a record of `results`."""

    def __init__(self, roots: Roots, workers: Workers, laws: Path) -> None:
        """Take the folders that are open, who works, and where laws are kept that nobody gave a file for."""
        self.roots, self.workers, self.laws = roots, workers, laws
        self._kept: dict[str, Path] = {}

    async def describe_table(
        self, ctx: Ctx, granted: Granted, data: a.Data, columns: a.Columns | None = None
    ) -> Annotated[CallToolResult, r.Described]:
        """Say what is in a table of runs or a task: columns, ranges, groups, and what is doubtful. Call this first."""
        return await self._work(
            ctx, "describe_table", data=self._data(data, self._open(granted)), columns=_said(columns)
        )

    async def list_tasks(self, ctx: Ctx) -> Annotated[CallToolResult, r.Tasks]:
        """List the tasks that go by a name: tables with a card and held-out rows to score laws on."""
        return await self._work(ctx, "list_tasks")

    async def fit(
        self,
        ctx: Ctx,
        granted: Granted,
        data: a.Data,
        law: Annotated[
            str, Field(description="Formula with names for its constants (E + A*N**-a), or the id of a published law.")
        ],
        columns: a.Columns | None = None,
        how: a.HowToFit | None = None,
        out: Out = None,
    ) -> Annotated[CallToolResult, r.Fitted]:
        """Fit the constants of one given formula to a table, with intervals. Takes well under a second."""
        roots = self._open(granted)
        save, name = self._place(roots, out)
        return await self._work(
            ctx,
            "fit",
            data=self._data(data, roots),
            law=law,
            columns=_said(columns),
            how={} if how is None else how.keywords(),
            save=save,
            name=name,
        )

    async def discover(
        self,
        ctx: Ctx,
        granted: Granted,
        data: a.Data,
        columns: a.Columns | None = None,
        search: a.Search | None = None,
        run_folder: Annotated[
            str | None,
            Field(description="Folder inside the open ones for report, plot and law; the same call goes on there."),
        ] = None,
    ) -> Annotated[CallToolResult, r.Discovered]:
        """Search the formula that extrapolates best. Takes its budget of time, reports progress, can be cancelled."""
        from sld.search.budget import Budget

        roots = self._open(granted)
        wanted = search or a.Search.model_validate({})
        seconds, limit = Budget.parse(wanted.budget).seconds, self.workers.limits.seconds
        if seconds is not None and seconds > limit / 2:
            way_out = "ask for less, or start the server with a larger --time-limit"
            raise UsageError(
                f"budget {wanted.budget} is more than half of the {limit:g} s that a call may take; {way_out}"
            )
        folder = None if run_folder is None else roots.target(run_folder, folder=True)
        save, name = self._place(roots, None) if folder is None else (str(Path(folder) / "law.json"), folder)
        return await self._work(
            ctx,
            "discover",
            data=self._data(data, roots),
            columns=_said(columns),
            search=wanted.said() | {"budget": wanted.budget, "workers": wanted.workers},
            folder=folder,
            save=save,
            name=name,
        )

    async def predict(
        self,
        ctx: Ctx,
        granted: Granted,
        law: a.Law,
        points: a.Data,
        level: Annotated[float | None, Field(ge=0.5, lt=1, description="Share that an interval holds; 0.9.")] = None,
        interval: Annotated[
            Literal["run", "law"], Field(description="run: where a new run will be; law: where the curve is.")
        ] = "run",
        by_formula: Annotated[bool, Field(description="Predict by the law's formula alone.")] = False,
        out: Annotated[str | None, Field(description="CSV file inside the open folders for all predictions.")] = None,
    ) -> Annotated[CallToolResult, r.Predicted]:
        """Predict runs that were not made, with intervals and a warning where the law is not supported."""
        roots = self._open(granted)
        return await self._work(
            ctx,
            "predict",
            law=self._law(law, roots),
            points=self._data(points, roots),
            level=level,
            interval=interval,
            by_formula=by_formula,
            target=None if out is None else roots.target(out),
        )

    async def compare(
        self,
        ctx: Ctx,
        granted: Granted,
        laws: Annotated[
            dict[str, a.Law] | None,
            Field(description='Name to law, two or more, e.g. {"dense": "law:1f2e", "published": "chinchilla"}.'),
        ] = None,
        data: Annotated[
            a.Data | None, Field(description="Instead of laws: one table, with `by` for the column that tells apart.")
        ] = None,
        columns: a.Columns | None = None,
        how: a.HowToCompare | None = None,
    ) -> Annotated[CallToolResult, r.Compared]:
        """Say which of several laws or recipes is better, from which compute on, and worth how much compute."""
        roots = self._open(granted)
        if (laws is None) == (data is None):
            raise UsageError("compare wants laws (a name for each), or data with how.by: one of the two")
        sources: list[Any] = [self._law(law, roots) for law in (laws or {}).values()]
        if data is not None:
            sources = [self._data(data, roots)]
        return await self._work(
            ctx,
            "compare",
            laws=sources,
            names=list(laws or {}),
            columns=_said(columns),
            how={} if how is None else how.said(),
        )

    async def allocate(
        self,
        ctx: Ctx,
        granted: Granted,
        law: a.Law,
        budgets: Annotated[
            list[float] | None, Field(max_length=50, description="What a run may cost, in FLOP unless cost says else.")
        ] = None,
        asked: a.WhatToTrain | None = None,
    ) -> Annotated[CallToolResult, r.Allocated]:
        """Say what to train for a budget: model size, tokens and settings of least loss, with intervals."""
        return await self._work(
            ctx, "allocate", law=self._law(law, self._open(granted)), budgets=budgets, asked=_said(asked)
        )

    async def plan_next_runs(
        self,
        ctx: Ctx,
        granted: Granted,
        law: a.Law,
        budget: Annotated[float, Field(gt=0, description="What the runs may cost together, in FLOP unless cost is.")],
        data: Annotated[a.Data | None, Field(description="The runs that the law was fitted to.")] = None,
        columns: a.Columns | None = None,
        asked: a.WhatToLearn | None = None,
    ) -> Annotated[CallToolResult, r.Planned]:
        """Say which runs to pay for next, in order, and what each does to the interval of what is asked."""
        roots = self._open(granted)
        wanted = _said(asked)
        if "against" in wanted:
            wanted["against"] = self._law(wanted["against"], roots)
        return await self._work(
            ctx,
            "plan_next_runs",
            law=self._law(law, roots),
            budget=budget,
            rows=None if data is None else self._data(data, roots),
            columns=_said(columns),
            asked=wanted,
        )

    async def count_parameters(
        self,
        ctx: Ctx,
        granted: Granted,
        config: Annotated[
            str | dict[str, Any], Field(description="A model's config.json (a file or its content), or its folder.")
        ],
        sequence: Annotated[int | None, Field(ge=1, description="Tokens of a sequence.")] = None,
        approximate: Annotated[bool, Field(description="Count an unknown family as a Llama of these sizes.")] = False,
    ) -> Annotated[CallToolResult, r.Counted]:
        """Count a model's parameters by every convention, and the FLOPs of a token, from its configuration."""
        given = self._open(granted).source(config) if isinstance(config, str) else config
        return await self._work(ctx, "count_parameters", config=given, sequence=sequence, approximate=approximate)

    async def diagnose(
        self,
        ctx: Ctx,
        granted: Granted,
        law: a.Law,
        data: a.Data,
        at: Annotated[dict[str, float] | None, Field(description="The point in question, variable to value.")] = None,
        target: Annotated[str | None, Field(description="Column of the target, where there are several.")] = None,
        group: Annotated[str | None, Field(description="Group of the point.")] = None,
    ) -> Annotated[CallToolResult, r.Diagnosed]:
        """Say what the runs behind a law say against it: rungs missed, runs that move the answer, weak designs."""
        roots = self._open(granted)
        asked = {"at": at, "target": target, "group": group}
        return await self._work(
            ctx,
            "diagnose",
            law=self._law(law, roots),
            data=self._data(data, roots),
            asked={name: value for name, value in asked.items() if value is not None},
        )

    async def read_catalogue(
        self,
        ctx: Ctx,
        law: Annotated[str | None, Field(description="Id of one law, for everything that is known of it.")] = None,
        category: Annotated[str | None, Field(description="Only laws of this category.")] = None,
    ) -> Annotated[CallToolResult, r.Catalogue]:
        """Read the catalogue of published scaling laws: formulas, constants, sources."""
        return await self._work(ctx, "read_catalogue", law=law, category=category)

    async def submit(
        self,
        ctx: Ctx,
        granted: Granted,
        law: a.Law,
        task: Annotated[str, Field(description="Name of the task whose held-out rows score it.")],
        name: Annotated[str, Field(max_length=80, description="What stands in the table.")],
        board: Annotated[str, Field(description="Folder of a leaderboard inside the open folders.")],
        author: str = "",
        note: str = "",
    ) -> Annotated[CallToolResult, r.Entered]:
        """Score a law on a task's held-out rows and write it to a leaderboard."""
        roots = self._open(granted)
        return await self._work(
            ctx,
            "submit",
            law=self._law(law, roots),
            task=roots.source(task),
            name=name,
            board=roots.target(board, folder=True),
            author=author,
            note=note,
        )

    async def _work(self, ctx: Ctx, verb: str, **given: Any) -> CallToolResult:
        async def report(share: float, message: str) -> None:
            await ctx.report_progress(share, 1.0, message)

        text, data = await self.workers.call(verb, given, report)
        said = TextContent(type="text", text=for_agents(text))
        return CallToolResult(content=[said], structured_content=notes_for_agents(data))

    def _open(self, granted: ListRootsResult | None) -> Roots:
        """Return the folders that are open to this client."""
        if granted is None or not granted.roots:  # a client that has no folder says nothing of files
            return self.roots
        folders = [_path_of(str(root.uri)) for root in granted.roots]
        return self.roots.within([f for f in folders if f is not None])

    def _data(self, data: str | dict[str, Any], roots: Roots) -> Any:
        a.check_size(data)
        return roots.source(data) if isinstance(data, str) else data

    def _law(self, law: str, roots: Roots) -> str:
        if not law.startswith(_HANDLE):
            return roots.source(law)
        if law not in self._kept:
            raise UsageError(
                f"no law {law[:40]!r}: such names last as long as the server, and the {_MOST_LAWS} newest of them; "
                "fit again, or say where to keep it (out)"
            )
        return str(self._kept[law])

    def _place(self, roots: Roots, out: str | None) -> tuple[str, str]:
        """Return the file that a law is written to, and what later calls take for it."""
        if out is not None:
            if not out.lower().endswith(".json"):
                raise UsageError(f"out is the file of a law and ends with .json, got {out[:80]!r}")
            path = roots.target(out)
            return path, path
        # a name that nobody else can guess: sessions do not see each other's laws
        name = f"{_HANDLE}{secrets.token_hex(6)}"
        path = str(self.laws / f"{name.removeprefix(_HANDLE)}.json")
        self._kept[name] = Path(path)
        while len(self._kept) > _MOST_LAWS:
            self._kept.pop(next(iter(self._kept))).unlink(missing_ok=True)
        return path, name


def _said(record: Any) -> dict[str, Any]:
    return {} if record is None else dict(record.said())


def _path_of(uri: str) -> Path | None:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return None
    return Path(url2pathname(unquote(parts.path)))


def tools(desk: Desk) -> Mapping[str, tuple[Callable[..., Any], ToolAnnotations]]:
    """Return the tools by name, each with what it may do to files."""
    reading = (
        desk.describe_table, desk.list_tasks, desk.read_catalogue, desk.count_parameters, desk.allocate, desk.compare,
        desk.plan_next_runs, desk.diagnose,
    )  # fmt: skip
    writing = (desk.fit, desk.discover, desk.predict, desk.submit)
    return {f.__name__: (f, _READ) for f in reading} | {f.__name__: (f, _WRITE) for f in writing}


def make_server(desk: Desk) -> Server:
    """Return the server with all its tools."""
    server = Server(
        name="sld", title="Scaling laws", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING",
        subscriptions=False,
    )  # fmt: skip
    server.desk = desk
    for function, may in tools(desk).values():
        server.add_tool(function, annotations=may)
    return server


def laws_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder of the server's own, which goes with it."""
    return tempfile.TemporaryDirectory(prefix="sld-mcp-", ignore_cleanup_errors=True)
