"""Icons are inline SVG that says nothing to a screen reader."""

import pytest
from heroicons import IconDoesNotExist

from common.templatetags.icons import icon


@pytest.mark.parametrize(
    ("size", "kind", "drawn"),
    [
        ("16", "", 'viewBox="0 0 16 16"'),
        ("16", "outline", 'stroke-width="1.6"'),
        ("20", "", 'stroke-width="1.6"'),
        ("20", "solid", 'fill="currentColor"'),
    ],
)
def test_it_works(size: str, kind: str, drawn: str) -> None:
    svg = icon("key", size, kind, "shrink-0 text-muted")
    for part in ("<svg ", drawn, f'width="{size}"', 'class="shrink-0 text-muted"', 'aria-hidden="true"'):
        assert part in svg


def test_what_a_class_says_stays_in_its_attribute() -> None:
    assert '"><script>' not in icon("key", "16", "", '"><script>')


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(IconDoesNotExist):
        icon("no-such-icon", "16", "", "")
