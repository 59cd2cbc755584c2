"""Links to stored pictures hold as they were made, and in no other way."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.errors import PermissionDeniedError
from imagerouter.storage import StoredFile
from imagerouter.storage.links import link, verified

SECRET = b"0123456789abcdef"


def parts(url: str) -> tuple[str, str, str]:
    """Name, expiry and signature of a link."""
    split = urlsplit(url)
    query = parse_qs(split.query, strict_parsing=True)
    return split.path.removeprefix("/v1/files/"), query["expires"][0], query["signature"][0]


FILES = st.builds(
    StoredFile,
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    st.sampled_from(["png", "jpg", "webp", "avif", "gif", "bin"]),
    st.integers(0, 10**12),
)


@given(FILES)
def test_a_link_leads_to_its_file_and_a_key_to_the_same(file: StoredFile) -> None:
    assert verified(*parts(link(file, SECRET)), SECRET) == file
    assert StoredFile.parse(file.key) == file


@given(FILES, st.sampled_from([0, 1, 2]), st.data())
def test_a_link_with_any_character_changed_added_or_left_out_is_refused(
    file: StoredFile, which: int, draw: Any
) -> None:
    sent = list(parts(link(file, SECRET)))
    text = sent[which]
    at = draw.draw(st.integers(0, len(text)))
    sent[which] = text[:at] + draw.draw(st.text(max_size=2)) + text[at + draw.draw(st.integers(0, 2)) :]
    if sent[which] != text:
        with pytest.raises(PermissionDeniedError):
            verified(*sent, SECRET)


@given(FILES, FILES)
def test_a_signature_fits_one_file_and_one_secret_only(file: StoredFile, other: StoredFile) -> None:
    name, expires, signature = parts(link(file, SECRET))
    with pytest.raises(PermissionDeniedError):
        verified(name, expires, signature, SECRET[::-1])
    if other != file:
        with pytest.raises(PermissionDeniedError):
            verified(other.name, str(other.expires), signature, SECRET)


@given(st.text(), st.text(), st.text())
def test_made_up_links_are_refused_in_words_that_tell_nothing(name: str, expires: str, signature: str) -> None:
    with pytest.raises(PermissionDeniedError) as caught:
        verified(name, expires, signature, SECRET)
    assert caught.value.message == "This link was not made here, or it was changed: its signature is wrong"
