#!/usr/bin/env bash
# A run under Slurm: a trainer for each GPU of the job, the coordinator and a teacher-logit service on its first node. What fixes the run's bits comes as arguments:
#
#   OUT=runs/first sbatch --nodes 2 --ntasks-per-node 4 deploy/slurm.sh --dataset cifar10 --data data --teacher resnet56.th --model resnet56
#
# A job that was stopped, requeued or lost goes on where it was: the same command finds the run in OUT. The exit code is the coordinator's (docs/command-line.md); OUT and --data lie on a shared disk.
#SBATCH --job-name=dither
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail

dither=${DITHER:-dither} out=${OUT:?the folder of the run}
# Jobs may share a node.
port=${PORT:-$((10000 + SLURM_JOB_ID % 20000))}
# Where the data set is, for all roles: the spec's arguments name it for the coordinator.
data=data
for ((i = 1; i <= $#; i++)); do
	case ${!i} in
	--data=*) data=${!i#--data=} ;;
	--data) j=$((i + 1)) && data=${!j} ;;
	esac
done
# The address under which other nodes reach this one.
address() { hostname -I | cut -d ' ' -f 1; }
at=$(address):$port

mkdir -p "$(dirname "$out")"
if [ -e "$out/spec.yaml" ]; then
	run=(--folder "$out" --resume)
else
	run=("$@" --out "$out")
fi
"$dither" serve coordinator "${run[@]}" --trainers "$SLURM_NTASKS" --listen "$at" &
coordinator=$!
# Slurm's TERM, a minute before the time is over: the run stops after the iteration in flight, with a checkpoint.
trap '"$dither" stop "$at" || true' TERM

"$dither" serve teacher --coordinator "$at" --kernels "${TEACHER_KERNELS:-cuda}" --data "$data" --listen "$(address):0" >"$out.teacher.log" 2>&1 &
teacher=$!
# Each task sees its own GPU alone: Slurm sets CUDA_VISIBLE_DEVICES. One whose GPU breaks leaves, and the others take its shards.
srun --kill-on-bad-exit=0 --output "$out.trainer-%t.log" bash -c '
	exec "$0" serve trainer --coordinator "$1" --kernels cuda --data "$2" --listen "$(hostname -I | cut -d " " -f 1):0"' "$dither" "$at" "$data" &

code=
until [ -n "$code" ]; do
	# A signal ends a wait before the coordinator.
	wait $coordinator && code=0 || { code=$? && ! kill -0 $coordinator 2>/dev/null || code=; }
done
kill $teacher 2>/dev/null || true
wait || true
exit "$code"
