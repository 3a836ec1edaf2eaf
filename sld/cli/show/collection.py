"""How `sld collect` looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sld.cli.output import remark, say, say_json

if TYPE_CHECKING:
    from sld.api.collecting import Collected


def collection(found: Collected, json: bool) -> None:
    """Show what was collected: the account, and the table itself where it is written nowhere."""
    if json:
        say_json(found.to_json())
        return
    lines = found.summary().splitlines()
    if found.out is None:
        for line in lines:
            remark(line)
        sys.stdout.write(found.to_csv())
        return
    say(lines[0])
    for line in lines[1:]:
        say(f"  {line}")
    table = found.gathered.table
    unchanged = f"; {found.gathered.n_cached} sources had not changed" if found.gathered.n_cached else ""
    rows = "1 row" if table.n_rows == 1 else f"{table.n_rows} rows"
    say(f"{rows} with {', '.join(table.columns)} written to {found.out}{unchanged}")
    if found.drafted.card is None:
        say(found.drafted.reasons[-1])
    elif found.card_kept:
        say(f"{found.card} was changed by hand, or is not of this command; it stays as it is")
    else:
        say(f"its card is {found.card}; next: sld discover {found.out}")
