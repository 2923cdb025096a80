#!/usr/bin/env bash
# What is uploaded: a source distribution and a wheel in dist/. The wheel brings SQLite
# and OpenSSL's libcrypto along (auditwheel) and is then tried where nothing of ours is:
# in a bare Debian made by debootstrap, with a call that is stored and found again.
#
#   scripts/dist.sh              builds, repairs and tries (root: for debootstrap)
#   scripts/dist.sh --no-try     builds and repairs only
#
# Exit: 0 done, 1 something failed (its own words are above), 2 usage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=$PWD/build/dist-venv
readonly root=$PWD/build/dist-root
try=true
case ${1:-} in
  '') ;;
  --no-try) try=false ;;
  *)
    echo "usage: scripts/dist.sh [--no-try]" >&2
    exit 2
    ;;
esac

echo "== tools"
build/venv/bin/python -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
  -r scripts/requirements-dist.txt

echo "== sdist and wheel"
rm -rf dist build/dist-made
"$venv/bin/python" -m build --outdir build/dist-made . > build/dist.log 2>&1 || {
  cat build/dist.log
  exit 1
}
mkdir -p dist
cp build/dist-made/*.tar.gz dist/
PATH="$venv/bin:$PATH" auditwheel repair --strip --wheel-dir dist build/dist-made/*.whl
ls -l dist

$try || exit 0
echo "== in a bare Debian"
if ! command -v debootstrap >/dev/null; then
  apt-get install --yes --quiet debootstrap >> build/dist.log
fi
if [[ ! -x $root/usr/bin/python3 ]]; then
  rm -rf "$root"
  debootstrap --variant=minbase --include=python3,python3-venv bookworm "$root" \
    >> build/dist.log
fi
rm -rf "$root/opt/try" "$root/root/.cachier"
mkdir -p "$root/opt/try"
cp dist/*.whl "$root/opt/try/"
cat > "$root/opt/try/program.py" <<'EOF'
from cachier import cachier


@cachier(name="squares")
def squares(n):
    print("computing")
    return [i * i for i in range(n)]


assert squares(4) == [0, 1, 4, 9]
assert squares(4) == [0, 1, 4, 9]
EOF
# Programs find their libraries by /proc.
# shellcheck disable=SC2016 # expanded inside
said=$(unshare --mount env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin \
  bash -euo pipefail -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" \
  /bin/bash -euo pipefail -c '
  cd /opt/try
  python3 -m venv venv
  venv/bin/python -m pip install --quiet --no-index --find-links . cachier >&2
  for run in first second; do venv/bin/python program.py; done
  venv/bin/cachier ls squares
')
echo "$said"
if [[ $(grep -c computing <<< "$said") != 1 || $said != *squares* ]]; then
  echo "the wheel does not keep results there" >&2
  exit 1
fi
echo "1 distribution passed"
