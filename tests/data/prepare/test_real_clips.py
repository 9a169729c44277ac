"""Real clips through the command itself, with a small random Wan."""

import json
import signal
from pathlib import Path

import torch
from data_synthetic import table

from videojam.cli.prepare import PrepareArgs, main
from videojam.data.prepare.config import PrepareConfig
from videojam.models.small_wan import SmallWan, write_small_wan


def test_the_command_prepares_real_clips(tmp_path: Path, real_clips: Path) -> None:
    names = ["sign_brother.mkv", "sign_eat.mkv", "stream.mp4", "car_park.mp4", "flower_opening.mp4"]
    captions = tmp_path / "captions.jsonl"
    captions.write_text(
        "".join(json.dumps({"path": name, "caption": f"a clip: {name}"}) + "\n" for name in names)
    )
    model = write_small_wan(
        tmp_path / "model", SmallWan(num_layers=1, vae_width=4, vae_multipliers=(1, 1, 1, 1))
    )
    config = PrepareConfig(
        videos=real_clips,
        out=tmp_path / "out",
        captions=captions,
        model=str(model),
        sizes=((64, 112), (64, 64)),
        num_frames=25,
        num_workers=0,
        previews=0,
    )
    before = signal.getsignal(signal.SIGTERM)
    try:
        main(PrepareArgs(config=config))
    finally:
        signal.signal(signal.SIGTERM, before)
    rows = table(tmp_path / "out")
    assert [row["key"] for row in rows] == [
        *(f"flower_opening.mp4#{k:04d}" for k in range(3)),
        "sign_brother.mkv#0000",
        "sign_eat.mkv#0000",
        "stream.mp4#0000",
    ]
    for row in rows:
        assert row["latent_shape"] == [16, 7, 8, 14]
        for name in ("x", "d"):
            latents = torch.frombuffer(bytearray(row[name]), dtype=torch.float16)
            assert latents.numel() == 16 * 7 * 8 * 14 and torch.isfinite(latents).all()
        assert row["x"] != row["d"]
        assert 0 < row["flow_mean_px"] < 20
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    said = {item["name"]: item["reason"] for item in report["dropped"]}
    assert said["car_park.mp4"].startswith("12.5 frames/s, fewer than 0.99 x 16")
    assert said["motorway.mp4"] == "no caption: no row in captions.jsonl"
