"""Sounds to be written down."""

import io
import wave


def wav(seconds: int, *, channels: int = 1, kind: int = 1, rate: int = 16_000) -> bytes:
    """Silence, 32 kB a second for each channel, of which the header says that it is of that kind and rate."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000 * channels * seconds))
    content = bytearray(file.getvalue())
    content[20:22], content[24:28] = kind.to_bytes(2, "little"), rate.to_bytes(4, "little")
    return bytes(content)
