"""Files as a whole or not at all, for whom the umask lets read them."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from videojam.records.atomic import replacing, write_text


@pytest.fixture(params=[0o022, 0o027, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_weights_are_readable_by_whom_the_umask_lets(tmp_path, umask):
    with replacing(tmp_path / "deep" / "weights.safetensors") as part:
        save_file({"a": torch.zeros(2)}, part)
        assert stat.S_IMODE(part.stat().st_mode) == 0o600 & ~umask  # as safetensors makes them
    write_text(tmp_path / "note", "ö\r\n")
    for name in ("deep/weights.safetensors", "note"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert os.umask(umask) == umask  # of the process: as it was
    assert (tmp_path / "note").read_bytes() == "ö\r\n".encode()


def test_a_writer_that_fails_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "file", "before")
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "file") as part:
        part.write_text("half")
        raise OSError("full")
    assert (tmp_path / "file").read_text() == "before"


def test_a_folder_takes_the_place_of_none(tmp_path):
    with replacing(tmp_path / "folder") as part:
        part.mkdir()
        (part / "file").write_text("x")
    assert (tmp_path / "folder" / "file").read_text() == "x"
    assert not list(tmp_path.glob("*.part"))
