"""What the site needs beside the usual Markdown: formulas as MathML, and the repository's changelog as a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CHANGELOG = Path(__file__).resolve().parents[1] / "CHANGELOG.md"
MARK = "<!-- CHANGELOG.md -->"
_LINK_TO_FILE = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]+\)")


class _Changelog(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        """Put the changelog where the mark is; files of the repository that it links to are only named."""
        if MARK not in lines:
            return lines
        return _LINK_TO_FILE.sub(r"`\1`", CHANGELOG.read_text(encoding="utf-8")).splitlines()


class _Formulas(Treeprocessor):
    def run(self, root: Element) -> None:
        """Turn LaTeX into MathML, which browsers show without a script."""
        from latex2mathml.converter import convert_to_element

        for parent in root.iter():
            for k, child in enumerate(parent):
                if child.get("class") != "arithmatex" or child.text is None:
                    continue
                display = "inline" if child.tag == "span" else "block"
                formula = convert_to_element(child.text.strip()[2:-2], display=display)  # without \( and \)
                formula.tail = child.tail
                parent[k] = formula


class SiteExtension(Extension):
    """Both of the above; `pymdownx.arithmatex` with `generic` has to be on."""

    def extendMarkdown(self, md: Markdown) -> None:  # Markdown's name
        """Register them."""
        md.preprocessors.register(_Changelog(md), "sld_changelog", 100)
        md.treeprocessors.register(_Formulas(md), "sld_formulas", 0)


def makeExtension(**settings: Any) -> SiteExtension:  # Markdown's name
    """Return the extension, as Markdown asks for it by the name of this module."""
    return SiteExtension(**settings)
