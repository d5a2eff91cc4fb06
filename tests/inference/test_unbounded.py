"""What transcripts and pictures may come to is never too little, and of a WAV not far too much."""

import pytest

from inference.counting import TokenCount
from inference.forms import Attachment
from inference.unbounded import most_of_pictures, most_of_transcript
from tests.sounds import wav


def sound(content: bytes) -> dict[str, Attachment]:
    return {"file": Attachment("a", "audio/wav", content)}


def test_it_works() -> None:
    assert most_of_transcript(sound(wav(570, channels=2)), None) == TokenCount(600 * 50, 600 * 16)
    assert most_of_pictures({"n": 3}, 500) == TokenCount(0, 1500)


@pytest.mark.parametrize(
    "content",
    [
        b"ID3" + bytes(640_000),
        # Coded, a second of it takes far fewer bytes than the header's numbers come to.
        wav(10, channels=2, kind=0x11),
        wav(10, channels=2, rate=0),
        b"RIFF" + bytes(640_000),
    ],
)
def test_a_kilobyte_is_taken_for_a_second(content: bytes) -> None:
    assert most_of_transcript(sound(content), None) == TokenCount(670 * 50, 670 * 16)


def test_a_short_file() -> None:
    assert most_of_transcript(sound(b"RIFF"), None) == TokenCount(30 * 50, 4096)


@pytest.mark.parametrize(("longest", "most"), [(448, 30 * 16), (20_000, 20_000)])
def test_a_transcript_is_as_long_as_the_model_writes_or_as_can_be_said(longest: int, most: int) -> None:
    assert most_of_transcript(sound(b"x"), longest).completion_tokens == most


def test_each_picture_that_is_sent_is_read() -> None:
    picture = Attachment("a", "image/png", b"x")
    body = {"image[]": [picture] * 2, "mask": picture, "n": "2", "prompt": "x"}
    assert most_of_pictures(body, None) == TokenCount(3 * 16_384, 2 * 16_384)
