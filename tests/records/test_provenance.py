"""What is written beside results."""

import importlib.util
import json
import subprocess
from pathlib import Path

from videojam.records import provenance


def test_versions_name_what_decides_the_numbers():
    assert {"python", "videojam", "torch", "diffusers"} <= provenance.versions().keys()


def test_commit_is_of_this_package_and_of_no_repository_around_it(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    module = package / "provenance.py"
    module.write_text("")

    def git(*command):
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(
            ["git", "-C", tmp_path, *identity, *command], check=True, capture_output=True
        )

    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.commit() is None, "no repository"
    git("init")
    (tmp_path / "other.txt").write_text("")
    git("add", "other.txt")
    git("commit", "-m", "other")
    assert provenance.commit() is None, "installed inside a repository that is not ours"
    git("add", "package")
    git("commit", "-m", "ours")
    clean = provenance.commit()
    assert clean is not None
    assert (len(clean.hash), clean.dirty) == (40, False)
    module.write_text("# changed\n")
    assert provenance.commit() == (clean.hash, True)


def test_a_benchmark_result_says_where_it_comes_from(tmp_path):
    path = Path(__file__).parents[2] / "benchmarks" / "record.py"
    spec = importlib.util.spec_from_file_location("benchmark_record", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = json.loads(module.record("x", {"seconds": 1.5}, tmp_path).read_text())
    assert written["figures"] == {"seconds": 1.5}
    assert {"date", "machine", "versions", "commit", "dirty"} <= written.keys()
    assert {"cpu", "cores", "memory_gib", "accelerator"} <= written["machine"].keys()
