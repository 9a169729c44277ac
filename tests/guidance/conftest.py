"""Pipelines of the guidance tests, shared by all of them: a test that changes one copies it."""

from typing import Any

import pytest
import torch
from guidance_sampling import SHAPE, joint_pipeline, second_transformer


@pytest.fixture(scope="session")
def wan21() -> Any:
    return joint_pipeline()


@pytest.fixture(scope="session")
def wan22_a14b() -> Any:
    return joint_pipeline(transformer_2=second_transformer(), boundary_ratio=0.9)


@pytest.fixture(scope="session")
def wan22_ti2v() -> Any:
    return joint_pipeline(expand_timesteps=True)


@pytest.fixture(params=["wan21", "wan22_a14b", "wan22_ti2v"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
