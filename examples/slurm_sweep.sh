#!/bin/bash
# A study's sweep on all nodes of a SLURM job:   sbatch examples/slurm_sweep.sh vizdoom paper
#
# Ray's head and its workers are started by one `srun`, and the sweep finds them by RAY_ADDRESS.
# Two minutes before the time limit SLURM tells this script, which ends the sweep, and has the job
# started once more. Finished runs are in the results store then, and the others go on from their
# checkpoints. The repository and FOLDER must lie on a file system that all nodes share.
#SBATCH --job-name=sweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
##SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

STUDY=${1:-tmaze} PRESET=${2:-laptop} FOLDER=${FOLDER:-$PWD/out/$STUDY}
JOBS=${JOBS:-${SLURM_GPUS_ON_NODE:+1}}                        # with GPUs: runs at once on each
JOBS=${JOBS:-$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK))} # without: runs at once, on all nodes
PATH=${VENV:-$PWD/.venv}/bin:$PATH
PORT=${PORT:-$((20000 + SLURM_JOB_ID % 10000))} # another one for each job
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS=$HEAD:$PORT RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
# a new password for each job: other users of these nodes cannot talk to our Ray
RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

# ---- Ray on all nodes; the first one is the head ----

export PORT
srun --kill-on-bad-exit=1 bash -c '
  if [ "$SLURM_PROCID" = 0 ]; then
    exec ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --head --port="$PORT" --include-dashboard=false
  fi
  exec ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --address="$RAY_ADDRESS"' > ray.log 2>&1 &
cluster=$!

# ---- the sweep, until it is done or the time is up ----

rate-nb repro "$STUDY" --preset "$PRESET" --folder "$FOLDER" --backend ray --jobs "$JOBS" &
sweep=$!
again=
trap 'again=yes; kill -TERM $sweep' USR1
wait $sweep && status=0 || status=$?
while kill -0 $sweep 2> /dev/null; do wait $sweep && status=0 || status=$?; done # the trap ended `wait`
kill $cluster || true; wait $cluster || true
if [ "$again" ] && [ $status != 0 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
