"""What a prepared dataset holds, and which runs hold versions of it."""

from collections import Counter
from pathlib import Path

from videojam.data import dataset, lance_table
from videojam.data.captions import texts_path
from videojam.data.prepare.prepare import samples_path
from videojam.data.run_folder import read_settings
from videojam.records.object_store import Location
from videojam.workflow.datasets import holder

_COLUMNS = ("split", "source", "height", "width", "frames", "fps", "flow_mean_px")


def is_dataset(folder: Location) -> bool:
    return (folder / "dataset.json").is_file()


def describe_dataset(folder: Location) -> str:
    """Rows by size and split, captions, motion, and who holds versions, as lines of text.

    Raises ValueError if the folder holds no dataset, or one of another format.
    """
    settings, path = read_settings(folder), samples_path(folder)
    rows = dataset.table(path, _COLUMNS)
    if not len(rows):
        return f"a dataset for {settings['model']} without samples yet"
    columns = {name: rows[name].to_numpy() for name in ("frames", "fps", "flow_mean_px")}
    hours, moving = (columns["frames"] / columns["fps"]).sum() / 3600, columns["flow_mean_px"]
    splits = Counter(rows["split"].to_pylist())
    shapes = rows.select(["frames", "height", "width"]).to_pylist()
    sizes = Counter(tuple(shape.values()) for shape in shapes)
    lines = [
        f"a dataset for {settings['model']}: {len(rows)} samples of "
        f"{len(set(rows['source'].to_pylist()))} videos, {splits['train']} to train on, "
        f"{splits['validation']} held out; {dataset.count(texts_path(path))} captions",
        f"{hours:.3g} hours at {settings['fps']:g} frames/s: "
        + ", ".join(f"{n} of {f} x {h} x {w}" for (f, h, w), n in sizes.most_common()),
        f"mean flow {moving.mean():.2f} px a frame (from {moving.min():.2f} to {moving.max():.2f})",
    ]
    for name, count in lance_table.held_versions(path).items():
        lines.append(f"{name} holds a version of {count} samples, which stay on the disk for it")
    return "\n".join(lines)


def let_go_of_run(folder: Location, run: Path) -> bool:
    """Release what a run holds that will not go on; False if it holds nothing here.

    run: its folder, which may be gone. Disk space is freed when the dataset is next prepared.
    """
    path, name = samples_path(folder), holder(run)
    if name not in lance_table.held_versions(path):
        return False
    dataset.release(path, name)
    return True
