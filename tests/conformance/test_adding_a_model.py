"""docs/adding_a_model.md does what it says."""

import re
from pathlib import Path
from typing import Any

from small_models import MODELS

from videojam.joint.find_family import family_named

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_model.md"


def test_the_page_adds_a_model_that_works():
    names: dict[str, Any] = {"pipe": MODELS["CogVideoX"]()}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)  # the last one asserts
    assert names["family"] == family_named("CogVideoXTransformer3DModel")
