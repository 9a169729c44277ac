"""Which row of the table a transformer has."""

from collections.abc import Mapping, Sequence
from typing import Any

from videojam.joint.families import FAMILIES, families
from videojam.joint.family import ModelFamily, fits


def unwrapped(transformer: Any) -> Any:
    """The transformer inside of torch.compile's and data parallelism's wrappers."""
    while True:
        inner = getattr(transformer, "_orig_mod", None) or getattr(transformer, "module", None)
        if inner is None:
            return transformer
        transformer = inner


def family_of(transformer: Any) -> ModelFamily:
    """The row of a transformer: of its class, or the nearest it is derived from.

    Of several rows of one class the one that it fits. Raises ValueError that lists the known
    families.
    """
    transformer = unwrapped(transformer)
    rows = families()
    for kind in type(transformer).__mro__:
        found = [family for family in rows if family.transformer == kind.__name__]
        if found:
            return row_for(transformer.config, found)
    raise _unknown(type(transformer).__name__, rows)


def row_for(config: Mapping[str, Any], rows: Sequence[ModelFamily]) -> ModelFamily:
    """Of rows of one class the one whose channels and most of whose marks a config has.

    One from outside goes before those of the table; the first one where none fits.
    """
    fitting = [row for row in rows if fits(config, row)]
    return max(fitting, key=lambda row: (row not in FAMILIES, len(row.marks)), default=rows[0])


def family_named(name: str) -> ModelFamily:
    """The first row of a transformer class. ValueError lists the known families."""
    rows = families()
    for family in rows:
        if family.transformer == name:
            return family
    raise _unknown(name, rows)


def _unknown(name: str, rows: tuple[ModelFamily, ...]) -> ValueError:
    known = ", ".join(dict.fromkeys(family.transformer for family in rows))
    return ValueError(
        f"no family is known for {name}; known: {known}. To add it, write one ModelFamily row and "
        "pass it to videojam.register_family(); docs/adding_a_model.md shows how to find its "
        "fields and test them"
    )
