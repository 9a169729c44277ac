"""Text files of users: one way to read them all."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videojam.records.text_files import composed, lines, read_text

words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r\ufeff"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=words, mark=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_text_comes_back_composed_whatever_its_encoding(tmp_path: Path, text, mark) -> None:
    (tmp_path / "a").write_bytes(text.encode(mark))
    assert read_text(tmp_path / "a") == composed(text)


def test_lines_have_their_numbers_and_only_real_line_ends_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeff one\x0b\u2028still one \r\n\r\n\ttwo\rthree".encode())
    assert lines(tmp_path / "a") == [(1, "one\x0b\u2028still one"), (3, "two"), (4, "three")]
    (tmp_path / "a").write_text("cafe\u0301")
    assert read_text(tmp_path / "a") == "caf\u00e9"


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a\nb\xffc", "line 2 has the byte 0xff"), (b"\na\x00", "line 2 has a zero byte")],
)
def test_what_is_no_text_is_named_with_its_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{tmp_path / 'a'} .*{said}"):
        read_text(tmp_path / "a")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_text(tmp_path / "b")


def test_prompts_are_read_in_the_same_way(tmp_path: Path) -> None:
    from videojam.sampling.samples import read_prompts

    for name, text in (("p.txt", "a ball\r\n"), ("p.jsonl", '{"prompt": "a ball"}\r\n')):
        (tmp_path / name).write_bytes(("\ufeff" + text).encode())
        assert read_prompts(tmp_path / name) == ["a ball"]
