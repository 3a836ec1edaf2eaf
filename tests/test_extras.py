"""Optional extras: each says in one line what to install where it is absent, and works where it is there."""

from __future__ import annotations

import importlib
import importlib.util
import io
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sld
from sld.board.suites.hub import need_pyarrow
from sld.chat.settings import ChatSettings
from sld.chat.settings import check as check_chat
from sld.core.errors import SldError, UsageError
from sld.search.proposing.engines import ENGINES, check_installed

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OF_THE_PROJECT = ("dev", "docs", "all")  # for who works on it, and all that are for users
N = np.geomspace(1e6, 1e9, 8)
COLUMNS = {"N": N, "loss": 1.7 + 400 * N**-0.34}


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(COLUMNS), buffer)
    return buffer.getvalue()


def xlsx() -> bytes:
    import openpyxl

    book, buffer = openpyxl.Workbook(), io.BytesIO()
    sheet = book.active
    assert sheet is not None
    for row in (list(COLUMNS), *zip(*(values.tolist() for values in COLUMNS.values()), strict=True)):
        sheet.append(row)
    book.save(buffer)
    return buffer.getvalue()


def estimator(_: Path) -> None:
    from sld.api.regressor import ScalingLawRegressor

    model = ScalingLawRegressor("E + A*x0**-a").fit(N[:, None], COLUMNS["loss"])
    assert np.isfinite(model.predict(N[:, None])).all()


def agents(_: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("sld.mcp")]:
        sys.modules.pop(name)  # what was imported before the package went
    from sld.cli.commands.mcp import mcp

    mcp(json=True)  # its tools, without serving


def cluster(_: Path) -> None:
    from sld.search.judging.cluster import Cluster

    Cluster("dask://127.0.0.1:1")  # nobody is called before the context begins


def tracker(_: Path) -> None:
    from sld.data.importers import wandb_api

    with pytest.MonkeyPatch.context() as patch:
        # nobody is asked: without a key the client gives up before it calls a server
        patch.setattr(wandb_api, "_refusal", lambda said, what: SldError(said))
        for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(_ / "netrc"))
        with pytest.raises(SldError, match=r"No API key|pip install") as caught:
            wandb_api.listed("wandb://entity/project")
    if isinstance(caught.value, UsageError):
        raise caught.value


def file(name: str, made: Callable[[], bytes]) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        path = folder / name
        # what is in it does not matter where nobody can read it
        path.write_bytes(made() if sys.modules.get(NEEDED[path.suffix[1:]], 0) is not None else b"PK\x03\x04PAR1")
        assert sld.table_from(path, target="loss", scale="N").n_rows == 8

    return read


# extra to the package that may be absent, and what wants it
NEEDED = {
    "parquet": "pyarrow",
    "xlsx": "openpyxl",
    "sldbench": "pyarrow",
    "operon": "pyoperon",
    "pysr": "pysr",
    "llm": "openai",
    "sklearn": "sklearn",
    "mcp": "mcp",
    "dask": "distributed",
    "wandb": "wandb",
}
USES: dict[str, Callable[[Path], None]] = {
    "parquet": file("runs.parquet", parquet),
    "xlsx": file("runs.xlsx", xlsx),
    "sldbench": lambda _: need_pyarrow(),
    "operon": lambda _: check_installed(ENGINES["operon"]),
    "pysr": lambda _: check_installed(ENGINES["pysr"]),
    "llm": lambda _: check_chat(ChatSettings("model"), "key"),
    "sklearn": estimator,
    "mcp": agents,
    "dask": cluster,
    "wandb": tracker,
}


@pytest.mark.parametrize("extra", USES)
def test_what_is_absent_is_named_with_the_extra_that_brings_it(
    extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, find = NEEDED[extra], importlib.util.find_spec
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    monkeypatch.delitem(sys.modules, "sld.api.regressor", raising=False)
    with pytest.raises(UsageError, match=re.escape(f"pip install 'sld[{extra}]'")) as caught:
        USES[extra](tmp_path)
    assert "\n" not in str(caught.value)
    sys.modules.pop("sld.api.regressor", None)  # made without its base classes


@pytest.mark.parametrize("extra", USES)
def test_what_is_there_works(extra: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDED[extra]) is None:
        pytest.skip(f"{NEEDED[extra]} is not installed: pip install 'sld[{extra}]'")
    USES[extra](tmp_path)


def test_every_extra_is_tried_here_and_is_part_of_all() -> None:
    for_users = sorted(set(EXTRAS) - set(OF_THE_PROJECT))
    assert sorted(USES) == for_users
    (everything,) = EXTRAS["all"]
    (named,) = re.findall(r"^sld\[(.+)\]$", everything)
    assert sorted(named.split(",")) == for_users


def test_every_extra_is_told_where_to_install_is() -> None:
    told = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [extra for extra in EXTRAS if f"'.[{extra}]'" not in told] == []
