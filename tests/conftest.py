"""What every test has: folders of its own in place of the user's data, cache and login."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_test_sees_the_users_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLD_DATA", str(tmp_path_factory.mktemp("data")))
        # the hub's client reads its home once, when it is imported
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "XDG_DATA_HOME"):
            patch.delenv(name, raising=False)
        yield
