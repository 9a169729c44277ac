"""VBench as a process: an environment made by pip, a package with its interface, real results.

The package that is installed here has the class, the file format and the places of weights of
vbench 0.1.5, and made-up scores. The real package was run by hand (docs/results.md).
"""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from videojam.cli.main import main
from videojam.evaluation.vbench.environment import environment_python, make_environment
from videojam.evaluation.vbench.evaluate import evaluate_folder
from videojam.evaluation.vbench.results import read_results
from videojam.evaluation.vbench.weights import WEIGHTS, explain_missing, missing_weights
from videojam.media.video import write_video

# As vbench 0.1.5 writes it: temporal_flickering of one clip on a CPU, run for docs/results.md.
REAL = {"temporal_flickering": [0.9880626332526113, [
    {"video_path": "vids/coffee_pour.mp4", "video_results": 0.9880626332526113}]]}  # fmt: skip

STUB = """
import json, os, sys
class VBench:
    def __init__(self, device, info, out):
        assert os.path.isfile(info), info
        self.out = out
        os.makedirs(out, exist_ok=True)
    def evaluate(self, videos_path, name, prompt_list=[], dimension_list=None, local=False,
                 read_frame=False, mode="vbench_standard", **kwargs):
        (dimension,) = dimension_list
        assert local and mode == "custom_input"
        if dimension == "aesthetic_quality":
            raise RuntimeError("the weights are of another model")
        clips = [{"video_path": os.path.join(videos_path, f), "video_results": 0.5 + 0.1 * k}
                 for k, f in enumerate(sorted(os.listdir(videos_path)))]
        if dimension == "dynamic_degree":
            clips = [one | {"video_results": k % 2 == 0} for k, one in enumerate(clips)]
        if dimension == "imaging_quality":
            clips = [one | {"video_results": 60.0} for one in clips]
        results = {dimension: [0.6, clips]}
        path = os.path.join(self.out, name + "_eval_results.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=4)
        assert not any("videojam" in p for p in sys.path[1:]), sys.path
"""
TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
class device:
    def __init__(self, type): self.type = type
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Made by the production code from a wheel, without an index."""
    root = tmp_path_factory.mktemp("vbench")
    wheel = root / "vbench-0.1.5-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("vbench/__init__.py", STUB)
        file.writestr("vbench/distributed.py", "def dist_init(): pass\n")
        file.writestr("vbench/VBench_full_info.json", "[]")
        file.writestr("torch/__init__.py", TORCH)
        file.writestr("vbench-0.1.5.dist-info/METADATA",
                      "Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n")  # fmt: skip
        file.writestr("vbench-0.1.5.dist-info/WHEEL",
                      "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")  # fmt: skip
        file.writestr("vbench-0.1.5.dist-info/RECORD", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("videojam.evaluation.vbench.environment.BEFORE", ("pip",))
        make_environment(root / "env", str(wheel), ["--no-index"])
    return root / "env"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for k in range(3):
        write_video(
            folder / f"000{k}-0.mp4", torch.full((3, 16, 16, 3), 80 * k, dtype=torch.uint8), 8.0
        )
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """All weights there, as far as their names go."""
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "cache"))
    for one in WEIGHTS:
        path = tmp_path / "cache" / one.path
        if one.path.endswith("/"):
            path.mkdir(parents=True)
            path = path / "hubconf.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"weights")
    return tmp_path / "cache"


def test_the_environment_is_marked_when_it_is_whole(environment, tmp_path):
    python = environment_python(environment)
    found = subprocess.run([python, "-c", "import vbench; print(vbench.__file__)"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert str(environment) in found.stdout
    assert make_environment(environment) == python, "what is whole is left alone"
    with pytest.raises(ValueError, match="no finished VBench environment; make it: videojam"):
        environment_python(tmp_path)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and is no environment"):
        make_environment(tmp_path)


def test_a_failing_pip_is_an_error_with_its_last_lines(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)pip install --no-index .* failed.*No matching dist"):
        make_environment(tmp_path / "env", "vbench==0.1.5", ["--no-index"])


def test_dimensions_run_once_and_are_read_as_shares(environment, videos, cache, tmp_path):
    out = tmp_path / "out"
    names = ["temporal_flickering", "dynamic_degree", "imaging_quality"]
    found = evaluate_folder(environment, videos, out, names)
    assert [*found] == names
    assert found["imaging_quality"].clips == {f"000{k}-0.mp4": 0.6 for k in range(3)}
    assert [*found["dynamic_degree"].clips.values()] == [1, 0, 1]
    assert found["temporal_flickering"].score == 0.6
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert evaluate_folder(Path("/nowhere"), videos, out, names) == found, "all is there already"
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.json")} == times


def test_one_that_fails_takes_no_other_with_it(environment, videos, cache, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"failed on aesthetic_quality .*of another model"):
        evaluate_folder(environment, videos, out, ["aesthetic_quality", "motion_smoothness"])
    assert (out / "motion_smoothness_eval_results.json").is_file()


def test_all_missing_weights_are_named_before_anything_runs(
    environment, videos, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VBENCH_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(SystemExit):
        main(["evaluate", "vbench", "--environment", str(environment), "--videos", str(videos),
              "--out", str(tmp_path / "out")])  # fmt: skip
    error = capsys.readouterr().err
    for place in ("amt_model/amt-s.pth", "raft_model/models/raft-things.pth", "ViT-L-14.pt",
                  "ViT-B-32.pt", "dino_vitbase16_pretrain.pth", "musiq_spaq_ckpt-358bb6af.pth",
                  "sa_0_4_vit_l_14_linear.pth"):  # fmt: skip
        assert f"{tmp_path / 'empty'}" in error
        assert place in error
    assert "dynamic_degree: " in error
    assert "dl.dropboxusercontent.com" in error
    assert not list((tmp_path / "out").glob("*.log"))


def test_what_is_missing_follows_the_files(cache):
    assert missing_weights(cache, ["motion_smoothness", "scene"]) == []
    (cache / "amt_model" / "amt-s.pth").write_bytes(b"")
    (missing,) = missing_weights(cache, ["motion_smoothness", "temporal_flickering"])
    text = explain_missing(cache, [missing], ["motion_smoothness", "temporal_flickering"])
    assert "Ready as it is: temporal_flickering." in text


def test_real_results_are_read(tmp_path):
    path = tmp_path / "probe_eval_results.json"
    path.write_text(json.dumps(REAL, indent=4))
    scores = read_results(tmp_path)["temporal_flickering"]
    assert scores.score == 0.9880626332526113
    assert scores.clips == {"coffee_pour.mp4": 0.9880626332526113}
    (tmp_path / "again_eval_results.json").write_text(
        json.dumps({"temporal_flickering": [0.5, []]})
    )
    with pytest.raises(ValueError, match="give different temporal_flickering"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"x": [1, []]}', '{"dynamic_degree": 0.5}', '{"dynamic_degree": [1, [{}]]}']
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "x_eval_results.json"
    path.write_text(text)
    if text == "[]":
        text = '{"dynamic_degree": ["a", []]}'
        path.write_text(text)
    with pytest.raises(ValueError, match=r"no result of VBench|no dimension|could not convert"):
        read_results(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to do"),
        (["--videos", "v"], "needs --out"),
        (["--environment", "e", "--videos", "nowhere", "--out", "o"], "has no .mp4 files"),
    ],
)
def test_bad_input_is_one_line(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["evaluate", "vbench", *options])
    assert message in capsys.readouterr().err


def test_dimensions_that_need_vbenchs_prompts_say_so(environment, videos, cache, tmp_path):
    with pytest.raises(ValueError, match="scene can be judged on VBench's own prompts alone"):
        evaluate_folder(environment, videos, tmp_path / "o", ["scene"])
    with pytest.raises(ValueError, match="no dimension beauty"):
        evaluate_folder(environment, videos, tmp_path / "o", ["beauty"])


def test_the_runner_needs_nothing_of_this_package():
    import videojam.evaluation.vbench as package

    source = (Path(package.__file__).parent / "runner.py").read_text()
    assert "videojam" not in source.split('"""')[2]
