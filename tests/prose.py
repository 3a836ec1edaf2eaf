"""The sentences of a Markdown page, without code, tables, headings and the addresses of links."""

import re

_BLOCKS = re.compile(r"^ *```.*?^ *```$|<!--.*?-->", flags=re.DOTALL | re.MULTILINE)
_IMAGE = re.compile(r"!\[.*?\]\(.*?\)", flags=re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[\"”)*]*\s+")


def sentences(markdown: str) -> list[str]:
    """Return the sentences of running text and lists; a term in backquotes is one word."""
    text = _LINK.sub(r"\1", _IMAGE.sub("", _BLOCKS.sub("", markdown)))
    text = re.sub(r"`[^`]*`", "code", text)
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
        if paragraph.lstrip().startswith(("#", "|", ":::")):
            continue
        plain = re.sub(r"^\s*(?:[-*:]|\d+\.) +", "", paragraph.strip())
        found += [s for s in _END.split(plain) if len(words(s)) > 1]
    return found


def words(sentence: str) -> list[str]:
    """Return the words of a sentence; a number is one."""
    return re.findall(r"[\w'.,/%°×·−-]*\w[\w'.,/%°×·−-]*", sentence)


def mean_length(markdown: str) -> float:
    """Return the mean number of words of a sentence."""
    lengths = [len(words(s)) for s in sentences(markdown)]
    return sum(lengths) / len(lengths)
