#!/usr/bin/env bash
# Races, kills and forks, counted: a table, and build/trials/results.jsonl with one object
# a line. TRIALS=ci: small counts, for two to four minutes; else the full ones.
#
#   scripts/trials.sh [--door python|cpp|both] [NAME...]   all trials, or those named
#
# BUILD: where it is built (build/dev). TRIALS_SEED: the moments of an earlier run.
# Exit: 0 nothing went wrong, 1 something did. Times that are not reached are rows only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly build=${BUILD:-build/dev}
arguments=(--build "$build")
[[ ${TRIALS:-} != ci ]] || arguments+=(--small)
export PYTHONPATH=$PWD/build/dev/python PYTHONDONTWRITEBYTECODE=1
[[ $build == build/dev ]] || PYTHONPATH=$build/python
unset CACHIER_DISABLE
exec build/venv/bin/python tests/trials/run.py "${arguments[@]}" \
  build/trials/results.jsonl "$@"
