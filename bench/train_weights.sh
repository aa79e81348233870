#!/usr/bin/env bash
# Trains the bundled weights from nothing: three lifters of the default recipe, then one student that stands noise and
# missing joints. On two CPU cores about half an hour. Continues where it was stopped.
#   bash bench/train_weights.sh OUTPUT
set -euo pipefail
output=${1:?usage: bash bench/train_weights.sh OUTPUT}
mkdir -p "$output"

# run FOLDER COMMAND...: starts a run, continues one that was stopped, leaves a finished one alone
run() {
    local folder=$1
    shift
    if [ -f "$folder/metrics.json" ]; then
        echo "$folder: finished"
    elif [ -f "$folder/config.json" ]; then
        "$@" --resume --output "$folder"
    else
        "$@" --output "$folder"
    fi
}

{
    for seed in 0 1 2; do
        run "$output/teacher$seed" python -m ites_fast.train --seed "$seed"
    done
    run "$output/student" python -m ites_fast.distill --teachers "$output"/teacher{0,1,2} --half --distill.steps 24000
} 2> >(tr '\r' '\n' | grep -E '100%|error' >&2) | tee -a "$output/train.log"
echo "the weights are $output/student/lifter.safetensors"
