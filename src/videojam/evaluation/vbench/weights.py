"""Which weight file VBench looks for where, for each dimension, and where it is published.

VBench downloads by wget when a dimension starts. On a machine without network that fails one file
at a time, each after minutes; here all are named at once, before anything runs. Places are those of
vbench 0.1.5 in its local mode, under VBENCH_CACHE_DIR.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Weights(NamedTuple):
    """A file (or a folder, with a slash at its end) that VBench needs."""

    path: str
    "Under the cache folder."
    address: str
    dimensions: tuple[str, ...]


_CLIP = "https://openaipublic.azureedge.net/clip/models"
_HUB = "https://huggingface.co"
WEIGHTS = (
    Weights("dino_model/dino_vitbase16_pretrain.pth",
            "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
            ("subject_consistency",)),
    Weights("dino_model/facebookresearch_dino_main/", "git clone https://github.com/facebookresearch/dino",
            ("subject_consistency",)),
    Weights("clip_model/ViT-B-32.pt",
            f"{_CLIP}/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt",
            ("background_consistency", "appearance_style")),
    Weights("clip_model/ViT-L-14.pt",
            f"{_CLIP}/b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836/ViT-L-14.pt",
            ("aesthetic_quality",)),
    Weights("aesthetic_model/emb_reader/sa_0_4_vit_l_14_linear.pth",
            "https://github.com/LAION-AI/aesthetic-predictor/blob/main/sa_0_4_vit_l_14_linear.pth?raw=true",
            ("aesthetic_quality",)),
    Weights("pyiqa_model/musiq_spaq_ckpt-358bb6af.pth",
            "https://github.com/chaofengc/IQA-PyTorch/releases/download/v0.1-weights/musiq_spaq_ckpt-358bb6af.pth",
            ("imaging_quality",)),
    Weights("amt_model/amt-s.pth", f"{_HUB}/lalala125/AMT/resolve/main/amt-s.pth",
            ("motion_smoothness",)),
    Weights("raft_model/models/raft-things.pth",
            "https://dl.dropboxusercontent.com/s/4j4z58wuv8o0mfz/models.zip (unzip in raft_model/)",
            ("dynamic_degree",)),
    Weights("umt_model/l16_ptk710_ftk710_ftk400_f16_res224.pth",
            f"{_HUB}/OpenGVLab/VBench_Used_Models/resolve/main/l16_ptk710_ftk710_ftk400_f16_res224.pth",
            ("human_action",)),
    Weights("grit_model/grit_b_densecap_objectdet.pth",
            "https://datarelease.blob.core.windows.net/grit/models/grit_b_densecap_objectdet.pth",
            ("object_class", "multiple_objects", "color", "spatial_relationship")),
    Weights("caption_model/tag2text_swin_14m.pth",
            f"{_HUB}/spaces/xinyu1205/recognize-anything/resolve/main/tag2text_swin_14m.pth",
            ("scene",)),
    Weights("ViCLIP/ViClip-InternVid-10M-FLT.pth",
            f"{_HUB}/OpenGVLab/VBench_Used_Models/resolve/main/ViClip-InternVid-10M-FLT.pth",
            ("temporal_style", "overall_consistency")),
    Weights("ViCLIP/bpe_simple_vocab_16e6.txt.gz",
            "https://raw.githubusercontent.com/openai/CLIP/main/clip/bpe_simple_vocab_16e6.txt.gz",
            ("temporal_style", "overall_consistency")),
)  # fmt: skip
"temporal_flickering needs none; scene also loads bert-base-uncased from the Hugging Face cache."


def missing_weights(cache: Path, dimensions: Sequence[str]) -> list[Weights]:
    """What these dimensions need and the cache lacks; an empty file counts as missing."""
    return [
        one
        for one in WEIGHTS
        if {*one.dimensions} & {*dimensions} and not _is_there(cache / one.path, one.path)
    ]


def explain_missing(cache: Path, missing: Sequence[Weights], dimensions: Sequence[str]) -> str:
    """One message: for each dimension which file goes where, and which can run as it is."""
    lines = [f"VBench's weights are missing under {cache}:"]
    for one in missing:
        names = ", ".join(name for name in one.dimensions if name in dimensions)
        lines.append(f"  {names}: {cache / one.path}\n      from {one.address}")
    blocked = {name for one in missing for name in one.dimensions}
    ready = [name for name in dimensions if name not in blocked]
    lines.append(f"Ready as it is: {', '.join(ready) or 'none of the dimensions asked for'}.")
    lines.append(
        "Put them there, or give --download on a machine with network and VBench fetches them; "
        "--dimensions chooses those that are ready."
    )
    return "\n".join(lines)


def _is_there(path: Path, name: str) -> bool:
    if name.endswith("/"):
        return path.is_dir() and any(path.iterdir())
    return path.is_file() and path.stat().st_size > 0
