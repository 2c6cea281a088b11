# Sourced by the other scripts: makes whatever is missing, quickly where nothing is.
#
#   ensure_venv FILE   a .venv in the checkout with exactly the versions that the lock FILE names
#   ensure_exiftool    exiftool from Debian's packages, or one clear sentence on how to get it
#   ensure_newer_exiftool   a current exiftool beside it, for the tests only, where npm can fetch one

# shellcheck shell=bash
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$ROOT/.venv"

say() { printf '\033[2m%s\033[0m\n' "$*" >&2; }
die() { printf '%s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed and was not found. On Debian 12 or newer: apt install python3 python3-venv"
}

# May we install Debian packages here? Prints the prefix to do it with.
apt_prefix() {
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" = 0 ]; then echo "env"; return; fi
  command -v sudo >/dev/null || return 1
  # Without a terminal sudo could only wait for a password that nobody types.
  if sudo -n true 2>/dev/null || [ -t 0 ]; then echo "sudo"; return; fi
  return 1
}

apt_install() {
  local prefix
  prefix="$(apt_prefix)" || return 1
  say "installing $* from Debian's packages"
  $prefix apt-get update -qq && DEBIAN_FRONTEND=noninteractive $prefix apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

ensure_exiftool() {
  command -v exiftool >/dev/null && return
  apt_install libimage-exiftool-perl || die "exiftool is needed and could not be installed from here. Type:  sudo apt install libimage-exiftool-perl"
  command -v exiftool >/dev/null || die "exiftool was installed but is not on the PATH"
}

make_venv() {
  local python="$1"
  "$python" -m venv "$VENV" >/dev/null 2>&1 && [ -x "$VENV/bin/pip" ] && return
  # Debian ships venv's pip in a package of its own.
  rm -rf "$VENV"
  apt_install python3-venv || die "Python's venv module is needed. Type:  sudo apt install python3-venv"
  "$python" -m venv "$VENV"
}

pip_install() { "$VENV/bin/pip" install -qq --disable-pip-version-check --no-deps "$@"; }

ensure_venv() {
  local lock="$ROOT/$1" stamp="$VENV/.installed" want
  want="$(cat "$lock" "$ROOT/pyproject.toml" | sha256sum | cut -d' ' -f1) $ROOT"
  if [ -f "$stamp" ] && grep -qxF "$want" "$stamp"; then return; fi
  [ -x "$VENV/bin/pip" ] && grep -qsF " $ROOT" "$stamp" || { rm -rf "$VENV"; make_venv "$(find_python)"; }
  say "installing the locked dependencies ($1) into .venv; the first time takes a minute or two"
  # The build tools come first and from a lock too: build isolation would fetch whatever is newest.
  pip_install --require-hashes --only-binary :all: -r "$ROOT/requirements-build.lock"
  pip_install --require-hashes --no-build-isolation -r "$lock"
  pip_install --no-build-isolation -e "$ROOT"
  # requirements-dev.lock holds everything of requirements.lock, so a venv may satisfy both.
  if [ "$1" = requirements-dev.lock ]; then
    printf '%s %s\n' "$(cat "$ROOT/requirements.lock" "$ROOT/pyproject.toml" | sha256sum | cut -d' ' -f1)" "$ROOT" > "$stamp"
    printf '%s\n' "$want" >> "$stamp"
  else
    printf '%s\n' "$want" > "$stamp"
  fi
}

ensure_newer_exiftool() {
  local from="$ROOT/tests/newer_exiftool" to="$VENV/newer_exiftool"
  cmp -s "$from/package-lock.json" "$to/.installed" && return
  if ! command -v npm >/dev/null; then
    say "npm is missing, so the tests of a newer exiftool are skipped. To have them too: sudo apt install npm"
    return
  fi
  say "fetching a newer exiftool for the tests (tests/newer_exiftool/package-lock.json) into .venv"
  rm -rf "$to" && mkdir -p "$to"
  cp "$from/package.json" "$from/package-lock.json" "$to"
  if npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund --fetch-retries=1 --loglevel=error >/dev/null; then
    cp "$from/package-lock.json" "$to/.installed"
  else
    rm -rf "$to"
    say "npm could not fetch it, so the tests of a newer exiftool are skipped"
  fi
}
