"""What every test has: folders of its own in place of the user's data, cache and login; and what several ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fetching import Get
    from hub_server import Hub

    from sld.board.entries.scored_task import ScoredTask


@pytest.fixture(autouse=True, scope="session")
def _no_test_sees_the_users_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLD_DATA", str(tmp_path_factory.mktemp("data")))
        # the hub's client reads its home once, when it is imported
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ScoredTask:
    """The small task of the leaderboard's tests."""
    from boards import rows_in

    return rows_in(tmp_path_factory.mktemp("task"))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """The benchmark on a hub on loopback, with made-up rows."""
    from fetching import benchmark_hub

    with benchmark_hub() as served:
        yield served


@pytest.fixture
def get(hub: Hub, tmp_path: Path) -> Get:
    """Fetches from the loopback hub into `tmp_path / "tasks"`, with a cache of its own."""
    from fetching import getter

    return getter(hub, tmp_path)
