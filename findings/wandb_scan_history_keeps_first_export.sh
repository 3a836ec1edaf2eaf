#!/usr/bin/env bash
# `scan_history()` of W&B's client reads an exported history from a file that it kept, without a look at the server's.
#
# Seen with wandb 0.31.0 (Python 3.11) and a server on loopback that answers its queries. A server hands out older rows
# of a run as Parquet files. The client keeps each in its cache folder under entity, project, run id and number of the
# file (`me_project_a_0.runhistory.parquet`), without host, date or checksum, and from then on takes what is there. One
# would expect it to be read again when the server's file is another (an ETag, a size, the time of the run's last sign
# of life). After an export was made anew with more rows, and likewise with a second server that has a run of that
# name (a copy, a test instance), the old rows come back and the new ones are missing; nothing is said.
# Way out: `scan_history(use_cache=False)`, or an own WANDB_CACHE_DIR for each server.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q wandb==0.31.0 pyarrow==26.0.1
cd "$place"
HOME="$place" WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567 "$place/venv/bin/python" - <<'PYTHON'
import io
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq

RUN = {"id": "1", "projectId": "1", "name": "a", "displayName": "a", "state": "finished", "config": "{}", "tags": []}
rows = [{"_step": k, "loss": 3.0} for k in range(2)]
fetched = []


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        fetched.append(self.path)
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        self.answer(buffer.getvalue())

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = {}
        if self.path == "/graphql":
            query = json.loads(body)["query"]
            run = {**RUN, "historyKeys": {"lastStep": rows[-1]["_step"]}}
            if "parquetHistory" in query:
                # the address of the new export is another one
                urls = [f"{os.environ['WANDB_BASE_URL']}/export-{len(rows)}.parquet"]
                run = {"parquetHistory": {"parquetUrls": urls, "liveData": []}}
            data = {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"}, "project": {"run": run}}
        self.answer(json.dumps({"data": data}).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["WANDB_BASE_URL"] = f"http://127.0.0.1:{server.server_address[1]}"

import wandb


def losses(**options):
    return [row["loss"] for row in wandb.Api().run("me/project/a").scan_history(**options)]


first = losses()
rows = [{"_step": k, "loss": 2.0} for k in range(4)]
again = losses()
fresh = losses(use_cache=False)
print("the history at first:                     ", first)
print("after the server has four rows, all of 2.0:", again)
print("with use_cache=False:                     ", fresh)
print("fetched from the server:                  ", fetched)
assert first == [3.0] * 2 and fresh == [2.0] * 4
assert again == [3.0] * 2, "the old rows no longer come back"
PYTHON
echo "as described: the rows of the first export come back"
