#!/bin/sh
# srun within the allocation that the job has: its tasks run beside each other in this container.
# POSIX sh. MPI is not wired up: that is mpirun's, as with MpiDefault=none (slurm.conf(5)).
fail() {
    echo "srun: error: $*" >&2
    exit 1
}

# at_most OPTION ASKED GIVEN: fails if more is asked for than the job has.
at_most() {
    case $2 in '' | *[!0-9]*) fail "$1 $2: should be a number" ;; esac
    [ "$2" -le "$3" ] || fail "$1 $2 is more than the job has, $3: ask for it in the #SBATCH lines"
}

tasks=$SLURM_NTASKS cpus=${SLURM_CPUS_PER_TASK:-1}
while [ $# -gt 0 ]; do
    case $1 in
        --) shift; break ;;
        --*=*) option=${1%%=*} value=${1#*=} taken=1 ;;
        --*) option=$1 value=${2-} taken=2 ;;
        -?) option=$1 value=${2-} taken=2 ;;
        -??*) option=${1%"${1#??}"} value=${1#??} taken=1 ;;
        *) break ;;
    esac
    case $option in
        -n | --ntasks) at_most "$option" "$value" "$SLURM_NTASKS"; tasks=$value ;;
        -N | --nodes | --ntasks-per-node | -c | --cpus-per-task | -G | --gpus | --gpus-per-node | --gpus-per-task)
            number=${value##*:}
            case $option in
                -N | --nodes) at_most "$option" "${number%%-*}" 1 ;;
                --ntasks-per-node) at_most "$option" "$number" "$SLURM_NTASKS" ;;
                -c | --cpus-per-task) at_most "$option" "$number" "$SLURM_CPUS_ON_NODE"; cpus=$number ;;
                *) at_most "$option" "$number" "${SLURM_GPUS_ON_NODE:-0}" ;;
            esac ;;
        -u | --unbuffered | --overlap | --exact | --exclusive | -v | --verbose | -Q | --quiet) taken=1 ;;
        -s | --oversubscribe | -K | --kill-on-bad-exit) taken=1 ;;
        -J | --job-name | -m | --distribution | --mem | --mem-per-cpu | --mem-per-gpu | --hint | -W | --wait) ;;
        --cpu-bind | --cpu_bind | --mem-bind | --gpu-bind | --gres-flags | -t | --time) ;;
        --gres) case $value in gpu | gpu:* | [Nn][Oo][Nn][Ee]) ;; *) fail "--gres $value: only GPUs are counted" ;; esac
            case $value in gpu:*[0-9]) at_most --gres "${value##*:}" "${SLURM_GPUS_ON_NODE:-0}" ;; esac ;;
        --mpi) [ "$value" = none ] || fail "--mpi=$value is not there: start MPI programs with mpirun -n \$SLURM_NTASKS" ;;
        --export) [ "$value" = ALL ] || fail "--export=$value is not there: write env NAME=VALUE before the command" ;;
        -D | --chdir) cd "$value" || exit ;;
        *) fail "$option is not there in a job of Atoll: leave it out" ;;
    esac
    [ $# -ge "$taken" ] || fail "$option: a value is missing"
    shift "$taken"
done
[ $# -gt 0 ] || fail "no command"
[ $((tasks * cpus)) -le "$SLURM_CPUS_ON_NODE" ] ||
    fail "$tasks tasks of $cpus CPUs are more than the job has, $SLURM_CPUS_ON_NODE: ask for them in the #SBATCH lines"

export SLURM_STEP_ID=0 SLURM_STEPID=0 SLURM_NTASKS="$tasks" SLURM_NPROCS="$tasks" SLURM_NODEID=0
export SLURM_STEP_NUM_TASKS="$tasks" SLURM_STEP_NUM_NODES=1 SLURM_STEP_TASKS_PER_NODE="$tasks"
export SLURM_STEP_NODELIST="$SLURM_JOB_NODELIST" SLURM_LAUNCH_NODE_IPADDR=127.0.0.1
if [ "$tasks" -eq 1 ]; then
    export SLURM_PROCID=0 SLURM_LOCALID=0
    exec "$@"
fi
running= task=0 worst=0
trap 'kill -TERM $running 2>/dev/null' TERM
trap 'kill -INT $running 2>/dev/null' INT
while [ "$task" -lt "$tasks" ]; do
    (export SLURM_PROCID="$task" SLURM_LOCALID="$task"; exec "$@") &
    running="$running $!"
    task=$((task + 1))
done
for process in $running; do
    while :; do
        wait "$process"
        code=$?
        kill -0 "$process" 2>/dev/null || break
    done
    [ "$code" -le "$worst" ] || worst=$code
done
exit "$worst"
