#!/usr/bin/env bash
# `scan_history()` of W&B's client pages over steps, not over rows: 11 rows at steps up to 1,000,000 take 1,001 requests.
#
# Seen with wandb 0.31.0 (Python 3.11) and a server on loopback that answers its queries. `page_size` is documented as
# "the number of history records to read at a time" (1,000). One would expect one request for a run with 11 rows. Each
# request asks for the next 1,000 values of the step, whether there are rows or not. Who logs with
# `run.log(..., step=tokens)` has steps up to 1e9 or 1e12: to read such a run, some thousand rows, takes millions of
# requests, days, and runs into the rate limit. (Rows that the server has exported to Parquet are read from a file, and
# are not concerned.)
# Way out: a `page_size` in steps, as large as the last step divided by the number of pages that one wants.
#
# Prints what was seen, and fails if that changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q wandb==0.31.0
cd "$place"
HOME="$place" WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567 "$place/venv/bin/python" - <<'PYTHON'
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROWS = [{"_step": 100_000 * k, "loss": 5.0 - 0.1 * k} for k in range(11)]
RUN = {"id": "1", "projectId": "1", "name": "a", "displayName": "a", "state": "finished", "config": "{}", "tags": []}
pages = []


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            query, given = asked["query"], asked.get("variables") or {}
            run = {**RUN, "historyKeys": {"lastStep": ROWS[-1]["_step"]}}
            if "HistoryPage" in query:
                low, high, most = given["minStep"], given["maxStep"], given["pageSize"]
                rows = [json.dumps(row) for row in ROWS if low <= row["_step"] < high]
                pages.append(len(rows))
                run = {"history": rows[:most]}
            elif "parquetHistory" in query:
                run = {"parquetHistory": {"parquetUrls": [], "liveData": []}}
            data = {"viewer": {"id": "u", "entity": "me", "username": "me", "flags": "{}"}, "project": {"run": run}}
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["WANDB_BASE_URL"] = f"http://127.0.0.1:{server.server_address[1]}"

import wandb

run = wandb.Api().run("me/project/a")
rows = list(run.scan_history())
print(f"{len(rows)} rows came with {len(pages)} requests, of which {pages.count(0)} brought none")
assert len(rows) == 11 and len(pages) == 1001, "it no longer pages over steps"
pages.clear()
rows = list(run.scan_history(page_size=1_000_001))
print(f"{len(rows)} rows came with {len(pages)} request when page_size is the number of steps")
assert len(rows) == 11 and len(pages) == 1
PYTHON
echo "as described: page_size counts steps"
