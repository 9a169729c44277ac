"""What `videojam info DATASET` says, and letting go of what a run that will not go on holds."""

from pathlib import Path

import pytest
from data_synthetic import captioned, moving_square, run, tiny_config

from videojam.cli.main import main
from videojam.data import dataset
from videojam.data.lance_table import held_versions
from videojam.data.prepare.prepare import samples_path
from videojam.training.config import TrainConfig
from videojam.workflow.datasets import training_data


def said(capsys, *arguments) -> str:
    main(["info", *map(str, arguments)])
    return capsys.readouterr().out


def test_a_dataset_says_what_it_holds_and_lets_go_of_a_run(tmp_path: Path, capsys) -> None:
    videos, out = tmp_path / "videos", tmp_path / "data"
    for seed, name in enumerate("ab"):
        captioned(videos / f"{name}.mp4", moving_square(60, seed=seed), f"square {name}")
    run(tiny_config(videos, out, holdout=("b.mp4",), previews=0, num_workers=0))
    rows = dataset.columns(samples_path(out), ("split", "flow_mean_px"))
    held_out = sum(row["split"] == "validation" for row in rows)
    text = said(capsys, out)
    assert f"{len(rows)} samples of 2 videos" in text and "2 captions" in text
    assert f"{len(rows) - held_out} to train on, {held_out} held out" in text
    assert f"{len(rows)} of 9 x 32 x 48" in text
    assert f"{len(rows) * 0.9 / 3600:.3g} hours at 10 frames/s" in text
    mean = sum(row["flow_mean_px"] for row in rows) / len(rows)
    assert f"mean flow {mean:.2f} px" in text
    assert "holds a version" not in text

    training_data(out, TrainConfig(out=tmp_path / "run"), num_workers=0)
    (name,) = held_versions(samples_path(out))
    assert f"{name} holds a version of {len(rows)} samples" in said(capsys, out)
    assert "holds a version" not in said(capsys, out, "--let-go", tmp_path / "run")
    assert not held_versions(samples_path(out))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--let-go", "run"], "needs the dataset's folder"),
        (["{model}", "--let-go", "run"], "is none"),
        (["{data}", "--let-go", "run"], "the run in run holds no version of"),
    ],
)
def test_letting_go_of_nothing_is_an_error(arguments, message, tmp_path, capsys) -> None:
    captioned(tmp_path / "videos" / "a.mp4", moving_square(30), "a square")
    run(tiny_config(tmp_path / "videos", tmp_path / "data", previews=0))
    places = {"data": tmp_path / "data", "model": tmp_path / "videos"}
    with pytest.raises(SystemExit):
        main(["info", *(one.format(**places) for one in arguments)])
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
