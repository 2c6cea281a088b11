"""Keys of model servers: looked up by name, and kept out of whatever is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tagger_daemon.errors import ConfigurationError

#: Bytes that a credential may have; the longest keys in use, signed tokens, have a few thousand.
MAX_SIZE: Final = 16_384

#: A shorter key could be a word that people and models use; only longer ones are looked for in answers.
UNMISTAKABLE: Final = 16

#: Names of variables as people make them. A key that was put in the place of its name seldom looks like this.
_NAME: Final = re.compile(r"(?:[A-Z][A-Z0-9_]*|[a-z][a-z0-9_]*)")
_MOST_DIGITS: Final = 4
_LONGEST_NAME: Final = 40


class Keys(Mapping[str, str]):
    """Keys by name: systemd's credentials (`LoadCredential=`), and then the environment's variables.

    Nothing is read before it is asked for, and the values show in no `repr`.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Prepare; credentials are where `CREDENTIALS_DIRECTORY` in `environ` says, which systemd sets."""
        self._environ = environ
        folder = Path(environ.get("CREDENTIALS_DIRECTORY", ""))
        self._folder = folder if folder.is_absolute() else None

    def __getitem__(self, name: str) -> str:
        """Return a key.

        Raises:
            KeyError: there is none of this name.
            ConfigurationError: its credential cannot be read, or is no text of a reasonable length.
        """
        path = self._credential(name)
        return self._environ[name] if path is None else _read(path)

    def __iter__(self) -> Iterator[str]:
        there = self._folder.iterdir() if self._folder and self._folder.is_dir() else ()
        return iter({**dict.fromkeys(self._environ), **dict.fromkeys(path.name for path in there)})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Keys({len(self)} names)"

    def _credential(self, name: str) -> Path | None:
        if self._folder is None or not name or "/" in name or name in {".", ".."}:
            return None
        path = self._folder / name
        try:
            return path if path.is_file() else None
        except OSError as error:
            raise _unreadable(path, error) from error


def looks_like_a_name(name: str) -> bool:
    """Tell whether this may be told as the name of a key, or could be a key itself."""
    digits = sum(letter.isdigit() for letter in name)
    return bool(_NAME.fullmatch(name)) and len(name) <= _LONGEST_NAME and digits <= _MOST_DIGITS


def without_keys(text: str, keys: Iterable[str]) -> str:
    """Return foreign text with `[key]` where it repeats one of the keys, however it is spelt there."""
    for key in keys:
        for spelling in {key, json.dumps(key)[1:-1], quote(key, safe="")} - {""}:
            text = re.sub(re.escape(spelling), "[key]", text, flags=re.IGNORECASE)
    return text


def tells_key(text: str | None, key: str | None) -> bool:
    """Tell whether an answer repeats the key; a key that could be a word is not looked for."""
    return (
        bool(text and key)
        and len(key or "") >= UNMISTAKABLE
        and without_keys(text or "", [key or ""]) != text
    )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > MAX_SIZE:
        raise ConfigurationError(f"the credential {path} is too large for a key: more than {MAX_SIZE} bytes")
    try:
        key = content.decode("ascii").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"the credential {path} is no key: it has bytes that are not text") from None
    if not key.isprintable():
        raise ConfigurationError(f"the credential {path} is no key: it has line breaks or control characters")
    return key


def _unreadable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the credential {path} cannot be read: {error.strerror}")
