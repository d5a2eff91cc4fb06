"""Every setting that is read from the environment is in the manual, and the manual names no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import env

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "docs" / "operators" / "settings.md").read_text()
SETTINGS = ROOT / "portal" / "settings.py"
READERS = {"text", "integer", "flag", "listing"}
LAUNCHER = [ROOT / "lyceum.py", *sorted((ROOT / "portal").rglob("*.py"))]
# What Python, Django and the shell read, and what the supervisor tells a process that it starts.
NOT_OURS = {"PATH", "DJANGO_SETTINGS_MODULE", "EMBEDDED_MODEL_PORT"}
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (.*?) \| (.*) \|$", re.MULTILINE)


def documented() -> dict[str, str]:
    """Each variable in the manual, with its default as it stands there."""
    return {name: default for name, default, _meaning in ROW.findall(MANUAL)}


def read_by_settings() -> set[str]:
    """Each variable that settings.py reads, also where it does so under a condition."""
    names = set(env.DEFAULTS)
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS:
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    names.add(name)
                case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value=str(ending))]):
                    names |= {name for name in env.DEFAULTS if name.endswith(ending)}
    return names


def read_by_launcher() -> Iterator[str]:
    pattern = re.compile(r'environ(?:\.get\(|\[)\s*"([A-Z][A-Z0-9_]*)"')
    for path in LAUNCHER:
        yield from pattern.findall(path.read_text())


def test_it_works() -> None:
    assert "DATABASE_URL" in documented()
    assert {"DATABASE_URL", "OIDC_NAME", "GITHUB_CLIENT_ID"} <= read_by_settings()


def test_every_setting_is_in_the_manual() -> None:
    assert (read_by_settings() | set(read_by_launcher())) - NOT_OURS - set(documented()) == set()


def test_the_manual_names_no_setting_that_is_not_read() -> None:
    assert set(documented()) - read_by_settings() - set(read_by_launcher()) == set()


@pytest.mark.parametrize("name", sorted(env.DEFAULTS))
def test_the_default_in_the_manual_is_the_default(name: str) -> None:
    default = env.DEFAULTS[name]
    stated = documented()[name]
    plain = re.fullmatch(r"`([^`<>]*)`", stated)
    if plain and plain[1] not in env.DEFAULTS:
        assert plain[1] == default
    elif stated == "none":
        assert default == ""
