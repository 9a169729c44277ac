"""What a loss knows of the order of frames, in closed form."""

import pytest
import torch

from videojam.evaluation.premise.order import NOTICED, TIMES, noticing


def losses(ratio):
    original = torch.linspace(2.0, 0.1, len(TIMES))
    return torch.stack([original, original * torch.tensor(ratio)])


def test_a_loss_that_knows_no_order_is_one_everywhere():
    found = noticing(losses([1.0] * 9))
    assert found == pytest.approx((1.0, 1.0, 1.0))


def test_early_late_and_first_are_those_of_the_curve():
    rise = [1.0, 1.0, 1.2, 1.3, 1.5, 2.0, 2.0, 2.0, 4.0]
    found = noticing(losses(rise))
    assert found.early == pytest.approx(sum(rise[:5]) / 5)
    assert found.late == pytest.approx(sum(rise[5:]) / 4)
    assert found.noticed_at == pytest.approx(0.35)


def test_noticed_before_the_first_time_is_between_noise_and_it():
    first = 2.0
    assert noticing(losses([first] * 9)).noticed_at == pytest.approx(
        TIMES[0] * (NOTICED - 1) / (first - 1)
    )
