"""The small Wan: the published layout, repeatable, and with an autoencoder that can learn."""

import json

import pytest
import torch
from diffusers import AutoencoderKLWan, WanPipeline

from videojam.embedded.autoencoder import AutoencoderFit, fit_autoencoder
from videojam.joint.inputs import text_inputs
from videojam.joint.latents import decode_video, encode_video
from videojam.joint.sizes import Size
from videojam.lab.clips import Lab, lab_clips
from videojam.media.video import to_pixels
from videojam.models.small_wan import SmallWan, small_wan_pipeline, write_small_wan

# Components and config keys of the published Wan 2.1 T2V folders.
COMPONENTS = {
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
TINY = SmallWan(num_layers=1, num_heads=2, head_dim=16, text_width=16, text_layers=1)
LAB = Lab(frames=5, height=32, width=32, texture=0.0)


def test_folder_is_laid_out_as_the_published_ones(tmp_path):
    folder = write_small_wan(tmp_path / "wan", TINY)
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "WanPipeline"
    assert {name: index[name] for name in COMPONENTS} == COMPONENTS
    assert index["tokenizer"][0] == "transformers"
    for name in ("transformer", "vae"):
        assert (folder / name / "diffusion_pytorch_model.safetensors").is_file()
    assert (folder / "text_encoder" / "model.safetensors").is_file()
    vae = json.loads((folder / "vae" / "config.json").read_text())
    assert vae["z_dim"] == 16
    assert vae["temperal_downsample"] == [False, True, True]
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "flow_prediction"
    assert scheduler["use_flow_sigmas"]
    assert scheduler["flow_shift"] == 3.0
    pipe = WanPipeline.from_pretrained(folder)
    assert pipe.vae_scale_factor_temporal == 4
    assert pipe.vae_scale_factor_spatial == 8


def test_a_folder_with_files_is_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        write_small_wan(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    a = small_wan_pipeline(TINY).transformer.state_dict()
    torch.manual_seed(2)
    b = small_wan_pipeline(TINY).transformer.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    other = small_wan_pipeline(SmallWan(num_layers=1, num_heads=2, head_dim=16, seed=1))
    assert not torch.equal(other.transformer.proj_out.bias, a["proj_out.bias"])


def test_tokenizer_spells_what_it_does_not_know():
    tokenizer = small_wan_pipeline(TINY).tokenizer
    pieces = tokenizer.convert_ids_to_tokens(tokenizer("a red zebra!").input_ids)
    assert pieces == ["▁a", "▁red", "▁", "z", "e", "b", "r", "a", "!", "</s>"]


def test_text_is_what_the_pipeline_gives_its_transformer():
    pipe = small_wan_pipeline(TINY)
    captions = ["a red ball", "", "a blue square moves left"]
    own = text_inputs(pipe, captions, Size(5, 32, 32))
    whole = pipe.encode_prompt(captions, do_classifier_free_guidance=False, max_sequence_length=512)
    for row, text in zip(whole[0], own, strict=True):
        assert torch.allclose(text["encoder_hidden_states"], row, atol=1e-5)
    assert pipe.transformer.config.in_channels == 16, "the pipeline is as it was"


def test_normalisation_is_the_pipelines_and_inverts():
    pipe = small_wan_pipeline(TINY)
    pipe.vae.register_to_config(
        latents_mean=[0.1 * i for i in range(16)], latents_std=[1.0 + i for i in range(16)]
    )
    pixels = to_pixels(lab_clips(LAB, [0])[1].frames)
    latents = encode_video(pipe.vae, pixels)
    raw = pipe.vae.encode(pixels).latent_dist.mode()
    assert torch.allclose(latents[:, 3], (raw[:, 3] - 0.3) / 4, atol=1e-5)
    with torch.no_grad():
        expected = pipe.vae.decode(raw).sample
    assert torch.allclose(decode_video(pipe.vae, latents), expected, atol=1e-4)


def test_a_vae_of_no_known_normalisation_is_refused():
    class Other(torch.nn.Module):
        device, dtype = torch.device("cpu"), torch.float32

    with pytest.raises(ValueError, match=r"known for Other; known: AutoencoderKLWan"):
        encode_video(Other(), torch.zeros(1, 3, 5, 16, 16))


def test_autoencoder_learns_and_measures_its_latents(tmp_path):
    pipe = small_wan_pipeline(SmallWan(num_layers=1, vae_width=4, vae_multipliers=(1, 1, 2, 2)))
    clips = to_pixels(lab_clips(LAB, range(4))[1].frames)
    errors = []
    fit = AutoencoderFit(image_steps=50, steps=80, batch=2, crop_frames=5)
    fit_autoencoder(pipe.vae, clips.__getitem__, 4, fit, lambda step, error: errors.append(error))
    assert errors[-1] < 0.6 * errors[0]
    pipe.vae.save_pretrained(tmp_path)
    vae = AutoencoderKLWan.from_pretrained(tmp_path)
    latents = torch.cat([encode_video(vae, clip[None]) for clip in clips])
    assert torch.allclose(latents.mean(dim=(0, 2, 3, 4)), torch.zeros(16), atol=1e-3)
    assert torch.allclose(latents.std(dim=(0, 2, 3, 4)), torch.ones(16), atol=1e-2)
