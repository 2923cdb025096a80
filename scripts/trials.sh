#!/usr/bin/env bash
# Races, kills and forks, counted: a table, and build/trials/results.jsonl with one object
# a line. TRIALS=ci: small counts, about two minutes; else the full ones, about an hour.
#
#   scripts/trials.sh [NAME...]      all, or those named (see tests/trials/run.py)
#
# Exit: 0 nothing went wrong, 1 something did. Times that are not reached are rows only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

arguments=(build/trials/results.jsonl "$@")
[[ ${TRIALS:-} != ci ]] || arguments=(--small "${arguments[@]}")
PYTHONPATH=$PWD/build/dev/python build/venv/bin/python tests/trials/run.py "${arguments[@]}"

if [[ ${TRIALS:-} != ci && $# == 0 ]]; then
  CACHIER_MODEL_ALL=1 build/dev/tests/model/call_model_test --gtest_filter='*AllFaults'
fi
