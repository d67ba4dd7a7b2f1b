#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds voxgrad and runs its demonstration: simulate movies, train, choose thresholds, predict, evaluate.
# Arguments go to `voxgrad demo`. Results: voxgrad-out/ in the current folder.
set -euo pipefail
here=$PWD
cd "$(dirname "$0")/.."
. apps/prepare.sh
prepare
meson compile -C "$build" voxgrad
program=$(cd "$build" && pwd)/apps/voxgrad
cd "$here"
exec "$program" demo "$@"
