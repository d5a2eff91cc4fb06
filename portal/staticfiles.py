"""Static files of production: compressed, and each under one address only."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class BundleStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Leaves the bundle's own names alone.

    The bundler has already hashed them. Hashed a second time, a module imported by the page and by a lazy chunk would
    have two addresses and run twice.
    """

    keep_only_hashed_files = False

    def hashed_name(self, name: str, content: object = None, filename: str | None = None) -> str:
        if name.startswith("dist/"):
            return name
        return super().hashed_name(name, content, filename)  # type: ignore[no-any-return]
