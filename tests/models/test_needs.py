"""The arithmetic is that of real models: bytes exactly, activations and products nearly."""

from dataclasses import replace

import pytest
import torch
from tiny_run import tiny_config
from torch.utils.flop_counter import FlopCounterMode

from videojam import widen
from videojam.joint.find_family import family_of
from videojam.models import needs
from videojam.models.needs import Setup, count, memory
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.training import frozen
from videojam.training.averages import average
from videojam.training.checkpoints import checkpoints, save_checkpoint
from videojam.training.cost import attention_kernel
from videojam.training.model import trainable_model
from videojam.training.optimisers import make_optimiser, make_schedule

TOKENS, TEXT, LATENT = 3 * 8 * 8, 8, (3, 16, 16)


def model(config, layers=2, heads=4):
    sizes = SmallWan(
        num_layers=layers, num_heads=heads, head_dim=32, text_width=16, text_layers=1
    )  # fmt: skip
    made = widen(small_wan_pipeline(sizes).transformer)
    if config.mode == "lora" and config.precision == "bf16":
        made = made.to(torch.bfloat16)
    if config.frozen_storage in ("int8", "nf4"):
        frozen.quantise(made, config.frozen_storage, torch.device("cpu"))
    return trainable_model(made, config, family_of(made), 16)


def loss(made, precision="bf16"):
    g = torch.Generator().manual_seed(0)
    z, text = torch.randn(1, 32, *LATENT, generator=g), torch.randn(1, TEXT, 16, generator=g)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return made(z, torch.tensor([500]), text, return_dict=False)[0].float().square().mean()


def nbytes(tensors):
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "full", "ema_decay": 0.5},
        {"mode": "full", "optimiser": "adamw8bit"},
        {"mode": "full", "optimiser": "muon"},
        {"mode": "lora", "precision": "bf16", "ema_decay": 0.5},
        {"mode": "lora", "precision": "bf16", "frozen_storage": "int8"},
        {"mode": "lora", "precision": "bf16", "frozen_storage": "nf4"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_bytes_of_a_real_training(tmp_path, changes):
    config = tiny_config(tmp_path, **changes)
    made = model(config)
    parameters = {n: p for n, p in made.named_parameters() if p.requires_grad}
    optimiser = make_optimiser(config, parameters, family_of(made))
    ema = average(config, parameters)
    loss(made, config.precision).backward()
    optimiser.step()
    setup = Setup(
        mode=config.mode, precision=config.precision, optimiser=config.optimiser,
        average=ema is not None, frozen_storage=config.frozen_storage,
    )  # fmt: skip
    # Counted on the model as it was before it was quantised, as `info` does.
    counts = count(model(replace(config, frozen_storage="stored")))
    found = memory(counts, setup, TOKENS)
    trained = nbytes(parameters.values())
    assert counts.trained == sum(p.numel() for p in parameters.values())
    # Wan keeps its tables and norms in float32, a thousandth of the whole.
    assert found["weights"] == pytest.approx(nbytes(resident(made)), rel=0.02)
    assert found["gradients"] == trained == nbytes(p.grad for p in parameters.values())
    moments = [
        value for state in optimiser.state.values() for key, value in state.items()
        if isinstance(value, torch.Tensor) and key not in ("step", "qmap1", "qmap2")
    ]  # fmt: skip
    # Vectors keep two moments under Muon, and float32 ones in 8 bits; they are few.
    assert found["optimiser"] == pytest.approx(nbytes(moments), rel=0.08)
    if config.optimiser == "adamw":
        assert found["optimiser"] == nbytes(moments)
    assert found["average"] == (nbytes(ema.shadow_params) if ema else 0)
    schedule = make_schedule(config, optimiser)
    save_checkpoint(tmp_path, 1, parameters, optimiser, schedule, ema, keep=1)
    (saved,) = checkpoints(tmp_path)
    on_disk = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    assert on_disk == pytest.approx(needs.checkpoint_bytes(counts, setup), rel=0.1)


def resident(made):
    """Weights, and the scales of quantised ones."""
    yield from made.parameters()
    for parameter in made.parameters():
        if hasattr(parameter, "quant_state"):
            yield parameter.quant_state.absmax
        if getattr(parameter, "SCB", None) is not None:
            yield parameter.SCB


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_that_autograd_keeps(mode, checkpointing):
    """Of every block beside the first two, in bytes; a tensor that several keep counts once."""
    config = tiny_config(
        "nowhere", mode=mode, precision="bf16", gradient_checkpointing=checkpointing
    )
    kept = {layers: kept_bytes(model(config, layers)) for layers in (2, 4)}
    setup = Setup(mode=mode, gradient_checkpointing=checkpointing)
    counts = count(model(config))
    two = needs.activation_bytes(counts, setup, TOKENS)
    four = needs.activation_bytes(counts._replace(blocks=4), setup, TOKENS)
    assert four - two == pytest.approx(kept[4] - kept[2], rel=0.25)


def kept_bytes(made):
    storages = {}
    own = {p.untyped_storage().data_ptr() for p in made.parameters()}
    shapes = {tuple(p.shape) for p in made.parameters() if p.ndim == 2}
    shapes |= {shape[::-1] for shape in shapes}  # weights in bfloat16, counted elsewhere

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and tuple(tensor.shape) not in shapes:
            storages[storage.data_ptr()] = (
                storage.nbytes(),
                tensor,
            )  # held, so that none is reused
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(made)
    return sum(size for size, _ in storages.values())


@pytest.mark.parametrize(("mode", "passes"), [("full", 3), ("lora", 2)])
def test_products_are_those_that_torch_counts(mode, passes):
    config = tiny_config("nowhere", mode="full")
    made = model(config)
    with attention_kernel(torch.device("cpu"), TOKENS), FlopCounterMode(display=False) as counter:
        loss(made, "fp32")
    counts = count(made)
    forward = needs.forward_flops(counts, TOKENS, TEXT)
    # Products with the few text tokens are counted as with video tokens; projections are left out.
    assert forward == pytest.approx(counter.get_total_flops(), rel=0.1)
    setup = Setup(mode=mode)
    assert needs.sample_flops(counts, setup, TOKENS, TEXT) == passes * forward
    again = Setup(mode=mode, gradient_checkpointing=True)
    assert needs.sample_flops(counts, again, TOKENS, TEXT) == (passes + 1) * forward


def test_closed_forms():
    counts = needs.Counts(
        trained=10**9, matrices=4 * 10**9, frozen=10**8, blocks=10, block=10**8,
        products=4 * 10**9, width=1000, hidden=4000,
    )  # fmt: skip
    full = replace(Setup(mode="full", gradient_checkpointing=True), average=True)
    assert memory(counts._replace(matrices=0, frozen=0), full, 100) == {
        "weights": 4e9, "gradients": 4e9, "optimiser": 8e9, "average": 4e9, "passing": 0,
        "activations": 100 * 1000 * 2 * (10 + 35 + 8 + 12),
    }  # fmt: skip
    eight = memory(counts, replace(full, processes=8, sharded=True), 100)
    assert eight["optimiser"] == 1e9 and eight["gradients"] == 0.5e9
    assert eight["passing"] == 2 * 2e8 + 4e8
    assert memory(counts, replace(full, processes=8), 100)["passing"] == 0  # sent as they are
    whole, shared = (
        memory(counts, replace(full, processes=2, context_parallel=n), 100) for n in (1, 2)
    )
    assert shared["activations"] == whole["activations"] / 2
    assert memory(counts, replace(full, optimiser_on_cpu=True), 100)["optimiser"] == 0
    assert needs.frozen_bytes(counts, Setup(frozen_storage="nf4")) == 4e9 * (0.5 + 1 / 64) + 2e8
    assert needs.frozen_bytes(counts, Setup(frozen_storage="float8")) == 4e9 + 2e8
    assert needs.frozen_bytes(counts, Setup(offload_blocks=True)) == 2e8
    assert memory(counts, Setup(micro_batch=3), 100)["activations"] == 3 * 100 * 2000 * (
        10 * (26 + 8) + 12
    )


def test_cards():
    assert needs.card_bytes("24GB") == needs.card_bytes("24") == 24 * 2**30
    assert needs.fits({"weights": 22.0 * 2**30}, needs.card_bytes("24GB"))
    assert not needs.fits({"weights": 22.0 * 2**30, "gradients": 2.0**30}, needs.card_bytes("24GB"))
    for wrong in ("", "big", "-3GB", "nan"):
        with pytest.raises(ValueError, match="expected its memory, such as 24GB"):
            needs.card_bytes(wrong)
