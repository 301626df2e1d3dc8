#!/bin/bash
#SBATCH --job-name=r50
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=/runs/logs/r50-%j.log

job=$SLURM_JOB_ID
run=/runs/logs/r50-$job
checkpoints=/runs/r50/checkpoints
tasks=2
max_restarts=3
short_secs=60
short_attempts=5
start_again=143
permanent=' 2 64 78 '
code_folder=''
module_folder=''
srun_options=(
    --nodes=2
    --ntasks=2
    --ntasks-per-node=1
    --gpus-per-task=8
    --distribution=block
    --export=ALL
    --label
    --kill-on-bad-exit=0
    --wait=120
)
command=(
    python
    -P
    -m
    resnet.train
    --strategy=multi_worker_mirrored
    --config=imagenet_resnet50
    --data_dir=/data
    --workdir=/runs/r50
)

# shellcheck shell=bash
# The batch script of a training job, which Slurm runs on the job's first node.
#
# launch/slurm/script.py writes the #SBATCH lines and these variables above this
# text, and replaces the line "# --prologue" by the user's commands.
: "${job:?}"             # The job's number, for squeue and scontrol.
: "${run:?}"             # The paths of the job's own files begin with it.
: "${checkpoints:?}"     # The folder in which the run saves.
: "${tasks:?}"           # How many workers there are.
: "${max_restarts:?}"    # Failures after which the job is still restarted.
: "${short_secs:?}"      # A start that ends sooner counts as short.
: "${short_attempts:?}"  # Short starts in a row after which the job gives up.
: "${start_again:?}"     # The exit code that requests a restart.
: "${permanent:?}"       # Exit codes after which a restart would not help.
: "${code_folder?}"      # Where the project is; empty if it is installed.
: "${module_folder?}"    # Where the user's own --module is; empty: there is none.
: "${srun_options[0]:?}" "${command[0]:?}"

say() { echo "[launch] $(date +%FT%T) $*"; }
# Ends the job for good.
stop() { say "$2"; rm -f "$run.restarts"; exit "$1"; }
# Repeats a command for a minute: Slurm's controller may be down, or may not
# have noticed yet.
retry() {
  for _ in {1..6}; do "$@" && return; sleep 10; done
  return 1
}
# shellcheck disable=SC2317  # Called by `retry`.
a_node_is_silent() {
  sinfo --noheader --nodes="$SLURM_JOB_NODELIST" --format=%t |
      grep --quiet '[*]\|down'
}

# Prints the names of the complete checkpoints. A subshell: it changes folders.
saved() (
  CDPATH='' cd -- "$checkpoints" 2> /dev/null && compgen -G 'ckpt-*.index' | sort
)

say "start ${SLURM_RESTART_COUNT:-0} on $SLURM_JOB_NODELIST"
# The submitting shell's TF_CONFIG would take precedence over Slurm's variables.
unset TF_CONFIG
export PYTHONUNBUFFERED=1
if [ -n "${SLURM_CPUS_PER_TASK-}" ]; then  # srun does not inherit it.
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi
# Workers import the code that submitted the job, before anything else.
if [ -n "$code_folder" ]; then
  export PYTHONPATH=$code_folder${PYTHONPATH:+:$PYTHONPATH}
fi
if [ -n "$module_folder" ]; then
  export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$module_folder
fi

failures=0 short=0
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -f "$run.restarts" ]; then
  read -r failures short < "$run.restarts"
fi
codes=$run.codes.${SLURM_RESTART_COUNT:-0}
rm -rf "$run".codes.*  # Left by a start that was killed.
not_writable="the log folder ${run%/*} is not writable: free some space or fix \
the permissions there, then submit again"
mkdir -p "$codes" || stop 1 "$not_writable"

trap '' TERM CONT USR1  # Slurm sends its signals to the workers as well.
# srun returns the highest exit code of all workers, which may not be the one
# that decides: each worker's shell keeps its own in a file.
# shellcheck disable=SC2016  # Expanded by the workers' shells.
worker='trap : TERM CONT USR1; codes=$1; shift; "$@"; code=$?
echo $code > "$codes/$SLURM_PROCID"; exit $code'
saved_before=$(saved)
began=$SECONDS
srun "${srun_options[@]}" bash -c "$worker" worker "$codes" "${command[@]}"
code=$?
secs=$((SECONDS - began))

never_again='' failure='' cause='' lost=''
for ((rank = 0; rank < tasks; rank++)); do
  one=none
  [ ! -f "$codes/$rank" ] || read -r one < "$codes/$rank"
  case $one in
    0 | "$start_again") ;;
    none) lost=${lost:-$rank} ;;
    *)
      case $permanent in *" $one "*) never_again=${never_again:-$one} ;; esac
      [ -n "$failure" ] ||
          failure=$one cause="worker $rank ended with exit code $one" ;;
  esac
done
rm -rf "$codes"
[ "$code" != 0 ] || stop 0 'all workers are done'
[ -z "$never_again" ] || stop "$never_again" "not restarting (a restart would \
not help after exit code $never_again): fix the error above, then submit again"
uncounted="exit code $start_again asks for a restart"
if [ -z "$failure" ] && [ -n "$lost" ]; then
  if retry a_node_is_silent; then
    uncounted='a node is not responding'
  else
    failure=1 cause="worker $lost had to be killed"
  fi
elif [ -z "$failure" ] && [ "$code" != "$start_again" ]; then
  failure=$code cause="srun ended with exit code $code"
elif [ -z "$failure" ] &&
    [ -z "$(comm -13 <(echo "$saved_before") <(saved))" ]; then
  failure=1 cause="exit code $start_again without a new checkpoint in \
$checkpoints"
fi
state=$(retry squeue --noheader --jobs="$job" --format=%T)
if [ "$state" != RUNNING ]; then  # A user's scancel must not be undone.
  say "leaving the job to Slurm, which reports it as ${state:-unknown}" \
      '(canceled, requeued or out of time)'
  exit "$code"
fi

[ -z "$failure" ] || failures=$((failures + 1))
[ "$failures" -le "$max_restarts" ] || stop "$failure" \
    "not restarting (--max_restarts=$max_restarts is used up): $cause"
if [ "$secs" -lt "$short_secs" ]; then short=$((short + 1)); else short=0; fi
[ "$short" -lt "$short_attempts" ] || stop 1 "not restarting ($short starts in \
a row ended within $short_secs s): fix the cause above, then submit again"
echo "$failures $short" > "$run.restarts" ||
    stop 1 "not restarting, as $not_writable"
if [ -n "$failure" ]; then
  say "restarting ($failures of $max_restarts restarts): $cause"
else
  say "restarting (not counted: $uncounted)"
fi
retry scontrol requeue "$job" || stop "$code" "not restarting (Slurm refused \
to requeue the job): submit again to continue from the last checkpoint"
trap - TERM
sleep 60  # Slurm ends this shell.
exit "$code"
