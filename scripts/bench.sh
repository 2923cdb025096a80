#!/usr/bin/env bash
# Speed, each row beside its floor or rival in the same run: a table, and
# build/bench/results.jsonl with one object a line.
#
#   scripts/bench.sh [FILTER]      all rows, or those with FILTER in their names
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

results=build/bench/results.jsonl
mkdir -p build/bench
: > "$results"
build/dev/benchmarks/cpp_rows "$results" "${1:-}"
for rows in python_rows python_async_rows; do
  PYTHONPATH=$PWD/build/dev/python build/venv/bin/python "benchmarks/$rows.py" \
    "$results" "${1:-}"
done
build/venv/bin/python benchmarks/table.py "$results"
