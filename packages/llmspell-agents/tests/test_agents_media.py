"""Images, sounds and files from scripts."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from llmspell_agents import InputError
from llmspell_agents import _media as media_module
from llmspell_agents._input import read_input
from llmspell_core import AgentInput, Media

PIXEL = b"\x89PNG\r\n\x1a\n"
TEXT = b64encode(PIXEL).decode()


@pytest.mark.parametrize(
    ("item", "medium"),
    [
        ({"base64": TEXT}, Media("image/png", data=PIXEL)),
        (
            {"base64": TEXT, "format": "JPG", "width": 1, "color_space": "rgb"},
            Media("image/jpeg", data=PIXEL),
        ),
        ({"type": "audio", "base64": TEXT, "format": "mp3"}, Media("audio/mpeg", data=PIXEL)),
        ({"type": "video", "base64": TEXT, "format": "mov"}, Media("video/quicktime", data=PIXEL)),
        ({"type": "binary", "base64": TEXT, "format": "pdf"}, Media("application/pdf", data=PIXEL)),
        (
            {"type": "binary", "data": TEXT.encode(), "mime_type": "application/x-own"},
            Media("application/x-own", data=PIXEL),
        ),
        (
            {"url": "https://example.org/a.png"},
            Media("image/png", url="https://example.org/a.png"),
        ),
        (Media("image/gif", data=PIXEL), Media("image/gif", data=PIXEL)),
    ],
)
def test_an_item_is_a_medium(item: Any, medium: Media) -> None:
    assert read_input({"text": "What?", "media": [item]}, None).media == (medium,)


def test_the_single_image_of_old_scripts_comes_last() -> None:
    asked = read_input(
        {"prompt": "?", "media": {"base64": TEXT, "format": "gif"}, "image": {"base64": TEXT}}, None
    )
    assert [one.media_type for one in asked.media] == ["image/gif", "image/png"]


def test_an_image_alone_is_a_question() -> None:
    assert read_input({"image": {"base64": TEXT}}, None) == AgentInput(
        "", {}, {}, (Media("image/png", data=PIXEL),)
    )


def test_what_cannot_be_decoded_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    asked = read_input({"text": "?", "media": [{"base64": "***"}, {"base64": TEXT}]}, None)
    assert asked.media == (Media("image/png", data=PIXEL),)
    assert "its base64 cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("cat.png", "must be a table, not str"),
        ({"type": "smell", "base64": TEXT}, "unknown type of media 'smell'"),
        ({"base64": TEXT, "format": "bmp"}, "unknown format 'bmp' of image"),
        ({"type": "binary", "base64": TEXT}, "unknown format '' of binary"),
        ({"base64": 5}, "image needs 'base64' or 'url'"),
    ],
)
def test_another_form_is_refused(item: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_input({"text": "?", "media": [item]}, None)
    assert caught.value.field == "media"


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(media_module._LARGEST, "image", 4)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="image of 8 bytes; at most 4 are allowed"):
        read_input({"text": "?", "media": [{"base64": TEXT}]}, None)


def test_a_context_table_is_told_ahead_of_the_text() -> None:
    asked = read_input({"text": "?", "context": {"city": "Oslo"}}, None)
    assert (asked.text, asked.metadata) == ("?", {"context": {"city": "Oslo"}})
    assert read_input({"text": "?", "context": "in Oslo"}, None).text == "?\n\nin Oslo"
