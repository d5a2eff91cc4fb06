"""How the bodies of requests to /api/ are read."""

import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class BoundedJSONParser(JSONParser):
    """The framework's, for which two more things are errors of the client's.

    They are JSON in too many brackets, and text with half a character (a lone surrogate such as `\\ud800`): it can
    neither be stored nor be repeated in an answer that says what is wrong with it.
    """

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            parsed = super().parse(stream, media_type, parser_context)
            json.dumps(parsed, ensure_ascii=False).encode()
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply") from None
        except UnicodeEncodeError:
            raise ParseError("JSON parse error - text with a lone surrogate") from None
        return parsed
