"""What was said between the search and the model, for a person to read: `llm/transcript.md`."""

from __future__ import annotations

import re

from sld.chat.arrivals import ARRIVALS
from sld.chat.reply import Reply
from sld.search.llm.replies import ParsedReply

_MAX_QUOTED = 20_000  # characters of one reply: all of it stands in arrivals.jsonl
_MAX_LISTED = 40  # formulas of one reply


def exchange(index: int, asked: str, reply: Reply, parsed: ParsedReply) -> str:
    """Return one question with its answer, and what came of it."""
    lines = [f"\n## After {index} candidates\n"]
    if asked:
        lines += ["Asked:\n", quoted(asked)]
    lines.append(answer(reply))
    lines += outcome(parsed)
    return "\n".join(lines) + "\n"


def answer(reply: Reply) -> str:
    """Return what came back."""
    facts = [f"{reply.tokens_in} tokens in, {reply.tokens_out} out"]
    facts += [f"${reply.cost_usd:.4f}"] if reply.cost_usd else []
    facts += [f"{reply.seconds:.1f} s"] if reply.seconds else []
    facts += ["answered from the record"] if reply.cached else []
    facts += ["cut off"] if reply.truncated else []
    text = f"Answer ({', '.join(facts)}):\n"
    if reply.status:
        return f"{text}\nNone: {line(reply.status)}\n"
    if reply.text:
        text += "\n" + quoted(reply.text, whole=ARRIVALS.name)
    for call in reply.tool_calls:
        text += f"\nTool `{line(call.name, 80)}`:\n\n{quoted(call.arguments, whole=ARRIVALS.name)}"
    return text


def outcome(parsed: ParsedReply) -> list[str]:
    """Return which formulas were taken and which were not."""
    lines = []
    if parsed.proposals:
        lines.append(f"Taken, {len(parsed.proposals)}:\n")
        for _, idea in parsed.proposals[:_MAX_LISTED]:
            lines.append(f"- `{line(idea.text)}`" + (f": {line(idea.reason)}" if idea.reason else ""))
        lines.append("")
    if parsed.rejected:
        lines.append(f"Not taken, {len(parsed.rejected)}:\n")
        lines += [f"- `{line(r.text)}`: {line(r.why)}" for r in parsed.rejected[:_MAX_LISTED]]
        lines.append("")
    return lines


def quoted(text: str, *, whole: str = "") -> str:
    """Return text in a fence that it cannot close; `whole` names the file beside the transcript that has all of it."""
    if len(text) > _MAX_QUOTED:
        where = f", in {whole}" if whole else ""
        text = f"{text[:_MAX_QUOTED]}\n(and {len(text) - _MAX_QUOTED} more characters{where})"
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    fence = "`" * (1 + max([2, *(len(run) for run in re.findall(r"`+", text))]))
    return f"{fence}text\n{text.rstrip()}\n{fence}\n"


def line(text: str, most: int = 300) -> str:
    """Return text on one line that cannot leave its backquotes."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split()).replace("`", "'")
    return plain if len(plain) <= most else plain[: most - 1] + "…"
