"""An environment of VBench's own: its pins (numpy<2, transformers==4.33.2) are not this package's.

About 7 GB with PyTorch for CUDA, five minutes on a fast network. Made in a folder, marked as whole
at the end; videojam itself is not installed there.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from videojam.records.atomic import write_text

PACKAGE = "vbench==0.1.5"
# openai-clip imports pkg_resources, which setuptools 80 and later lack or are about to.
BEFORE = ("pip", "wheel", "setuptools<80")
_MARK = "videojam-vbench.json"


def make_environment(folder: Path, package: str = PACKAGE, pip_options: Sequence[str] = ()) -> Path:
    """Make the environment, or complete one that was stopped; returns its Python.

    package: what pip installs, a requirement or the path of a wheel. pip_options: for every call of
    pip, such as --index-url. Raises ValueError with pip's last lines if it fails.
    """
    python = _python(folder)
    if (folder / _MARK).is_file():
        return python
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise ValueError(f"{folder} is there and is no environment; give an empty or new folder")
    if not python.exists():
        venv.create(folder, with_pip=True)
    for wanted in ((*BEFORE,), (package,)):
        _pip(python, ["install", *pip_options, *wanted])
    versions = _run([str(python), "-m", "pip", "list", "--format=json"]).stdout
    write_text(folder / _MARK, json.dumps({"package": package, "pip": json.loads(versions)}) + "\n")
    return python


def environment_python(folder: Path) -> Path:
    """The Python of an environment that was made whole. ValueError for another folder."""
    if not (folder / _MARK).is_file():
        raise ValueError(
            f"{folder} is no finished VBench environment; make it: "
            f"videojam evaluate vbench --setup {folder}"
        )
    return _python(folder)


def environment_versions(folder: Path) -> dict[str, str]:
    """Package -> version, as installed."""
    packages = json.loads((folder / _MARK).read_text("utf-8"))["pip"]
    return {one["name"]: one["version"] for one in packages}


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _pip(python: Path, arguments: list[str]) -> None:
    """pip's own lines are the progress; the last ones come back in the error."""
    command = [str(python), "-m", "pip", "--no-input", *arguments]
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(("Collecting", "Building", "Installing", "Successfully", "ERROR")):
                print(line.rstrip()[:160], file=sys.stderr)
            lines = [*lines[-11:], line.rstrip()]
    if process.returncode:
        raise ValueError(
            f"pip {' '.join(arguments)} failed with {process.returncode}; its last lines:\n"
            + "\n".join(lines)
        )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True)
