#!/usr/bin/env bash
# Makes build/lint-venv: what only `make lint` and `make type-check` use, and nothing of
# ours runs with. Prints the folder with its programs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$PWD/build/lint-venv
stamp=$venv/.made-$(sha256sum scripts/requirements-lint.txt | cut -c1-16)
if [[ ! -e $stamp ]]; then
  rm -rf "$venv"
  build/venv/bin/python -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    -r scripts/requirements-lint.txt </dev/null >&2
  touch "$stamp"
fi
echo "$venv/bin"
