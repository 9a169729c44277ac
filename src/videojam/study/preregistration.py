"""What will be done, in words, before the first vote: written, hashed, and checked ever after."""

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from videojam.records.atomic import write_text
from videojam.study.plan import Plan, plan_text

TEXT_FILE, HASH_FILE = "PREREGISTRATION.md", "PREREGISTRATION.sha256"


def write_preregistration(folder: Path, plan: Plan, votes_per_pair: int) -> str:
    """PREREGISTRATION.md, which holds the hash of the plan, and its own hash beside; gives that."""
    plan_digest = hashlib.sha256(plan_text(plan).encode()).hexdigest()
    text = preregistration(plan, votes_per_pair, plan_digest)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_text(folder / TEXT_FILE, text)
    write_text(folder / HASH_FILE, f"{digest}  {TEXT_FILE}\n")
    return digest


def preregistration_hash(folder: Path) -> str:
    """The hash of the text, which must be the one that was written.

    Raises ValueError if text or plan were changed, or are gone.
    """
    try:
        text = (folder / TEXT_FILE).read_bytes()
        written = (folder / HASH_FILE).read_text().split()[0]
        plan = (folder / "plan.json").read_bytes()
    except (OSError, IndexError) as error:
        raise ValueError(f"{folder} has no pre-registration: {error}") from error
    digest = hashlib.sha256(text).hexdigest()
    if digest != written or hashlib.sha256(plan).hexdigest() not in text.decode("utf-8", "replace"):
        raise ValueError(
            f"plan or pre-registration in {folder} were changed after they were written; make a "
            "new study, or put them back"
        )
    return digest


def preregistration(plan: Plan, votes_per_pair: int, plan_digest: str) -> str:
    """The text."""
    pairs = [film for film in plan.films if film.first in plan.systems]
    prompts = {film.prompt for film in pairs}
    kinds = [trial.kind for trial in plan.raters[0]]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted({*kinds}))
    rule, stop = plan.exclusion, plan.stopping
    lines = [
        f"# Pre-registration: {plan.title}",
        "",
        f"Study {plan.study}, written {datetime.now(UTC).isoformat(timespec='seconds')} with "
        f"videojam {version('videojam')}, before the first vote.",
        f"SHA-256 of plan.json, which lists every trial: {plan_digest}",
        "",
        "## Systems",
        "",
        *(f"- {name}" for name in plan.systems),
        "",
        f"{len(pairs)} pairs on {len(prompts)} prompts. Sides are random and balanced (seed "
        f"{plan.seed}); raters never learn which system made a clip.",
        "",
        "## Questions",
        "",
        *(f"- {question.id}: {question.text}" for question in plan.questions),
        "",
        f"The primary one is `{plan.primary}`; the others are reported beside it. Answers: "
        f"{_answers(plan)}",
        "",
        "## Votes",
        "",
        f"{votes_per_pair} raters per pair: the study ends with {plan.planned_votes} answers to "
        f"the primary question about pairs, or earlier by the stopping rule. At most "
        f"{len(plan.raters)} raters of {len(plan.raters[0])} trials each: {counts}. A catch trial "
        "is a clip against its frozen or frame-shuffled copy, a repeat is an earlier pair with "
        "sides swapped; neither they nor practice trials count as votes.",
        "",
        "## Raters who are left out",
        "",
        "All votes of a rater are left out if any of these holds:",
        "",
        f"- seen fewer than {rule.min_catch_seen} catch trials;",
        f"- chose the intact clip in fewer than {rule.min_catch_passed:.0%} of them, in the "
        f"questions {', '.join(q.id for q in plan.questions if q.check)};",
        f"- answered fewer than {rule.min_repeat_agreement:.0%} of three repeats or more alike "
        "in the primary question;",
        f"- took one side of the screen in more than {rule.max_same_side:.0%} of ten decided "
        "answers or more;",
        f"- took less than {rule.min_median_seconds:g} s in the median.",
        "",
        "Results are reported without and with them.",
        "",
        "## Stopping",
        "",
        *_stopping(plan),
        "",
        "## Analysis",
        "",
        "For every two systems and every question: the share of votes, a tie half a vote to each, "
        f"with a {stop.final_level:.0%} interval clustered by prompt and by rater (two-way "
        "cluster-robust variance, Wilson's interval with the effective number of votes, Student's "
        "t with the smaller number of clusters less one). A system is preferred if the interval "
        "of the primary question excludes one half. For more than two systems also Bradley-Terry "
        "strengths, with 95% intervals by resampling prompts and raters.",
        "",
    ]
    return "\n".join(lines)


def _answers(plan: Plan) -> str:
    words = ["the left or the right clip"]
    words += ["no difference (half a vote to each)"] if plan.ties else []
    words += ["both bad (half a vote to each, and counted apart)"] if plan.both_bad else []
    return "; ".join(words) + "."


def _stopping(plan: Plan) -> list[str]:
    stop = plan.stopping
    if len(plan.systems) > 2:
        return ["None: with more than two systems the study runs to its planned end."]
    if not stop.enabled:
        return ["None: the study runs to its planned end."]
    return [
        f"The study may stop at any moment at which the {1 - stop.alpha_early:.0%} asymptotic "
        "confidence sequence of the preference (Waudby-Smith et al., with the two-way "
        f"cluster-robust variance, from {stop.min_raters} raters and as many prompts on) excludes "
        f"one half. It spends {stop.alpha_early:g} of the error rate of {stop.alpha:g}; the "
        f"interval at the planned end has the rest, {1 - stop.final_level:g}."
    ]
