"""The calls of a guided pipeline: checked before their first step, and told apart from others'.

Within the block the pipeline is of a class of its own, derived from the stock one, so that each
call passes here first. Everything else of it is the stock class's.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any


@contextmanager
def watched_calls(pipe: Any, around: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Within, every call of the pipeline runs inside `around()`.

    A call that would decode raises ValueError: a VAE knows C channels, not the 2C of joint latents,
    and would say so after minutes of sampling.
    """
    stock = type(pipe)

    @functools.wraps(stock.__call__)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        _check_output(stock, args, options)
        with around():
            return stock.__call__(self, *args, **options)

    names = {"__call__": call, "__module__": stock.__module__, "__doc__": stock.__doc__}
    pipe.__class__ = type(stock.__name__, (stock,), names)
    try:
        yield
    finally:
        pipe.__class__ = stock


def _check_output(stock: type, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    parameters = inspect.signature(stock.__call__).parameters
    if "output_type" not in parameters:  # modular pipelines
        return
    given = dict(zip([*parameters][1:], args, strict=False)) | options
    output = given.get("output_type", parameters["output_type"].default)
    if output != "latent":
        raise ValueError(
            f"output_type is {output!r}, but the VAE cannot decode both halves at once: inside "
            'inner_guidance() pass output_type="latent", and then videojam.decode(pipe, latents)'
        )
