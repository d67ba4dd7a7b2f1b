#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Everything that needs a GPU, in one call on a machine that has one: probe, correctness, sanitizer, plans, benchmark, and a page
# of results. No network; may be repeated. Stages end on their own clocks, later ones run even if an earlier one fails, and the
# exit status is the worst.
#
#   cuda/gpu_day.sh [--budget SECONDS] [--out FOLDER] [--build FOLDER] [--peer peer_unet_torch.py] [--stage NAME]... [--page FILE]
#
#   --budget   of all stages together (default 600)
#   --out      logs and gpu.json (default gpu-day)
#   --build    a build folder with program and tests; used as it is if its program starts, else made here (default build-gpu)
#   --peer     the same network in PyTorch, timed beside ours if PyTorch is here
#   --stage    only this one, may be given several times: probe libraries binary correctness sanitizer plans benchmark page
#   --page     where the page goes (default docs/gpu-results.md)
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
budget=600 out=gpu-day build=$root/build-gpu peer='' page=$root/docs/gpu-results.md
stages=()
usage() { sed -n '3,17s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case $1 in
    --budget | --out | --build | --peer | --stage | --page)
      [ $# -ge 2 ] || { echo "gpu_day.sh: $1 needs a value" >&2; exit 2; }
      case $1 in
        --budget) budget=$2 ;;
        --out) out=$2 ;;
        --build) build=$2 ;;
        --peer) peer=$2 ;;
        --stage) stages+=("$2") ;;
        --page) page=$2 ;;
      esac
      shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "gpu_day.sh: unknown argument '$1' (--help lists them)" >&2; exit 2 ;;
  esac
done
case $budget in '' | *[!0-9]*) echo "gpu_day.sh: --budget is '$budget' (expected seconds)" >&2; exit 2 ;; esac
[ ${#stages[@]} -gt 0 ] || stages=(probe libraries binary correctness sanitizer plans benchmark page)
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
voxgrad=$build/apps/voxgrad gpu_tests=$build/tests/cuda/test_gpu kernel_tests=$build/tests/cuda/test_cuda
records=$out/records.jsonl
began=$(date +%s) worst=0

left() { echo $((budget - ($(date +%s) - began))); }
# note STAGE STATUS SECONDS TEXT: one line for the page, one for the reader.
note() {
  printf '{"stage": "%s", "status": "%s", "seconds": %s, "text": "%s"}\n' "$1" "$2" "$3" "${4//\"/\'}" >>"$records"
  printf '%-12s %-7s %5s s  %s\n' "$1" "$2" "$3" "$4"
}
# timed STAGE LIMIT COMMAND...: within LIMIT and the budget, into a log of its own.
timed() {
  local stage=$1 limit=$2 start status
  shift 2
  start=$(date +%s)
  [ "$(left)" -lt "$limit" ] && limit=$(left)
  if [ "$limit" -le 5 ]; then
    note "$stage" skipped 0 "no time left of the budget of $budget s"
    return 1
  fi
  timeout --signal=INT --kill-after=10 "$limit" "$@" >>"$out/$stage.log" 2>&1
  status=$?
  case $status in
    0) note "$stage" ok $(($(date +%s) - start)) "${*##*/}" ;;
    77) note "$stage" skipped $(($(date +%s) - start)) "$(tail -n 1 "$out/$stage.log")" ;;
    124) note "$stage" timeout $(($(date +%s) - start)) "ended after $limit s: ${*##*/}" ;;
    *) note "$stage" failed $(($(date +%s) - start)) "status $status: ${*##*/} (see $stage.log)" ;;
  esac
  [ $status -eq 0 ] || [ $status -eq 77 ] || worst=1
  return $status
}
wanted() { case " ${stages[*]} " in *" $1 "*) return 0 ;; esac; return 1; }

stage_probe() {
  if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >"$out/probe.log" 2>&1 || ! grep -q GPU "$out/probe.log"; then
    echo "gpu_day.sh: this machine has no usable GPU (nvidia-smi: $(head -n 1 "$out/probe.log" 2>/dev/null || echo 'not found')). Nothing was changed." >&2
    exit 2
  fi
  : >"$records"
  local fields=name,driver_version,memory.total,compute_cap,clocks.max.sm,power.limit
  nvidia-smi --query-gpu=$fields --format=csv,noheader >"$out/card.csv"
  note probe ok 0 "$(head -n 1 "$out/card.csv")"
}

# A cuDNN of the system is found by itself; that of a Python wheel is looked for here.
stage_libraries() {
  if [ -z "${VOXGRAD_CUDNN_DIR:-}" ] && ! ldconfig -p 2>/dev/null | grep -q 'libcudnn_graph\.so\.9' && [ ! -e /usr/local/cuda/lib64/libcudnn_graph.so.9 ]; then
    local wheel
    wheel=$(python3 -c 'import nvidia.cudnn as m; print(list(m.__path__)[0])' 2>/dev/null)
    [ -n "$wheel" ] && export VOXGRAD_CUDNN_DIR=$wheel/lib
  fi
  note libraries ok 0 "cuDNN: ${VOXGRAD_CUDNN_DIR:-where the loader or the toolkit has it}"
}

stage_binary() {
  if "$voxgrad" --version >"$out/version.txt" 2>&1 && [ -x "$gpu_tests" ] && [ -x "$kernel_tests" ]; then
    note binary ok 0 "$(head -n 1 "$out/version.txt"), built before"
    return
  fi
  local arch
  arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
  if [ ! -f "$build/build.ninja" ]; then
    timed binary 120 meson setup "$build" "$root" -Dgpu=enabled "-Dgpu_archs=$arch" || return
  fi
  timed binary 600 meson compile -C "$build" voxgrad test_gpu test_cuda || return
  "$voxgrad" --version >"$out/version.txt" 2>&1
}

stage_correctness() {
  VOXGRAD_TEST_CARD=1 timed correctness 180 "$kernel_tests"
  timed correctness 180 "$gpu_tests"
}

stage_sanitizer() {
  local tool
  tool=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  if [ -z "$tool" ]; then note sanitizer skipped 0 "compute-sanitizer is not here"; return; fi
  for check in memcheck racecheck; do
    VOXGRAD_TEST_CARD=1 timed sanitizer 60 "$tool" --tool $check --error-exitcode 9 "$kernel_tests"
  done
  # What is never written shows only in memory of the card's own, which whole steps use.
  VOXGRAD_CUDA_GRAPHS=0 timed sanitizer 60 "$tool" --tool initcheck --error-exitcode 9 "$gpu_tests" "predictions*"
}

# Plans of every layer, chosen on this card, kept with the results.
stage_plans() {
  export VOXGRAD_CACHE=$out/plans
  for precision in bf16 fp32; do
    timed plans 120 "$voxgrad" bench --device cuda --precision $precision --mode train --batch 128 --crop 32 --runs 1 --json
    timed plans 120 "$voxgrad" bench --net stardist3d --device cuda --precision $precision --mode train --batch 64 --crop 32 --runs 1 --json
  done
}

ours() {  # NAME ARGUMENTS...
  local name=$1 line
  shift
  timed benchmark 60 "$voxgrad" bench --device cuda "$@" --json || return
  line=$(grep '"event": *"result"' "$out/benchmark.log" | tail -n 1)
  [ -n "$line" ] && printf '{"bench": "%s", "who": "voxgrad", "result": %s}\n' "$name" "$line" >>"$records"
}
theirs() {  # NAME ARGUMENTS...
  local name=$1
  shift
  rm -f "$out/peer.json"
  timed peer 90 python3 "$peer" --device cuda --cudnn-benchmark "$@" --json "$out/peer.json" || return
  printf '{"bench": "%s", "who": "pytorch", "options": "%s", "result": %s}\n' "$name" "$*" "$(tail -n 1 "$out/peer.json")" >>"$records"
}

stage_benchmark() {
  export VOXGRAD_CACHE=$out/plans
  local train=(--mode train --batch 128 --crop 32) infer=(--mode infer --batch 16 --crop 64) precision
  for precision in bf16 fp16 tf32 fp32; do ours "train-$precision" "${train[@]}" --precision $precision --runs 50 --warmup 10; done
  VOXGRAD_CUDA_GRAPHS=0 ours train-bf16-eager "${train[@]}" --precision bf16 --runs 50 --warmup 10
  for precision in bf16 fp32; do ours "infer-$precision" "${infer[@]}" --precision $precision --runs 50 --warmup 10; done
  local stardist=(--net stardist3d --runs 50 --warmup 10)
  for precision in bf16 fp32; do ours "stardist-train-$precision" "${stardist[@]}" --mode train --batch 64 --crop 32 --precision $precision; done
  ours stardist-infer-bf16 "${stardist[@]}" --mode infer --batch 1 --crop 64 --precision bf16
  [ -n "$peer" ] || return 0
  if ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then note peer skipped 0 "no PyTorch with CUDA here"; return; fi
  local format=(--format channels_last --runs 20 --warmup 5)
  theirs train-bf16 "${train[@]}" "${format[@]}" --dtype bf16
  theirs train-bf16 "${train[@]}" "${format[@]}" --dtype bf16 --compile default
  theirs train-tf32 "${train[@]}" "${format[@]}" --dtype fp32 --tf32
  theirs train-fp32 "${train[@]}" "${format[@]}" --dtype fp32
  theirs infer-bf16 "${infer[@]}" "${format[@]}" --dtype bf16
  theirs infer-bf16 "${infer[@]}" "${format[@]}" --dtype bf16 --compile default
}

stage_page() {
  if ! command -v python3 >/dev/null; then note page skipped 0 "python3 is not here; $records has everything"; return; fi
  python3 "$root/cuda/gpu_page.py" "$out" "$page" && note page ok 0 "$page"
}

for stage in "${stages[@]}"; do
  case $stage in
    probe | libraries | binary | correctness | sanitizer | plans | benchmark | page) ;;
    *) echo "gpu_day.sh: unknown stage '$stage' (--help lists them)" >&2; exit 2 ;;
  esac
done
for stage in probe libraries binary correctness sanitizer plans benchmark page; do
  if wanted $stage; then "stage_$stage"; fi
done
exit $worst
