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
    "lab_metrics", "model_card", "architecture", "guide", "prompts", "study",
    "scanline"))])  # fmt: skip
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


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
WISHES = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in ARCHITECTURE.splitlines()
    if line.startswith("| ") and "`src/" in line
]


def test_the_architecture_names_functions_that_exist():
    named = re.findall(r"`(videojam[\w.]+):(\w+)`", ARCHITECTURE)
    assert len(named) >= 20
    for module, name in named:
        assert callable(getattr(import_module(module), name)), name


def test_there_are_wishes_enough():
    assert len(WISHES) >= 15


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: wish[0][:40])
def test_every_wish_opens_a_file_that_begins_there(wish):
    _, file, begin = wish
    source = (ROOT / file).read_text()
    if not begin.startswith("["):  # a link, which is checked with all others
        assert re.search(rf"^(def|class) {begin}\b|^{begin}\b.*=", source, re.MULTILINE), begin


def test_the_layers_of_the_architecture_are_those_that_are_checked():
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    picture = ARCHITECTURE.split("```")[1].splitlines()
    for layer, line in zip(layers, filter(None, picture), strict=True):
        assert line.split()[: len(layer.split(" | "))] == layer.split(" | ")
