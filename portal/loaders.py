"""How component files become templates."""

from django_cotton.cotton_loader import Loader


class ComponentLoader(Loader):  # type: ignore[misc]
    """Drops the newline at a component's end, which would show as a space in "made <c-time … />."."""

    def _get_template_string(self, template_name: str) -> str:
        source: str = super()._get_template_string(template_name)
        return source.rstrip("\n")
