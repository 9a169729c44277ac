"""Captions through the text encoder: those that are new or corrected, before any clip is decoded.

One row per caption in a table of their own, so a corrected caption costs no latents.
"""

# pyarrow makes its compute functions when it is imported.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from rich.progress import Progress

from videojam.data.captions import CaptionText
from videojam.data.prepare.encode import Dtype, Encoders, encode_caption
from videojam.data.prepare.report import Report
from videojam.data.prepare.writer import Output
from videojam.data.source.manifest import Entry
from videojam.joint.text import Text

_LONG_BYTES = 120  # shorter captions fit every model
_NAMES = ("text_key", "place", "caption")


def encode_texts(
    entries: Sequence[Entry],
    output: Output,
    encoders: Encoders,
    dtype: Dtype,
    report: Report,
    progress: Progress,
) -> None:
    """Bring the captions of these videos into the dataset, as the entries have them.

    Raises ValueError if a corrected caption cannot be replaced now (in a shard).
    """
    new, changed = _compare(entries, output.texts())
    if encoders.text_with_image:
        _check_single(entries, changed)
    bar = progress.add_task("encode captions", total=len(new) + len(changed))
    waiting: list[CaptionText] = []
    for texts in _encoded(new, encoders, dtype, report):
        waiting += texts
        progress.advance(bar)
        if len(waiting) >= output.commit_samples:
            waiting = output.add_texts(waiting)
    output.add_texts(waiting)
    keys: list[str] = []
    waiting = []
    for texts in _encoded(changed, encoders, dtype, report):
        keys.append(texts[0].text_key)
        waiting += texts
        progress.advance(bar)
        if len(keys) >= output.commit_samples:
            output.replace_texts(keys, waiting)
            keys, waiting = [], []
    if keys:
        output.replace_texts(keys, waiting)
    report.captions_corrected = len(changed)


def _check_single(entries: Sequence[Entry], changed: Sequence[Entry]) -> None:
    """ValueError for captions that samples, which hold them as read with an image, cannot have."""
    several = [entry.path for entry in entries if len(entry.captions) > 1]
    if several:
        raise ValueError(
            f"{several[0]} has several captions, and this model reads a caption together with the "
            "image, once for each clip; give one caption a video"
        )
    if changed:
        raise ValueError(
            f"the caption of {changed[0].path} is another than before, and samples hold it as it "
            "was read together with their image; prepare into a new folder"
        )


def _encoded(
    entries: Sequence[Entry], encoders: Encoders, dtype: Dtype, report: Report
) -> Iterator[list[CaptionText]]:
    for entry in entries:
        texts = []
        for place, caption in enumerate(entry.captions):
            with report.time("text"):
                text = encode_caption(encoders, caption, dtype)
                if len(caption.encode()) > _LONG_BYTES and _is_cut(encoders, caption, text, dtype):
                    report.captions_cut.append(entry.path)
            texts.append(CaptionText(entry.path, place, caption, text))
        report.captions_encoded += len(texts)
        yield texts


def _is_cut(encoders: Encoders, caption: str, text: Text, dtype: Dtype) -> bool:
    """True if the model gets the same without the last word: it reads no further."""
    shorter, _, _ = caption.rpartition(" ")
    if not shorter:
        return False
    other = encode_caption(encoders, shorter, dtype)
    return all(torch.equal(text[name], other[name]) for name in text)


def _compare(entries: Sequence[Entry], there: pa.Table) -> tuple[list[Entry], list[Entry]]:
    """(entries without any caption there, entries whose captions differ from those there)."""
    numbers = np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries])
    wanted = pa.table(
        {
            "text_key": pa.array([entries[n].path for n in numbers.tolist()], pa.string()),
            "place": pa.array(
                [k for entry in entries for k in range(len(entry.captions))], pa.int32()
            ),
            "caption": pa.array([c for entry in entries for c in entry.captions], pa.string()),
        }
    )
    ours, theirs = _joined(wanted), _joined(there)
    lacking = ~pc.is_in(ours, value_set=theirs).to_numpy(zero_copy_only=False)
    surplus = ~pc.is_in(theirs, value_set=ours).to_numpy(zero_copy_only=False)
    paths = pa.array([entry.path for entry in entries], pa.string())
    of = pc.index_in(there["text_key"], value_set=paths).fill_null(-1).to_numpy()
    known = np.zeros(len(entries), dtype=bool)
    known[of[of >= 0]] = True
    differ = np.zeros(len(entries), dtype=bool)
    differ[numbers[lacking]] = True
    differ[of[(of >= 0) & surplus]] = True
    new = [entries[n] for n in np.flatnonzero(~known).tolist()]
    return new, [entries[n] for n in np.flatnonzero(known & differ).tolist()]


def _joined(table: pa.Table) -> pa.Array:
    """Key, place and caption as one string."""
    parts = [table[name].combine_chunks().cast(pa.large_string()) for name in _NAMES]
    return pc.binary_join_element_wise(*parts, pa.scalar("\x1f", pa.large_string()))
