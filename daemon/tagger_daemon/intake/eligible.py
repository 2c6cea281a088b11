"""Is this the name of a photo that is ours to describe?

Names only: whether the file is empty, whole, or a picture at all is seen later, where it is opened. Patterns
are shell patterns against one name, never against a path, and upper or lower case makes no difference:
cameras, memory cards and network shares do not agree on it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from tagger_daemon.errors import ConfigurationError

#: Finished pictures, as Lightroom and its neighbours export them.
RENDERED_EXTENSIONS = frozenset(
    ("avif", "heic", "heif", "hif", "jpe", "jpeg", "jpg", "png", "psb", "psd", "tif", "tiff", "webp")
)
#: What cameras record before anybody developed it; LibRaw's list, DNG included.
RAW_EXTENSIONS = frozenset(
    (
        *(
            "3fr",
            "ari",
            "arw",
            "bay",
            "cap",
            "cr2",
            "cr3",
            "crw",
            "dcr",
            "dcs",
            "dng",
            "erf",
            "fff",
            "gpr",
            "iiq",
        ),
        *("k25", "kdc", "mef", "mos", "mrw", "nef", "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2"),
        *("srf", "srw", "x3f"),
    )
)
#: Lower case, without the dot.
PHOTO_EXTENSIONS = RENDERED_EXTENSIONS | RAW_EXTENSIONS

#: Files that are never photos of ours, whatever their ending says.
IGNORED_FILES = (
    ".*",  # hidden: our own temporary copies, `._*` of macOS, `.nfs*`, `.fuse_hidden*`, `.syncthing.*`
    "*~",  # an editor's backup
    "*.part",  # downloads and copies that are still under way
    "*.partial",
    "*.tmp",
    "*.crdownload",
    "~syncthing~*",
    "*_exiftool_tmp",  # exiftool's own copy, and the original that it keeps
    "*_original",
    "*.xmp",  # sidecars
)
#: Folders that are never entered.
IGNORED_FOLDERS = (
    ".*",  # hidden: trash, thumbnails, versions, caches
    "@eaDir",  # Synology's thumbnails, recycle bin and snapshots
    "#recycle",
    "#snapshot",
    "@Recycle",  # QNAP's recycle bin
    "lost+found",
    "Thumbnails",
    "*.lrdata",  # Lightroom's previews and helper data
    "*.lrlibrary",  # libraries that only the program that made them may write to
    "*.photoslibrary",
    "CaptureOne",  # Capture One's cache and settings beside the photos
    "mipmaps-*.d",  # darktable's cache
    "__MACOSX",
    "$RECYCLE.BIN",
    "System Volume Information",
)


def _matcher(patterns: Sequence[str]) -> re.Pattern[str]:
    """Compile shell patterns into one expression that fits whole names, line breaks in them included."""
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns), re.IGNORECASE)


class Eligibility:
    """The rules by which names are taken or passed over.

    Args:
        ignore: the user's own patterns; each is applied to file names and to folder names.
        extensions: the only ones to take, lower case and without the dot; none given: all that can be
            handled.

    Raises:
        ConfigurationError: a pattern could never match, because it is empty or holds a slash; or an extension
            stands for no photo that can be handled.
    """

    def __init__(self, ignore: Sequence[str] = (), *, extensions: Sequence[str] = ()) -> None:
        for pattern in ignore:
            if not pattern or "/" in pattern:
                raise ConfigurationError(
                    f"the ignore pattern {pattern!r} can never match: give a name, without '/'"
                )
        if unknown := sorted(set(extensions) - PHOTO_EXTENSIONS):
            raise ConfigurationError(
                f"image_exts: {unknown[0]!r} is no kind of photo that can be handled; "
                f"those are {', '.join(sorted(PHOTO_EXTENSIONS))}"
            )
        self._extensions = frozenset(extensions) or PHOTO_EXTENSIONS
        self._files = _matcher((*IGNORED_FILES, *ignore))
        self._folders = _matcher((*IGNORED_FOLDERS, *ignore))

    def photo(self, name: str) -> bool:
        """Tell whether a file of this name (no path) is a photo to take."""
        _, dot, extension = name.rpartition(".")
        return bool(dot) and extension.lower() in self._extensions and self._files.match(name) is None

    def folder(self, name: str) -> bool:
        """Tell whether a folder of this name (no path) is one to look into."""
        return self._folders.match(name) is None
