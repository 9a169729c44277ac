"""One micro-batch: randomness per sample, dropouts, validation, and the counted FLOPs."""

from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from tiny_run import base_pipeline, tiny_config, tiny_data

from videojam import widen
from videojam.joint.denoiser import Denoiser
from videojam.joint.text import stack_text
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.objective import Objective
from videojam.training.cost import attention_kernel, peak_flops, training_flops
from videojam.training.loop import experts
from videojam.training.model import trainable_model
from videojam.training.step import MicroBatch, sample_noise, training_loss
from videojam.training.validation import validation_losses

NULL = {"encoder_hidden_states": torch.zeros(8, 16)}
DENOISER = Denoiser(base_pipeline())


@pytest.fixture(scope="module")
def model():
    wide = widen(base_pipeline().transformer)
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return wide


@pytest.fixture(scope="module")
def batch():
    config = tiny_config("nowhere", global_batch_size=4)
    return next(tiny_data(config).batches(0))


def loss(model, batch, objective=Objective(), seed=0):
    return training_loss(model, batch, NULL, objective, DENOISER, seed)


def one(batch, i):
    return MicroBatch(batch.x[i : i + 1], batch.d[i : i + 1], batch.text[i : i + 1],
                      batch.numbers[i : i + 1])  # fmt: skip


def test_a_batch_is_the_mean_of_its_samples_alone(model, batch):
    with torch.no_grad():
        whole = loss(model, batch)
        singles = [loss(model, one(batch, i)) for i in range(4)]
    for part in range(3):
        mean = sum(single[part] for single in singles) / 4
        assert torch.allclose(whole[part], mean, atol=1e-5)


def test_noise_belongs_to_the_sample_not_to_its_place():
    x = torch.zeros(3, 2, 4, 4)
    noise = sample_noise(x, 0, "noise-x", [7, 8, 9])
    assert torch.equal(sample_noise(x[:1], 0, "noise-x", [8])[0], noise[1])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(sample_noise(x, 0, "noise-d", [7, 8, 9]), noise)
    assert not torch.equal(sample_noise(x, 1, "noise-x", [7, 8, 9]), noise)


class Recorder(torch.nn.Module):
    """Stands for a transformer; remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.calls, self.config = [], widen(base_pipeline().transformer).config

    def forward(self, hidden_states, timestep, encoder_hidden_states, **_):
        self.calls.append((hidden_states, timestep, encoder_hidden_states))
        return (torch.zeros_like(hidden_states),)


def test_dropouts_happen_as_often_as_asked_and_independently():
    text = [{"encoder_hidden_states": torch.ones(8, 16)}]
    x = torch.zeros(1, 16, 1, 4, 4)
    recorder = Recorder()
    for number in range(1000):
        loss(recorder, MicroBatch(x, x, text, [number]))
    no_text = torch.tensor([not call[2].any() for call in recorder.calls])
    no_motion = torch.tensor([not call[0][:, 16:].any() for call in recorder.calls])
    assert abs(no_text.float().mean() - 0.3) < 0.05
    assert abs(no_motion.float().mean() - 0.2) < 0.045
    assert abs((no_text & no_motion).float().mean() - 0.06) < 0.03
    assert all(call[0][:, :16].any() for call in recorder.calls)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_dropped_text_is_the_null_text(batch, probability):
    recorder = Recorder()
    loss(recorder, batch, Objective(text_dropout=probability))
    own = torch.stack([text["encoder_hidden_states"] for text in batch.text])
    null = torch.stack([NULL["encoder_hidden_states"]] * 4)
    assert torch.equal(recorder.calls[0][2], null if probability else own)


def test_shorter_texts_are_padded_with_zeros():
    texts = [{"a": torch.ones(length, 3), "mask": torch.ones(length).long()} for length in (2, 5)]
    stacked = stack_text(texts)
    assert stacked["a"].shape == (2, 5, 3) and stacked["mask"].dtype == torch.int64
    assert stacked["mask"].sum(1).tolist() == [2, 5]
    assert stacked["a"].sum((1, 2)).tolist() == [6, 15]


def test_time_step_is_a_thousand_sigma(batch):
    recorder = Recorder()
    loss(recorder, batch)
    time = recorder.calls[0][1]
    assert time.shape == (4,)
    assert ((time > 0) & (time < 1000)).all()
    assert time.unique().numel() == 4


def test_validation_is_repeatable_and_sees_the_model(model, batch):
    def run(transformer):
        return validation_losses(transformer, [lambda: batch], (0.2, 0.8), DENOISER)

    first = run(model)
    assert first == run(model)
    assert set(first) == {"appearance", "motion", "appearance@0.2", "appearance@0.8",
                          "motion@0.2", "motion@0.8"}  # fmt: skip
    assert first["motion"] == pytest.approx((first["motion@0.2"] + first["motion@0.8"]) / 2)
    changed = widen(base_pipeline().transformer)
    assert run(changed) != first
    split = validation_losses(
        model, [lambda i=i: one(batch, i) for i in range(4)], (0.2, 0.8), DENOISER
    )
    assert all(split[key] == pytest.approx(first[key], rel=1e-5) for key in first)


def test_readers_take_turns_with_held_out_batches(model, batch):
    """Equally often, as a sharded model needs it; what is read once more does not count."""
    engine = Mock(spec=Accelerator, device=torch.device("cpu"))
    engine.reduce = lambda sums, how: sums  # of this process alone
    read = []

    def losses(held_out, **options):
        return validation_losses(model, held_out, (0.5,), DENOISER, **options)

    held_out = [lambda i=i: read.append(i) or one(batch, i) for i in range(3)]
    first, second = (losses(held_out, engine=engine, reader=(me, 2)) for me in (0, 1))
    assert read == [0, 2, 1, 2]
    assert second["motion"] == pytest.approx(losses([held_out[1]])["motion"], rel=1e-6)
    assert first["motion"] == pytest.approx(losses(held_out[::2])["motion"], rel=1e-6)


def test_validation_leaves_the_mode_as_it_was(model, batch):
    for mode in (True, False):
        model.train(mode)
        validation_losses(model, [lambda: batch], (0.5,), DENOISER)
        assert model.training is mode


def test_flops_are_those_of_the_matrix_products():
    linear = torch.nn.Linear(64, 128, bias=False)
    x = torch.randn(32, 64)
    assert training_flops(lambda: linear(x), linear) == 3 * 2 * 32 * 64 * 128
    linear.weight.requires_grad_(False)  # then no product makes its gradient
    assert training_flops(lambda: linear(x), linear) == 2 * 2 * 32 * 64 * 128
    assert peak_flops(torch.device("cpu"), torch.float32, seconds=0.05) > 1e8


@pytest.mark.parametrize(("mode", "off"), [("full", 0.03), ("lora", 0.1)])
def test_flops_are_those_of_a_forward_and_a_backward_pass(batch, mode, off):
    """Counted by torch over both passes, of a model wide enough for its blocks to matter."""
    from torch.utils.flop_counter import FlopCounterMode

    sizes = SmallWan(num_layers=4, num_heads=2, head_dim=32, text_width=16, text_layers=1)
    pipe = small_wan_pipeline(sizes)
    denoiser = Denoiser(pipe)
    model = trainable_model(
        pipe.transformer, tiny_config("nowhere", mode=mode, lora_rank=4), denoiser.family, 16
    )

    def forward():
        return training_loss(model, batch, NULL, Objective(), denoiser, 0).total

    with attention_kernel(torch.device("cpu"), 8):  # the fused one is not counted on a CPU
        counted = training_flops(forward, model)
        counter = FlopCounterMode(display=False)
        with counter:
            forward().backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=off)


def test_the_two_halves_are_noised_independently(batch):
    """Where training makes them, not where a test hands them in."""
    recorder = Recorder()
    loss(recorder, batch._replace(x=torch.zeros_like(batch.x), d=torch.zeros_like(batch.d)))
    noised = recorder.calls[0][0]
    x, d = noised[:, :16].flatten(), noised[:, 16:].flatten()
    assert x.std() > 0.1 and d.std() > 0.1
    assert abs(torch.corrcoef(torch.stack([x, d]))[0, 1]) < 0.1


def test_each_expert_is_trained_on_the_levels_that_it_samples():
    """Wan 2.2 A14B: the first transformer denoises from pure noise down to the boundary."""
    from small_models import MODELS

    assert experts(MODELS["Wan2.2-A14B"]()) == {
        "transformer": (0.875, 1.0),
        "transformer_2": (0.0, 0.875),
    }
