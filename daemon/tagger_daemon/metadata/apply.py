"""Carrying out a plan: write a copy, prove it right, put it in the file's place.

The original is never opened for writing. Whatever goes wrong, it is as it was, and no copy stays behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tagger_daemon.errors import (
    EmbeddingRefused,
    FolderUnavailable,
    PhotoChanged,
    VerificationFailed,
    WriteRefused,
)
from tagger_daemon.metadata.canonical import ABOUT, parse_packet
from tagger_daemon.metadata.exiftool import Answer, ExifTool, path_argument
from tagger_daemon.metadata.fields import IIM_CHARSET, IIM_DIGEST, IIM_ENVELOPE, NEW_DIGEST, UTF8
from tagger_daemon.metadata.files import (
    check_creatable,
    check_replaceable,
    check_unchanged,
    dress_like,
    fingerprint,
    folder_trouble,
    publish,
    publish_new,
    temporary_copy,
    withdraw,
)
from tagger_daemon.metadata.gather import CURRENT_DIGEST, iim_counts
from tagger_daemon.metadata.originals import keep
from tagger_daemon.metadata.picturehash import content_hash
from tagger_daemon.metadata.properties import Properties
from tagger_daemon.metadata.read import look, show
from tagger_daemon.metadata.readings import Reading, Readings, Seen, seen
from tagger_daemon.metadata.segments import Behind, behind_picture
from tagger_daemon.metadata.sidecar import EMPTY
from tagger_daemon.metadata.verify import differences, packet_differences
from tagger_daemon.model import Existing, NewValue, WritePlan, Written
from tagger_daemon.settings import MetadataSettings

CREATED = re.compile(r"^\s*1 image files created$", re.MULTILINE)  # exit status 0 alone proves nothing
NOT_THE_STRUCTURE = re.compile(r"Error (?:creating|opening|writing|renaming)|.*looks more like")
LABELS = re.compile(r"^(?:Error: |Warning: |\[[Mm]inor\] )+")
IIM_STATE = frozenset({IIM_CHARSET, IIM_ENVELOPE, IIM_DIGEST})  # set by options of their own
LONGEST_REASON = 200  # characters; names from inside the file may stand in it
DISK_FULL = re.compile(r"no space left|disk quota|read-only file system", re.IGNORECASE)


def check_writable(existing: Existing, settings: MetadataSettings) -> None:
    """Make sure that words for this photo could be written, as far as that shows without writing them.

    Raises:
        PhotoChanged: the file is not there any more.
        WriteRefused: it is protected, has a second name, could not keep its owner, or has too long a name.
        FolderUnavailable: disk full, read-only, or no right to write there.
    """
    target = Path(os.path.realpath(existing.source))
    with folder_trouble(target.parent):
        if existing.source_fingerprint is None:
            check_creatable(target, len(EMPTY))
        else:
            check_replaceable(target, _status(target), allow_hard_links=settings.allow_hard_links)


def apply_plan(
    exiftool: ExifTool, plan: WritePlan, settings: MetadataSettings, readings: Readings
) -> Written:
    """Write what the plan says and nothing else. A plan without writes touches nothing.

    What stands in a photo is taken from `readings` where this very content was read, or else read anew: the
    copy is held against what stands in the file now, not against what was planned from.

    Raises:
        PhotoGone: the photo is not there.
        PhotoUnreadable: it cannot be read.
        PhotoChanged: photo or sidecar are not those that the plan was made against.
        WriteRefused: it could not be written, and why.
        EmbeddingRefused: exiftool finds fault with the photo's structure; a sidecar could be written.
        VerificationFailed: the copy was not as planned.
        FolderUnavailable: disk full, read-only, or no right to write there.
        StateUnavailable: its original could not be kept.
        ExiftoolDied: exiftool died or hung.
    """
    photo = plan.existing.photo
    check_unchanged(photo)
    content = plan.content_hash or content_hash(photo.path)  # before the write: nothing may fail after it
    target = Path(os.path.realpath(plan.target))
    if plan.writes:
        with folder_trouble(target.parent):
            if plan.existing.source_fingerprint is None:
                _create(exiftool, plan, target)
            elif plan.removes:
                _remove(exiftool, plan, target, settings)
            else:
                _replace(exiftool, plan, target, content, settings, readings)
    return Written(
        target=plan.target,
        photo_fingerprint=fingerprint(photo.path.stat()),
        content_hash=content,
    )


def _replace(
    exiftool: ExifTool,
    plan: WritePlan,
    target: Path,
    content: str,
    settings: MetadataSettings,
    readings: Readings,
) -> None:
    status = _unchanged_status(plan, target)
    stood = _standing(target, status)
    before = readings.take(stood.seen) if plan.existing.embedded else None
    check_replaceable(target, status, allow_hard_links=settings.allow_hard_links)
    with temporary_copy(target) as temp, _source(exiftool, plan, target) as source:
        _edit(exiftool, source, temp, plan, before)
        if plan.existing.embedded and content_hash(temp) != content:
            raise VerificationFailed(
                f"{target.name} was left alone: writing would have changed the picture itself"
            )
        dress_like(temp, target, status, preserve_mtime=settings.preserve_mtime)
        if plan.original is not None:
            keep(target, plan.original)
        check_unchanged(plan.existing.photo)
        _check_still(plan, target, stood)
        publish(temp, target)


def _create(exiftool: ExifTool, plan: WritePlan, target: Path) -> None:
    check_creatable(target, len(EMPTY))
    with temporary_copy(target) as temp, exiftool.private_file(EMPTY, ".xmp") as empty:
        _edit(exiftool, empty, temp, plan)
        check_unchanged(plan.existing.photo)
        publish_new(temp, target)


def _remove(exiftool: ExifTool, plan: WritePlan, target: Path, settings: MetadataSettings) -> None:
    """Remove a sidecar that was ours alone; what is left in it without our words is kept, if anything is."""
    status = _unchanged_status(plan, target)
    stood = _standing(target, status)
    check_replaceable(target, status, allow_hard_links=settings.allow_hard_links)
    with temporary_copy(target) as temp:
        _edit(exiftool, target, temp, plan)
        nothing_left = not parse_packet(temp.read_bytes()).keys() - {ABOUT}
        dress_like(temp, target, status, preserve_mtime=settings.preserve_mtime)
        check_unchanged(plan.existing.photo)
        _check_still(plan, target, stood)
        if nothing_left:
            withdraw(target)
        else:
            publish(temp, target)


@contextmanager
def _source(exiftool: ExifTool, plan: WritePlan, target: Path) -> Iterator[Path]:
    """Give what the copy is made of: the file itself, but for a blank sidecar, which exiftool cannot read."""
    if plan.existing.embedded or target.read_bytes().strip():
        yield target
        return
    with exiftool.private_file(EMPTY, ".xmp") as empty:
        yield empty


def _status(target: Path) -> os.stat_result:
    try:
        return target.stat()
    except FileNotFoundError as error:
        raise PhotoChanged(f"{target.name} disappeared meanwhile") from error


def _unchanged_status(plan: WritePlan, target: Path) -> os.stat_result:
    status = _status(target)
    if fingerprint(status) != plan.existing.source_fingerprint:
        raise PhotoChanged(f"{target.name} changed meanwhile")
    return status


class _Standing(NamedTuple):
    """What a copy is made of: all of a JPEG but its picture, whose hash is compared by itself."""

    seen: Seen
    behind: Behind | None


def _standing(target: Path, status: os.stat_result, *, start: int | None = None) -> _Standing:
    return _Standing(seen(target, status), behind_picture(target, start=start))


def _check_still(plan: WritePlan, target: Path, stood: _Standing) -> None:
    """Make sure that what the copy was made of is what it takes the place of."""
    start = stood.behind.start if stood.behind else None
    if _standing(target, _unchanged_status(plan, target), start=start) != stood:
        raise PhotoChanged(f"{target.name} changed meanwhile")


def _edit(
    exiftool: ExifTool, source: Path, temp: Path, plan: WritePlan, before: Reading | None = None
) -> None:
    """Make the edited copy `temp` of `source`, and prove that it is what was planned.

    Args:
        exiftool: the process.
        source: the file.
        temp: where its copy goes.
        plan: what is to be written.
        before: what stands in the file, where that is known.
    """
    before = before or _look(exiftool, source, plan)
    values = {write.tag: write.value for write in plan.writes}
    given = {tag: value for tag, value in values.items() if value is not None and tag not in IIM_STATE}
    removed = [f"-{tag}=" for tag, value in values.items() if value is None]
    copy_iim, finish_iim = _iim_options(before.properties, values)
    with exiftool.values_file(given) as file, _as_output(exiftool, temp) as output:
        options = ("-api", "LargeFileSupport=1", *before.charset, *copy_iim, file, *removed, *finish_iim)
        answer = exiftool.ask(*options, "-o", output, path_argument(source))
    _check_answer(answer, plan, temp)
    after = _look(exiftool, temp, plan)
    if values.get(IIM_DIGEST) == NEW_DIGEST and iim_counts(after.properties):
        after = _with_padded_digest(exiftool, temp, after, plan)
    wrong = differences(before.properties, after.properties, plan.writes)
    if not wrong:
        had, has = (parse_packet(reading.packet) for reading in (before, after))
        wrong = packet_differences(had, has, plan.writes)
    if wrong:
        raise VerificationFailed(f"{plan.target.name} was left alone: {'; '.join(wrong[:3])}")


def _with_padded_digest(exiftool: ExifTool, temp: Path, shown: Reading, plan: WritePlan) -> Reading:
    """Mend the digest of a TIFF's legacy block, and return what the file then holds.

    A TIFF keeps the block in words of four bytes. exiftool leaves the zeros that fill up the last one out of
    the digest that it writes, and not out of the one that it compares with; Adobe's programs take either
    (XMP-Toolkit-SDK, TIFF_Handler). A digest that looks stale would let the block count more than what a
    person changes in XMP.
    """
    digest = shown.properties.text(CURRENT_DIGEST) or ""
    exiftool.ask(
        *("-api", "LargeFileSupport=1", f"-{IIM_DIGEST}={digest}", "-overwrite_original"), path_argument(temp)
    )
    after = _look(exiftool, temp, plan)
    if iim_counts(after.properties):
        raise VerificationFailed(f"{plan.target.name} was left alone: its IPTC block has no fitting digest")
    return after


def _look(exiftool: ExifTool, path: Path, plan: WritePlan) -> Reading:
    """Return what stands in a file, in both views."""
    if plan.existing.embedded:
        return look(exiftool, path)
    properties, charset = show(exiftool, path)
    return Reading(properties=properties, charset=charset, packet=path.read_bytes(), size=0)


def _iim_options(
    before: Properties, values: Mapping[str, NewValue]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the options before and after the values where the legacy block is written to, else none.

    What of the block is not ASCII is read and written anew, so that its old encoding becomes UTF-8, or its
    old one again when our words are taken back; but not what gets new values, or lists would be doubled. The
    rest is not touched: exiftool would cut what is longer than the standard allows, and give times a zone.
    """
    if not any(tag.startswith("IPTC:") for tag in values):
        return (), ()
    others = (tag for tag in before.nodes if tag.startswith("IPTC:") and tag not in values)
    recoded = [f"-{tag}" for tag in others if not "".join(before.texts(tag)).isascii()]
    copied = ("-tagsfromfile", "@", *recoded) if recoded else ()
    charset = () if values.get(IIM_CHARSET, UTF8) is None else (f"-{IIM_CHARSET}=UTF8",)
    digest = (f"-{IIM_DIGEST}={values[IIM_DIGEST]}",) if values.get(IIM_DIGEST) else ()
    return copied, (*charset, *digest)


@contextmanager
def _as_output(exiftool: ExifTool, temp: Path) -> Iterator[bytes]:
    """Give the copy's name as the output argument, in which exiftool would expand `%d` and the like."""
    if "%" not in str(temp.parent):
        yield path_argument(temp)
        return
    with exiftool.private_link(temp.parent) as folder:
        yield path_argument(folder / temp.name)


def _check_answer(answer: Answer, plan: WritePlan, temp: Path) -> None:
    if answer.status == 0 and CREATED.search(f"{answer.stdout.decode('utf-8', 'replace')}\n{answer.stderr}"):
        return
    if DISK_FULL.search(answer.stderr):
        raise FolderUnavailable(f"{temp.parent} cannot be written to now: the disk is full or read-only")
    complaints = answer.stderr.splitlines() or ["exiftool gave no reason"]
    complaint = next((line for line in complaints if line.startswith("Error")), complaints[0])
    reason = LABELS.sub("", complaint).partition(" - /")[0].strip()[:LONGEST_REASON]
    if plan.existing.embedded and not NOT_THE_STRUCTURE.match(reason):
        raise EmbeddingRefused(plan.target.name, reason)
    raise WriteRefused(f"{plan.target.name} could not be written: {reason}")
