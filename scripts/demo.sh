#!/usr/bin/env bash
# What `make demo` shows, once everything is built in build/dev.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHONPATH=$PWD/build/dev/python exec python3 examples/demo/demo.py \
  build/dev/examples/demo_words build/dev/src/cli/cachier
