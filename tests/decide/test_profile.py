"""A prompt profile is whole and right, or refused with its file and key."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tagger_daemon.errors import ConfigurationError
from tagger_daemon.model import Stage
from tagger_daemon.vision.entry import StagePrompt
from tagger_daemon.vision.profile import load_profile, parse_profile

STAGE = 'instruction = "Do {max_keywords}."\nmax_tokens = 9\ntemperature = 0\ntop_p = 1.0\n'
GOOD = (
    'id = "mine"\nname = "Mine"\ndescription = "For tests."\nlanguage = "pt-BR"\n'
    'system = """\nBe plain.\n"""\n' + "".join(f"[stages.{stage}]\n{STAGE}" for stage in Stage)
)


def complaint(text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_profile(text, source="mine.toml")
    return str(caught.value)


def test_a_whole_profile() -> None:
    profile = parse_profile(GOOD, source="mine.toml")
    assert (profile.id, profile.name, profile.language) == ("mine", "Mine", "pt-BR")
    assert profile.system == "Be plain."
    prompt = StagePrompt(instruction="Do {max_keywords}.", max_tokens=9, temperature=0, top_p=1)
    assert profile.stages == dict.fromkeys(Stage, prompt)
    assert profile.hash == hashlib.sha256(GOOD.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "Mine"', 'nam = "Mine"', "mine.toml: nam: unknown key; did you mean 'name'?"),
        ("max_tokens = 9", "max_token = 9", "mine.toml: stages.caption.max_token: unknown key"),
        ("max_tokens = 9", 'max_tokens = "9"', "mine.toml: stages.caption.max_tokens: input should be"),
        ("max_tokens = 9", "max_tokens = 0", "mine.toml: stages.keywords.max_tokens: input should be"),
        ("temperature = 0", "temperature = 2.1", "mine.toml: stages.caption.temperature: input should be"),
        ("temperature = 0", "temperature = nan", "mine.toml: stages.caption.temperature: input should be"),
        ("top_p = 1.0", "top_p = 0.0", "mine.toml: stages.caption.top_p: input should be"),
        ("[stages.keywords]", "[stages.tags]", "mine.toml: stages.keywords: field required"),
        ("Do {max_keywords}", "Do {max_keyword}", "has no placeholder {max_keyword}"),
        ("Do {max_keywords}.", " ", "mine.toml: stages.caption.instruction: "),
        ("Be plain.", "", "mine.toml: system: "),
        ('"pt-BR"', '"Portuguese!"', "mine.toml: language: "),
        ('id = "mine"', 'id = "../x"', "mine.toml: id: "),
        ('id = "mine"', "id = ", "mine.toml: not valid TOML: "),
    ],
)
def test_a_slip_is_named_with_file_and_key(old: str, new: str, problem: str) -> None:
    assert problem in complaint(GOOD.replace(old, new))


def test_all_slips_come_at_once() -> None:
    assert len(complaint(GOOD.replace("temperature = 0", "temperature = 3")).splitlines()) == len(Stage)


def test_bytes_that_are_no_text() -> None:
    assert complaint(b'id = "\xff"').startswith("mine.toml: not valid TOML: ")


def test_the_shipped_profile_is_whole_and_capped() -> None:
    default = load_profile("default")
    assert default.id == "default"
    assert default.language == "en"
    assert {stage: prompt.max_tokens for stage, prompt in default.stages.items()} == {
        Stage.CAPTION: 96,
        Stage.KEYWORDS: 200,
        Stage.DESCRIPTION: 256,
    }
    assert {(prompt.temperature, prompt.top_p) for prompt in default.stages.values()} == {(0.2, 0.9)}
    assert "{max_keywords}" in default.stages[Stage.KEYWORDS].instruction
    assert not any("\n" in prompt.instruction for prompt in default.stages.values())


def test_the_users_own_profiles_come_first(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    for directory, title in ((near, "Near"), (far, "Far")):
        directory.mkdir()
        for name in ("mine", "default"):
            text = GOOD.replace('"mine"', f'"{name}"').replace('"Mine"', f'"{title}"')
            (directory / f"{name}.toml").write_text(text)
    directories = (tmp_path / "missing", near, far)
    assert load_profile("default", directories=directories).name == "Near"
    assert load_profile("mine", directories=(far, near)).name == "Far"


@pytest.mark.parametrize("name", ["defualt", "", "../default", "2"])
def test_an_unknown_name_is_never_another_profile(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no prompt profile {name!r}.*default"):
        load_profile(name)


def test_a_profile_is_found_by_the_name_that_it_writes_down(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"other\.toml: id: must be 'other'"):
        load_profile("other", directories=(tmp_path,))


def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"mine\.toml cannot be read"):
        load_profile("mine", directories=(tmp_path,))
