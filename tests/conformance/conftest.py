"""Every family's small pipeline: loaded from a stock folder, a fresh one for each test.

`pytest tests/conformance --support src/videojam/models/support.json` writes the support matrix that
`videojam info` shows, from what passed, and the README's table of it.
"""

import functools
import json
from collections import defaultdict
from pathlib import Path
from typing import Literal

import pytest
from small_models import MODELS, NO_OPTIONS
from small_runs import train_two_steps

from videojam.models.info import support_markdown
from videojam.records.atomic import write_text
from videojam.records.provenance import versions
from videojam.training.config import TrainConfig

# Column -> the tests that all have to pass for it, by the start of their names.
COLUMNS = {
    "widen": ("test_output_rows", "test_input_rows", "test_exact", "test_gradients"),
    "prepare": ("test_latents_are_normalised", "test_prepare_train_resume_generate[{}-full]"),
    "train lora": ("test_lora_round_trip", "test_prepare_train_resume_generate[{}-lora]"),
    "train full": ("test_an_oracle", "test_prepare_train_resume_generate[{}-full]"),
    "generate": (
        "test_saves_and_loads",
        "test_prepare_train_resume_generate[{}-full]",
        "test_bfloat16",
    ),
    "guidance": ("test_guidance_equals", "test_options_of_the_pipeline"),
    "save/load": ("test_saves_and_loads",),
}
README = Path(__file__).parents[2] / "README.md"
BEGIN = "<!-- support: written by tests/conformance, see docs/results.md -->"
END = "<!-- end of support -->"
_outcomes: dict[str, dict[str, str]] = defaultdict(dict)  # model -> test -> "" or why it did not


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--support", type=Path, help="write the support matrix to this file")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    test = report.nodeid.rpartition("::")[2]
    model = next((name for name in sorted(MODELS, key=len, reverse=True) if name in test), None)
    if model is None or (report.when != "call" and report.passed):
        return
    why = ""
    if report.skipped:
        why = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.failed:
        why = "failed"
    _outcomes[model].setdefault(test, "")
    _outcomes[model][test] = _outcomes[model][test] or why


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--support")
    if path is None or hasattr(session.config, "workerinput"):  # one of several processes
        return
    rows = {
        model: {column: _cell(model, tests) for column, tests in COLUMNS.items()}
        for model in MODELS
    }
    content = {"versions": versions(), "models": rows}
    write_text(path, json.dumps(content, indent=1) + "\n")
    before, rest = README.read_text().split(BEGIN)
    write_text(
        README, before + BEGIN + "\n\n" + support_markdown() + "\n" + END + rest.split(END)[1]
    )


def _cell(model: str, tests: tuple[str, ...]) -> str:
    """ "yes", or why not."""
    reasons = []
    for start in tests:
        ran = {t: why for t, why in _outcomes[model].items() if t.startswith(start.format(model))}
        reasons += [*ran.values()] or ["not run"]
    reasons = [why for why in reasons if why != NO_OPTIONS]
    return next((why for why in reasons if why), "yes")


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


@pytest.fixture(scope="session")
def trainings(folders, tmp_path_factory):
    """(model, mode) -> settings of its run, trained two steps when first asked for."""

    @functools.cache
    def trained(name: str, mode: Literal["lora", "full"]) -> TrainConfig:
        return train_two_steps(folders[name], tmp_path_factory.mktemp("training"), mode)

    return trained


@pytest.fixture(params=list(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param
