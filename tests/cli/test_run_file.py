"""Settings from files, and values as users write them, down to the parsed options."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from videojam.cli.main import COMMANDS
from videojam.cli.run_file import with_run_file


@dataclass(frozen=True)
class Inner:
    rate: float = 1.0


@dataclass(frozen=True)
class Options:
    prompt: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    negative_prompt: str | None = None
    sizes: tuple[tuple[int, int], ...] = ((480, 832),)
    seeds: tuple[int, ...] = (0,)
    flow: bool = False
    inner: Inner = Inner()


def parsed(tmp_path: Path, text: str, *options: str, joined: bool = False) -> Options:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    config = [f"--config={path}"] if joined else ["--config", str(path)]
    return tyro.cli(Options, args=with_run_file(Options, [*config, *options]))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sizes: [[64, 64]]", {"sizes": ((64, 64),)}),
        ("sizes: [[64, 64], [64, 96]]", {"sizes": ((64, 64), (64, 96))}),
        ("sizes: [64, 96]", {"sizes": ((64, 96),)}),
        ("sizes:\n- - 64\n  - 96", {"sizes": ((64, 96),)}),
        ("prompt: [a red ball, a dog jumps]", {"prompt": ("a red ball", "a dog jumps")}),
        ("prompt: -a dog", {"prompt": ("-a dog",)}),
        ("negative_prompt: '-blurry, --ar 16:9'", {"negative_prompt": "-blurry, --ar 16:9"}),
        ("negative-prompt: --no-flow", {"negative_prompt": "--no-flow"}),
        ("seeds: [-1, 2]", {"seeds": (-1, 2)}),
        ("flow: true\ninner: {rate: -2.5}", {"flow": True, "inner": Inner(-2.5)}),
        ("", {}),
        ("# nothing\n", {}),
    ],
)
def test_values_come_through_as_they_are(tmp_path, joined, text, expected) -> None:
    assert parsed(tmp_path, text, joined=joined) == dataclasses.replace(Options(), **expected)


@pytest.mark.parametrize("value", ["-a", "--ar 16:9", "-blurry, --ar", "- dash"])
def test_texts_that_begin_with_a_dash_on_the_command_line(tmp_path, value: str) -> None:
    assert parsed(tmp_path, "", "--negative-prompt", value).negative_prompt == value
    assert parsed(tmp_path, "", "--negative_prompt", value, "--flow").flow
    assert parsed(tmp_path, "", "--prompt", value, "--prompt", "b").prompt == (value, "b")
    assert tyro.cli(Options, args=with_run_file(Options, ["--prompt", value])).prompt == (value,)


def test_the_command_line_wins_over_the_file(tmp_path) -> None:
    assert parsed(tmp_path, "seeds: [1, 2]\nprompt: [a]", "--seeds", "3").seeds == (3,)
    assert parsed(tmp_path, "prompt: [a, b]", "--prompt", "c").prompt == ("c",)


def test_suggestions_only_when_they_are_near(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"unknown setting 'size'; did you mean 'sizes'\?"):
        parsed(tmp_path, "size: [1, 2]")
    with pytest.raises(ValueError, match=r"unknown setting 'batch'; Known: prompt,"):
        parsed(tmp_path, "batch: 1")
    with pytest.raises(ValueError, match="'seeds' holds names"):
        parsed(tmp_path, "seeds: {a: 1}")


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfseeds: [4]\r\n", "seeds: [4]".encode("utf-16")])
def test_settings_are_read_like_every_other_text(tmp_path, content: bytes) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    assert with_run_file(Options, ["--config", str(path)]) == ["--seeds", "4"]
    path.write_bytes(b"seeds: [4]\n# \xff")
    with pytest.raises(ValueError, match=r"--config .*run.yaml is not UTF-8 text: line 2"):
        with_run_file(Options, ["--config", str(path)])


def test_every_help_names_the_config_option() -> None:
    code = "from videojam.cli.main import main\nimport sys\nmain([sys.argv[1], '--help'])"
    names = [name for name, (_, config, _) in COMMANDS.items() if config in ("PrepareArgs",)]
    for name in names:
        run = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True)
        assert "--config FILE" in run.stdout, run.stderr
