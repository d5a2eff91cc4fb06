"""What transcripts and pictures may come to is never too little, and of a WAV not far too much."""

import io
import wave

import pytest

from inference.counting import TokenCount
from inference.forms import Attachment
from inference.unbounded import most_of_pictures, most_of_transcript


def sound(content: bytes) -> dict[str, Attachment]:
    return {"file": Attachment("a", "audio/wav", content)}


def wav(seconds: int, *, kind: int = 1, rate: int = 16_000) -> bytes:
    """Silence of two channels, of which the header says that it is of that kind and rate."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(2)
        made.setsampwidth(2)
        made.setframerate(16_000)
        made.writeframes(bytes(64_000 * seconds))
    content = bytearray(file.getvalue())
    content[20:22], content[24:28] = kind.to_bytes(2, "little"), rate.to_bytes(4, "little")
    return bytes(content)


def test_it_works() -> None:
    assert most_of_transcript(sound(wav(570)), None) == TokenCount(600 * 50, 600 * 16)
    assert most_of_pictures({"n": 3}, 500) == TokenCount(0, 1500)


@pytest.mark.parametrize(
    "content",
    [
        b"ID3" + bytes(640_000),
        # Coded, a second of it takes far fewer bytes than the header's numbers come to.
        wav(10, kind=0x11),
        wav(10, rate=0),
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
