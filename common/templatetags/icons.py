"""Icons, each drawn once: a page shows fifty, and the package draws one anew, as XML, each time it is shown."""

from functools import lru_cache

from django import template
from django.utils.safestring import SafeString
from heroicons.templatetags.heroicons import heroicon_micro, heroicon_outline, heroicon_solid

register = template.Library()


@register.simple_tag
@lru_cache(maxsize=1024)
def icon(name: str, size: str, kind: str, classes: str) -> SafeString:
    """The heroicon of this name as inline SVG: what `<c-icon>` shows."""
    if kind == "solid":
        drawn = heroicon_solid(name, size=int(size), aria_hidden="true", **{"class": classes})
    elif kind == "outline" or size != "16":
        drawn = heroicon_outline(name, size=int(size), stroke_width="1.6", aria_hidden="true", **{"class": classes})
    else:
        drawn = heroicon_micro(name, size=int(size), aria_hidden="true", **{"class": classes})
    return SafeString(drawn)
