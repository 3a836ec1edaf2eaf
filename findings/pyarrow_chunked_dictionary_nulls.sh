#!/usr/bin/env bash
# A column of categories read from Parquet: its missing labels turn into the last category, without a word.
#
# Seen with pyarrow 26.0.1 and numpy 2.4.6 (Python 3.11). `ChunkedArray.to_numpy()` of a dictionary column (what a table
# column is after `pyarrow.parquet.read_table`, and what polars writes for Categorical and Enum) looks each index up in
# the dictionary; a missing index is filled with -1 on the way, which numpy takes as "the last one". One would expect
# None there, as `Array.to_numpy(zero_copy_only=False)` of the very same values gives, or an error. Runs without a family
# join the last family that way, and a law with constants per family is fitted to rows that are not its own.
# Way out: `column.cast(column.type.value_type)` (or `dictionary_decode` per chunk) before `to_numpy`.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pyarrow==26.0.1 numpy==2.4.6
"$place/venv/bin/python" - "$place/runs.parquet" <<'PYTHON'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

family = pa.array(["llama", None, "qwen"]).dictionary_encode()
pq.write_table(pa.table({"family": family, "loss": [2.1, 2.4, 2.2]}), sys.argv[1])
column = pq.read_table(sys.argv[1]).column("family")
print("type of the column:", column.type, "nulls:", column.null_count)
chunked = column.to_numpy().tolist()
single = column.chunk(0).to_numpy(zero_copy_only=False).tolist()
decoded = column.cast(column.type.value_type).to_numpy().tolist()
print("ChunkedArray.to_numpy():", chunked)
print("Array.to_numpy():       ", single)
print("cast, then to_numpy():  ", decoded)
assert column.null_count == 1
assert chunked == ["llama", "qwen", "qwen"], "the missing label is no longer the last category"
assert single == ["llama", None, "qwen"]
assert decoded == ["llama", None, "qwen"]
PYTHON
echo "as described: the missing label reads as the last category"
