#!/usr/bin/env bash
# What type checkers see of the package: mypy of its sources, stubtest of what is
# declared against what is there, pyright of a program that uses it. Runs all of it, then
# fails if any part did. Needs a built build/dev.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export PYTHONPATH=$PWD/build/dev/python MYPYPATH=$PWD/python
readonly python=$PWD/build/venv/bin/python
failed=()

part() {
  local name=$1
  shift
  echo "type-check: $name"
  "$@" || failed+=("$name")
}

# Pyright is a program of Node.js, which npm brings when it first runs.
users() {
  if ! command -v node >/dev/null; then
    echo "type-check: pyright left out: there is no node" >&2
    return 0
  fi
  local bin
  bin=$(scripts/lint_venv.sh) || return 1
  XDG_CACHE_HOME=$PWD/build/lint-venv/cache PYRIGHT_PYTHON_IGNORE_WARNINGS=1 \
    "$bin/pyright" --pythonpath "$python"
}

part mypy "$python" -m mypy --strict python/cachier
part "mypy of services" "$python" -m mypy --strict tests/support/services
part stubtest "$python" -m mypy.stubtest cachier --concise \
  --allowlist scripts/stubtest-allowlist.txt
part pyright users

if ((${#failed[@]})); then
  echo "type-check: failed: ${failed[*]}" >&2
  exit 1
fi
