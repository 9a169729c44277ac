"""What differs between the settings that a folder was begun with and those of today."""

import dataclasses
import json
from typing import Any


def differences(before: Any, now: Any, defaults: Any = None, at: str = "") -> list[str]:
    """Each setting that is another one, as `base.objective.text_dropout: 0.1 there, 0.2 now`.

    before, now: JSON values, nested as they like. A setting that is missing on one side, as it was
    not there yet or is gone, is what `defaults` of the same nesting say, else None: options are
    off, or as before, unless asked for, so a folder of an older version goes on.
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f"{at}: {before!r} there, {now!r} now"]
    usual = defaults if isinstance(defaults, dict) else {}
    return [
        difference
        for key in sorted({*before, *now})
        for difference in differences(
            before.get(key, usual.get(key)),
            now.get(key, usual.get(key)),
            usual.get(key),
            f"{at}.{key}" if at else key,
        )
    ]


def defaults_of(kind: type) -> dict[str, Any]:
    """Defaults of a dataclass's fields as JSON values; fields that must be given are left out."""
    found = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return json.loads(json.dumps(found, default=_plain))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
