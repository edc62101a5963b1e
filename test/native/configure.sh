# Read by the scripts that build the core without Node: configure FOLDER [OPTION…], from the root of the checkout.
configure() {
  local folder=$1 zstd='' generator=()
  shift
  if command -v ninja >/dev/null; then generator=(-G Ninja); fi
  # zstd is the same in all builds: that of the addon is taken where there is one, after what is new in it was compiled.
  if [[ -f build/CMakeCache.txt ]] && cmake --build build --target zstd >/dev/null && [[ -f build/libzstd.a ]]; then
    zstd=$PWD/build/libzstd.a
  fi
  cmake -S . -B "$folder" ${generator[@]+"${generator[@]}"} "-DZSTD_BUILT=$zstd" "$@" >/dev/null
}
