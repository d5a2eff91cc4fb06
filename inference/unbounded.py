"""The most that transcripts and pictures come to: no field of theirs sets a limit, so it is told from what was sent.

It is far above what most of them come to, for a budget holds only if no honest server counts more.
"""

import struct
from collections.abc import Iterator

from inference.checks import Body
from inference.counting import MOST_IMAGE_TOKENS, TokenCount
from inference.forms import Attachment

# Eight kilobits: speech is sent in no less, but as Opus at its very lowest, of which nobody counts the most.
FEWEST_BYTES_A_SECOND = 1_000
# What is shorter is made as long as this, and what is longer is cut into such pieces.
PIECE_SECONDS = 30
# Of a piece Whisper reads 1500 and writes 448. Others read and write fewer, or all of it as one answer.
MOST_HEARD_A_SECOND = 50
MOST_SAID_A_SECOND = 16
MOST_SAID_AT_ONCE = 4096
# From its kind to the bits of a sample, where a WAV says it first.
WAV_FORMAT = struct.Struct("<4s4x8s4xHHI6xH")
# Samples as numbers, whole or not: as many bytes for each second as the header says.
WAV_NUMBERS = (1, 3)


def most_of_transcript(body: Body, longest: int | None) -> TokenCount:
    """Of speech that is written down by a model whose answers have `longest` tokens at most."""
    seconds = PIECE_SECONDS + sum(_most_seconds(file.content) for file in _files(body))
    return TokenCount(
        MOST_HEARD_A_SECOND * seconds,
        max(longest or MOST_SAID_AT_ONCE, MOST_SAID_A_SECOND * seconds),
    )


def most_of_pictures(body: Body, longest: int | None) -> TokenCount:
    """Of pictures, each of `longest` tokens at most, made from others."""
    shown, made = sum(1 for _file in _files(body)), int(body.get("n") or 1)
    return TokenCount(MOST_IMAGE_TOKENS * shown, made * (longest or MOST_IMAGE_TOKENS))


def _files(body: Body) -> Iterator[Attachment]:
    for value in body.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Attachment):
                yield item


def _most_seconds(sound: bytes) -> int:
    """How long it can be. A server reads a WAV by the same header; what other headers say need not be so."""
    bytes_a_second = FEWEST_BYTES_A_SECOND
    if len(sound) >= WAV_FORMAT.size:
        kind, chunk, form, channels, rate, bits = WAV_FORMAT.unpack_from(sound)
        if (kind, chunk) == (b"RIFF", b"WAVEfmt ") and form in WAV_NUMBERS:
            bytes_a_second = max(FEWEST_BYTES_A_SECOND, rate * channels * bits // 8)
    return len(sound) // bytes_a_second
