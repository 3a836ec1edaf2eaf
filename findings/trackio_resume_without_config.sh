#!/usr/bin/env bash
# A run of trackio that is resumed without settings: those that it had are erased, without a word.
#
# Seen with trackio 0.43.0 (Python 3.11). `trackio.init(name=..., resume="must")` writes a new row of settings, empty but
# for trackio's own, over the one that the run was started with. One would expect the settings to stay (as MLflow keeps
# them), or to be merged. A job that restarts itself seldom has its settings at hand in the same shape, so after the
# first preemption size and learning rate of the run are gone from the database.
# Way out: hand the whole configuration over at each resume.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q trackio==0.43.0
TRACKIO_DIR="$place/runs" HF_HUB_OFFLINE=1 "$place/venv/bin/python" - "$place/runs/check.db" <<'PYTHON' >"$place/said" 2>&1 || { cat "$place/said"; exit 1; }
import json
import sqlite3
import sys

import trackio


def settings():
    with sqlite3.connect(sys.argv[1]) as database:
        rows = database.execute("SELECT config FROM configs").fetchall()
    return [{k: v for k, v in json.loads(row[0]).items() if not k.startswith("_")} for row in rows]


run = trackio.init(project="check", name="a", config={"n_params": 7, "lr": 0.1}, embed=False)
run.log({"loss": 3.0})
trackio.finish()
before = settings()
run = trackio.init(project="check", name="a", resume="must", embed=False)
run.log({"loss": 2.0})
trackio.finish()
after = settings()
print("SEEN settings before the resume:", before)
print("SEEN settings after it:         ", after)
assert before == [{"n_params": 7, "lr": 0.1}]
assert after == [{}], "the settings are no longer erased"
PYTHON
grep SEEN "$place/said" | cut -c6-
echo "as described: the settings are gone after the resume"
