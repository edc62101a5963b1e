#!/bin/bash
# Builds the core and its tests without Node, and runs them under sanitizers: asan (with UBSan), tsan, or both without an argument.
set -euo pipefail
cd "$(dirname "$0")/../.."

source test/native/configure.sh

run() { # folder, sanitizers
  configure "$1" -DCONDA_DEPLOY_TESTS=ON -DCONDA_DEPLOY_SANITIZE="$2"
  cmake --build "$1" --parallel
  ctest --test-dir "$1" --output-on-failure --parallel "$(getconf _NPROCESSORS_ONLN)"
}

case "${1:-both}" in
  asan) run build-asan address,undefined ;;
  tsan) run build-tsan thread ;;
  both) run build-asan address,undefined; run build-tsan thread ;;
  *) echo "usage: $0 [asan|tsan]" >&2; exit 2 ;;
esac
