# Runs a batch script as a Slurm node would: its variables, its text as a file, its output into files where that was
# asked for. POSIX sh. What is put before this text defines atoll_id, atoll_runs, atoll_error_apart, and the functions
# interpret, output_file and error_file.
# Arguments: the text of srun, the text of scontrol, how many parts the script has, the parts, the script's arguments.
set -u
spool=/var/spool/atoll

# task_of INDEX FIRST:STEP:COUNT... prints the id of an array's task.
task_of() {
    left=$1
    shift
    for run in "$@"; do
        first=${run%%:*} rest=${run#*:}
        step=${rest%%:*} count=${rest#*:}
        if [ "$left" -lt "$count" ]; then
            echo $((first + left * step))
            return
        fi
        left=$((left - count))
    done
}

index=${JOB_COMPLETION_INDEX:-0}
# As in Slurm, each task of an array is a job with a number of its own.
export SLURM_JOB_ID=$((atoll_id + index))
export SLURM_JOBID=$SLURM_JOB_ID
if [ -n "$atoll_runs" ]; then
    export SLURM_ARRAY_JOB_ID=$atoll_id
    SLURM_ARRAY_TASK_ID=$(task_of "$index" $atoll_runs)
    export SLURM_ARRAY_TASK_ID
fi
# The pod is the node: its name is one that resolves there.
export SLURMD_NODENAME="${HOSTNAME:-localhost}"
export SLURM_NODELIST="$SLURMD_NODENAME" SLURM_JOB_NODELIST="$SLURMD_NODENAME" SLURM_SUBMIT_DIR="$PWD"
if [ "${ATOLL_EPOCH:-1}" -gt 1 ]; then
    export SLURM_RESTART_COUNT=$((ATOLL_EPOCH - 1))
fi
unset ATOLL_EPOCH

mkdir -p "$spool/bin" || exit
printf %s "$1" >"$spool/bin/srun" && printf %s "$2" >"$spool/bin/scontrol" || exit
chmod 755 "$spool/bin/srun" "$spool/bin/scontrol" || exit
export PATH="$spool/bin:$PATH"
parts=$3
shift 3
: >"$spool/slurm_script" || exit
while [ "$parts" -gt 0 ]; do
    printf %s "$1" >>"$spool/slurm_script" || exit
    shift
    parts=$((parts - 1))
done
chmod 755 "$spool/slurm_script"

# What goes into files goes into the log as well: outputs of a job that fails are not kept.
output=$(output_file) error=$(error_file) copiers=
exec 3>&1 4>&2
if [ -n "$output" ]; then
    mkdir -p "$(dirname "$output")" && mkfifo "$spool/output" || exit
    tee "$output" <"$spool/output" 3>&- 4>&- &
    copiers=$!
    exec 3>"$spool/output"
    [ -n "$atoll_error_apart" ] || exec 4>&3
fi
if [ -n "$error" ]; then
    mkdir -p "$(dirname "$error")" && mkfifo "$spool/error" || exit
    tee "$error" <"$spool/error" >&2 3>&- 4>&- &
    copiers="$copiers $!"
    exec 4>"$spool/error"
fi

interpret "$spool/slurm_script" "$@" </dev/null >&3 2>&4 3>&- 4>&- &
script=$!
exec 3>&- 4>&-
trap 'kill -TERM "$script"' TERM
trap 'kill -INT "$script"' INT
# A wait that a signal ended is no end of the script.
while :; do
    wait "$script"
    code=$?
    kill -0 "$script" 2>/dev/null || break
done
if [ -n "$copiers" ]; then
    # What the script left running may hold the output open; it ends with the pod, and is not waited for.
    (sleep 3; kill $copiers) >/dev/null 2>&1 &
    limit=$!
    wait $copiers
    kill "$limit" 2>/dev/null
fi
exit "$code"
