#!/usr/bin/env bash
# Rewrites every lock file from its *.in file; `scripts/lock.sh --upgrade` takes newer versions, too.
# Needs uv on PATH (or UV=/path/to/uv). The files name packages, versions and hashes only: no index,
# host or path, so that anybody's mirror will do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
UV="${UV:-uv}"

lock() { # PYTHON IN OUT [uv's arguments]
  local python="$1" in="$2" out="$3"
  shift 3
  # --no-config: no uv.toml of the person who locks; --no-annotate/--no-header: nothing local in the file
  "${UV}" pip compile --quiet --no-config --universal --python-version "${python}" --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@" "${in}" -o "${out}"
}

versions_of() { sed -e 's/ *\\$//' -e '/^ *--hash/d' "$1"; }

lock 3.9 build-support/pants/requirements.in build-support/pants/requirements.lock "$@"
lock 3.9 build-support/pants/uv.in build-support/pants/uv.lock "$@"
lock 3.11 3rdparty/python/requirements.in 3rdparty/python/default.lock "$@"
for name in runtime tools/pytest tools/mypy tools/ruff; do
  # One version of a package everywhere: what is tested is what runs, and pytest is the same twice.
  lock 3.11 "3rdparty/python/${name}.in" "3rdparty/python/${name}.lock" \
    --constraint <(versions_of 3rdparty/python/default.lock) "$@"
done

if grep -nE '(https?|file)://|^--|@ ' \
  3rdparty/python/*.lock 3rdparty/python/tools/*.lock build-support/pants/*.lock; then
  echo "a lock file names a host, a path or an option" >&2
  exit 1
fi
