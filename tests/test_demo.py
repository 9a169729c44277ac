"""The demo, with little of everything: all files are there, and the same command goes on."""

from rich.console import Console

from videojam.demo import Demo, run_demo
from videojam.sampling import Sampling
from videojam.training.autoencoder import AutoencoderFit


def test_demo_ends_with_files_to_look_at_and_resumes(tmp_path):
    little = Demo(
        num_clips=6,
        autoencoder=AutoencoderFit(image_steps=2, steps=4, batch=1),
        base_steps=3,
        joint_steps=3,
        sampling=Sampling(num_inference_steps=2),
    )
    console = Console(record=True, width=100)
    took = run_demo(tmp_path / "demo", little, console)
    assert list(took) == [
        "simulate clips", "train autoencoder", "prepare", "train base", "train joint", "generate",
    ]  # fmt: skip
    assert len(list((tmp_path / "demo" / "samples").glob("*.mp4"))) == 4
    assert (tmp_path / "demo" / "data" / "contact_sheet.png").stat().st_size > 1000
    table = console.export_text()
    assert "validation loss, motion" in table
    assert run_demo(tmp_path / "demo", little, Console(quiet=True)) == {}
    # A stage killed before it wrote its last file is done again, and only that one.
    (tmp_path / "demo" / "joint-run" / "model" / "videojam.json").unlink()
    (tmp_path / "demo" / "data" / "contact_sheet.png").unlink()
    again = run_demo(tmp_path / "demo", little, Console(quiet=True))
    assert list(again) == ["prepare", "train joint"]
