"""The model of a command that got no --model: the embedded one, and a line that says so."""

from pathlib import Path

from videojam.embedded.shipped import Name, embedded


def default_model(name: Name = "videojam") -> Path:
    """The embedded model's folder. ValueError if this installation has none."""
    folder = embedded(name)
    print(
        f"no --model given: using the embedded {name} model, which is small and knows only simple "
        "clips of the Motion Lab"
    )
    return folder
