# SPDX-License-Identifier: BSD-3-Clause
# Sourced by apps/demo.sh and tests/run.sh, from the project's folder: packages and the build folder. Safe to repeat; needs
# the network only when a package is missing.

build=${VOXGRAD_BUILD:-build}

# What is missing, as packages of Debian 12 and Ubuntu. Programs are looked for by name and libraries through pkg-config,
# so that a self-built library counts too.
missing_packages() {
  local compiler=${CXX:-g++}
  command -v "${compiler%% *}" >/dev/null || echo g++
  command -v meson >/dev/null || echo meson
  local pair
  for pair in libtiff-4:libtiff-dev libpng:libpng-dev libzip:libzip-dev CLI11:libcli11-dev yaml-cpp:libyaml-cpp-dev \
    nlohmann_json:nlohmann-json3-dev fmt:libfmt-dev catch2:catch2; do
    pkg-config --exists "${pair%%:*}" 2>/dev/null || echo "${pair##*:}"
  done
  command -v pkg-config >/dev/null || echo pkg-config
  pkg-config --exists hdf5 2>/dev/null || command -v h5cc >/dev/null || echo libhdf5-dev
}

# Installs what is missing: as root without a question, otherwise after one; without a terminal it prints the line.
install_packages() {
  local missing line answer sudo=
  missing=$(missing_packages | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  line="apt-get install -y $missing"
  if ! command -v apt-get >/dev/null; then
    echo "Missing: $missing(names of Debian packages). Install them with this system's package manager; docs/install.md" \
      "says how to do without root." >&2
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    sudo=sudo
    if ! command -v sudo >/dev/null || [ ! -t 0 ]; then
      echo "These packages are missing. As root, run: $line" >&2
      return 1
    fi
    printf 'Run "sudo %s"? [y/N] ' "$line" >&2
    read -r answer
    case $answer in y | Y | yes) ;; *) return 1 ;; esac
  fi
  # shellcheck disable=SC2086 # a list of words on purpose
  $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# A compiler older than g++ 12 has too little of C++20; distributions of that age ship g++-12 beside it.
choose_compiler() {
  [ -z "${CXX:-}" ] || return 0
  if [ "$(g++ -dumpversion | cut -d. -f1)" -lt 12 ] && command -v g++-12 >/dev/null; then
    export CC=gcc-12 CXX=g++-12
  fi
}

# Makes the build folder, or makes it anew when another Meson made it.
configure() {
  choose_compiler
  if [ -f "$build/build.ninja" ] && meson introspect "$build" --projectinfo >/dev/null 2>&1; then return 0; fi
  local wipe=
  if [ -d "$build/meson-private" ]; then wipe=--wipe; fi
  # shellcheck disable=SC2086 # options are words
  meson setup $wipe "$build" ${VOXGRAD_SETUP:-}
}

prepare() { install_packages && configure; }
