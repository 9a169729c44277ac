"""videojam export: a run, adapter or model -> an adapter or a stock folder, with a model card."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from videojam.workflow.export import ExportConfig, export


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportArgs:
    """Export a model to use or to pass on. Examples:

    videojam export --source run --out jam                            newest checkpoint, as a folder
    videojam export --source run --out jam --form adapter --checkpoint 1500
    videojam export --source run/adapter --out jam --dtype bfloat16   adapter -> folder
    """

    config: Annotated[ExportConfig, tyro.conf.arg(name="")]


def main(args: ExportArgs) -> None:
    """Export."""
    print(f"exported to {export(args.config)}")
