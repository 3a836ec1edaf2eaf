#!/usr/bin/env bash
# A metric that W&B is told to keep the minimum of: after one NaN its "min" is NaN for good, whatever is logged later.
#
# Seen with wandb 0.31.0 (Python 3.11), offline. `define_metric("loss", summary="min")` keeps `{"min": x}` in the summary of
# a run. One would expect the lowest number that was logged (as numpy's nanmin, or a comparison that NaN never wins, gives),
# or an error. One overflow in the middle of a long run makes it NaN, and it stays NaN when lower losses follow; the last
# value of the same metric is not touched. Tables of best losses, exported or read over the API, have a hole there, and a
# sweep that ranks by it loses its best run.
# Way out: compute the minimum from the history, where every logged value is kept.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q wandb==0.31.0
cd "$place"
WANDB_MODE=offline WANDB_SILENT=true "$place/venv/bin/python" - <<'PYTHON'
import glob
import json
import math
import struct
import time

import wandb
from wandb.proto import wandb_internal_pb2

run = wandb.init(project="check")
run.define_metric("loss", summary="min")
run.define_metric("clean", summary="min")
logged = [3.0, float("nan"), 2.0, 1.0]
for value in logged:
    run.log({"loss": value, "clean": 1.0 if math.isnan(value) else value})
run.finish()
time.sleep(5)  # another process writes the file

# the summary as it would be synced: records of a LevelDB log after a header of seven bytes
(path,) = glob.glob("wandb/offline-run-*/*.wandb")
data, at, summary = open(path, "rb").read(), 7, {}
while at + 7 <= len(data):
    _, size, kind = struct.unpack_from("<IHB", data, at)
    if kind != 1:
        break
    record = wandb_internal_pb2.Record.FromString(data[at + 7 : at + 7 + size])
    for item in record.summary.update:
        summary[".".join(item.nested_key) or item.key] = json.loads(item.value_json)
    at += 7 + size
found = {key: value for key, value in summary.items() if not key.startswith("_")}
print("logged:", logged)
print("summary:", found)
flat = {**found, **{f"{k}.{i}": v for k, d in found.items() if isinstance(d, dict) for i, v in d.items()}}
assert math.isnan(flat["loss.min"]), "a NaN no longer stays"
assert flat["clean.min"] == 1.0
PYTHON
echo "as described: the lowest value is NaN, although 1.0 was logged last"
