"""Studies and servers for these tests."""

import pytest
from small_study import small_study

pytest.importorskip("fastapi", reason="the study extra is not installed")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A study folder and its plan; do not write into it."""
    folder = tmp_path_factory.mktemp("study")
    plan = small_study(folder)
    return folder / "study", plan


@pytest.fixture
def study(made, tmp_path):
    """A copy of it without votes, and its plan."""
    import shutil

    folder, plan = made
    return shutil.copytree(folder, tmp_path / "copy"), plan
