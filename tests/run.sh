#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds everything and runs all tests. Arguments go to `meson test` (--suite apps, names of tests).
# Last line: "N passed, M failed" in test cases, with ", K skipped" if any. Exit code 1 if anything failed.
set -euo pipefail
cd "$(dirname "$0")/.."
. apps/prepare.sh
fail() { echo "$1" >&2; echo "0 passed, 1 failed"; exit 1; }
prepare || fail "The build could not be prepared."
log=$build/meson-logs/testlog.json
rm -f "$log"
meson compile -C "$build" || fail "The build failed."
python3 tests/slowest.py "$build"
status=0
meson test -C "$build" --no-rebuild --print-errorlogs "$@" || status=$?
python3 tests/sum.py "$log" "$status"
