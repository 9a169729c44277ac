"""The documents name things that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from small_models import MODELS

from videojam.models.info import support, support_markdown

ROOT = Path(__file__).parent.parent

ROWS = [
    line
    for line in (ROOT / "docs" / "paper_map.md").read_text().splitlines()
    if line.startswith("| ") and "`videojam." in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_paper_map_names_functions_and_tests_that_exist(row):
    module, name = re.search(r"`(videojam[\w.]+):(\w+)`", row).groups()
    assert callable(getattr(import_module(module), name))
    path, _, test = re.findall(r"`(tests/[^`]+)`", row)[0].partition("::")
    assert (ROOT / path).is_file()
    assert not test or f"def {test}(" in (ROOT / path).read_text()


def test_the_map_covers_the_method():
    assert len(ROWS) >= 20


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{n}.md" for n in (
    "conventions", "paper_map", "deviations", "adding_a_model", "results", "log", "lab",
    "lab_metrics", "model_card"))])  # fmt: skip
def test_links_and_files_in_documents_exist(name):
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / name).parent.joinpath(target).exists(), target
    for path in re.findall(r"`((?:src|tests|benchmarks|docs)/[\w/.-]+\.(?:py|md|json))`", text):
        assert (ROOT / path).exists(), path


def test_the_readme_shows_the_support_matrix_as_it_was_found():
    assert support_markdown() in (ROOT / "README.md").read_text()
    assert {*support()} == {*MODELS}
