"""A new study from folders of clips: films, plan, pre-registration.

The films are made first, each whole or not at all; the same call goes on where it was stopped.
plan.json is written last: a folder that has one is a complete study and is left as it is.
"""

import hashlib
import json
import math
import random
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from rich.progress import track

from videojam.media.clip_sets import ClipKey, ClipSet, read_clip_set, shared_keys
from videojam.records.atomic import write_text
from videojam.rng import shuffler
from videojam.study.assign import assign, shares
from videojam.study.film import Source, frozen, intact, shuffled, write_film
from videojam.study.links import Secrets, film_name, make_secrets
from videojam.study.plan import (
    FILMS,
    PLAN_FILE,
    QUESTIONS,
    Exclusion,
    Film,
    Plan,
    Question,
    Stopping,
    check_questions,
    write_plan,
)
from videojam.study.preregistration import write_preregistration

_CONSENT = (
    "You will see pairs of short clips and say which you prefer. Your answers and how long you "
    "took are kept under a number, without your name or address. You may stop at any moment; what "
    "you answered until then is kept. Do you agree?"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """How the study asks."""

    title: str = "Which clip is better?"
    questions: tuple[str, ...] = ()
    "As id=text, e.g. motion='Which moves better?'; the paper's three without."
    checked: tuple[str, ...] = ()
    "Ids of the questions that catch trials check: an intact clip must win them; default motion."
    primary: str = "motion"
    "Id of the question that stopping and the conclusion are about."
    votes_per_pair: int = 5
    "Raters who answer each pair."
    trials: int = 60
    "Of each rater, all kinds together; fewer where there are fewer pairs."
    catches: int = 8
    "Trials of a clip against its frozen or shuffled copy."
    repeats: int = 6
    "Pairs that are shown again with sides swapped."
    practice: int = 2
    "Trials with feedback, at the start, not counted."
    spare: float = 0.5
    "Room for more raters than needed, as a share: some stop early, some are excluded."
    ties: bool = False
    "Offer 'no difference'."
    both_bad: bool = False
    "Offer 'both bad'; counted as a tie, and apart."
    watch_once: bool = True
    "An answer is taken only after the pair was seen to its end."
    consent: str = _CONSENT
    max_height: int = 720
    "Higher clips are scaled down, in pixels."
    seed: int = 0
    exclusion: Exclusion = field(default_factory=Exclusion)
    stopping: Stopping = field(default_factory=Stopping)

    def __post_init__(self) -> None:
        if self.votes_per_pair < 1 or self.spare < 0 or self.max_height < 32:
            raise ValueError(
                f"votes_per_pair {self.votes_per_pair}, spare {self.spare}, max_height "
                f"{self.max_height}; expected at least 1, 0 and 32"
            )
        if not self.title.strip() or not self.consent.strip():
            raise ValueError("title and consent are shown to raters; give some text")


class _Wanted(NamedTuple):
    """A film to be made."""

    key: ClipKey
    first: tuple[str, Path]
    "What the plan calls it, and the file."
    second: tuple[str, Path]


def new_study(out: Path, systems: dict[str, Path], design: Design) -> Plan:
    """Make the study folder of two systems or more, given as name -> folder of clips.

    Raises ValueError for systems without a prompt in common, clips that cannot be shown, options
    that do not fit, or a folder that holds another study.
    """
    if len(systems) < 2:
        raise ValueError(f"got {len(systems)} systems ({', '.join(systems)}), expected 2 or more")
    if reserved := {"intact", "frozen", "shuffled"} & set(systems):
        raise ValueError(f"{', '.join(reserved)} names a check; call the system otherwise")
    questions = _questions(design)
    check_questions(questions, design.primary)
    if (out / PLAN_FILE).exists():
        raise ValueError(f"{out} holds a study already; give another folder")
    sets = [read_clip_set(name, folder) for name, folder in systems.items()]
    keys = shared_keys(sets)
    _same_build(out, sets, design)
    secret = make_secrets(out)
    study = hashlib.sha256(f"study {secret.key}".encode()).hexdigest()[:12]

    pairs = _pairs(sets, keys, design.seed)
    share = shares(design.trials, len(pairs), design.catches, design.repeats, design.practice)
    checks = _checks(sets, keys, 2 * share.catches + share.practice, design.seed)
    films = [
        _film(out, secret, study, place, wanted, design)
        for place, wanted in track([*enumerate([*pairs, *checks])], "films", transient=True)
    ]
    indices = range(len(films))
    practice_from = len(pairs) + 2 * share.catches
    needed = math.ceil(design.votes_per_pair * len(pairs) / share.pairs)
    plan = Plan(
        study=study,
        title=design.title,
        seed=design.seed,
        systems=[*systems],
        questions=questions,
        primary=design.primary,
        ties=design.ties,
        both_bad=design.both_bad,
        watch_once=design.watch_once,
        consent=design.consent,
        exclusion=design.exclusion,
        stopping=design.stopping,
        planned_votes=design.votes_per_pair * len(pairs),
        films=films,
        raters=assign(
            indices[: len(pairs)],
            indices[len(pairs) : practice_from],
            indices[practice_from:],
            math.ceil(needed * (1 + design.spare)),
            share,
            design.seed,
        ),
    )
    write_preregistration(out, plan, design.votes_per_pair)
    write_plan(out, plan)
    return plan


def _questions(design: Design) -> list[Question]:
    questions = [*QUESTIONS]
    if design.questions:
        pieces = [text.partition("=") for text in design.questions]
        checked = design.checked or (design.primary,)
        questions = [Question(id=id, text=text, check=id in checked) for id, _, text in pieces]
    elif design.checked:
        questions = [
            Question(id=each.id, text=each.text, check=each.id in design.checked)
            for each in questions
        ]
    if unknown := set(design.checked) - {question.id for question in questions}:
        raise ValueError(f"checked names {', '.join(sorted(unknown))}, which is no question")
    return questions


def _pairs(sets: list[ClipSet], keys: list[ClipKey], seed: int) -> list[_Wanted]:
    """Every two systems on every prompt, in random order: the first of a film is no one's place."""
    rng = shuffler(seed, "study films")
    pairs = [
        _in_any_order(rng, key, *((each.name, each.clips[key]) for each in two))
        for key in keys
        for two in combinations(sets, 2)
    ]
    rng.shuffle(pairs)
    return pairs


def _checks(sets: list[ClipSet], keys: list[ClipKey], count: int, seed: int) -> list[_Wanted]:
    """A clip and its copy that is frozen or shuffled, in turn; of clips that move.

    A frozen copy of a clip that stands still is no check, so the clips are taken from the half
    that moves most.
    """
    if not count:
        return []
    rng = shuffler(seed, "study checks")
    clips = [(key, each.clips[key]) for key in keys for each in sets]
    clips = rng.sample(clips, min(len(clips), 4 * count))  # enough to choose from
    moving = sorted(clips, key=lambda clip: -intact(clip[1]).motion)
    moving = moving[: max(1, len(moving) // 2)]
    picked = (rng.sample(moving, len(moving)) * math.ceil(count / len(moving)))[:count]
    wanted = []
    for place, (key, path) in enumerate(picked):
        spoilt = ("frozen", "shuffled")[place % 2]
        wanted.append(_in_any_order(rng, key, ("intact", path), (spoilt, path)))
    return wanted


def _in_any_order(
    rng: random.Random, key: ClipKey, one: tuple[str, Path], other: tuple[str, Path]
) -> _Wanted:
    return _Wanted(key, one, other) if rng.random() < 0.5 else _Wanted(key, other, one)


def _film(
    out: Path, secret: Secrets, study: str, place: int, wanted: _Wanted, design: Design
) -> Film:
    """Made, or read from what was made before."""
    name = film_name(secret, study, place)
    path, beside = out / FILMS / f"{name}.mp4", out / FILMS / f"{name}.json"
    if beside.exists() and path.exists():
        return Film(*json.loads(beside.read_text("utf-8")))
    first, second = (_source(label, clip, design.seed + place) for label, clip in wanted[1:])
    film = write_film(path, name, first, second, design.max_height)._replace(
        prompt=wanted.key.prompt,
        seed=wanted.key.seed,
        first=wanted.first[0],
        second=wanted.second[0],
    )
    write_text(beside, json.dumps(film) + "\n")
    return film


def _source(label: str, path: Path, seed: int) -> Source:
    clip = intact(path)
    if label == "frozen":
        return frozen(clip)
    return shuffled(clip, seed) if label == "shuffled" else clip


def _same_build(out: Path, sets: list[ClipSet], design: Design) -> None:
    """A build that was stopped goes on with the same clips and options only."""
    clips = {
        each.name: [[*key, str(path), path.stat().st_size] for key, path in each.clips.items()]
        for each in sets
    }
    text = json.dumps({"design": asdict(design), "clips": clips}, indent=1) + "\n"
    path = out / "building.json"
    if not path.exists():
        write_text(path, text)
    elif path.read_text("utf-8") != text:
        raise ValueError(
            f"{out} was begun with other clips or options; give another folder, or remove it"
        )
