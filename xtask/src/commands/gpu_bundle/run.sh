#!/usr/bin/env bash
# Tests and measures the CUDA backend on this machine, in less than ten minutes. Needs Linux, an NVIDIA driver, and
# nothing else; where there are PyTorch or compute-sanitizer, more is done. A part that fails or runs out of time leaves the others alone; a test that is skipped is a failure.
#
#   NCA_SECONDS=N   seconds for all parts together [default: 570]
set -uo pipefail
cd "$(dirname "$0")"
export NCA_REQUIRE_GPU=1
total=${NCA_SECONDS:-570}
failed=0
verdicts=()

# Runs the command after the part's name and its seconds, and notes what became of it.
part() {
    local name=$1 limit=$2 start=${EPOCHREALTIME//[!0-9]/} code verdict
    shift 2
    if [ $((total - SECONDS)) -lt "$limit" ]; then limit=$((total - SECONDS)); fi
    printf '\n== %s\n' "$name"
    if [ "$limit" -gt 0 ]; then
        timeout -k 5 "$limit" "$@"
        code=$?
    else
        code=124
    fi
    case $code in
        0) verdict='ok' ;;
        124 | 137) verdict='OUT OF TIME' failed=1 ;;
        *) verdict="FAILED ($code)" failed=1 ;;
    esac
    start=$(((${EPOCHREALTIME//[!0-9]/} - start) / 100000))
    verdicts+=("$(printf '%4d.%d s  %-34s %s' $((start / 10)) $((start % 10)) "$name" "$verdict")")
}

# Eight small models, so many at a time.
sweep() {
    part "eight models, $1 at a time" 60 ./xtask sweep --backend cuda --jobs "$1" --channels 8,12,16,24 --hidden 32,96 \
        --texture cracked --size 64 --iterations 60 --measure-every 0 --frames 10 --out "$scratch/sweep-$1"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
date -u
uname -srm
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,memory.total --format=csv,noheader 2>/dev/null
ldd ./parity ./times ./xtask 2>/dev/null | grep 'not found' | sort -u
part 'the device' 30 ./probe --test-threads=1 --nocapture the_device_found_is_described report
if [ $failed != 0 ]; then
    echo '== no GPU that can be used here (the reason is above): nothing was tested or measured'
    exit 1
fi
# Kernels are translated once for all parts, and nothing of it stays here.
export CUDA_CACHE_PATH="$scratch/kernels"
part 'agreement with the reference' 180 ./parity --test-threads=1
part 'times: steps' 60 ./times steps
part 'times: training' 60 ./times training
part 'times: flow, features, losses' 60 ./times flow vgg losses
part 'agreement: training iterations' 60 ./training --test-threads=1
part 'agreement: models at the limits' 60 ./limits --test-threads=1
part 'agreement: large shapes' 90 ./large --test-threads=1
part 'several models at a time' 60 ./jobs --test-threads=1
part 'times: convolutions' 30 ./times convolutions
sweep 1
sweep 4
sweep 8
sanitizer=$(PATH="$PATH:/usr/local/cuda/bin" command -v compute-sanitizer)
if [ -n "$sanitizer" ]; then
    part 'memory errors' 60 "$sanitizer" --tool memcheck --error-exitcode 9 ./limits --test-threads=1 the_papers_model
    part 'races' 60 "$sanitizer" --tool racecheck --error-exitcode 9 ./limits --test-threads=1 the_papers_model
fi
# Last: it would compile for minutes.
if python3 -c 'import numpy, torch; assert torch.cuda.is_available()' 2>/dev/null; then
    part 'times: PyTorch' 150 python3 peers/torch_times.py cuda 90
fi
printf '\n== what became of the parts\n'
printf '%s\n' "${verdicts[@]}"
exit $failed
