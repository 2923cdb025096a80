#!/usr/bin/env bash
# The Python tests over a module that was built with ASan and UBSan. The interpreter was
# not, so their runtime is loaded before it.
#
#   scripts/pytest_asan.sh BUILD-DIRECTORY [pytest's arguments...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly build=$PWD/${1:?usage: scripts/pytest_asan.sh BUILD-DIRECTORY}
shift
# Both at once: what throws must find libstdc++ where ASan looks for it.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
export LD_PRELOAD
# CPython keeps what it has until the end, and its own allocator would hide our faults.
# What ends by SIGBUS without it is to end so with it.
export ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONPATH=$build/python
exec build/venv/bin/python -m pytest -q -p no:cacheprovider \
  --reruns $((${TRIES:-1} - 1)) --max-suite-reruns 5 --rerun-show-tracebacks \
  python/tests "$@"
