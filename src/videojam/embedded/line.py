"""The scanline models that come with the package, packed: base, control and joint of one seed.

They are those of `videojam evaluate scanline` for its first training seed. At first use they are
unpacked into a cache, in folders as that command makes them, and loaded like any others.
"""

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file, save_file

from videojam.embedded.packing import load_packed, save_packed
from videojam.embedded.shipped import cache

_PACKED = Path(__file__).parent / "line_weights"
_WEIGHTS = "weights.safetensors"


def line_models() -> Path:
    """A folder of models of the line, NAME/weights.safetensors each.

    Raises ValueError if the package was built without them.
    """
    packed = sorted(_PACKED.glob("*.safetensors"))
    if not packed:
        raise ValueError(
            "this installation has no models of the line; install the package with its weights"
        )
    digest = hashlib.sha256()
    for path in packed:
        digest.update(path.name.encode() + path.read_bytes())
    folder = cache() / f"line-{digest.hexdigest()[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as part:
            for path in packed:
                own = Path(part) / "models" / path.stem
                own.mkdir(parents=True)
                state = {key: value.clone() for key, value in load_packed(path).items()}
                save_file(state, own / _WEIGHTS)
            try:
                (Path(part) / "models").rename(folder)
            except OSError:  # another process was quicker
                if not folder.exists():
                    raise
    return folder


def pack_line(folders: Iterable[Path], target: Path = _PACKED) -> int:
    """Pack the weights of these folders, one file each; returns the bytes written."""
    target.mkdir(exist_ok=True)
    for old in target.glob("*.safetensors"):
        old.unlink()
    for folder in folders:
        save_packed(load_file(folder / _WEIGHTS), target / f"{folder.name}.safetensors")
    return sum(path.stat().st_size for path in target.iterdir())
