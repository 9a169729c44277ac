"""Wan 2.2 TI2V-5B and SkyReels-V2, small: prepare, train, generate through their own classes."""

import diffusers
import pytest
import torch

from videojam import VideoJAM
from videojam.cli.main import main
from videojam.joint.latents import encode_video
from videojam.lab.clips import Lab
from videojam.models.small_wan import SmallWan, small_wan_pipeline
from videojam.workflow.lab_folder import write_lab_folder

TINY = SmallWan(num_layers=1, num_heads=2, head_dim=16, text_width=16, text_layers=1)
LAB = Lab(frames=9, fps=8.0, height=48, width=48)


def ti2v_5b(parts):
    """48 latent channels, 16 x spatial compression, a time step per token."""
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=48, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.0] * 48, latents_std=[1.0] * 48,
        is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16,
    )  # fmt: skip
    parts["transformer"] = diffusers.WanTransformer3DModel.from_config(
        dict(parts["transformer"].config), in_channels=48, out_channels=48
    )
    return diffusers.WanPipeline(**parts | {"vae": vae}, expand_timesteps=True)


def skyreels_v2(parts):
    transformer = diffusers.SkyReelsV2Transformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=16, out_channels=16, text_dim=16,
        freq_dim=16, ffn_dim=32, num_layers=1,
    )  # fmt: skip
    del parts["transformer_2"]
    return diffusers.SkyReelsV2Pipeline(**parts | {"transformer": transformer})


@pytest.mark.parametrize(
    ("make", "size", "channels"),
    [(ti2v_5b, 64, 48), (skyreels_v2, 48, 16)],
    ids=["TI2V-5B", "SkyReels-V2"],
)
def test_the_whole_path(tmp_path, make, size, channels):
    torch.manual_seed(0)
    make(dict(small_wan_pipeline(TINY).components)).save_pretrained(tmp_path / "base")
    clips = write_lab_folder(LAB, tmp_path / "clips", 3)
    prepare = ["prepare", "--videos", str(clips), "--captions", str(clips / "captions.jsonl"),
               "--out", str(tmp_path / "data"), "--model", str(tmp_path / "base"), "--fps", "8",
               "--num-frames", "9", "--num-workers", "0", "--max-upscale", "2", "--previews", "0",
               "--holdout-videos", "1", "--sizes", str(size), str(size)]  # fmt: skip
    main(prepare)
    main(["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--steps",
          "2", "--precision", "fp32", "--lora-rank", "2", "--export", "both"])  # fmt: skip
    for form in ("adapter", "model"):
        jam = VideoJAM.from_pretrained(tmp_path / "run" / form)
        assert jam.pipe.transformer.config.in_channels == 2 * channels
        clip = jam("a red ball moves left", num_inference_steps=2)
        assert clip.video.shape == clip.motion.shape == (9, size, size, 3)
        assert clip.latents.shape[0] == 2 * channels


def test_a_size_that_the_model_cannot_hold_is_refused_before_any_work(tmp_path, capsys):
    torch.manual_seed(0)
    make = ti2v_5b(dict(small_wan_pipeline(TINY).components))
    make.save_pretrained(tmp_path / "base")
    assert encode_video(make.vae, torch.zeros(1, 3, 5, 32, 32)).shape == (1, 48, 2, 2, 2)
    clips = write_lab_folder(LAB, tmp_path / "clips", 1)
    with pytest.raises(SystemExit):
        main(["prepare", "--videos", str(clips), "--captions", str(clips / "captions.jsonl"),
              "--out", str(tmp_path / "data"), "--model", str(tmp_path / "base"), "--fps", "8",
              "--num-frames", "9", "--sizes", "48", "48"])  # fmt: skip
    assert "expected a multiple of 32" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
