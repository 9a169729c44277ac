"""Processes and devices: the only file that asks what this run is spread over.

One process per device, started by `accelerate launch` or `torchrun`; the same loop runs on a CPU,
one GPU or many. Every process holds the whole model (DDP), or a share of it (FSDP2, `sharding`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    broadcast_object_list,
    gather_object,
)
from diffusers import ContextParallelConfig
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from videojam.training import frozen
from videojam.training.config import TrainConfig

T = TypeVar("T")


def processes() -> PartialState:
    """This process among all: process_index, num_processes."""
    return PartialState(cpu=_on_cpu())


def accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate's engine in the run's precision, with its trackers.

    Raises ValueError for a launcher that would shard by itself, which nothing here knows of.
    """
    processes()
    # Accelerate keeps one precision for the life of a process; here each run has its own. There is
    # no public way, and a next run in another precision would raise.
    AcceleratorState._reset_state(reset_partial_state=False)
    engine = Accelerator(
        cpu=_on_cpu(),
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        log_with=list(config.trackers) or None,
        project_dir=config.out,
        # Gradients lie in the buffers that are sent, not beside them: 4 bytes a trained number.
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    by_itself = (DistributedType.DEEPSPEED, DistributedType.FSDP, DistributedType.MEGATRON_LM)
    if engine.distributed_type in by_itself:
        raise ValueError(
            f"accelerate was configured for {engine.distributed_type.value}, which videojam does "
            "not use; launch with a plain multi-GPU configuration and pass --sharding full"
        )
    return engine


def readers(config: TrainConfig) -> tuple[int, int]:
    """Which of those who read different samples this process is one of, and how many there are.

    Raises ValueError if the processes do not divide into groups that share a clip.
    """
    ranks, together = processes(), config.context_parallel
    if ranks.num_processes % together:
        raise ValueError(
            f"context_parallel is {together}, which does not divide {ranks.num_processes} processes"
        )
    return ranks.process_index // together, ranks.num_processes // together


def share(total: int, process: int, num_processes: int) -> range:
    """The places of a global batch that one process takes; together, in order, they are all.

    Raises ValueError if they cannot be divided evenly.
    """
    if total % num_processes:
        raise ValueError(
            f"global_batch_size is {total}, which {num_processes} processes cannot share evenly; "
            f"use a multiple of {num_processes}, or a number of processes that divides {total}"
        )
    part = total // num_processes
    return range(process * part, (process + 1) * part)


def on_main(engine: Accelerator, action: Callable[[], T]) -> T:
    """What the first process finds, on all of them; its ValueError or OSError too."""
    answer: list[Any] = [None, None]
    if engine.is_main_process:
        try:
            answer[0] = action()
        except (ValueError, OSError) as error:
            answer[1] = error
    if engine.num_processes > 1:
        broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def check_shared(path: Path, engine: Accelerator) -> None:
    """ValueError on every process unless all see a file that the first one wrote."""
    if engine.num_processes == 1:
        return
    engine.wait_for_everyone()
    blind = [number for number, sees in enumerate(gather_object([path.is_file()])) if not sees]
    if blind:
        raise ValueError(
            f"processes {blind} do not see {path}, which process 0 wrote: all machines need the "
            "same --out, on storage that they share"
        )


def wait_long(hours: float = 6.0) -> None:
    """Wait for all processes where some may be busy for hours: ordinary waits give up sooner."""
    if dist.is_initialized():
        group: Any = dist.new_group(backend="gloo", timeout=timedelta(hours=hours))
        dist.barrier(group)
        dist.destroy_process_group(group)


def shards(config: TrainConfig, engine: Accelerator) -> bool:
    """True if this run divides its model: with one process there is nothing to divide."""
    return config.sharding != "none" and engine.num_processes > 1


def spread(model: Any, config: TrainConfig, engine: Accelerator) -> Any:
    """The model to call in training. Sharded, the model's parameters are new ones (DTensors).

    Every block is gathered when it is needed and let go after it (FSDP2).
    """
    if config.context_parallel > 1:
        _divide_clips(model, config, engine)
    if not shards(config, engine):
        if frozen.is_apart(config):
            # Every process has read the same frozen weights; DDP need not send them around.
            left = [name for name, p in model.named_parameters() if not p.requires_grad]
            model._ddp_params_and_buffers_to_ignore = left
        dtype = torch.float8_e4m3fn if config.frozen_storage == "float8" else None
        if dtype is None and not config.offload_blocks:
            return engine.prepare_model(model)
        frozen.keep_apart(model, engine.device, dtype, config.offload_blocks)
        return engine.prepare_model(model, device_placement=False)
    arithmetic = torch.bfloat16 if config.precision == "bf16" else None
    policy = MixedPrecisionPolicy(
        param_dtype=arithmetic, reduce_dtype=getattr(torch, config.reduce_dtype)
    )
    mesh = _mesh(config, engine)
    for block in frozen.blocks_of(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # The outermost weights are let go too, which is not the default: weights that are changed
    # between two passes (averaged ones for validation) would not be seen.
    return fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)


def _divide_clips(model: Any, config: TrainConfig, engine: Accelerator) -> None:
    """Context parallelism by diffusers: every process has some of a clip's tokens.

    Gradients become sums over a process's tokens. ValueError for models that diffusers does not
    divide, and without accelerators, of which it counts the processes'.
    """
    together, heads = config.context_parallel, model.config.get("num_attention_heads")
    if getattr(model, "_cp_plan", None) is None:
        raise ValueError(
            f"context_parallel is {together}, but diffusers does not say how to divide the clips "
            f"of a {type(model).__name__}; use it with Wan or LTX-Video, or leave it out"
        )
    if heads is None or heads % together:
        raise ValueError(
            f"context_parallel is {together}, which does not divide {heads} attention heads"
        )
    if not torch.accelerator.device_count():
        raise ValueError("context_parallel needs an accelerator for each process; leave it out")
    shape = (engine.num_processes // together, 1, together)
    mesh = init_device_mesh(engine.device.type, shape, mesh_dim_names=("data", "ring", "ulysses"))
    model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=together, mesh=mesh))


def check_length(tokens: int, config: TrainConfig) -> None:
    """ValueError for clips that the processes of a group cannot share evenly."""
    if tokens % config.context_parallel:
        raise ValueError(
            f"context_parallel is {config.context_parallel}, which does not divide clips of "
            f"{tokens} tokens; use a divisor, or another size of clips"
        )


def _mesh(config: TrainConfig, engine: Accelerator) -> DeviceMesh:
    """All processes in one group, or (hybrid) whole copies on every machine."""
    kind, count = engine.device.type, engine.num_processes
    if config.sharding == "full":
        return init_device_mesh(kind, (count,))
    per_group = config.shard_group or max(torch.accelerator.device_count(), 1)
    if count % per_group or count == per_group:
        raise ValueError(
            f"sharding is hybrid, but {count} processes do not divide into several groups of "
            f"{per_group}; set shard_group, or use sharding full"
        )
    names = ("replicate", "shard")
    return init_device_mesh(kind, (count // per_group, per_group), mesh_dim_names=names)


@contextmanager
def gradients(model: Any, summed: bool) -> Iterator[None]:
    """Within, a backward pass sums gradients over processes, or keeps them for a later one."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(summed)
        yield
        return
    apart = hasattr(model, "no_sync") and not summed
    with model.no_sync() if apart else nullcontext():
        yield


def is_sharded(model: Any) -> bool:
    """True after `spread` has divided the model."""
    return isinstance(model, FSDPModule)


def whole(value: Tensor) -> Tensor:
    """A tensor of which every process may have a part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gather(model: Any) -> None:
    """Undo `spread`: whole weights on the CPU of the first process, in place.

    The other processes keep none. Only for what comes after training: the model cannot be run by
    several processes any more.
    """
    main = processes().is_main_process
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if isinstance(parameter, DTensor):
                value = parameter.full_tensor()
                value = value.cpu() if main else value.to("meta")
                module._parameters[name] = torch.nn.Parameter(value, parameter.requires_grad)
    divided: list[Any] = [m for m in model.modules() if isinstance(m, FSDPModule)]
    for module in divided:
        module.__class__ = type(module).__mro__[2]  # FSDP puts a class of its own in front
        module._forward_pre_hooks.clear()
        module._forward_hooks.clear()


def _on_cpu() -> bool:
    # Unless told, Accelerate takes several processes without a GPU for one process each.
    return not torch.accelerator.is_available()
