"""Text encoders asked once: within a run, a prompt that comes again is not encoded again.

Every pass has the null text, and every seed its prompt; under offloading each of them would move
the encoder, 11 GB for UMT5-XXL. The encoders' own calls are remembered, so it holds for whatever a
pipeline does around them.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

_KEPT = 64  # calls; a prompt of UMT5-XXL is 4 MB


class Texts:
    """What text encoders said, by what they were asked. Kept on the CPU."""

    def __init__(self) -> None:
        self._said: OrderedDict[Any, Any] = OrderedDict()

    @contextmanager
    def remembered(self, pipe: Any) -> Iterator[None]:
        """Within, the pipeline's text encoders are run for new input only."""
        encoders = {
            name: part
            for name, part in pipe.components.items()
            if name.startswith("text_encoder") and isinstance(part, torch.nn.Module)
        }
        before = {name: part.__dict__.get("forward") for name, part in encoders.items()}
        asking = {name: self._asking(part, part.forward) for name, part in encoders.items()}
        for name, part in encoders.items():
            part.forward = asking[name]
        try:
            yield
        finally:
            for name, part in encoders.items():
                if part.forward is not asking[name]:
                    continue  # accelerate's offloading has put its own in place
                if before[name] is None:
                    del part.forward
                else:
                    part.forward = cast(Any, before[name])

    def _asking(self, encoder: Any, forward: Any) -> Any:
        def remembered(*args: Any, **options: Any) -> Any:
            key = (id(encoder), _digest((args, sorted(options.items()))))
            if key in self._said:
                self._said.move_to_end(key)
                device = next(
                    (v.device for v in (*args, *options.values()) if isinstance(v, Tensor)), "cpu"
                )
                return _moved(self._said[key], device)
            said = forward(*args, **options)
            self._said[key] = _moved(said, "cpu")
            if len(self._said) > _KEPT:
                self._said.popitem(last=False)
            return said

        return remembered


def _digest(value: Any) -> str:
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            flat = part.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(flat.numpy().tobytes())
        elif isinstance(part, list | tuple):
            for item in part:
                add(item)
        else:
            digest.update(repr(part).encode())

    add(value)
    return digest.hexdigest()


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):  # models' outputs are such, and made of their fields
        return type(value)(**{key: _moved(item, device) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value


def cut_prompts(pipe: Any, prompts: list[str], limit: int | None = None) -> dict[str, int]:
    """Prompts that are longer than the model reads -> how many of their tokens it leaves out.

    limit: tokens that the pipeline asks for, default its own max_sequence_length.
    """
    import inspect

    tokenizer = getattr(pipe, "tokenizer", None)
    if tokenizer is None:
        return {}
    asked = inspect.signature(pipe.__call__).parameters.get("max_sequence_length")
    longest = min(
        limit or (asked.default if asked and isinstance(asked.default, int) else 10**9),
        getattr(tokenizer, "model_max_length", None) or 10**9,
    )
    counts = {
        prompt: len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
        for prompt in dict.fromkeys(prompts)
    }
    return {prompt: count - longest for prompt, count in counts.items() if count > longest}
