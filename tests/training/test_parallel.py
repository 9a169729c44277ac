"""Several processes on the CPU (gloo) train as one process does on the whole batch."""

import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from test_loop import SCRIPT, metrics
from tiny_run import base_pipeline, saved, tiny_config, tiny_train, two_experts

from videojam import widen
from videojam.joint.checkpoint import load_pipeline
from videojam.training import parallel
from videojam.training.checkpoints import checkpoints
from videojam.training.parallel import share


def several(number, out, *options, script=SCRIPT):
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(number),
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script), str(out),
         *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_two_processes_equal_one(tmp_path, optimiser):
    options = ["steps=6", "global_batch_size=8", "micro_batch_size=2", "log_every=1"]
    output, _ = several(
        2,
        tmp_path / "two", *options, f"optimiser={optimiser!r}"
    ).communicate(timeout=400)  # fmt: skip
    tiny_train(tmp_path / "one", steps=6, global_batch_size=8, log_every=1, optimiser=optimiser)
    a, b = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [line["step"] for line in a] == [line["step"] for line in b], output
    for mine, theirs in zip(a, b, strict=True):
        for key in set(mine) & {"loss/appearance", "loss/motion", "validation/motion"}:
            assert abs(mine[key] - theirs[key]) < 1e-4
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    # Adam divides by the root of the squared gradient, which magnifies rounding near zero.
    assert all(torch.allclose(one[name], two[name], atol=1e-3) for name in one)


def test_two_processes_stop_after_the_same_step(tmp_path):
    process = several(2, tmp_path / "stop", "steps=100000", "validate_every=0")
    while not (tmp_path / "stop" / "metrics.jsonl").exists():
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert output.count("Stopped: stopped after step") == 2, output


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_sharded_run_equals_one_process_and_goes_on_in_another_number_of_them(tmp_path, mode):
    """FSDP2 with averages, validation and export; written by two, resumed by one and by three."""
    base_pipeline().save_pretrained(tmp_path / "base")
    options = {
        "mode": mode, "global_batch_size": 6, "log_every": 1, "ema_decay": 0.9, "validate_every": 2,
        "base": str(tmp_path / "base"), "lora_alpha": 8.0 if mode == "lora" else None,
    }  # fmt: skip
    words = [f"{key}={value!r}" for key, value in options.items()]
    output, _ = several(
        2, tmp_path / "many", *words, "steps=3", "checkpoint_every=3", "sharding='full'"
    ).communicate(timeout=240)  # fmt: skip
    assert "exported to" in output, output
    files = [*(tmp_path / "many" / "checkpoints" / "step-00000003" / "weights").iterdir()]
    assert len(files) == 2, "each process wrote its part"
    exported = tiny_train(tmp_path / "one", steps=3, checkpoint_every=3, **options)
    _same_losses(tmp_path / "one", tmp_path / "many")
    sharded = load_pipeline(tmp_path / "many" / exported.name)[0].transformer.state_dict()
    alone = load_pipeline(exported)[0].transformer.state_dict()
    assert sharded.keys() == alone.keys()
    # Adam divides by the root of the squared gradient, which magnifies rounding near zero.
    assert all(torch.allclose(sharded[name], alone[name], atol=1e-3) for name in alone)
    shutil.copytree(tmp_path / "many", tmp_path / "three")
    tiny_train(tmp_path / "one", steps=5, **options)
    tiny_train(tmp_path / "many", steps=5, **options)
    _same_losses(tmp_path / "one", tmp_path / "many")
    output, _ = several(
        3, tmp_path / "three", *words, "steps=5", "sharding='full'"
    ).communicate(timeout=240)  # fmt: skip
    assert "resuming at step 3" in output, output
    _same_losses(tmp_path / "one", tmp_path / "three")


def test_two_experts_and_muon_sharded_equal_one_process_and_go_on(tmp_path):
    """Wan 2.2 A14B's way: one transformer after the other; every matrix orthogonalised whole."""
    options = {
        "mode": "full", "global_batch_size": 4, "log_every": 1, "validate_every": 0,
        "checkpoint_every": 2, "optimiser": "muon", "experts": True,
    }  # fmt: skip
    words = [f"{key}={value!r}" for key, value in options.items()]
    for steps in (2, 3):
        output, _ = several(
            2, tmp_path / "many", *words, f"steps={steps}", "sharding='full'"
        ).communicate(timeout=240)  # fmt: skip
        assert "exported to" in output, output
    assert "resuming at step 2" in output, output
    tiny_train(tmp_path / "one", steps=3, **options)
    both = [load_pipeline(tmp_path / run / "model")[0] for run in ("many", "one")]
    for part in ("transformer", "transformer_2"):
        _same_losses(tmp_path / "one" / part, tmp_path / "many" / part)
        start = widen(getattr(two_experts(), part)).state_dict()
        sharded, alone = (getattr(pipe, part).state_dict() for pipe in both)
        apart, moved = ({n: a[n] - b[n] for n in start} for a, b in
                        ((sharded, alone), (alone, start)))  # fmt: skip
        # Matrices are orthogonalised in bfloat16, which magnifies rounding.
        assert norm(apart) < 0.05 * norm(moved)


# diffusers counts accelerators, of which a CPU has none.
CLIPS_DIVIDED = f"""
import runpy, sys, torch
torch.accelerator.device_count = lambda: 1
sys.path.insert(0, {str(SCRIPT.parent)!r})
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""


def test_groups_that_share_a_model_and_pairs_that_share_clips_equal_one_process(tmp_path):
    """Hybrid sharding, context parallelism, checkpoints in the background; resumed without."""
    script = tmp_path / "divided.py"
    script.write_text(CLIPS_DIVIDED)
    options = {
        "global_batch_size": 4, "log_every": 1, "ema_decay": 0.9, "validate_every": 2,
        "checkpoint_every": 2, "checkpoint_in_background": True, "gradient_checkpointing": True,
    }  # fmt: skip
    words = [f"{key}={value!r}" for key, value in options.items()]
    shared = [*words, "sharding='hybrid'", "shard_group=2", "context_parallel=2"]
    output, _ = several(
        4, tmp_path / "many", *shared, "steps=3", script=script
    ).communicate(timeout=240)  # fmt: skip
    assert "exported to" in output, output
    (_, last) = checkpoints(tmp_path / "many" / "checkpoints")
    name = "blocks.0.ffn.net.2.weight"
    parts = [load_file(file).get(name) for file in (last / "weights").iterdir()]
    whole = base_pipeline().transformer.get_parameter(name)
    assert [p.numel() * 2 for p in parts if p is not None] == 2 * [whole.numel()]
    output, _ = several(
        2, tmp_path / "many", *words, "sharding='full'", "steps=4"
    ).communicate(timeout=240)  # fmt: skip
    assert "resuming at step 3" in output, output
    tiny_train(tmp_path / "one", steps=3, **options)
    exported = tiny_train(tmp_path / "one", steps=4, **options)
    _same_losses(tmp_path / "one", tmp_path / "many")
    norms = [
        [line["grad_norm"] for line in metrics(tmp_path / name) if "grad_norm" in line]
        for name in ("one", "many")
    ]
    # Adam and clipping hide a gradient that is some times too large.
    assert norms[1] == pytest.approx(norms[0], rel=1e-4) and len(norms[0]) == 4
    many, alone = (
        load_pipeline(run)[0].transformer.state_dict()
        for run in (tmp_path / "many" / exported.name, exported)
    )
    assert all(torch.allclose(many[name], alone[name], atol=1e-3) for name in alone)


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (2, {"sharding": "hybrid", "shard_group": 2}, "do not divide into several groups of 2"),
        (3, {"sharding": "hybrid", "shard_group": 2}, "3 processes do not divide"),
        (3, {"context_parallel": 3}, "3, which does not divide 2 attention heads"),
        (2, {"context_parallel": 2}, "needs an accelerator for each process"),
    ],
)
def test_what_processes_cannot_divide_is_refused(tmp_path, number, changes, message):
    engine = Mock(spec=Accelerator, device=torch.device("cpu"), num_processes=number)
    with pytest.raises(ValueError, match=message):
        parallel.spread(base_pipeline().transformer, tiny_config(tmp_path, **changes), engine)


def test_a_model_whose_clips_diffusers_cannot_divide_is_refused(tmp_path):
    model = base_pipeline().transformer
    model._cp_plan = None
    engine = Mock(spec=Accelerator, device=torch.device("cpu"), num_processes=2)
    with pytest.raises(
        ValueError, match="does not say how to divide the clips of a WanTransformer"
    ):
        parallel.spread(model, tiny_config(tmp_path, context_parallel=2), engine)


def test_who_reads_what_where_clips_are_shared(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, context_parallel=2)
    for process, expected in enumerate([(0, 2), (0, 2), (1, 2), (1, 2)]):
        ranks = SimpleNamespace(process_index=process, num_processes=4)
        monkeypatch.setattr(parallel, "processes", lambda ranks=ranks: ranks)
        assert parallel.readers(config) == expected
    with pytest.raises(ValueError, match="context_parallel is 3, which does not divide 4"):
        parallel.readers(tiny_config(tmp_path, context_parallel=3))
    with pytest.raises(ValueError, match="does not divide clips of 9 tokens"):
        parallel.check_length(9, config)
    parallel.check_length(8, config)


def norm(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors.values()]).norm()


def test_copies_of_a_base_in_float8_equal_one_process(tmp_path):
    base_pipeline().save_pretrained(tmp_path / "base")
    options = {
        "mode": "lora", "precision": "bf16", "frozen_storage": "float8", "log_every": 1,
        "gradient_checkpointing": True, "steps": 2, "global_batch_size": 4, "validate_every": 0,
        "base": str(tmp_path / "base"),
    }  # fmt: skip
    words = [f"{key}={value!r}" for key, value in options.items()]
    output, _ = several(2, tmp_path / "many", *words).communicate(timeout=400)
    assert "exported to" in output, output
    one, _ = several(1, tmp_path / "one", *words).communicate(timeout=400)
    assert "exported to" in one, one
    for mine, theirs in zip(metrics(tmp_path / "one"), metrics(tmp_path / "many"), strict=True):
        assert abs(mine["loss/total"] - theirs["loss/total"]) < 2e-3  # bfloat16


def _same_losses(one, other):
    a, b = metrics(one), metrics(other)
    assert [line["step"] for line in a] == [line["step"] for line in b]
    for mine, theirs in zip(a, b, strict=True):
        for key in set(mine) & {"loss/appearance", "loss/motion", "validation/motion"}:
            assert abs(mine[key] - theirs[key]) < 2e-4


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    assert [*share(6, 1, 3)] == [2, 3]
    with pytest.raises(ValueError, match="which 4 processes cannot share evenly"):
        share(6, 0, 4)


def test_a_machine_that_does_not_see_the_folder_is_told_so(tmp_path):
    """As if --out were a local folder of each machine: the second process looks elsewhere."""
    script = tmp_path / "blind.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        "from pathlib import Path\nfrom videojam.training.parallel import processes\n"
        "from tiny_run import tiny_train\n"
        "tiny_train(Path(sys.argv[1]) / str(processes().process_index), steps=1)\n"
    )
    output, _ = several(2, tmp_path, script=script).communicate(timeout=400)
    assert "processes [1] do not see" in output, output
    assert "storage that they share" in output
