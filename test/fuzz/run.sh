#!/bin/bash
# Builds the fuzz targets with clang, and runs each for some seconds (default 10) on its corpus: bash test/fuzz/run.sh [SECONDS [TARGET…]]
# Inputs that break something are left in build-fuzz/found/. The last line is `N executions`.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-10}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "usage: $0 [SECONDS [TARGET…]]" >&2; exit 2; }
shift || true

compiler=$(command -v clang++ || true)
if [[ -z $compiler ]]; then
  echo 'skipped: clang is not installed, and libFuzzer is part of it'
  exit 0
fi
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
echo 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }' >"$probe/p.cc"
if ! "$compiler" -fsanitize=fuzzer,address "$probe/p.cc" -o "$probe/p" 2>/dev/null; then
  echo "skipped: $compiler has no libFuzzer (Debian has it in libclang-rt-dev)"
  exit 0
fi

source test/native/configure.sh
configure build-fuzz -DCONDA_DEPLOY_FUZZ=ON -DCONDA_DEPLOY_SANITIZE=address,undefined -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER="$compiler"
cmake --build build-fuzz --parallel >"$probe/build" || { cat "$probe/build"; exit 1; }

targets=("$@")
if ((${#targets[@]} == 0)); then for source in test/fuzz/*.cc; do targets+=("$(basename "$source" .cc)"); done; fi
mkdir -p build-fuzz/found
fuzz() { # target
  # What is found while fuzzing goes to a folder of its own: the corpus in the repository is chosen, not grown.
  mkdir -p "build-fuzz/corpus/$1"
  local status=0
  "build-fuzz/fuzz_$1" "build-fuzz/corpus/$1" "test/fuzz/corpus/$1" -max_total_time="$seconds" -max_len=8192 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build-fuzz/found/$1-" >"$probe/$1" 2>&1 || status=$?
  echo "$status" >"$probe/$1.status"
}

# As many at once as there are processors: each is one thread.
for target in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= $(getconf _NPROCESSORS_ONLN))); do wait -n; done
  fuzz "$target" &
done
wait
total=0 failed=0
for target in "${targets[@]}"; do
  executions=$(sed -n "s/^stat::number_of_executed_units: *//p" "$probe/$target" | tail -n 1)
  total=$((total + ${executions:-0}))
  if [[ $(<"$probe/$target.status") == 0 ]]; then
    printf 'ok      %-8s %s executions\n' "$target" "${executions:-0}"
  else
    failed=$((failed + 1))
    printf 'FAILED  %-8s after %s executions\n' "$target" "${executions:-0}"
    tail -n 60 "$probe/$target"
  fi
done
echo "$total executions"
((failed == 0))
