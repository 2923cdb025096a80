#!/usr/bin/env bash
# `pip install .` in a clean environment, then a first call there in two processes, and
# the command line on what they stored.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$PWD/build/wheel-venv
readonly log=$PWD/build/wheel.log
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Nothing of this tree but what is installed.
unset PYTHONPATH
export XDG_CACHE_HOME=$scratch/cache

rm -rf "$venv"
build/venv/bin/python -m venv "$venv"
if ! CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-$(nproc)} "$venv/bin/python" -m pip install \
  --quiet --disable-pip-version-check --no-input . </dev/null >"$log" 2>&1; then
  cat "$log"
  exit 1
fi

cat >"$scratch/program.py" <<'EOF'
from cachier import cachier


@cachier(name="squares")
def squares(n):
    print("computing")
    return [i * i for i in range(n)]


assert squares(4) == [0, 1, 4, 9]
assert squares(4) == [0, 1, 4, 9]
EOF

cd "$scratch"
first=$("$venv/bin/python" program.py)
second=$("$venv/bin/python" program.py)
listed=$("$venv/bin/cachier" ls squares)
if [[ $first != computing || -n $second || $listed != *"squares(n=4)"* && \
  $listed != *"squares(4)"* ]]; then
  echo "the installed package does not keep results:" >&2
  printf 'first run:  %s\nsecond run: %s\ncachier ls: %s\n' \
    "$first" "$second" "$listed" >&2
  exit 1
fi
"$venv/bin/python" -m pip --disable-pip-version-check list --format=freeze | grep '^cachier=='
echo "1 wheel passed"
