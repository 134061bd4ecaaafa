#!/usr/bin/env bash
# Trains on a slice of Cloud TPUs, one process on each of its hosts.
#
#     launch/tpu_pod.sh run --name wae --zone us-central2-b --type v4-32 --spot -- \
#         --config=configs/wae_gan.py:blog --config.data.path=gs://music/data/lpd5 --workdir=gs://music/runs/blog
#
#     create    creates the slice; an existing one is kept, a preempted one is created again
#     setup     copies this folder to all hosts and installs it; does nothing while a run is in progress
#     run       creates and sets up if needed, starts training on all hosts and watches it until it has finished: after a
#               preemption everything is set up again, and the run resumes from its last checkpoint. Ctrl-C ends the
#               watching, not the run; the same command continues to watch
#     logs      prints the log of the first host, or of --worker
#     stop      lets the run save, and ends it
#     delete    deletes the slice
#
#     --name NAME  --zone ZONE  --type ACCELERATOR_TYPE    the slice; --type for create and run
#     --project PROJECT  --version RUNTIME  --spot         as in gcloud
#     --before COMMAND   is run on all hosts before the installation
#     --worker N         the host of the log
#     --mark FILE        is created when the run has finished, for scripts that cannot see its workdir
#     --dry-run          prints the commands instead of running them
#
# All hosts of a run must share its data and workdir: use URLs such as gs://BUCKET/..., which the service account of the
# slice may read and write. The first host uploads checkpoints and metrics there.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly ROOT
readonly POLL_SECONDS=${TPU_POD_POLL_SECONDS:-60}
# A run that fails sooner than this after its start would fail again.
readonly QUICK_SECONDS=${TPU_POD_QUICK_SECONDS:-300}
# Main's exit status when a signal has stopped it and it has saved.
readonly STOPPED=75

name='' zone='' type='' project='' version=tpu-ubuntu2204-base spot='' before='' mark='' worker=0 dry_run=''
flags=()

fail() {
  echo "tpu_pod: $*" >&2
  exit 2
}

usage() {
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
}

# Runs a command, or with --dry-run prints it as it would be typed.
call() {
  if [[ -z $dry_run ]]; then
    "$@"
    return
  fi
  local word line=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+~-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="$word "
  done
  echo "${line% }"
}

# tpu VERB ...: a command of gcloud on this slice.
tpu() {
  local verb=$1
  shift
  call gcloud compute tpus tpu-vm "$verb" "$@" "--zone=$zone" ${project:+"--project=$project"}
}

# on WORKER COMMAND: runs a command in the shell of a host, or of all.
on() {
  tpu ssh "$name" "--worker=$1" "--command=$2"
}

# The state of the slice, such as READY or PREEMPTED; empty if it does not exist.
state() {
  if [[ -n $dry_run ]]; then
    call gcloud compute tpus tpu-vm describe "$name" '--format=value(state)' "--zone=$zone" \
      ${project:+"--project=$project"} >&2
    return
  fi
  tpu describe "$name" '--format=value(state)' 2>/dev/null || true
}

create() {
  local now
  now=$(state)
  case $now in
    READY)
      echo "$name exists"
      return
      ;;
    CREATING | STARTING | RESTARTING | REPAIRING)
      echo "$name is $now"
      while [[ $(state) == "$now" ]]; do sleep "$POLL_SECONDS"; done
      create
      return
      ;;
    '') ;;
    *)
      echo "$name is $now; it is created again"
      tpu delete "$name" --quiet
      ;;
  esac
  tpu create "$name" "--accelerator-type=$type" "--version=$version" ${spot:+--spot}
}

# On the hosts, the folder wae_jax holds run.pid, the process of a run, and run.status, the exit status of one that has
# ended. After a restart of a host, the number in run.pid may belong to another program.
# shellcheck disable=SC2016  # For the hosts' shells.
readonly IS_RUNNING='grep -qs wae_jax.main "/proc/$(cat run.pid 2>/dev/null)/cmdline"'

setup() {
  local archive
  archive=$(mktemp -t wae_jax.XXXXXX.tar.gz)
  # shellcheck disable=SC2064  # The name is expanded now.
  trap "rm -f '$archive'" EXIT
  call tar -C "$ROOT" -czf "$archive" --exclude=__pycache__ configs launch pyproject.toml README.md LICENSE wae_jax
  tpu scp "$archive" "$name:wae_jax.tar.gz" --worker=all
  on all "set -e
mkdir -p wae_jax
cd wae_jax
if $IS_RUNNING; then echo 'a run is in progress; nothing was changed'; exit 0; fi
$before
tar xzf ../wae_jax.tar.gz
python3 -m pip install --quiet --user uv
[ -d .venv ] || python3 -m uv venv --python 3.11 .venv
python3 -m uv pip install --quiet --python .venv/bin/python -e '.[tpu,gcs]'"
  rm -f "$archive"
}

# Starts main on all hosts where it is not running.
start() {
  local flag words=''
  for flag in "${flags[@]}"; do
    words+=" '${flag//\'/\'\\\'\'}'"
  done
  on all "cd wae_jax
if $IS_RUNNING; then echo 'a run is in progress'; exit 0; fi
rm -f run.status run.stop
cat > run.sh <<'END'
.venv/bin/python -m wae_jax.main --join_seconds=300 --status_when_stopped=$STOPPED$words &
echo \$! > run.pid
wait \$!
echo \$? > run.status
END
setsid nohup bash run.sh > run.log 2>&1 < /dev/null &
sleep 1"
}

# The state of the run on each host: running, stopped, lost, or the exit status.
statuses() {
  on all "cd wae_jax 2>/dev/null || { echo status:lost; exit 0; }
if $IS_RUNNING; then echo status:running
elif [ -f run.stop ]; then echo status:stopped
elif [ -f run.status ]; then echo status:\$(cat run.status)
else echo status:lost; fi"
}

# The state of the run: running, finished, stopped, interrupted, failed, or unknown if the hosts do not answer.
verdict() {
  local words
  words=$(statuses 2>/dev/null | sed -n 's/^status://p' | sort -u) || words=''
  case $words in
    '') echo unknown ;;
    0) echo finished ;;
    *running*) echo running ;;
    "$STOPPED" | *lost*) echo interrupted ;;
    *stopped*) echo stopped ;;
    *) echo failed ;;
  esac
}

logs() {
  on "$worker" 'tail -n 100 wae_jax/run.log'
}

run() {
  local began
  while true; do
    if [[ -n $dry_run || $(state) != READY || $(verdict) != running ]]; then
      # There may be no free slice.
      until create; do
        echo "$name could not be created; trying again" >&2
        sleep "$POLL_SECONDS"
      done
      setup
      start
    fi
    began=$SECONDS
    if [[ -n $dry_run ]]; then
      statuses
      return
    fi
    while true; do
      case $(verdict) in
        finished)
          echo "finished"
          [[ -z $mark ]] || touch "$mark"
          return
          ;;
        stopped)
          echo "stopped; the same command resumes from there"
          return "$STOPPED"
          ;;
        failed)
          logs || true
          if ((SECONDS - began < QUICK_SECONDS)); then
            echo "tpu_pod: the run failed soon after its start; it is not started again" >&2
            return 1
          fi
          break
          ;;
        interrupted) break ;;
        unknown)
          [[ $(state) == READY ]] || break
          echo "the hosts of $name do not answer; trying again" >&2
          ;;
      esac
      sleep "$POLL_SECONDS"
    done
    echo "starting again from the last checkpoint"
  done
}

stop() {
  on all "cd wae_jax && if $IS_RUNNING; then touch run.stop; kill -TERM \"\$(cat run.pid)\"; \
for i in \$(seq 300); do $IS_RUNNING || break; sleep 1; done; fi; tail -n 1 run.log"
}

delete() {
  if [[ -z $dry_run && -z $(state) ]]; then
    echo "$name does not exist"
    return
  fi
  tpu delete "$name" --quiet
}

[[ $# -gt 0 ]] || fail "expected create, setup, run, logs, stop or delete; see --help"
command=$1
shift
while [[ $# -gt 0 ]]; do
  case $1 in
    --spot) spot=1 ;;
    --dry-run) dry_run=1 ;;
    --)
      shift
      flags=("$@")
      break
      ;;
    --name | --zone | --type | --project | --version | --before | --mark | --worker)
      [[ $# -gt 1 ]] || fail "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    --*=*)
      set -- "${1%%=*}" "${1#*=}" "${@:2}"
      continue
      ;;
    *) fail "there is no option $1" ;;
  esac
  shift
done
case $command in
  -h | --help) usage ;;
  create | setup | run | logs | stop | delete)
    [[ -n $name && -n $zone ]] || fail "$command needs --name and --zone"
    [[ -n $type || ! $command =~ ^(create|run)$ ]] || fail "$command needs --type, such as v4-32"
    [[ ${#flags[@]} -gt 0 || $command != run ]] || fail "run needs main's flags, after --"
    "$command"
    ;;
  *) fail "there is no $command; expected create, setup, run, logs, stop or delete" ;;
esac
