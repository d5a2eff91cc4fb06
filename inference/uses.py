"""What a model can be used for."""

from enum import StrEnum


class Use(StrEnum):
    """One thing that a model does; an endpoint asks for one of them."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RERANKING = "reranking"
    MODERATION = "moderation"
    TRANSCRIPTION = "transcription"
    SPEECH = "speech"
    IMAGES = "images"
