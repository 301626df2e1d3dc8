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
tasks=2
max_restarts=3
short_secs=60
short_attempts=5
start_again=143
permanent=' 2 64 78 '
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
    -m
    resnet.train
    --strategy=multi_worker_mirrored
    --config=imagenet_resnet50
    --data_dir=/data
    --workdir=/runs/r50
)

say() { echo "[launch] $(date +%FT%T) $*"; }
stop() { say "$2"; rm -f "$run.restarts"; exit "$1"; }
patiently() {  # Slurm's controller may be away, or not know yet.
  for _ in {1..6}; do "$@" && return; sleep 10; done
  return 1
}
a_node_is_silent() {
  sinfo --noheader --nodes="$SLURM_JOB_NODELIST" --format=%t |
      grep --quiet '[*]\|down'
}
say "start ${SLURM_RESTART_COUNT:-0} on $SLURM_JOB_NODELIST"
# Of the shell that has submitted the job: it would count before Slurm's own.
unset TF_CONFIG
export PYTHONUNBUFFERED=1
if [ -n "${SLURM_CPUS_PER_TASK-}" ]; then  # srun does not take it from the job.
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
fi

failures=0 short=0
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] && [ -f "$run.restarts" ]; then
  read -r failures short < "$run.restarts"
fi
codes=$run.codes.${SLURM_RESTART_COUNT:-0}
rm -rf "$run".codes.*  # Of a start that was killed.
mkdir -p "$codes" || stop 1 'the folder of logs cannot be written'

trap '' TERM CONT USR1  # Slurm gives its signals to the workers as well.
# srun ends with the highest exit code, which may hide the one that tells.
worker='trap : TERM CONT USR1; codes=$1; shift; "$@"; code=$?
echo $code > "$codes/$SLURM_PROCID"; exit $code'
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
[ $code != 0 ] || stop 0 'all workers are done'
[ -z "$never_again" ] || stop "$never_again" \
    "not started again, as exit code $never_again means that it would not help"
uncounted="exit code $start_again asks for it"
if [ -z "$failure" ] && [ -n "$lost" ]; then
  if patiently a_node_is_silent; then
    uncounted='a node does not answer'
  else
    failure=1 cause="worker $lost had to be killed"
  fi
elif [ -z "$failure" ] && [ $code != "$start_again" ]; then
  failure=$code cause="srun ended with exit code $code"
fi
state=$(patiently squeue --noheader --jobs="$job" --format=%T)
if [ "$state" != RUNNING ]; then  # By scancel, above all: let it be.
  say "left to Slurm, where the job is ${state:-unknown}" \
      '(cancelled, requeued or out of time)'
  exit $code
fi

[ -z "$failure" ] || failures=$((failures + 1))
[ $failures -le "$max_restarts" ] || stop "$failure" \
    "not started again, as $max_restarts restarts are used up: $cause"
if [ $secs -lt "$short_secs" ]; then short=$((short + 1)); else short=0; fi
[ $short -lt "$short_attempts" ] || stop 1 \
    "not started again, as $short starts in a row ended within $short_secs s"
echo "$failures $short" > "$run.restarts" ||
    stop 1 'not started again, as the folder of logs cannot be written'
if [ -n "$failure" ]; then
  say "starting again ($failures of $max_restarts restarts): $cause"
else
  say "starting again (not counted: $uncounted)"
fi
patiently scontrol requeue "$job" ||
    stop $code 'not started again, as Slurm does not requeue the job'
trap - TERM
sleep 60  # Slurm ends this shell.
exit $code
