"""Compiles the translations, also where GNU gettext is not installed: `python -m portal.translations`."""

from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from portal import env


def compile_messages(folder: Path) -> None:
    """Write the .mo file beside each .po file under `folder`. A message that is fuzzy or broken stays untranslated."""
    for source in sorted(folder.glob("**/LC_MESSAGES/*.po")):
        with source.open("rb") as file:
            catalog = read_po(file, locale=source.parts[-3])
        # The tools mark a new file's header fuzzy; left out with it would be the encoding and the plural forms.
        catalog.fuzzy = False
        compiled = source.with_suffix(".mo")
        partial = compiled.with_suffix(".partial")
        with partial.open("wb") as file:
            write_mo(file, catalog)
        partial.replace(compiled)


if __name__ == "__main__":
    compile_messages(env.BASE_DIR / "locale")
