"""The unit as systemd reads it, and the installer on a folder that stands for the machine's root."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
UNIT = CHECKOUT / "systemd" / "tagger-daemon@.service"
INSTALLER = CHECKOUT / "scripts" / "install-service"
ANALYZE = shutil.which("systemd-analyze")

needs_systemd_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is missing")


def install(root: Path, *arguments: str, fails: bool = False) -> str:
    """Run the installer on a stand-in root and return what it said."""
    result = subprocess.run(
        [INSTALLER, "--root", root, "--no-venv", "--user", "daemon", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode != 0) is fails, result.stdout + result.stderr
    return result.stdout + result.stderr


def files(root: Path) -> dict[str, str]:
    """Return every file under the root with its text."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def analyze(*arguments: str, units: Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on units in a folder of their own, the machine's behind them."""
    assert ANALYZE is not None
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_PAGER": ""}
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Install with a program that exists, and return the folder of the units."""
    program = tmp_path / "opt" / ".venv" / "bin" / "tagger-daemon"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    install(tmp_path / "root", "--prefix", str(tmp_path / "opt"), "--folder", "/srv/my photos, 100% of them")
    return tmp_path / "root" / "etc" / "systemd" / "system"


@needs_systemd_analyze
def test_systemd_has_nothing_to_say_against_the_unit_and_its_drop_in(installed: Path) -> None:
    result = analyze("verify", "tagger-daemon@daemon.service", units=installed)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_systemd_analyze
def test_verify_would_say_something_against_a_wrong_line(installed: Path) -> None:
    drop_in = installed / "tagger-daemon@daemon.service.d" / "folders.conf"
    drop_in.write_text("[Service]\nReadWritePaths=not/absolute\n")
    result = analyze("verify", "tagger-daemon@daemon.service", units=installed)
    assert "not/absolute" in result.stderr


@needs_systemd_analyze
def test_the_sandbox_is_as_tight_as_the_unit_says(installed: Path) -> None:
    unit = installed / "tagger-daemon@daemon.service"
    (installed / "tagger-daemon@.service").rename(unit)
    result = analyze("security", "--offline=true", "--threshold=20", str(unit), units=installed)
    if "unrecognized option" in result.stderr:
        pytest.skip("this systemd-analyze cannot rate a file")
    assert result.returncode == 0, result.stdout


def test_no_line_of_the_unit_carries_a_comment_that_would_be_taken_for_its_value() -> None:
    for line in UNIT.read_text().splitlines():
        assert line.startswith("#") or "#" not in line


def test_the_installer_puts_every_file_where_it_belongs(tmp_path: Path) -> None:
    config, registry = tmp_path / "my.toml", tmp_path / "my.json"
    config.write_text("# mine\n")
    registry.write_text("{}\n")
    root = tmp_path / "root"
    install(root, "--config", str(config), "--registry", str(registry), "--folder", "/a", "--folder", "/b c")
    written = files(root)
    drop_in = written.pop("etc/systemd/system/tagger-daemon@daemon.service.d/folders.conf")
    assert re.findall("^ReadWritePaths=.*", drop_in, re.MULTILINE) == [
        'ReadWritePaths="-/a"',
        'ReadWritePaths="-/b c"',
    ]
    assert written.pop("etc/systemd/system/tagger-daemon@.service") == UNIT.read_text()
    assert written.pop("etc/tagger-daemon/daemon.toml") == "# mine\n"
    assert written.pop("etc/tagger-daemon/registry.json") == "{}\n"
    assert "Keys of model servers" in written.pop("etc/tagger-daemon/environment")
    assert written == {}
    assert stat.S_IMODE((root / "etc/tagger-daemon/environment").stat().st_mode) == 0o600


def test_a_folder_s_percent_sign_is_not_taken_for_one_of_systemd_s_specifiers(installed: Path) -> None:
    drop_in = installed / "tagger-daemon@daemon.service.d" / "folders.conf"
    assert 'ReadWritePaths="-/srv/my photos, 100%% of them"' in drop_in.read_text().splitlines()


def test_the_unit_starts_the_program_under_the_prefix(tmp_path: Path) -> None:
    install(tmp_path, "--prefix", "/usr/local/lib/tagger")
    unit = files(tmp_path)["etc/systemd/system/tagger-daemon@.service"]
    assert "ExecStart=/usr/local/lib/tagger/.venv/bin/tagger-daemon run" in unit
    assert "/opt/" not in unit


def test_installing_again_changes_nothing(tmp_path: Path) -> None:
    install(tmp_path, "--folder", "/srv/photos")
    before = files(tmp_path)
    told = install(tmp_path, "--folder", "/srv/photos")
    assert files(tmp_path) == before
    assert "write" not in told.replace("To do: write", "")


def test_configuration_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_text("mine\n")
    other.write_text("other\n")
    root = tmp_path / "root"
    install(root, "--config", str(mine), "--registry", str(mine))
    (root / "etc/tagger-daemon/environment").write_text("KEY=secret\n")
    told = install(root, "--config", str(other), "--registry", str(other))
    assert files(root)["etc/tagger-daemon/daemon.toml"] == "mine\n"
    assert files(root)["etc/tagger-daemon/registry.json"] == "mine\n"
    assert files(root)["etc/tagger-daemon/environment"] == "KEY=secret\n"
    assert told.count("though it differs") == 2
    assert "secret" not in told


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    told = install(root, "--dry-run", "--folder", "/srv/photos")
    assert f"would write {root}/etc/systemd/system/tagger-daemon@.service" in told
    assert list(root.iterdir()) == []


def test_uninstalling_leaves_what_a_person_wrote(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine\n")
    root = tmp_path / "root"
    install(root, "--config", str(mine), "--folder", "/srv/photos")
    override = root / "etc/systemd/system/tagger-daemon@daemon.service.d/override.conf"
    override.write_text("[Service]\nGroup=media\n")
    told = install(root, "--uninstall")
    assert files(root).keys() == {
        "etc/systemd/system/tagger-daemon@daemon.service.d/override.conf",
        "etc/tagger-daemon/environment",
        "etc/tagger-daemon/daemon.toml",
    }
    assert "were kept" in told
    assert install(root, "--uninstall") == told.splitlines(keepends=True)[-1]


def test_uninstalling_one_user_s_service_leaves_the_unit_to_the_others(tmp_path: Path) -> None:
    install(tmp_path)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "tagger-daemon@alice.service").symlink_to("../tagger-daemon@.service")
    assert "tagger-daemon@alice.service" in install(tmp_path, "--uninstall")
    assert "etc/systemd/system/tagger-daemon@.service" in files(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--folder", "photos"), "absolute"),
        (("--folder", '/srv/"photos"'), "quotes"),
        (("--folder", "/srv/two\nlines"), "line breaks"),
        (("--config", "/no/such/file"), "cannot be read"),
        (("--user", "no such user!"), "login name"),
        (("--prefix", "relative"), "absolute"),
        (("--folder",), "needs a value"),
        (("--fodler", "/srv"), "unknown option --fodler"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    assert reason in install(tmp_path, *arguments, fails=True)
    assert files(tmp_path) == {}


def test_a_staged_install_does_not_pretend_to_stage_the_program(tmp_path: Path) -> None:
    result = subprocess.run(
        [INSTALLER, "--root", tmp_path, "--user", "daemon"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "--no-venv" in result.stderr


def test_the_help_names_every_option() -> None:
    text = subprocess.run([INSTALLER, "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z-]+(?= ?[|)])", INSTALLER.read_text())) - {"--help"}
    assert {"--user", "--dry-run"} < options
    assert {option for option in options if option not in text} == set()
