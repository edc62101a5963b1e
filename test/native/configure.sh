# Read by the scripts that build the core without Node: configure FOLDER [OPTION…], from the root of the checkout.
configure() {
  local folder=$1 options=()
  shift
  if command -v ninja >/dev/null; then options+=(-G Ninja); fi
  # zstd is the same in all builds: where there is one of the addon, its own is taken, after what is new in it was compiled.
  if [[ -f build/CMakeCache.txt ]] && cmake --build build --target zstd >/dev/null && [[ -f build/libzstd.a ]]; then
    options+=("-DZSTD_BUILT=$PWD/build/libzstd.a")
  fi
  cmake -S . -B "$folder" ${options[@]+"${options[@]}"} "$@" >/dev/null
}
