"""Rules for secret scanners: they find every key of ours, and nothing else."""

import json
import random
import re
import tomllib

import pytest
import yaml
from django.conf import LazySettings
from django.test import Client

from apikeys.scanning import RULES, examples, pattern, prefixes, text_of, within_text
from apikeys.verification import KIND_PARTS, is_well_formed, new_secret
from common.ids import ALPHABET


def patterns() -> dict[str, re.Pattern[str]]:
    """What each scanner searches with, read out of its file; GitHub's with what it wants before and after.

    Those written in Go have word boundaries of ASCII.
    """
    gitleaks = tomllib.loads(text_of("gitleaks.toml"))["rules"][0]
    trufflehog = yaml.safe_load(text_of("trufflehog.yaml"))["detectors"][0]
    pre_commit = yaml.safe_load(text_of("pre-commit.yaml"))["repos"][0]["hooks"][0]
    github = dict(part.split("\n", 1) for part in text_of("github.txt").strip().split("\n\n"))
    before, after = (github[name].replace("\\z", "\\Z") for name in ("Before secret", "After secret"))
    return {
        "gitleaks": re.compile(gitleaks["regex"], re.ASCII),
        "trufflehog": re.compile(trufflehog["regex"]["key"], re.ASCII),
        "pre-commit": re.compile(pre_commit["entry"]),
        "github": re.compile(f"(?:{before})({github['Secret format']})(?:{after})"),
    }


@pytest.mark.parametrize("kind", KIND_PARTS)
@pytest.mark.parametrize("around", ["{}", 'key = "{}"', "x_{}_y", "https://{}@host/", "API_KEY={}\n", "名{}名"])
def test_every_key_is_found(kind: str, around: str) -> None:
    keys = [new_secret(kind) for _number in range(10_000 // 6 + 1)]
    for name, compiled in patterns().items():
        missed = [key for key in keys if not compiled.search(around.format(key))]
        assert not missed, name


def test_nothing_else_is_found() -> None:
    chance = random.Random(1)

    def letters(count: int) -> str:
        return "".join(chance.choices(ALPHABET, k=count))

    others: list[str] = []
    while len(others) < 100_000:
        prefix = letters(chance.randint(2, 6))
        if f"{prefix}_" not in prefixes():
            others.append(f"{prefix}_{letters(36)}")
    # The prefix inside of a longer word, and lengths that are off by one, are no keys either.
    others += [f"x{prefixes()[0]}{letters(36)}", f"{prefixes()[0]}{letters(35)}", f"{prefixes()[0]}{letters(37)}"]
    text = "\n".join(others)
    for name, compiled in patterns().items():
        assert not compiled.search(text), name


def test_examples_are_found_and_open_nothing() -> None:
    for compiled in patterns().values():
        assert all(compiled.search(example) for example in examples())
    assert not any(is_well_formed(example) for example in examples())


def test_keywords_let_scanners_skip_other_files() -> None:
    rule = tomllib.loads(text_of("gitleaks.toml"))["rules"][0]
    assert rule["keywords"] == prefixes()
    assert rule["secretGroup"] == 1
    assert re.compile(within_text()).groups == 1
    assert re.compile(pattern()).groups == 0


def test_they_follow_the_prefix_and_the_name(settings: LazySettings) -> None:
    settings.API_KEY_PREFIX, settings.PORTAL_NAME = "acme", 'Models "R" Us'
    assert patterns()["gitleaks"].search(new_secret("service"))
    assert 'Models "R" Us' in tomllib.loads(text_of("gitleaks.toml"))["rules"][0]["description"]
    assert 'Models "R" Us' in yaml.safe_load(text_of("pre-commit.yaml"))["repos"][0]["hooks"][0]["name"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", [rules.name for rules in RULES])
def test_each_has_an_address_that_stays(client: Client, name: str) -> None:
    answer = client.get(f"/keys/scanning/{name}")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.content.decode() == text_of(name)
    assert f"/keys/scanning/{name}" in client.get("/keys/scanning/").content.decode()


@pytest.mark.django_db
def test_there_is_no_other(client: Client) -> None:
    assert client.get("/keys/scanning/passwords.txt").status_code == 404
    assert json.dumps(prefixes()[0])[1:-1] in client.get("/keys/scanning/").content.decode()
