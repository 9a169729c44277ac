"""videojam COMMAND: finds the command's file, makes its options from its config class, runs it."""

import inspect
import os
import sys
from importlib import import_module

from videojam.cli.paths import path_registry
from videojam.cli.run_file import HELP, with_run_file

# Command -> (module, config class, what it does). Imported when asked for, so help is quick.
# Without a config class it has commands of its own, and its module's `choose` finds them.
COMMANDS = {
    "prepare": ("prepare", "PrepareArgs", "captioned videos -> a dataset of latents"),
    "train": ("train", "TrainArgs", "fine-tune a model with the joint objective"),
    "generate": ("generate", "GenerateArgs", "prompts -> videos with their predicted motion"),
    "export": ("export", "ExportArgs", "a run, adapter or model -> a model to pass on"),
    "evaluate": ("evaluate", None, "systems side by side; the paper's experiments"),
    "study": ("study", None, "people compare systems: pairs, votes, report"),
    "calibrate": ("calibrate", "CalibrateArgs", "a model -> what MagCache needs to speed it up"),
    "info": ("info", "InfoArgs", "supported models; what a model is and takes"),
    "demo": ("demo", "DemoArgs", "what the embedded models make, on one page, offline"),
    "lab": ("lab", "LabArgs", "simulate captioned clips whose motion is known exactly"),
    "lab-model": ("lab_model", "LabModelArgs", "make the embedded models, from nothing"),
    "small-wan": ("small_wan", "SmallWanArgs", "write a small random Wan model folder"),
}

_LESS_MEMORY = (
    "Training: --gradient-checkpointing, --micro-batch-size 1, LoRA in place of full training, "
    "--sharding full on several devices, or smaller and shorter clips. Sampling: --batch-size 1"
)


def main(argv: list[str] | None = None) -> None:
    """Entry point. Bad input prints one line and exits with 2; a stop asked for, with 143."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        lines = (f"  {name:<10} {about}" for name, (_, _, about) in COMMANDS.items())
        print("usage: videojam COMMAND [options]\n\n" + "\n".join(lines))
        print("\n`videojam COMMAND --help` lists the options; --config run.yaml sets them.")
        raise SystemExit(0 if argv else 2)
    name, *options = argv
    if name not in COMMANDS:
        print(f"error: no command {name!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)

    import logging as standard_logging

    import tyro
    from diffusers.utils import logging
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    # The loaders' notes (casting, missing accelerators) drown ours; errors stay.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    standard_logging.getLogger("bitsandbytes").setLevel(standard_logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    module_name, class_name, _ = COMMANDS[name]
    module = import_module(f"videojam.cli.{module_name}")
    try:
        if class_name is None:
            chosen = module.choose(options)
            arguments, run, options = chosen.config, chosen.run, chosen.options
            name = f"{name} {chosen.name}"
        else:
            arguments, run = getattr(module, class_name), module.main
        _refuse_repeated(options)
        options = with_run_file(arguments, options)
        about = f"{inspect.cleandoc(arguments.__doc__ or '')}\n\n{HELP}"
        prog = f"videojam {name}"
        run(
            tyro.cli(
                arguments, args=options, prog=prog, description=about, registry=path_registry()
            )
        )
    except (ValueError, FloatingPointError, OSError, ImportError, SafetensorError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on where it was", file=sys.stderr)
        raise SystemExit(130) from None
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        print(f"error: out of memory ({reason}). {_LESS_MEMORY}", file=sys.stderr)
        raise SystemExit(2) from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    """torch has a class for it on accelerators, and a sentence on the CPU."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _refuse_repeated(options: list[str]) -> None:
    """An option given twice is an error: the parser would silently keep the last one."""
    names = [option.partition("=")[0] for option in options if option.startswith("--")]
    repeated = {name for name in names if names.count(name) > 1} - {"--prompt"}  # which appends
    if repeated:
        raise ValueError(
            f"{', '.join(sorted(repeated))} given more than once; several values follow one "
            "option, as in --seeds 0 1 2"
        )


if __name__ == "__main__":  # accelerate launch -m videojam.cli.main train ...
    main()
