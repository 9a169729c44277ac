"""A Lance table, on a disk or in a bucket: commits, versions, merging. Nothing else knows Lance.

An append is one atomic commit: a killed writer leaves at most files that no version names, which
readers never see. A version that is held keeps its rows, whatever is added or removed since.
"""

import datetime
import json
import os
from collections.abc import Sequence
from pathlib import Path

import lance
import lance.fragment
import pyarrow as pa
from lance import LanceDataset

from videojam.records.object_store import Location, lance_options

_ROWS_PER_FRAGMENT = 1024  # full fragments are not rewritten again
_FRAGMENT_BYTES = 256 * 2**20  # nor those as large as this
_COMPACTION_BATCH = 16  # rows in memory; Lance's default of 8192 would be tens of GB
_KEPT = datetime.timedelta(days=1)  # of versions that nobody holds: who opened one may still read


def exists(path: Location) -> bool:
    """True once a first commit was made."""
    if isinstance(path, Path):
        versions = path / "_versions"
        return versions.is_dir() and any(versions.glob("*.manifest"))
    return any(name.endswith(".manifest") for name, _ in (path / "_versions").files())


def open_dataset(path: Location, held: str | None = None) -> LanceDataset:
    """The newest version, or the one held under a name. ValueError where nothing was prepared."""
    if not exists(path):
        raise ValueError(f"no prepared dataset at {path}; run `videojam prepare` first")
    return lance.dataset(str(path), version=held, storage_options=_options(path))


def count(path: Location) -> int:
    """Number of rows; 0 where nothing was prepared."""
    return open_dataset(path).count_rows() if exists(path) else 0


def append_rows(path: Location, rows: pa.Table) -> None:
    """One atomic commit; the first one makes the table."""
    mode = "append" if exists(path) else "create"
    lance.write_dataset(rows, str(path), mode=mode, storage_options=_options(path))


def delete_rows(path: Location, where: str) -> None:
    """One atomic commit; versions that are held keep the rows."""
    open_dataset(path).delete(where)


def replace_rows(path: Location, rows: pa.Table, on: Sequence[str], surplus: str) -> None:
    """Put rows in the place of those that agree in `on`, as one atomic commit.

    surplus: a filter; of the rows without such a new one, those that it selects are taken out.
    """
    merge = open_dataset(path).merge_insert(list(on))
    merge = merge.when_matched_update_all().when_not_matched_insert_all()
    merge.when_not_matched_by_source_delete(surplus).execute(rows)


def hold_version(path: Location, name: str) -> None:
    """Keep the newest version under this name, or go on with the one that it has."""
    dataset = open_dataset(path)
    if name not in dataset.tags.list():
        try:
            dataset.tags.create(name, dataset.version)
        except (OSError, ValueError):
            if name not in open_dataset(path).tags.list():  # else another process was first
                raise


def held_versions(path: Location) -> dict[str, int]:
    """Name -> rows of the version that is held under it."""
    return {name: open_dataset(path, name).count_rows() for name in open_dataset(path).tags.list()}


def release_version(path: Location, name: str) -> None:
    """Let go of it."""
    dataset = open_dataset(path)
    if name in dataset.tags.list():
        dataset.tags.delete(name)


def is_read_only(path: Location) -> bool:
    """True for a table on a disk that cannot be written to, in which nothing changes from here."""
    return isinstance(path, Path) and exists(path) and not os.access(path, os.W_OK)


def compact_table(path: Location, clean: bool) -> None:
    """Merge small fragments, keeping row order, and delete what nobody can be reading any more.

    Safe to kill at any moment, beside readers, and beside a writer that appends, whose rows may
    then come before the merged ones (Lance orders fragments by number). Held versions stay.
    Files that no version names may be another writer's and stay for a week. clean: False while
    shards wait to be joined, which may be longer.
    """
    dataset = open_dataset(path)
    dataset.optimize.compact_files(
        target_rows_per_fragment=_target_rows(dataset), batch_size=_COMPACTION_BATCH
    )
    if clean:
        open_dataset(path).cleanup_old_versions(
            older_than=_KEPT, error_if_tagged_old_versions=False
        )


def write_files(path: Location, rows: pa.Table) -> str:
    """Files with these rows that no version names yet, and what commit_files needs of them."""
    mode = "append" if exists(path) else "create"
    fragments = lance.fragment.write_fragments(
        rows, str(path), mode=mode, storage_options=_options(path)
    )
    return json.dumps([fragment.to_json() for fragment in fragments])


def commit_files(path: Location, schema: pa.Schema, written: Sequence[str]) -> None:
    """One commit of all these files, in this order."""
    new = [
        lance.FragmentMetadata.from_json(json.dumps(fragment))
        for line in written
        for fragment in json.loads(line)
    ]
    if not new:
        return
    commit = LanceDataset.commit
    options = _options(path)
    if exists(path):
        append = lance.LanceOperation.Append(new)
        version = open_dataset(path).version
        commit(str(path), append, read_version=version, storage_options=options)
    else:
        commit(str(path), lance.LanceOperation.Overwrite(schema, new), storage_options=options)


def quoted(text: str) -> str:
    """A string as a filter has it."""
    return "'" + text.replace("'", "''") + "'"


def _options(path: Location) -> dict[str, str] | None:
    return None if isinstance(path, Path) else lance_options()


def _target_rows(dataset: LanceDataset) -> int:
    """Rows per fragment: fewer of large ones, so that merging does not write everything twice."""
    sizes = [
        file.file_size_bytes or 0
        for fragment in dataset.get_fragments()
        for file in fragment.data_files()
    ]
    row_bytes = sum(sizes) / max(1, dataset.count_rows())
    return max(1, min(_ROWS_PER_FRAGMENT, int(_FRAGMENT_BYTES / max(1.0, row_bytes))))
