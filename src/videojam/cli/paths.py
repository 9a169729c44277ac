"""Paths on the command line that may be in a bucket: s3://bucket/folder."""

from pathlib import Path
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from videojam.records.object_store import Location, ObjectPath, location


def path_registry() -> ConstructorRegistry:
    """Tells tyro how a Location is read; a Path would make one slash of the two."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        if info.type not in (Location, Location | None):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="PATH",
            instance_from_str=lambda given: None if given == ["None"] else location(given[0]),
            is_instance=lambda value: value is None or isinstance(value, Path | ObjectPath),
            str_from_instance=lambda value: [str(value)],
        )

    return registry
