"""The OpenAI-compatible API under `/v1`: Starlette, asynchronous, no database on a known caller's way."""
