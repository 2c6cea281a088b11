"""A request as JSON is `chat_body` as JSON, whatever stands in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.asking import a_request, an_entry
from tagger_daemon.vision.body import chat_body, chat_json
from tagger_daemon.vision.dialects import DIALECTS
from tagger_daemon.vision.prompts import picture_url

#: Texts of a photo's; some look like parts of the body.
TEXTS = st.text() | st.sampled_from(
    ['"base64,', "base64,", "\\", 'x", "url": "data:', "\U0001f600", "\u2028"]
)
PARTS = st.builds(lambda text: {"type": "text", "text": text}, TEXTS) | st.builds(
    lambda url: {"type": "image_url", "image_url": {"url": url}},
    st.builds(picture_url, st.binary(max_size=40)) | st.sampled_from(["data:", "https://example.org/a.jpg"]),
)


def conversation(system: str, parts: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return ({"role": "system", "content": system}, {"role": "user", "content": parts})


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@given(system=TEXTS.filter(str.isascii), parts=st.lists(PARTS, max_size=5), extra=TEXTS.filter(str.isascii))
def test_the_json_is_that_of_the_body(
    dialect: str, system: str, parts: list[dict[str, Any]], extra: str
) -> None:
    entry = an_entry("http://127.0.0.1:1/v1", dialect=dialect, extra_body={"note": extra})
    request = a_request(messages=conversation(system, parts))
    text = chat_json(request, entry)
    # As bytes, and not only by what they mean: servers keep what they have seen by its beginning.
    plain = json.dumps(chat_body(request, entry), ensure_ascii=False, separators=(",", ":"))
    assert text == plain.encode()


@given(texts=st.lists(TEXTS, min_size=2, max_size=2))
def test_what_a_person_wrote_keeps_its_place_around_pictures(texts: list[str]) -> None:
    first, second = picture_url(b"\xff\xd8first"), picture_url(b"\xff\xd8second")
    before, after = texts
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": before},
        {"type": "image_url", "image_url": {"url": first}},
        {"type": "image_url", "image_url": {"url": second}},
        {"type": "text", "text": after},
    ]
    request = a_request(messages=conversation("", parts))
    sent = json.loads(chat_json(request, an_entry("http://127.0.0.1:1/v1")))
    assert sent["messages"][1]["content"] == parts
