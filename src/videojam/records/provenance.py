"""Where a result comes from: machine, library versions, commit of this code.

Written beside everything that is measured or generated, so that a number or a clip can be made
again. Records only; compares and enforces nothing.
"""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

_LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "peft", "numpy", "av")


class Commit(NamedTuple):
    """A git commit, and whether the working tree differed from it."""

    hash: str
    dirty: bool


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that decide its numbers."""
    found = {"python": platform.python_version()}
    for name in ("videojam", *_LIBRARIES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> Commit | None:
    """The commit of the checkout that this package runs from; None where there is none."""
    folder = Path(__file__).parent
    # A wheel installed inside somebody's repository must not report that repository's commit.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if head is None else Commit(head, bool(changes))


def made_here() -> dict[str, Any]:
    """Machine, versions and commit, for a file that says how something was made."""
    at = commit()
    return {
        "machine": machine(),
        "versions": versions(),
        "commit": at and at.hash,
        "dirty": at is None or at.dirty,
    }


def machine() -> dict[str, str | int | float | None]:
    """Processor, cores that this process may use, memory in GiB, accelerator or None."""
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": _cpu_model(),
        "cores": len(usable(0)) if usable else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *command: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
