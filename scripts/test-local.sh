#!/usr/bin/env bash
# Runs the Python tests of some backends, with the servers that they need.
#
#   scripts/test-local.sh [OPTIONS] CORE...
#
# CORE: mongo redis sql s3 memory pickle, external (mongo redis sql), local (memory
# pickle, and what is of no backend) or all; also from CACHIER_TEST_CORES.
#   -v, --verbose         a line for each test
#   -k, --keep-running    leave the servers running (scripts/services stop ends them)
#   -h, --html-coverage   what was run of the Python sources, in build/coverage/
#   -f, --files FILE      only this file of the tests; may be repeated
#   -p, --parallel        on several processors (JOBS of them)
#       --help            this
# Exit: 0 passed, 1 failed, or no core or an unknown one is named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=build/venv/bin/python
readonly known=(mongo redis sql s3 memory pickle)

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# refuse WHAT FIX
refuse() {
  printf 'test-local: %s\n  fix: %s\n' "$1" "$2" >&2
  usage | sed -n '3s/^ */usage: /p' >&2
  exit 1
}

verbose=(-q) keep=false coverage=false files=() parallel=false cores=()
while (($#)); do
  case $1 in
    -v | --verbose) verbose=(-v) ;;
    -k | --keep-running) keep=true ;;
    -h | --html-coverage) coverage=true ;;
    -p | --parallel) parallel=true ;;
    -f | --files)
      (($# > 1)) || refuse "$1 needs a file" "name one of python/tests"
      files+=("$2")
      shift
      ;;
    --help)
      usage
      exit 0
      ;;
    -*) refuse "there is no option $1" "see scripts/test-local.sh --help" ;;
    *) cores+=("$1") ;;
  esac
  shift
done
if ((${#cores[@]} == 0)); then
  read -ra cores <<<"${CACHIER_TEST_CORES:-}"
fi
((${#cores[@]})) || refuse "no core is named" "name one, or set CACHIER_TEST_CORES"

declare -A chosen
for core in "${cores[@]}"; do
  case $core in
    all) for one in "${known[@]}"; do chosen[$one]=1; done ;;
    external) chosen[mongo]=1 chosen[redis]=1 chosen[sql]=1 ;;
    local) chosen[memory]=1 chosen[pickle]=1 ;;
    mongo | redis | sql | s3 | memory | pickle) chosen[$core]=1 ;;
    *) refuse "there is no core '$core'" "use ${known[*]}, external, local or all" ;;
  esac
done

paths=()
for file in "${files[@]}"; do
  for path in "$file" "python/tests/$file" ''; do
    [[ -z $path || ! -e $path ]] || break
  done
  [[ -n $path ]] || refuse "there is no test file '$file'" "name one of python/tests"
  paths+=("$path")
done
((${#paths[@]})) || paths=(python/tests)

# Tests without a marker are of no backend: run with the two that need no server.
included='' excluded=''
for core in "${known[@]}"; do
  if [[ -n ${chosen[$core]:-} ]]; then
    included+="${included:+ or }$core"
  else
    excluded+="${excluded:+ or }$core"
  fi
done
marked=(-m "$included")
if [[ -n ${chosen[memory]:-} && -n ${chosen[pickle]:-} ]]; then
  marked=(${excluded:+-m "not ($excluded)"})
fi

servers=()
[[ -z ${chosen[mongo]:-} ]] || servers+=(mongo ferretdb)
[[ -z ${chosen[redis]:-} ]] || servers+=(redis redis-auth redis-tls redis-cluster)
[[ -z ${chosen[sql]:-} ]] || servers+=(postgres mysql)
[[ -z ${chosen[s3]:-} ]] || servers+=(s3)
((${#servers[@]} == 0)) || servers+=(toxiproxy)

make build
export PYTHONPATH=$PWD/build/dev/python PYTHONDONTWRITEBYTECODE=1

# What only this needs lies beside what everything else runs with.
options=()
if $coverage || $parallel; then
  readonly tools=build/test-local
  if ! cmp -s scripts/requirements-test-local.txt "$tools/made-from"; then
    rm -rf "$tools"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps \
      --target "$tools" -r scripts/requirements-test-local.txt </dev/null
    cp scripts/requirements-test-local.txt "$tools/made-from"
  fi
  export PYTHONPATH=$PYTHONPATH:$PWD/$tools
fi
if $parallel; then
  options+=(-n "${JOBS:-$(nproc)}" --dist loadfile)
fi
if $coverage; then
  export COVERAGE_FILE=$PWD/build/coverage/data
  mkdir -p build/coverage
  options+=(--cov cachier --cov-report html:build/coverage --cov-report term:skip-covered)
fi

command=("$python" -m pytest "${verbose[@]}" "${options[@]}" "${marked[@]}" "${paths[@]}")
if ((${#servers[@]} == 0)); then
  exec "${command[@]}"
fi
if $keep; then
  # What cannot be had is named there, and skipped or failed by its tests.
  variables=$(scripts/services start "${servers[@]}") || true
  eval "$variables"
  exec "${command[@]}"
fi
exec scripts/services run "${servers[@]}" -- "${command[@]}"
