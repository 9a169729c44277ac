"""Shared by all tests."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Small tensors: more threads only slow each other down, and bitwise comparisons need one count.
torch.set_num_threads(1)
# Shared machines stall; a slow example is no failure.
settings.register_profile("videojam", deadline=None)
settings.load_profile("videojam")


@pytest.fixture
def real_clips() -> Path:
    """The folder of real captioned clips; skips where there is none."""
    root = Path(__file__).parent.parent
    folder = Path(os.environ.get("VIDEOJAM_TEST_CLIPS", root / ".." / "shared" / "clips"))
    if not (folder / "captions.jsonl").is_file():
        pytest.skip(f"no real clips at {folder}; set VIDEOJAM_TEST_CLIPS to a folder of them")
    return folder


@pytest.fixture(scope="session")
def lab_models(tmp_path_factory) -> Path:
    """A finished folder of `make_lab_model` with tiny models; do not write into it."""
    from tiny_lab import TINY

    from videojam.embedded.recipe import make_lab_model

    return make_lab_model(TINY, tmp_path_factory.mktemp("lab") / "models").parent


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium by Playwright; skips where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip(f"no browser at {chromium}")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=str(chromium), args=options)
        yield browser
        browser.close()
