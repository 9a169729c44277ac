"""From folders to a plan, from votes to a report; without a server; by the command line."""

import csv
import dataclasses
import hashlib
import json
import random
import re
import shutil

import pytest
from small_study import SMALL, SYSTEMS, preferred_side, small_study, write_systems

from videojam.cli.main import main
from videojam.study.analysis.report import write_report
from videojam.study.analysis.votes_csv import votes_csv
from videojam.study.links import rater_key, read_secrets, signed
from videojam.study.new import Design, new_study
from videojam.study.plan import QUESTIONS, Stopping, read_plan, write_plan
from videojam.study.preregistration import preregistration_hash
from videojam.study.serverless import add_file, export
from videojam.study.store import Store, Vote


def fill(folder, plan, share=0.9):
    """Every rater answers everything."""
    store = Store(folder)
    for rater, trials in enumerate(plan.raters):
        store.join(rater, "invited")
        rng = random.Random(rater)
        for place, trial in enumerate(trials):
            side = preferred_side(plan, trial, SYSTEMS[1], share, rng)
            if trial.kind == "repeat" and not rng.random() < 0.1:
                first = store.votes()[-1 - (place - 1 - trial.repeats)].vote.answers["motion"]
                side = {"left": "right", "right": "left"}[first]
            store.add(Vote(rater, place, {"motion": side}, 3.0))
    store.close()


# Making a study -----------------------------------------------------------------------------


def test_a_plan_says_everything_and_comes_back(made, tmp_path):
    folder, plan = made
    assert read_plan(folder) == plan
    write_plan(tmp_path, plan)
    assert (tmp_path / "plan.json").read_bytes() == (folder / "plan.json").read_bytes()
    pairs = [film for film in plan.films if film.first in SYSTEMS]
    assert len(pairs) == 8
    assert {film.prompt for film in pairs} == {f"prompt number {k}" for k in range(8)}
    assert plan.planned_votes == 5 * 8
    assert all({film.first, film.second} == {*SYSTEMS} for film in pairs)
    checks = [{film.first, film.second} for film in plan.films if film not in pairs]
    assert len(checks) == 2 * 4 + 1
    assert {"intact", "frozen"} in checks and {"intact", "shuffled"} in checks
    assert {path.stem for path in (folder / "films").glob("*.mp4")} == {f.name for f in plan.films}


def test_the_preregistration_holds_the_plan(made):
    folder, _ = made
    text = (folder / "PREREGISTRATION.md").read_text()
    assert hashlib.sha256((folder / "plan.json").read_bytes()).hexdigest() in text
    assert preregistration_hash(folder) == hashlib.sha256(text.encode()).hexdigest()
    for stated in (*SYSTEMS, "Which moves better?", "40 answers", "80%", "96%", "0.01"):
        assert stated in text


def test_what_is_changed_after_it_was_written_is_found(study):
    for name in ("plan.json", "PREREGISTRATION.md", "PREREGISTRATION.sha256"):
        before = (study[0] / name).read_text()
        (study[0] / name).write_text(before.replace("0", "1", 1))
        with pytest.raises(ValueError, match="were changed after they were written"):
            preregistration_hash(study[0])
        (study[0] / name).write_text(before)
    preregistration_hash(study[0])


def test_a_build_that_was_stopped_goes_on(made, tmp_path):
    systems = write_systems(tmp_path / "clips", 8)
    shutil.copytree(made[0], tmp_path / "study")
    (tmp_path / "study" / "plan.json").unlink()
    (tmp_path / "study" / "building.json").unlink()
    kept = sorted((tmp_path / "study" / "films").glob("*.mp4"))
    times = {path: path.stat().st_mtime_ns for path in kept}
    kept[3].unlink()
    plan = new_study(tmp_path / "study", systems, SMALL)
    assert plan == made[1]
    changed = [path for path in kept if path.stat().st_mtime_ns != times[path]]
    assert changed == [kept[3]]
    with pytest.raises(ValueError, match="holds a study already"):
        new_study(tmp_path / "study", systems, SMALL)
    (tmp_path / "study" / "plan.json").unlink()
    with pytest.raises(ValueError, match="begun with other clips or options"):
        new_study(tmp_path / "study", systems, dataclasses.replace(SMALL, seed=1))


@pytest.mark.parametrize("options, why", [
    ({"questions": ("no id",)}, "a text is not empty"),
    ({"questions": ("a b=What?",), "primary": "a b"}, "an id is a short word"),
    ({"questions": ("a=What?", "a=Why?"), "primary": "a"}, "an id of its own"),
    ({"primary": "speed"}, "the primary question is 'speed'"),
    ({"questions": (), "checked": ("speed",)}, "which is no question"),
    ({"trials": 5}, "leave"),
])  # fmt: skip
def test_designs_that_do_not_fit(tmp_path, options, why):
    systems = write_systems(tmp_path / "clips", 4, frames=2)
    with pytest.raises(ValueError, match=why):
        new_study(tmp_path / "study", systems, dataclasses.replace(SMALL, **options))


@pytest.mark.parametrize("options", [{"votes_per_pair": 0}, {"spare": -1.0}, {"title": " "},
                                     {"max_height": 8}, {"consent": ""}])  # fmt: skip
def test_designs_that_are_none(options):
    with pytest.raises(ValueError, match=r"expected|give some text"):
        Design(**options)


def test_systems_that_cannot_be_compared(tmp_path):
    systems = write_systems(tmp_path / "clips", 2, frames=2)
    one = dict([*systems.items()][:1])
    with pytest.raises(ValueError, match="expected 2 or more"):
        new_study(tmp_path / "a", one, SMALL)
    with pytest.raises(ValueError, match="names a check"):
        new_study(tmp_path / "a", {**one, "frozen": tmp_path}, SMALL)


def test_the_papers_questions_are_the_default(tmp_path):
    plan = small_study(tmp_path, 4, Design(trials=16, catches=4, repeats=2, practice=1), frames=2)
    assert plan.questions == [*QUESTIONS]
    assert [q.id for q in plan.questions if q.check] == ["motion"]
    text = (tmp_path / "study" / "PREREGISTRATION.md").read_text()
    assert all(question.text in text for question in QUESTIONS)


# The report ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voted(made, tmp_path_factory):
    """A study that every rater has answered, and its report."""
    folder = shutil.copytree(made[0], tmp_path_factory.mktemp("voted") / "study")
    fill(folder, made[1])
    return folder, made[1], write_report(folder, folder / "report")


def test_the_report_counts_what_was_said(voted):
    folder, plan, found = voted
    (row,) = found["comparisons"]
    rows = [*csv.DictReader((folder / "report" / "votes.csv").open())]
    assert len(rows) == sum(map(len, plan.raters))
    pairs = [each for each in rows if each["kind"] == "pair"]
    wins = sum(each["chosen"] == SYSTEMS[0] for each in pairs)
    assert (row["votes"], row["a_wins"], row["b_wins"]) == (len(pairs), wins, len(pairs) - wins)
    assert row["share_of_a"] == wins / len(pairs)
    assert row["interval"]["low"] < row["share_of_a"] < row["interval"]["high"]
    for each in rows:
        film = plan.films[plan.raters[int(each["rater"])][int(each["trial"])].film]
        assert {each["left"], each["right"]} == {film.first, film.second}
        assert each["chosen"] == each[each["answer"]]
    assert found["preregistration"] == preregistration_hash(folder)
    assert found["repeats"] == 3 * len(plan.raters)
    assert SYSTEMS[1] in found["conclusion"]


def test_files_of_the_report_agree(voted):
    folder, _, found = voted
    assert json.loads((folder / "report" / "results.json").read_text()) == found
    page = (folder / "report" / "report.html").read_text()
    table = (folder / "report" / "tables.md").read_text()
    for text in (page, table):
        assert f"{100 * found['comparisons'][0]['share_of_a']:.1f}" in text
        assert found["conclusion"] in text
        assert found["preregistration"] in text
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)


def test_bad_raters_are_out_but_shown(study):
    folder, plan = study
    fill(folder, plan)
    store = Store(folder)
    store._db.execute('UPDATE votes SET answers = \'{"motion": "left"}\' WHERE rater = 1')
    store.close()
    found = write_report(folder, folder / "report")
    assert [each["rater"] for each in found["raters"] if each["reasons"]] == [1]
    votes, everyone = (found[k][0]["votes"] for k in ("comparisons", "comparisons_with_everyone"))
    assert votes == everyone - 8
    assert "catch trials" in (folder / "report" / "tables.md").read_text()


def test_script_and_formulas_in_names_stay_text(tmp_path):
    systems = write_systems(tmp_path / "clips", 4, frames=2, systems=("<b>a", "b"))
    evil = "=cmd|' /C calc'!A0 <script>alert(1)</script> | x"
    for folder in systems.values():
        clip = folder / "prompt number 0.mp4"
        (folder / "clips.jsonl").write_text(
            "".join(
                json.dumps({"file": path.name, "prompt": evil if path == clip else path.stem})
                + "\n"
                for path in sorted(folder.glob("*.mp4"))
            )
        )
    design = dataclasses.replace(SMALL, title="<img src=x onerror=alert(1)>")
    plan = new_study(tmp_path / "study", systems, design)
    fill_all = Store(tmp_path / "study")
    fill_all.join(0, "invited")
    for place, _ in enumerate(plan.raters[0]):
        fill_all.add(Vote(0, place, {"motion": "left"}, 2.0))
    table = votes_csv(plan, fill_all.votes())
    fill_all.close()
    write_report(tmp_path / "study", tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<img" not in page and "<script" not in page and "<b>a" not in page
    assert any(row["prompt"] == "'" + evil for row in csv.DictReader(table.splitlines()))
    (exported,) = export(tmp_path / "study", tmp_path / "pages", [0])
    assert exported.read_text().count("<script") == 2  # the data and the code
    assert "<script>alert" not in exported.read_text()


def test_a_report_needs_votes(study):
    with pytest.raises(ValueError, match="has no votes yet"):
        write_report(study[0], study[0] / "report")


# Without a server ---------------------------------------------------------------------------


def votes_file(study, path, changed=None):
    """A file as the page of rater 2 writes it."""
    (folder, plan), rater = study, 2
    votes = [{"trial": k, "answers": {"motion": "left"}, "seconds": 2} for k in range(6)]
    text = json.dumps({"study": plan.study, "rater": rater, "votes": votes, **(changed or {})})
    key = rater_key(read_secrets(folder), plan.study, rater)
    content = {"format": "videojam study votes 1", "text": text, "signature": signed(key, text)}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def store(study):
    store = Store(study[0])
    yield store
    store.close()


def test_a_file_is_read_once(study, store, tmp_path):
    path = votes_file(study, tmp_path / "votes.json")
    for _ in range(2):
        assert add_file(study[0], store, path) == 6
    assert store.done(2) == [*range(6)]
    assert store.rater(2).source == "file"


@pytest.mark.parametrize("changed, why", [
    ({"study": "other"}, "is of study"), ({"rater": 3}, "its signature does not fit"),
    ({"rater": 999}, "is of study"), ({"votes": "x"}, "is no file of votes"),
    ({"votes": [{"trial": 999, "answers": {"motion": "left"}, "seconds": 1}]}, "was not asked"),
    ({"votes": [{"trial": 0, "answers": {"motion": "up"}, "seconds": 1}]}, "answers are expected"),
])  # fmt: skip
def test_files_that_are_refused(study, store, tmp_path, changed, why):
    with pytest.raises(ValueError, match=why):
        add_file(study[0], store, votes_file(study, tmp_path / "votes.json", changed))
    assert store.votes() == []


def test_damaged_forged_and_contradicting_files(study, store, tmp_path):
    path = votes_file(study, tmp_path / "votes.json")
    good = path.read_text()
    for wrong in (good.replace("left", "right", 1), good[:-20], "[]", '{"format": 1}', "\ud800"):
        path.write_text(wrong, "utf-8", errors="replace")
        with pytest.raises(ValueError, match=r"votes\.json"):
            add_file(study[0], store, path)
    path.write_text(good)
    store.join(2, "invited")
    store.add(Vote(2, 5, {"motion": "right"}, 1.0))
    with pytest.raises(ValueError, match="one link and one file went to two people"):
        add_file(study[0], store, path)
    assert store.num_votes() == 1


@pytest.mark.parametrize("one_file", [False, True])
def test_exported_pages_hold_what_they_need(study, tmp_path, one_file):
    folder, plan = study
    pages = export(folder, tmp_path / "pages", [0, 1], one_file)
    for rater, page in enumerate(pages):
        text = page.read_text()
        data = json.loads(re.search(r'id="study-data">(.*?)</script>', text).group(1))
        assert data["rater"] == rater
        assert len(data["trials"]) == len(plan.raters[rater])
        for address in data["films"].values():
            assert address.startswith("data:video/mp4") or (page.parent / address).is_file()
        assert {p.name for p in page.parent.iterdir()} == (
            {"index.html"} if one_file else {"index.html", "films"}
        )
        assert not re.search(r'(src|href)="(?!data:)', text)
        for word in (*SYSTEMS, "frozen", read_secrets(folder).key, read_secrets(folder).admin):
            assert word not in text
    with pytest.raises(ValueError, match="no place for rater"):
        export(folder, tmp_path / "pages", [99])


# The command line ---------------------------------------------------------------------------


def test_commands(tmp_path, capsys):
    systems = write_systems(tmp_path / "clips", 6, frames=3)
    out = str(tmp_path / "study")
    named = [f"{name}={folder}" for name, folder in systems.items()]
    options = ["--trials", "14", "--catches", "3", "--repeats", "2", "--practice", "1", "--ties"]
    main(["study", "new", "--out", out, "--systems", *named, *options])
    assert "6 pairs, 30 votes" in capsys.readouterr().out
    plan = read_plan(tmp_path / "study")
    assert plan.ties and not plan.both_bad
    assert plan.stopping == Stopping()
    main(["study", "invite", "--out", out, "--raters", "2", "--address", "http://h:1"])
    assert capsys.readouterr().out.count("http://h:1/#") == 2
    main(["study", "export", "--out", out, "--to", str(tmp_path / "pages"), "--raters", "1"])
    vote = {"trial": 1, "answers": {q.id: "tie" for q in plan.questions}, "seconds": 1}
    path = votes_file((tmp_path / "study", plan), tmp_path / "v.json", {"votes": [vote]})
    main(["study", "report", "--out", out, "--files", str(path)])
    assert "The study is not at its end" in capsys.readouterr().out
    assert (tmp_path / "study" / "report" / "report.html").is_file()


@pytest.mark.parametrize("words, why", [
    (["neww"], "did you mean 'new'"), (["new", "--out", "x", "--systems", "a"], "NAME=FOLDER"),
    (["new", "--out", "x", "--systems", "a=b", "a=c"], "each name once"),
    (["serve", "--out", "nowhere"], "has no plan.json"),
    (["report", "--out", "nowhere"], "has no plan.json"),
    (["invite", "--out", "nowhere"], "has no plan.json"),
])  # fmt: skip
def test_mistakes_on_the_command_line_are_one_line(words, why, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["study", *words])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
