#!/usr/bin/env bash
# Builds a wheel for each Python that is there, and passes the Python tests with it
# installed: python3.10 to python3.13, on PATH or of pyenv, all at once.
#
#   scripts/python_matrix.sh [--ends] [VERSION...]    3.10 3.11 3.12 3.13
#
# --ends: the oldest and the newest that are there, and not the one of build/venv, which
# `make test` is for.
# Exit: 0 all that are there passed, 1 one failed or there is none, 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ends=false
if [[ ${1:-} == --ends ]]; then
  ends=true
  shift
fi
(($#)) || set -- 3.10 3.11 3.12 3.13
for version; do
  [[ $version =~ ^3\.[0-9]+$ ]] || {
    echo "usage: scripts/python_matrix.sh [--ends] [VERSION...], for instance 3.10" >&2
    exit 2
  }
done

# Nothing of this tree but what is installed.
unset PYTHONPATH

# The interpreter of a version, nothing if there is none that has its headers.
find_python() {
  local candidate has_headers='import os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
header = sysconfig.get_paths()["include"] + "/Python.h"
sys.exit(version != sys.argv[1] or not os.path.exists(header))'
  for candidate in "$(command -v "python$1" || true)" \
    "${PYENV_ROOT:-${HOME:-/root}/.pyenv}/versions/$1".*/bin/python3; do
    if [[ -x $candidate ]] && "$candidate" -c "$has_headers" "$1" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

# install_requirements VERSION PYTHON: those of the tests, with the lines of
# requirements-dev-VERSION.txt in place of their like.
install_requirements() {
  local wanted=build/matrix/$1/requirements.txt own=scripts/requirements-dev-$1.txt
  [[ -e $own ]] || own=/dev/null
  awk -F'==' 'FNR == NR { own[$1] = 1 } FNR == NR || !($1 in own)' \
    "$own" scripts/requirements-dev.txt >"$wanted"
  "$2" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted" \
    -r scripts/requirements-test-local.txt </dev/null || {
    echo "a version that Python $1 can have: scripts/requirements-dev-$1.txt" >&2
    return 1
  }
}

# try VERSION PYTHON JOBS: what pytest says ends the log
try() {
  local at=$PWD/build/matrix/$1 python=build/matrix/$1/venv/bin/python
  "$2" -m venv "$at/venv" &&
    install_requirements "$1" "$python" &&
    CMAKE_BUILD_PARALLEL_LEVEL=$3 "$python" -m pip wheel --quiet \
      --disable-pip-version-check --no-input --no-deps --wheel-dir "$at" . </dev/null &&
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
      "$at"/*.whl &&
    "$python" -m pytest -q -p no:cacheprovider -n "$3" --reruns $((${TRIES:-1} - 1)) \
      --max-suite-reruns 5 --rerun-show-tracebacks \
      python/tests </dev/null
}

pythons=() versions=() absent=()
for version; do
  python=$(find_python "$version")
  if [[ -n $python ]]; then
    versions+=("$version") pythons+=("$python")
  else
    absent+=("$version")
  fi
done
((${#absent[@]} == 0)) || echo "not on this machine: ${absent[*]}"
((${#versions[@]})) || exit 1

ours=$(build/venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
chosen=()
for i in "${!versions[@]}"; do
  if $ends && ((i > 0 && i < ${#versions[@]} - 1)); then
    continue
  elif $ends && [[ ${versions[i]} == "$ours" ]]; then
    echo "Python $ours: \`make test\` has it"
  else
    chosen+=("$i")
  fi
done
((${#chosen[@]})) || exit 0

jobs=$(((${JOBS:-$(nproc)} + ${#chosen[@]} - 1) / ${#chosen[@]}))
declare -A process
for i in "${chosen[@]}"; do
  at=build/matrix/${versions[i]}
  rm -rf "$at"
  mkdir -p "$at"
  try "${versions[i]}" "${pythons[i]}" "$jobs" >"$at/log" 2>&1 &
  process[$i]=$!
done
trap 'kill "${process[@]}" 2>/dev/null || true' INT TERM

failed=()
for i in "${chosen[@]}"; do
  echo "== Python ${versions[i]}: ${pythons[i]}"
  if wait "${process[$i]}"; then
    # What had to be run again, and the result.
    sed -n '/rerun test summary/,$p; $p' "build/matrix/${versions[i]}/log" | uniq
  else
    tail -n 60 "build/matrix/${versions[i]}/log"
    failed+=("${versions[i]}")
  fi
done
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}; whole: build/matrix/VERSION/log" >&2
  exit 1
fi
