"""Spreadsheets (.xlsx): the first sheet that holds anything, its first row with cells as the header."""

from __future__ import annotations

import io
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

from sld.core.errors import DataError
from sld.data.formats.source import Content, Held, Source

# what openpyxl raises for files that are damaged, encrypted or of another kind
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


def xlsx_source(content: Content) -> Source:
    """Read a spreadsheet: values as they were last computed; dates and texts stay what they are.

    Raises:
        DataError: It is no spreadsheet, is empty, or a formula in it was never computed.
    """
    data = content.read()
    sheets = _sheets(data, content.where, formulas=False)
    filled = [name for name, rows in sheets.items() if rows]
    if not filled:
        raise DataError(f"{content.where} is empty; wanted a header row and one row per run")
    rows = sheets[filled[0]]
    (_, header), body = rows[0], rows[1:]
    width = max((k + 1 for _, row in rows for k, cell in enumerate(row) if not _is_blank(cell)), default=0)
    cells = [[*row, *[None] * (width - len(row))][:width] for _, row in body]
    numbers = [number for number, _ in body]
    if any(cell is None for row in cells for cell in row):
        _refuse_uncomputed(_sheets(data, content.where, formulas=True).get(filled[0], []), dict(body), content.where)
    names = [_name(cell) for cell in (*header, *[None] * width)][:width]
    others = ", ".join(repr(name) for name in filled[1:6])
    notes = [f"sheet {filled[0]!r} was read; {others} {'was' if len(filled) == 2 else 'were'} not"] if others else []

    def row_name(i: int) -> str:
        return f"row {numbers[i]}"

    columns = [list(column) for column in zip(*cells, strict=True)] if cells else [[] for _ in names]
    return Held(content.where, names, columns, row_name, notes=notes, has_header_line=True)


SheetRows = list[tuple[int, Sequence[Any]]]


def _sheets(data: bytes, where: str, *, formulas: bool) -> dict[str, SheetRows]:
    """Return the rows of every sheet that are not blank, with the numbers that the spreadsheet shows beside them."""
    try:
        import openpyxl
    except ImportError:
        raise DataError(f"reading {where} needs openpyxl: pip install 'sld[xlsx]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions that hold no values
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=not formulas)
            found = {}
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # some programs write wrong ones
                rows = enumerate(sheet.iter_rows(values_only=True), start=1)
                found[sheet.title] = [(k, row) for k, row in rows if not all(map(_is_blank, row))]
            book.close()
            return found
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{where} is not an .xlsx file, or a damaged one: {reason}") from None


def _refuse_uncomputed(formulas: SheetRows, values: dict[int, Sequence[Any]], where: str) -> None:
    """Raise DataError for a formula without a stored value: it would look like an empty cell."""
    for number, row in formulas:
        computed = values.get(number)
        for k, cell in enumerate(row):
            is_formula = (isinstance(cell, str) and cell.startswith("=")) or hasattr(cell, "ref")
            if computed is not None and is_formula and (k >= len(computed) or computed[k] is None):
                from openpyxl.utils import get_column_letter

                place = f"{where} cell {get_column_letter(k + 1)}{number}"
                raise DataError(f"{place} is a formula without a stored value; open the file, save it, and try again")


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _name(cell: Any) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
