"""A process that adds entries to a board, for the tests of several and of killed writers.

Usage: board_writer.py BOARD TEMPLATE FIRST N: adds "law FIRST" .. "law FIRST+N-1", each with a key of its own, and
prints a line for each.
"""

import json
import sys
from pathlib import Path

from sld.board.entries.entry import Entry, content_hash
from sld.board.entries.store import Board


def main(board: str, template: str, first: str, n: str) -> None:
    data = json.loads(Path(template).read_bytes())
    del data["hash"]
    for k in range(int(first), int(first) + int(n)):
        data |= {"name": f"law {k}", "key": f"key {k}"}
        entry = Entry.from_json({**data, "hash": content_hash(data)}, "template")
        print("new" if Board((Path(board),)).add(entry).new else "there", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
