#!/usr/bin/env bash
# Runs each fuzzer of a build directory for FUZZ_SECONDS, JOBS of them at a time. The
# corpus grows in build/corpus; a crash leaves its input in build/crashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly from=${1:?usage: scripts/fuzz.sh BUILD-DIRECTORY}
readonly seconds=${FUZZ_SECONDS:-600}
readonly jobs=${JOBS:-$(nproc)}

mapfile -t fuzzers < <(find "$from/tests/fuzz" -maxdepth 1 -type f -executable \
  -name '*_fuzz*' | sort)
if ((${#fuzzers[@]} == 0)); then
  echo "fuzz: no fuzzers in $from/tests/fuzz" >&2
  exit 1
fi

run_one() {
  local name corpus=build/corpus/$1 log=build/crashes/$1.log
  name=$(basename "$2")
  mkdir -p "$corpus"
  local seeds=()
  [[ -d tests/fuzz/seeds/$name ]] && seeds=("tests/fuzz/seeds/$name")
  if "$2" -max_total_time="$3" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="build/crashes/$name-" "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    printf '%-28s clean, %s runs in %s s\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$3"
  else
    printf '%-28s FAILED; the end of %s:\n' "$name" "$log"
    tail -n 40 "$log"
    return 1
  fi
}
export -f run_one

mkdir -p build/corpus build/crashes
for fuzzer in "${fuzzers[@]}"; do
  printf '%s\0%s\0%s\0' "$(basename "$fuzzer")" "$fuzzer" "$seconds"
done | xargs -0 -n 3 -P "$jobs" bash -c 'run_one "$@"' run_one
