"""Runs in VBench's environment, not in ours: python runner.py JOB.json evaluates one dimension.

The job holds the arguments of vbench.VBench.evaluate. VBench writes NAME_eval_results.json itself.
With CUDA it runs as its own launcher does; VBench's launcher has no way without, this has the CPU.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    import torch
    import vbench  # pyright: ignore[reportMissingImports]
    from vbench.distributed import dist_init  # pyright: ignore[reportMissingImports]

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        dist_init()
    info = os.path.join(vbench.__path__[0], "VBench_full_info.json")
    from vbench import VBench  # pyright: ignore[reportAttributeAccessIssue,reportMissingImports]

    VBench(device, info, job["out"]).evaluate(
        videos_path=job["videos"],
        name=job["name"],
        prompt_list=job["prompts"],
        dimension_list=[job["dimension"]],
        local=True,
        mode=job["mode"],
    )


if __name__ == "__main__":
    main()
