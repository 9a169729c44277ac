"""What a comparison's folder was made with: written before any work, checked when it goes on."""

import json
from collections.abc import Sequence
from typing import Any

from videojam.evaluation.compare.config import Config, decisive
from videojam.evaluation.compare.work import Planned
from videojam.evaluation.report.plots import require_matplotlib
from videojam.records.atomic import write_text
from videojam.records.provenance import commit
from videojam.records.settings import defaults_of, differences

_BEGUN = "begun_at_commit"


def settle(config: Config, plans: Sequence[Planned]) -> dict[str, Any]:
    """Write settings.json, or check that the folder's are these. The primary comparison is among
    them, so it cannot be chosen after looking.

    Raises ValueError that names what differs; more systems may be added at any time.
    """
    require_matplotlib()  # rather now than when everything is measured
    pairs = config.pairs([planned.system for planned in plans])
    settings = decisive(config) | {"primary_pair": list(pairs[0]) if pairs else None}
    settings = json.loads(json.dumps(settings, default=str))
    path = config.out / "settings.json"
    if not path.exists():
        at = commit()
        begun = {_BEGUN: at and at.hash + " and changes" * at.dirty}
        write_text(path, json.dumps(settings | begun, indent=2) + "\n")
        return settings
    saved = json.loads(path.read_text("utf-8"))
    fixed, now = (
        {key: value for key, value in one.items() if key not in (_BEGUN, "systems")}
        for one in (saved, settings)
    )
    differ = differences(fixed, now, defaults_of(type(config)))
    gone = [one for one in saved.get("systems", []) if one not in settings["systems"]]
    if gone:
        differ.append(f"systems: {', '.join(gone)} there, not given now")
    if differ:
        raise ValueError(
            f"{config.out} was made with other settings ({'; '.join(differ)}); give another folder "
            "with --out, or remove it"
        )
    write_text(path, json.dumps(saved | settings, indent=2) + "\n")
    return settings
