#!/usr/bin/env bash
# Formats C++ and Python in place, or with --check says what would change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mapfile -d '' -t cpp < <(git ls-files -z --cached --others --exclude-standard \
  -- '*.cpp' '*.hpp')
mapfile -d '' -t python < <(git ls-files -z --cached --others --exclude-standard \
  -- '*.py' '*.pyi')

if [[ ${1:-} == --check ]]; then
  clang-format-14 --dry-run -Werror "${cpp[@]}"
  build/venv/bin/ruff format --quiet --check "${python[@]}"
else
  clang-format-14 -i "${cpp[@]}"
  build/venv/bin/ruff check --quiet --fix-only "${python[@]}"
  build/venv/bin/ruff format --quiet "${python[@]}"
fi
