#!/usr/bin/env bash
# dask-jobqueue: a job that the queue refuses raises nothing, counts as requested, and is submitted again by a client.
#
# Seen with dask-jobqueue 0.9.0 and distributed 2026.8.0 (Python 3.11), with an `sbatch` of our own that refuses every job
# as SLURM refuses one for a partition that is not there: a line on stderr, exit code 1. One would expect
# `cluster.scale(jobs=1)` to raise, or the cluster to say that the job failed. `scale` returns; the job stands in
# `cluster.requested` as one that was submitted does; its status stays "created"; the words of `sbatch` are in a log line
# alone. Whoever then connects a client has the same job submitted a second time, without being told of either refusal,
# and learns after the time that it waits for workers that none came.
# Way out: look at the status of `cluster.workers` some seconds after `scale`, and at the log.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q dask-jobqueue==0.9.0 distributed==2026.8.0
mkdir "$place/bin"
printf '#!/bin/sh\necho asked >> %s/calls\necho "sbatch: error: invalid partition specified: nowhere" >&2\nexit 1\n' "$place" >"$place/bin/sbatch"
printf '#!/bin/sh\nexit 0\n' >"$place/bin/scancel"
chmod +x "$place"/bin/*
cd "$place"
PATH="$place/bin:$PATH" "$place/venv/bin/python" - <<'PYTHON'
import logging
import os
import pathlib
import time

from dask_jobqueue import SLURMCluster
from distributed import Client

logging.disable(logging.CRITICAL)


def asked():
    return len(pathlib.Path("calls").read_text().splitlines())


cluster = SLURMCluster(cores=1, processes=1, memory="1GB", queue="nowhere", scheduler_options={"dashboard": False})
cluster.scale(jobs=1)
time.sleep(3)
(job,) = cluster.workers.values()
print(f"scale raised nothing; sbatch was asked {asked()} time; requested: {len(cluster.requested)}; {job.status.name}")
assert asked() == 1 and len(cluster.requested) == 1 and job.status.name == "created", "a refusal shows now"
with Client(cluster, timeout=10) as client:
    try:
        client.wait_for_workers(1, timeout=5)
        raise SystemExit("a worker came")
    except TimeoutError as error:
        print(f"a client: {error}; sbatch was asked {asked()} times", flush=True)
assert asked() == 2, "it is no longer submitted again"
os._exit(0)  # closing such a cluster is another matter
PYTHON
echo "as described: a refused job counts as requested, and is submitted again"
