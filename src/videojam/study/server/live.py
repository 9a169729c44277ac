"""What the owner sees while the study runs."""

from collections import Counter
from typing import Any

from videojam.study.analysis.answers import read_answers
from videojam.study.analysis.raters import check_raters
from videojam.study.plan import Plan
from videojam.study.stopping import standing
from videojam.study.store import Store


def live_counts(plan: Plan, store: Store) -> dict[str, Any]:
    """Counts, raters with their checks, and an interval that may be looked at any time."""
    answers = read_answers(plan, store.votes())
    now = standing(plan, answers)
    done = Counter({(each.rater, each.trial): 1 for each in answers})
    trials = Counter(rater for rater, _ in done)
    checks = {each.rater: each for each in check_raters(plan, answers)}
    return {
        "title": plan.title,
        "state": store.state,
        "why": store.fact("why"),
        "systems": plan.systems,
        "primary": plan.primary,
        "votes": now.votes,
        "planned_votes": plan.planned_votes,
        "interval": now.interval._asdict() if now.interval else None,
        "places": len(plan.raters),
        "raters": [
            {
                "rater": each.rater,
                "source": each.source,
                "consented": each.consented is not None,
                "done": trials[each.rater],
                "of": len(plan.raters[each.rater]),
                "reasons": checks[each.rater].reasons if each.rater in checks else [],
            }
            for each in store.raters()
        ],
    }


def planned_end(plan: Plan, store: Store) -> str | None:
    """Why the study ends now; None if it goes on."""
    return standing(plan, read_answers(plan, store.votes())).end
