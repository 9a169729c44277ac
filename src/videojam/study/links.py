"""What only the study's owner knows, and the links that are made from it.

A link is a signed statement: this study, this rater, until then, so many trials. It stands behind
the # of the address, which browsers send to nobody; the page sends it as a header.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple

SECRET_FILE = "secret.json"
_TOKEN_CHARS = 400  # no honest one is longer
OPEN = -1  # the rater of an open link, which makes raters


class Secrets(NamedTuple):
    """Key of links and of signed votes, and the owner's password."""

    key: str
    admin: str


class Link(NamedTuple):
    """What a link allows."""

    study: str
    rater: int
    "OPEN for a link that makes raters."
    expires: int
    "Seconds since 1970."
    trials: int
    "So many of the rater's trials, from the first on."


def make_secrets(folder: Path) -> Secrets:
    """Those of the folder, made where there are none; readable by the owner alone."""
    path = folder / SECRET_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = Secrets(secrets.token_hex(32), secrets.token_urlsafe(24))
        beside = folder / f"{SECRET_FILE}.part"
        beside.unlink(missing_ok=True)
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w") as stream:
            json.dump(made._asdict(), stream)
        beside.replace(path)
    return read_secrets(folder)


def read_secrets(folder: Path) -> Secrets:
    """ValueError where there are none."""
    path = folder / SECRET_FILE
    try:
        return Secrets(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; it is made with the study") from error


def token(secret: Secrets, link: Link) -> str:
    """The link as text: what it says, a dot, its signature."""
    body = _text(json.dumps(list(link), separators=(",", ":")).encode())
    return f"{body}.{_signature(secret, 'link', body)}"


def read_token(secret: Secrets, text: str, study: str, now: float | None = None) -> Link | None:
    """What a link allows; None for one that is forged, of another study, or expired."""
    body, _, signature = text.partition(".")
    if len(text) > _TOKEN_CHARS or not text.isascii():
        return None
    if not hmac.compare_digest(signature, _signature(secret, "link", body)):
        return None
    link = Link(*json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))
    fresh = link.expires > (time.time() if now is None else now)
    return link if link.study == study and fresh else None


def is_admin(secret: Secrets, text: str) -> bool:
    """Compared in a time that does not depend on where they differ."""
    digests = (hashlib.sha256(each.encode()).digest() for each in (text, secret.admin))
    return hmac.compare_digest(*digests)


def rater_key(secret: Secrets, study: str, rater: int) -> str:
    """What a rater's page without a server signs its votes with; it tells nothing of others'."""
    return hmac.new(
        bytes.fromhex(secret.key), f"votes {study} {rater}".encode(), hashlib.sha256
    ).hexdigest()


def signed(key: str, message: str) -> str:
    """HMAC-SHA256 in hexadecimal, as the page computes it."""
    return hmac.new(bytes.fromhex(key), message.encode(), hashlib.sha256).hexdigest()


def film_name(secret: Secrets, study: str, place: int) -> str:
    """A name that says nothing, the same whenever the study is built again."""
    return hmac.new(
        bytes.fromhex(secret.key), f"film {study} {place}".encode(), hashlib.sha256
    ).hexdigest()[:32]


def _signature(secret: Secrets, purpose: str, body: str) -> str:
    message = f"{purpose} {body}".encode()
    return _text(hmac.new(bytes.fromhex(secret.key), message, hashlib.sha256).digest())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
