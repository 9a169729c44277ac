"""videojam lab: simulated clips with captions, and the truth about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from videojam.lab.clips import Lab
from videojam.workflow.lab_folder import write_lab_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class LabArgs:
    """Simulate Motion Lab clips. The same command again makes what is missing. Example:

        videojam lab --out clips --count 100

    Then `videojam prepare --videos clips --captions clips/captions.jsonl` makes a dataset of them.
    """

    out: Path
    "Folder for the clips, captions.jsonl and a contact sheet."
    count: int = 100
    "Number of clips."
    truth: bool = False
    "Also write flow, masks and occlusion of every clip, and its scene, to OUT/truth."
    lab: Annotated[Lab, tyro.conf.arg(name="")] = Lab()


def main(args: LabArgs) -> None:
    """Write the folder."""
    out = write_lab_folder(args.lab, args.out, args.count, args.truth)
    print(f"{args.count} clips are in {out}; look at {out / 'contact_sheet.png'}")
