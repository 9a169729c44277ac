"""The one way in which text files of users are read: captions, prompts, settings.

UTF-8, with or without a byte-order mark, or UTF-16 with one. Line ends of every system become
line feeds. Letters with accents are composed (NFC), so that what looks the same is the same.
"""

import codecs
import unicodedata

from videojam.records.object_store import Location

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Location) -> str:
    """The text of a file. Raises ValueError that names file and line if it is no text."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not UTF-8 text: line {line} has the byte 0x{content[error.start]:02x}; "
            "save it as UTF-8"
        ) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(f"{path} is not text: line {line} has a zero byte; save it as UTF-8")
    return composed(text.replace("\r\n", "\n").replace("\r", "\n"))


def lines(path: Location) -> list[tuple[int, str]]:
    """(number, from 1, and text) of each line that is not blank, without space around it."""
    numbered = enumerate(read_text(path).split("\n"), start=1)
    return [(number, text.strip()) for number, text in numbered if text.strip()]


def composed(text: str) -> str:
    """Unicode's composed form: e and an accent become one letter."""
    return unicodedata.normalize("NFC", text)
