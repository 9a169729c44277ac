"""Every family's small pipeline: loaded from a stock folder, a fresh one for each test."""

from pathlib import Path

import pytest
from small_models import MODELS


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved when first asked for."""
    return _Folders(tmp_path_factory.mktemp("small"))


class _Folders(dict[str, Path]):
    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    def __missing__(self, name: str) -> Path:
        MODELS[name]().save_pretrained(self._root / name)
        self[name] = self._root / name
        return self[name]


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param
