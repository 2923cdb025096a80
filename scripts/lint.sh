#!/usr/bin/env bash
# Everything that reads the code without running it. Runs all of it, then fails if any
# part did. Needs a built build/dev.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=build/venv/bin/python
failed=()

part() {
  local name=$1 begun=$SECONDS
  shift
  if "$@"; then
    printf 'lint: %-14s ok, %d s\n' "$name" $((SECONDS - begun))
  else
    printf 'lint: %-14s FAILED\n' "$name"
    failed+=("$name")
  fi
}

headers() {
  cmake --build build/dev --target all_verify_interface_header_sets -- --quiet
}

spelling_of_scripts() {
  local scripts
  mapfile -t scripts < <(git ls-files --cached --others --exclude-standard \
    -- '*.sh' .ci/run)
  shellcheck "${scripts[@]}"
}

docstrings() {
  local bin
  bin=$(scripts/lint_venv.sh) &&
    PYTHONPATH=$PWD/build/dev/python "$bin/python" scripts/check_docstrings.py
}

part format scripts/format.sh --check
part includes "$python" scripts/check_includes.py
part shellcheck spelling_of_scripts
part ruff build/venv/bin/ruff check --quiet .
part docstrings docstrings
part headers headers
part clang-tidy "$python" scripts/tidy.py build/dev

if ((${#failed[@]})); then
  echo "lint: failed: ${failed[*]} (make format may help)" >&2
  exit 1
fi
