"""Muon and AdamW as one optimiser: the same steps as torch's own, and nothing lost in a resume."""

import pytest
import torch

from videojam.training.checkpoints import load_checkpoint, save_checkpoint
from videojam.training.muon import Muon


def small_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.Flatten(), torch.nn.Linear(24, 4))


def steps(model, optimiser, schedule, numbers) -> None:
    for number in numbers:
        x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(number))
        optimiser.zero_grad()
        (model(x) ** 2).mean().backward()
        optimiser.step()
        schedule.step()


def schedule_of(optimiser):
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))


def test_steps_are_torchs_own():
    model, twin = small_model(), small_model()
    ours = Muon(model.parameters(), lr=0.02, momentum=0.9)
    steps(model, ours, schedule_of(ours), range(3))

    matrices = [p for p in twin.parameters() if p.ndim >= 2]
    views = [torch.nn.Parameter(p.data.view(p.shape[0], -1)) for p in matrices]
    vectors = [p for p in twin.parameters() if p.ndim < 2]
    kept = ([], [])
    for number in range(3):
        rate = 0.02 / (1 + number)
        muon = torch.optim.Muon(
            views, lr=rate, weight_decay=0.0, momentum=0.9, adjust_lr_fn="match_rms_adamw"
        )
        adamw = torch.optim.AdamW(vectors, lr=rate, weight_decay=0.0)
        if number:
            for view, state in zip(views, kept[0], strict=True):
                muon.state[view] = state
            for vector, state in zip(vectors, kept[1], strict=True):
                adamw.state[vector] = state
        x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(number))
        twin.zero_grad()
        (twin(x) ** 2).mean().backward()
        for view, parameter in zip(views, matrices, strict=True):
            view.grad = parameter.grad.reshape(view.shape)
        muon.step()
        adamw.step()
        kept = [muon.state[v] for v in views], [adamw.state[v] for v in vectors]
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_resume_equals_a_straight_run(tmp_path):
    model = small_model()
    optimiser = Muon(model.parameters(), lr=0.02)
    schedule = schedule_of(optimiser)
    steps(model, optimiser, schedule, range(3))
    parameters = dict(model.named_parameters())
    path = save_checkpoint(tmp_path, 3, parameters, optimiser, schedule, None, keep=1)
    steps(model, optimiser, schedule, range(3, 6))

    again = small_model()
    second = Muon(again.parameters(), lr=0.02)
    second_schedule = schedule_of(second)
    assert load_checkpoint(path, dict(again.named_parameters()), second, second_schedule, None) == 3
    steps(again, second, second_schedule, range(3, 6))
    for mine, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_closures_are_refused():
    with pytest.raises(ValueError, match="backward"):
        Muon(small_model().parameters(), lr=0.1).step(lambda: 0.0)
