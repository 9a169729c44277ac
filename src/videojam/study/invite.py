"""Links for raters."""

import time
from collections.abc import Iterable
from pathlib import Path

from videojam.study.links import OPEN, Link, read_secrets, token
from videojam.study.plan import read_plan

_DAY_S = 86_400


def invitations(
    folder: Path, address: str, raters: Iterable[int] | None, days: float, trials: int | None = None
) -> list[str]:
    """One link per rater; for None one open link, which makes raters. The same call, the same
    raters: a link made again goes on where the rater was.

    address: of the page, such as http://127.0.0.1:8000. trials: how far a link goes, all without.
    Raises ValueError for a rater that the plan has no place for, or limits that allow nothing.
    """
    plan, secret = read_plan(folder), read_secrets(folder)
    longest = max(map(len, plan.raters))
    if days <= 0 or (trials is not None and trials < 1):
        raise ValueError(f"links for {days} days and {trials} trials allow nothing")
    wanted = [OPEN] if raters is None else list(raters)
    if bad := [rater for rater in wanted if rater != OPEN and not 0 <= rater < len(plan.raters)]:
        raise ValueError(f"no place for rater {bad[0]}; the plan has 0 to {len(plan.raters) - 1}")
    expires = int(time.time() + days * _DAY_S)
    return [
        f"{address.rstrip('/')}/#{token(secret, link)}"
        for rater in wanted
        for link in [Link(plan.study, rater, expires, trials or longest)]
    ]
