#!/bin/sh
# The one use of scontrol that batch scripts are full of: the names of the job's nodes, of which there is one.
if [ "${1-}" = show ]; then
    case ${2-} in
        hostname | hostnames)
            echo "${3:-$SLURM_JOB_NODELIST}"
            exit ;;
    esac
fi
echo "scontrol: error: within a job of Atoll only 'scontrol show hostnames' is there" >&2
exit 1
