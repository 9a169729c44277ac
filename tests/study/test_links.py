"""Links: only those that were made here, for this study, in time."""

import base64
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videojam.study.invite import invitations
from videojam.study.links import (
    OPEN,
    Link,
    Secrets,
    film_name,
    is_admin,
    make_secrets,
    rater_key,
    read_token,
    token,
)

SECRET = Secrets("ab" * 32, "the password")
OTHER = Secrets("cd" * 32, "another")
LINK = Link("study", 3, 2_000_000_000, 60)
TEXT = token(SECRET, LINK)


def test_a_link_says_what_it_said():
    assert read_token(SECRET, TEXT, "study", now=0.0) == LINK


@pytest.mark.parametrize(
    "secret, study, now", [(OTHER, "study", 0.0), (SECRET, "other", 0.0), (SECRET, "study", 2e9)]
)
def test_of_another_key_or_study_or_expired(secret, study, now):
    assert read_token(secret, TEXT, study, now) is None


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="utf-8"))
def test_a_changed_character_makes_it_void(place, character):
    changed = TEXT[:place] + character + TEXT[place + 1 :]
    # The last character of base64 has spare bits, but the text is compared, not the bytes.
    assert (read_token(SECRET, changed, "study", 0.0) is None) == (changed != TEXT)


@given(st.text(max_size=500))
def test_any_text_is_read_without_an_error(text):
    assert read_token(SECRET, text, "study", 0.0) is None
    assert not is_admin(SECRET, text)


def test_saying_more_needs_the_key():
    body = json.dumps([*LINK[:3], 9999]).encode()
    forged = base64.urlsafe_b64encode(body).decode().rstrip("=") + "." + TEXT.partition(".")[2]
    assert read_token(SECRET, forged, "study", 0.0) is None


def test_the_password_and_no_other():
    assert is_admin(SECRET, "the password")
    assert not is_admin(SECRET, "the password ")
    assert not is_admin(SECRET, "")


def test_secrets_are_made_once_for_their_owner_alone(tmp_path):
    made = make_secrets(tmp_path)
    assert make_secrets(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "secret.json").stat().st_mode) == 0o600
    assert make_secrets(tmp_path / "other") != made
    assert len(made.key) == 64


def test_names_and_keys_are_all_different():
    names = {film_name(SECRET, "study", place) for place in range(100)}
    keys = {rater_key(SECRET, "study", rater) for rater in range(100)}
    assert len(names) == len(keys) == 100
    assert rater_key(SECRET, "study", 1) != rater_key(OTHER, "study", 1)


def test_invitations(made):
    folder, plan = made
    links = invitations(folder, "http://x:1/", range(2), 1.0, trials=5)
    secret = make_secrets(folder)
    read = [read_token(secret, link.partition("/#")[2], plan.study) for link in links]
    assert [(link.rater, link.trials) for link in read] == [(0, 5), (1, 5)]
    (opened,) = invitations(folder, "http://x:1", None, 1.0)
    assert read_token(secret, opened.partition("/#")[2], plan.study).rater == OPEN
    with pytest.raises(ValueError, match="no place for rater"):
        invitations(folder, "http://x", [len(plan.raters)], 1.0)
    for days, trials in ((0.0, None), (1.0, 0)):
        with pytest.raises(ValueError, match="allow nothing"):
            invitations(folder, "http://x", None, days, trials)
