"""What a training takes is said before anything is loaded, on the command line."""

import math
import re

import pytest
from data_synthetic import captioned, moving_square, run, tiny_config
from tiny_run import base_pipeline

from videojam.cli.main import main
from videojam.models.needs import GIB
from videojam.training import parallel
from videojam.training.config import TrainConfig
from videojam.workflow import requirements
from videojam.workflow.requirements import sizes_of


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("requirements")
    captioned(folder / "videos" / "a.mp4", moving_square(90, seed=1), "a square")
    run(tiny_config(folder / "videos", folder / "out", previews=0))
    return folder / "out"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    base_pipeline().save_pretrained(folder)
    return str(folder)


def numbers(line):
    return [float(found.replace(",", "")) for found in re.findall(r"[\d.,]*\d", line)]


def test_a_dry_run_prints_the_arithmetic_and_makes_nothing(prepared, base, tmp_path, capsys):
    arguments = [
        "train", "--data", str(prepared), "--model", base, "--out", str(tmp_path / "run"),
        "--mode", "full",
        "--steps", "3600", "--ema-decay", "0.5", "--dry-run", "--tflops", "0.001",
    ]  # fmt: skip
    main(arguments)
    lines = capsys.readouterr().out.splitlines()
    assert not (tmp_path / "run").exists()
    _, counts = sizes_of(base, TrainConfig(out=tmp_path, mode="full"))
    assert numbers(lines[0])[-2:] == [counts.trained, 0]
    by_part = {line.split()[0]: numbers(line)[0] for line in lines if line.startswith("  ")}
    for part, size in (("weights", 4), ("gradients", 4), ("optimiser", 8), ("average", 4)):
        assert by_part[part] == pytest.approx(size * counts.trained / GIB, abs=6e-4)
    step, hours = numbers(lines[-1])[:2]
    assert hours == pytest.approx(step, rel=0.02)  # 3600 of them
    main([*arguments[:-2], "--tflops", "0.002"])
    assert numbers(capsys.readouterr().out.splitlines()[-1])[0] == pytest.approx(step / 2, rel=0.02)


def test_a_dry_run_refuses_what_the_training_would(prepared, tmp_path, monkeypatch):
    from types import SimpleNamespace

    three = SimpleNamespace(num_processes=3, process_index=0)
    for module in (requirements, parallel):
        monkeypatch.setattr(module, "processes", lambda: three)
    config = TrainConfig(out=tmp_path, global_batch_size=4)
    with pytest.raises(ValueError, match="which 3 processes cannot share evenly"):
        requirements.dry_run([prepared], config, None, 1.0)


def test_info_compares_ways_to_train_on_cards(base, capsys):
    main(["info", base, "--latent", "3", "4", "4", "--card", "0.0001GB", "80GB", "--processes", "1",
          "2", "--tflops", "1"])  # fmt: skip
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines() if line.startswith("|")
    ]  # fmt: skip
    head, rows = rows[0], rows[2:]
    assert head[-2:] == ["0.0001GB", "80GB"] and "s/sample" in head
    assert {tuple(row[-2:]) for row in rows} == {("-", "fits")}
    names = [row[0] for row in rows]
    assert len({*names}) == len(names)
    assert "full, checkpointing, 2 processes, sharded" in names
    assert "LoRA, checkpointing, nf4, 2 processes, sharded" not in names  # refused by a run, too
    with pytest.raises(SystemExit):
        main(["info", base, "--card", "many"])
    assert "expected its memory, such as 24GB" in capsys.readouterr().err


def test_the_rate_is_measured_where_none_is_stated(prepared, base, tmp_path, monkeypatch):
    monkeypatch.setattr("videojam.training.cost.peak_flops", lambda *_: 1e9)
    said = requirements.dry_run([prepared], TrainConfig(out=tmp_path), base, None)
    said = said.splitlines()[-1]
    assert "0.0004 TFLOP/s (40% of a matrix product's" in said
    assert math.isfinite(numbers(said)[0])


def test_clips_that_processes_share_are_fewer_on_each(tmp_path):
    config = TrainConfig(out=tmp_path, global_batch_size=4, context_parallel=2)
    setup = requirements.setup_of(config, 4)
    assert (setup.micro_batch, setup.context_parallel) == (2, 2)
