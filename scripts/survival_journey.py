"""The journey of hand-tagged photos through the real program, and what each step left of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from survival_check import (
    DECLARATION,
    FILE,
    LISTS,
    PACKET,
    Content,
    Edits,
    Finding,
    Values,
    changed_bytes,
    compare,
    count,
    edited,
    edits_between,
    surviving,
    without,
)
from survival_describer import THROWN_OUT, VOICES
from survival_files import Sample, draw_samples, edit_by_hand, tag_by_hand
from survival_reading import read

ROOT = Path(__file__).resolve().parent.parent
ENV_PREFIX = "IMAGEWORKS_PERSONAL_TAGGER__"
MODERN_SINCE = (13, 25)  # README: from this exiftool on, HEIC, AVIF and WebP are written into

TAGGED, ANEW, EDITED, UNDONE = "tagged", "tagged anew", "edited, anew", "undone"
STEPS = (TAGGED, ANEW, EDITED, UNDONE)
#: Who is asked in each step that tags.
ENTRIES = {TAGGED: "builtin-describer", ANEW: "second-describer", EDITED: "third-describer"}

LAST_WORDS = 15  # lines of the program's that are shown when it did not do its part

CONFIG = """\
folders = [{folder}]
state_dir = {state}
registry = {registry}
max_workers = 4
log_level = "WARNING"

[intake]
settle_seconds = 0.3

[image]
workers = 2

[metadata]
mode = "{mode}"
exiftool = {exiftool}

[queue]
backoff_seconds = 0.5
"""


class Failed(Exception):
    """The program did not do what was to be judged: nothing can be said of survival."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one photo, with the sidecars that go with it, in one step."""

    values: int  # of a person's
    survived: int
    findings: tuple[tuple[str, Finding], ...]  # file below the folder, and what is wrong with it

    @property
    def lost(self) -> int:
        """How much is wrong; what is found wrong with XMP and in its XML is counted once."""
        shown = sum(not finding.property.startswith(PACKET) for _, finding in self.findings)
        return max(self.values - self.survived, shown, int(bool(self.findings)))


@dataclass(kw_only=True)
class Report:
    """What became of all photos in all steps."""

    exiftool: str  # its version
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)  # photo -> step -> row
    others: int = 0  # values that are not a person's: the camera's, the file's
    pictures: int = 0  # compared in each step
    edits: dict[str, tuple[str, ...]] = field(default_factory=dict)  # photo -> what the person did
    strays: dict[str, tuple[str, ...]] = field(default_factory=dict)  # step -> files that nobody asked for

    @property
    def lost(self) -> int:
        """How much is wrong in all steps."""
        rows = sum(row.lost for steps in self.rows.values() for row in steps.values())
        return rows + sum(map(len, self.strays.values()))

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "exiftool": self.exiftool,
            "lost": self.lost,
            "other_values": self.others,
            "pictures": self.pictures,
            "strays": {step: list(names) for step, names in self.strays.items()},
            "photos": {
                name: {
                    "edits": list(self.edits.get(name, ())),
                    "steps": {step: _row_to_json(row) for step, row in steps.items()},
                }
                for name, steps in self.rows.items()
            },
        }


@dataclass(kw_only=True)
class Journey:
    """Photos in a folder, the program beside them, and what is known of the state before each step."""

    root: Path
    samples: Sequence[Sample]
    exiftool: str
    say: Callable[[str], None]
    expected: dict[Path, Content] = field(default_factory=dict)  # what a person left, and has to stay
    edits: dict[Path, Edits] = field(default_factory=dict)  # by file
    by_hand: dict[Path, Values] = field(default_factory=dict)  # what of it a person wrote

    def __post_init__(self) -> None:
        self.photos = self.root / "photos"
        self.version = _version(self.exiftool)
        self.modern_embeds = tuple(map(int, self.version.split("."))) >= MODERN_SINCE
        self.homes = {
            sample.name: self.photos / sample.home(modern_embeds=self.modern_embeds)
            for sample in self.samples
        }
        self.report = Report(exiftool=self.version, rows={sample.name: {} for sample in self.samples})

    def prepare(self) -> None:
        """Draw the photos, have a person tag them, and note what they say."""
        self.say(f"drawing {len(self.samples)} photos, and tagging them by hand")
        draw_samples(self.photos, self.samples)
        drawn = self._read(pictures=False)
        tag_by_hand(self.photos, self.samples, exiftool=self.exiftool)
        self.expected = self._read()
        for path, content in self.expected.items():
            plain = drawn[path].values if path in drawn else {}
            self.by_hand[path] = without(content.values, plain)
        shutil.copytree(self.photos, self.root / "before")
        values = sum(count(content.values) for content in self.expected.values())
        self.report.others = values - sum(map(count, self.by_hand.values()))
        self.report.pictures = sum(bool(content.picture) for content in self.expected.values())
        _write_registry(self.root / "registry.json")

    def tag(self, step: str, *, mode: str) -> None:
        """Have all photos tagged by the entry of this step.

        Raises:
            Failed: the program ended otherwise than well, or left a photo without the words of this entry.
        """
        self.say(f"{step}: tagger-daemon run --once, {ENTRIES[step]}, mode {mode}")
        config = self._configure(step, mode)
        # 1: photos failed. Whether they had to, is seen by what they say.
        self._program("run", "--once", "--no-progress", "--config", str(config), well=(0, 1))

    def undo(self) -> None:
        """Have all that was written taken back.

        Raises:
            Failed: the program ended otherwise than well.
        """
        self.say(f"{UNDONE}: tagger-daemon undo --all --yes")
        self._program("undo", "--all", "--yes", "--config", str(self.root / f"{EDITED}.toml"))

    def edit(self) -> None:
        """Have a person edit some photos; from here on that, too, has to stay.

        Raises:
            Failed: there was nothing of the program's to edit.
        """
        self.say("a person changes titles, keywords and ratings")
        before = self._read()
        homes = [(sample, self.homes[sample.name]) for sample in self.samples if sample.edits]
        chosen = [(sample, home) for sample, home in homes if home in before]  # others were lost already
        edit_by_hand({home: sample.edits for sample, home in chosen}, exiftool=self.exiftool)
        after = self._read()
        for sample, home in chosen:
            edits = edits_between(before[home].values, after[home].values)
            deletes = any(f"-={THROWN_OUT}" in edit for edit in sample.edits)
            if deletes and THROWN_OUT not in edits.removed.get("XMP-dc:Subject", ()):
                raise Failed(f"{sample.name} did not carry {THROWN_OUT!r}, so that nobody could delete it")
            self.edits[home] = edits
            self.expected[home] = edited(self.expected.get(home, Content()), edits)
            self.by_hand[home] = edited(Content(values=self.by_hand.get(home, {})), edits).values
            self.report.edits[sample.name] = sample.edits

    def check(self, step: str) -> None:
        """Compare all files with what a person left, and note what is wrong.

        Raises:
            Failed: a photo does not carry the words that it should carry.
        """
        ours = step != UNDONE
        found = self._read()
        known: set[Path] = set()
        for sample in self.samples:
            files = self._files(sample)
            known |= files
            findings = [
                (str(path.relative_to(self.photos)), finding)
                for path in sorted(files)
                for finding in self._check_file(sample, path, found.get(path), ours=ours)
            ]
            if ours and not sample.untouched and not findings:
                self._check_tagged(sample, step, found)
            values = [(self.by_hand.get(path, {}), found.get(path, Content()).values) for path in files]
            self.report.rows[sample.name][step] = Row(
                values=sum(count(by_hand) for by_hand, _ in values),
                survived=sum(surviving(by_hand, now) for by_hand, now in values),
                findings=tuple(findings),
            )
        strays = sorted(str(path.relative_to(self.photos)) for path in found.keys() - known)
        self.report.strays[step] = tuple(strays)

    def _check_file(
        self, sample: Sample, path: Path, now: Content | None, *, ours: bool
    ) -> Iterator[Finding]:
        before = self.expected.get(path, Content())
        if now is None:
            # A sidecar that the program made goes with its words, unless a person's stand there too.
            if path in self.expected and (before.values or before.bytes):
                yield Finding(what="vanished", property=FILE)
            return
        if path not in self.expected and not ours:
            yield Finding(what="appeared", property=FILE)
        if sample.untouched or path != self.homes[sample.name]:
            yield from changed_bytes(before, now)
        theirs = self._keywords(sample)
        for finding in compare(before, now, ours=ours, edits=self.edits.get(path), theirs=theirs):
            declared = finding.what == "appeared" and finding.property in DECLARATION
            if not (declared and sample.charset == "UTF8"):
                yield finding

    def _check_tagged(self, sample: Sample, step: str, found: Mapping[Path, Content]) -> None:
        """Make sure that there is something to judge."""
        home = self.homes[sample.name]
        models = found.get(home, Content()).values.get("XMP-tagger:Models", ("",))[0]
        if ENTRIES[step] not in models:
            name = str(home.relative_to(self.photos))
            missing = (
                f"{step}: {name} does not carry words of {ENTRIES[step]}, so that there is nothing to judge"
            )
            raise Failed("\n".join([missing, *self._last_words()]))

    def _keywords(self, sample: Sample) -> set[str]:
        """Return a person's keywords of a photo, in whichever file and list they stand."""
        contents = [self.expected[path] for path in self._files(sample) if path in self.expected]
        return {word for content in contents for name in LISTS for word in content.values.get(name, ())}

    def _files(self, sample: Sample) -> set[Path]:
        """Return all files that may stand there for a photo."""
        names = (sample.name, *sample.sidecars)
        return {self.homes[sample.name], *(self.photos / name for name in names)}

    def _read(self, *, pictures: bool = True) -> dict[Path, Content]:
        files = sorted(path for path in self.photos.rglob("*") if path.is_file())
        charsets = {self.photos / sample.name: sample.charset for sample in self.samples}
        return read(files, exiftool=self.exiftool, charsets=charsets, pictures=pictures)

    @property
    def _log(self) -> Path:
        return self.root / "log"

    def _last_words(self) -> list[str]:
        """Return the end of what the program printed."""
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_WORDS:]

    def _configure(self, step: str, mode: str) -> Path:
        entries = json.loads((self.root / "registry.json").read_text(encoding="utf-8"))
        for entry in entries:
            priority = 90 if entry["name"] == ENTRIES[step] else 10
            entry["role_priority"] = dict.fromkeys(entry["roles"], priority)
        registry = self.root / f"{step}.json"
        registry.write_text(json.dumps(entries, indent=2), encoding="utf-8")
        texts = {"folder": self.photos, "state": self.root / "state", "registry": registry}
        values = {**texts, "exiftool": self.exiftool}
        config = self.root / f"{step}.toml"
        # JSON's strings are TOML's basic strings.
        quoted = {name: json.dumps(str(value), ensure_ascii=False) for name, value in values.items()}
        config.write_text(CONFIG.format(mode=mode, **quoted), encoding="utf-8")
        return config

    def _program(self, *arguments: str, well: Sequence[int] = (0,)) -> None:
        """Run the installed program to its end, away from this checkout and from a person's own settings."""
        command = [str(Path(sys.executable).with_name("tagger-daemon")), *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        with self._log.open("ab") as log:
            status = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.root,
                env=environment,
            ).returncode
        if status not in well:
            raise Failed("\n".join([f"{' '.join(command)} ended with {status}:", *self._last_words()]))


def travel(root: Path, samples: Sequence[Sample], *, exiftool: str, say: Callable[[str], None]) -> Report:
    """Take photos through all steps, and return what became of them.

    Args:
        root: an empty folder for the photos and for what the program needs.
        samples: the photos.
        exiftool: the one that the program uses, and that files are read with.
        say: told at the beginning of every step.

    Raises:
        Failed: the program did not do what was to be judged.
        subprocess.CalledProcessError: exiftool could not do a person's part.
    """
    journey = Journey(root=root, samples=samples, exiftool=exiftool, say=say)
    journey.prepare()
    journey.tag(TAGGED, mode="fill")
    journey.check(TAGGED)
    journey.tag(ANEW, mode="refresh")
    journey.check(ANEW)
    journey.edit()
    journey.tag(EDITED, mode="refresh")
    journey.check(EDITED)
    journey.undo()
    journey.check(UNDONE)
    return journey.report


def _write_registry(path: Path) -> None:
    """Write a registry with the built-in describer as it is, and with its other voices."""
    entries = json.loads((ROOT / "config" / "registry.example.json").read_text(encoding="utf-8"))
    builtin = next(entry for entry in entries if entry["backend"] == "builtin")
    described = [_served(builtin, builtin["name"], builtin["serving"]["launch"]["argv"])]
    for voice in VOICES:
        argv = ["{python}", str(ROOT / "scripts" / "survival_describer.py"), "--voice", voice]
        described.append(_served(builtin, f"{voice}-describer", [*argv, "--port", "{port}"]))
    path.write_text(json.dumps(described, indent=2), encoding="utf-8")


def _served(entry: Mapping[str, Any], name: str, argv: Sequence[str]) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = {
        **entry["serving"],
        "endpoints": [f"http://127.0.0.1:{port}/v1"],
        "launch": {**entry["serving"]["launch"], "argv": list(argv)},
    }
    return {**entry, "name": name, "display_name": name, "serving": serving}


def _version(exiftool: str) -> str:
    said = subprocess.run([exiftool, "-ver"], capture_output=True, check=True, text=True).stdout.strip()
    if not re.fullmatch(r"\d+\.\d+", said):
        raise Failed(f"{exiftool} does not answer as exiftool does")
    return said


def _row_to_json(row: Row) -> dict[str, Any]:
    return {
        "values": row.values,
        "survived": row.survived,
        "lost": row.lost,
        "findings": [{"file": name, **vars(finding)} for name, finding in row.findings],
    }
