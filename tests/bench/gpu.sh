#!/usr/bin/env bash
# All measurements of one accelerator, most important first, in at most eight minutes:
#
#     tests/bench/gpu.sh FOLDER [PART...]
#
# FOLDER gets gpu.jsonl, with one object of JSON a line, the trace of a step for https://ui.perfetto.dev, and what the
# programs said in gpu.log. A part that fails or runs past its time is a line with `error`, the others run all the same, and
# the exit status is then 1. Parts that are named run alone, in the order given: those that an earlier run had no time for,
# into another folder. Needs jax, flax, optax and orbax; PyTorch is timed where it is installed with CUDA.
#
# Variables: PYTHON; and for a try on a CPU BATCHES, STEPS, ROUNDS, H_DIM, RUN_STEPS (0: all of the run) and SECONDS_LEFT.
set -uo pipefail

folder=${1:?the folder for results is missing, as in: tests/bench/gpu.sh results}
shift
mkdir -p "$folder" || exit
folder=$(cd "$folder" && pwd) || exit
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
python=${PYTHON:-python3}
read -ra batches <<<"${BATCHES:-512 2048 8192}"
steps=${STEPS:-10} rounds=${ROUNDS:-3} h_dim=${H_DIM:-16} run_steps=${RUN_STEPS:-0}
end=$((SECONDS + ${SECONDS_LEFT:-470}))
results=$folder/gpu.jsonl log=$folder/gpu.log
failed=0

"$python" -c 'from tests.bench import ours, report; report.emit("machine", **ours.device_facts())' \
  >"$results" 2>"$log" || { cat "$log" >&2 && exit 1; }
if [[ -z ${BATCHES-} ]] && grep -q '"device": "cpu"' "$results"; then
  echo "error: jax sees no accelerator; expected one, or small BATCHES for a try on a CPU" >&2
  exit 1
fi
peers=()
if "$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2>>"$log"; then
  peers=(--peer=torch)
else
  echo "PyTorch is not timed: it is not installed, or sees no GPU"
fi

note_error() { # PART MESSAGE
  "$python" -c 'import json, sys; print(json.dumps({"part": sys.argv[1], "error": sys.argv[2]}))' "$1" "$2" >>"$results"
  echo "$1: $2"
  failed=1
}

part() { # NAME SECONDS MODULE ARGUMENT...: runs a benchmark, whose lines go to the results
  local name=$1 limit=$2 began=$SECONDS status
  shift 2
  limit=$((limit < end - began ? limit : end - began))
  if ((limit < 10)); then
    note_error "$name" "not begun: no time was left"
    return
  fi
  echo "== $name: $*" >>"$log"
  # Its process group ends with it, so that no contender stays behind on the accelerator.
  timeout --kill-after=5 "$limit" "$python" -m "$@" >>"$results" 2>>"$log"
  status=$?
  if ((status == 124 || status == 137)); then
    note_error "$name" "ended after $limit s, before its end"
  elif ((status)); then
    note_error "$name" "status $status: $(grep -v '^ *$' "$log" | tail -n 1)"
  fi
  echo "$name: $((SECONDS - began)) s"
}

middle=${batches[${#batches[@]} / 2]}
declare -A z_dim=([meter]=32 [alt]=16)
of_meter=(--network=meter --z-dim=32 --h-dim="$h_dim" --dtype=bfloat16 --batch-size "$middle")

steps_of() { # NETWORK DTYPE FLAG...: the training step
  part "$name" 160 tests.bench.train_step --network="$1" --z-dim="${z_dim[$1]}" --h-dim="$h_dim" --dtype="$2" \
    --steps="$steps" --rounds="$rounds" "${peers[@]}" "${@:3}"
}

run() { # NAME OF A PART
  local name=$1 network=${1%_*}
  case $name in
    meter_bfloat16 | meter_float32 | alt_bfloat16 | alt_float32)
      # PyTorch takes longer to compile than all the rest, and again for each size.
      steps_of "$network" "${name##*_}" --batch-size "${batches[@]}" --peer-batch-size "$middle"
      ;;
    peer_meter_bfloat16 | peer_alt_bfloat16)
      ((${#peers[@]})) || return
      steps_of "${network#peer_}" "${name##*_}" --batch-size "${batches[0]}" "${batches[-1]}"
      ;;
    whole_run) part "$name" 120 tests.bench.whole_run --steps="$run_steps" ;;
    profile) part "$name" 60 tests.bench.profile_step "${of_meter[@]}" --output="$folder" ;;
    loop)
      part "$name" 120 tests.bench.loop "${of_meter[@]}" --steps="$((2 * steps))" --log-every="$steps" --rounds=2
      ;;
    *) note_error "$name" "there is no such part; expected some of: ${all[*]}" ;;
  esac
}

all=(
  meter_bfloat16 whole_run profile alt_bfloat16 loop meter_float32 alt_float32 peer_meter_bfloat16 peer_alt_bfloat16
)
parts=("$@")
if ((!$#)); then
  parts=("${all[@]}")
fi
for name in "${parts[@]}"; do
  run "$name"
done
echo "$results: $(wc -l <"$results") lines"
exit "$failed"
