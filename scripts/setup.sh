#!/usr/bin/env bash
# Gets what building, testing and measuring cachier needs: Debian packages by apt, and
# Python packages by pip into build/venv. Quiet, and done once: a second run with the
# same lists only looks at a stamp.
#
#   scripts/setup.sh         everything: build, tests, lint, sanitizers, fuzzers
#   scripts/setup.sh demo    a compiler, CMake and four libraries: enough for the demo
#   scripts/setup.sh bench   everything, and the rivals that `make bench` measures
#   scripts/setup.sh packages NAME...   these Debian packages, for scripts/services
#
# PYTHON=... chooses the interpreter (3.10 or later, with its headers); else `python3`.
# Versions: Debian's release fixes those of apt, scripts/requirements-*.txt those of pip.
# Exit: 0 done, 1 something cannot be had (stderr says what and what to do), 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly wanted=${1:-all}
readonly venv=build/venv
readonly log=build/setup.log

build_packages=(
  g++ cmake ninja-build ccache pkg-config python3
  libsqlite3-dev libssl-dev libxxhash-dev libcli11-dev
)
check_packages=(
  make python3-venv libgtest-dev libgmock-dev libbenchmark-dev nlohmann-json3-dev
  clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev shellcheck util-linux git
  redis-server
)

case $wanted in
  demo) packages=("${build_packages[@]}") requirements=() ;;
  all)
    packages=("${build_packages[@]}" "${check_packages[@]}")
    requirements=(scripts/requirements-dev.txt)
    ;;
  bench)
    packages=("${build_packages[@]}" "${check_packages[@]}")
    requirements=(scripts/requirements-dev.txt scripts/requirements-bench.txt)
    ;;
  packages) packages=("${@:2}") ;;
  *)
    echo "usage: scripts/setup.sh [demo | all | bench | packages NAME...]" >&2
    exit 2
    ;;
esac

say() { printf 'setup: %s\n' "$*" >&2; }

# fail WHAT CAUSE FIX
fail() {
  printf 'setup: %s\n  cause: %s\n  fix:   %s\n' "$1" "$2" "$3" >&2
  exit 1
}

# The last lines of the log that say what went wrong, on one line.
last_words() {
  grep -E '^(E:|ERROR|error|fatal|Err:)' "$log" | awk '!seen[$0]++' | tail -n 2 |
    paste -sd ' ' - | grep . || tail -n 2 "$log" | paste -sd ' ' -
}

python=$(command -v "${PYTHON:-python3}" || true)

stamp_of() {
  { cat scripts/setup.sh scripts/requirements-*.txt && echo "$1 $python"; } |
    sha256sum | cut -c1-16
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == *" installed" ]] ||
      echo "$package"
  done
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

apt_get() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -qq \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >>"$log" 2>&1
}

install_packages() {
  local missing
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  local by_hand="apt-get install ${missing[*]}"
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    fail "cannot install ${missing[*]}" "not root, and there is no sudo" \
      "run as root: $by_hand"
  fi
  say "installing Debian packages: ${missing[*]}"
  local try
  for try in 1 2; do
    if apt_get update && apt_get install --no-install-recommends "${missing[@]}"; then
      return 0
    fi
    ((try == 2)) || sleep 3
  done
  fail "cannot install ${missing[*]}" "$(last_words)" \
    "see $log, then run as root: $by_hand"
}

# Where there is no apt the tools may still be there; the libraries CMake asks for.
check_tools() {
  local tool missing=()
  for tool in c++ cmake ninja; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || fail "cannot find ${missing[*]}" \
    "this system has no apt-get, so nothing was installed" \
    "install what these Debian packages hold: ${packages[*]}"
}

# The interpreter must be new enough and bring its headers; Debian's own is the way out.
choose_python() {
  local probe='import os, sys, sysconfig
include = sysconfig.get_paths()["include"]
good = sys.version_info >= (3, 10) and os.path.exists(include + "/Python.h")
print("good" if good else "bad")'
  if [[ -n $python && $("$python" -c "$probe" 2>/dev/null) == good ]]; then
    return 0
  fi
  [[ -z ${PYTHON:-} ]] || fail "cannot use PYTHON=$PYTHON" \
    "it is older than 3.10, has no headers, or does not run" \
    "name another one, or install its development package"
  if command -v apt-get >/dev/null; then
    packages=(python3-dev)
    install_packages
  fi
  python=/usr/bin/python3
  [[ $("$python" -c "$probe" 2>/dev/null) == good ]] || fail "cannot find a Python to build for" \
    "$python is older than 3.10, has no headers, or does not run" \
    "set PYTHON=/path/to/python3 (3.10 or later, with Python.h)"
}

make_venv() {
  local old=""
  [[ -x $venv/bin/python ]] && old=$(cat "$venv/made-from" 2>/dev/null || true)
  if [[ $old != "$python" ]]; then
    # What was configured for another interpreter is configured anew.
    rm -rf "$venv" build/*/CMakeCache.txt
    "$python" -m venv --without-pip "$venv" >>"$log" 2>&1 ||
      fail "cannot make $venv" "$(last_words)" "see $log"
    echo "$python" >"$venv/made-from"
  fi
  ((${#requirements[@]})) || return 0
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
    "$venv/bin/python" -m ensurepip >>"$log" 2>&1 ||
    fail "cannot put pip into $venv" "$(last_words)" \
      "install the venv module of $python (Debian: python3-venv)"
  local file arguments=()
  for file in "${requirements[@]}"; do arguments+=(-r "$file"); done
  say "installing Python packages from ${requirements[*]}"
  local try
  for try in 1 2; do
    if "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
      --no-input "${arguments[@]}" </dev/null >>"$log" 2>&1; then
      return 0
    fi
    ((try == 2)) || sleep 3
  done
  fail "cannot install the Python packages of ${requirements[*]}" "$(last_words)" \
    "see $log; behind a proxy set PIP_INDEX_URL or HTTPS_PROXY"
}

mkdir -p build
if [[ $wanted == packages ]]; then
  command -v apt-get >/dev/null || fail "cannot install ${packages[*]}" \
    "this system has no apt-get" "install what these Debian packages hold"
  install_packages
  exit 0
fi
# More than what is asked for is as good.
for done in "$wanted" all bench; do
  [[ $wanted == bench && $done == all ]] && continue
  if [[ -e build/.setup-$done-$(stamp_of "$done") && -x $venv/bin/python ]]; then
    exit 0
  fi
done

: >"$log"
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  install_packages
else
  check_tools
fi
# Asked again: apt may have brought a python3.
python=$(command -v "${PYTHON:-python3}" || true)
stamp=build/.setup-$wanted-$(stamp_of "$wanted")
choose_python
make_venv
rm -f "build/.setup-$wanted-"*
touch "$stamp"
