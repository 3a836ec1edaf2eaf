"use strict";
// The pages are complete without this script; it adds sorting, searching, copying and tall brackets.
(() => {
  const announce = (table, text) => {
    const status = table.closest("section").querySelector("[role=status]");
    if (status) status.textContent = text;
  };

  const valueOf = (cell) => {
    if (!cell) return null;
    const text = cell.hasAttribute("data-v") ? cell.getAttribute("data-v") : cell.textContent.trim();
    return text === "" ? null : text;
  };

  const sort = (table, column, header, direction) => {
    const body = table.tBodies[0];
    const numeric = header.dataset.sort === "number";
    const sign = direction === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row, at) => ({ row, at, key: valueOf(row.cells[column]) }));
    rows.sort((a, b) => {
      // what has no value stands last, whichever way is up
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.at - b.at;
      const order = numeric ? Number(a.key) - Number(b.key)
        : a.key.localeCompare(b.key, "en", { numeric: true, sensitivity: "base" });
      return sign * order || a.at - b.at;
    });
    body.append(...rows.map((entry) => entry.row));
    for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction);
    announce(table, `Sorted by ${header.textContent.trim()}, ${direction}`);
  };

  // brackets as tall as what they hold, also where no font for mathematics is there to do it
  for (const sign of document.querySelectorAll("math mo")) {
    if (!"()|".includes(sign.textContent) || sign.parentElement.childElementCount < 2) continue;
    const own = sign.getBoundingClientRect(), held = sign.parentElement.getBoundingClientRect();
    if (!own.height || own.height > 0.8 * held.height) continue;
    const down = held.top + held.height / 2 - own.top - own.height / 2;
    sign.style.transform = `translateY(${down.toFixed(1)}px) scaleY(${(held.height / own.height).toFixed(2)})`;
  }

  // what scrolls can be reached by keyboard
  for (const box of document.querySelectorAll(".formula, pre")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      if (!header.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const first = header.dataset.first || "ascending";
        const now = header.getAttribute("aria-sort");
        const second = first === "ascending" ? "descending" : "ascending";
        sort(table, column, header, now === first ? second : first);
      });
    });
  }

  for (const field of document.querySelectorAll("input[type=search]")) {
    const section = field.closest("section");
    const plain = (text) => text.normalize("NFKC").toLowerCase();
    const rows = Array.from(section.querySelectorAll("table.sortable tbody tr"), (row) => ({
      row, text: plain(row.textContent),
    }));
    const filter = () => {
      const wanted = plain(field.value).split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { row, text } of rows) {
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      const status = section.querySelector("[role=status]");
      status.textContent = wanted.length ? `${shown} of ${rows.length} rows match` : "";
    };
    field.addEventListener("input", filter);
    field.closest(".tools").hidden = false;
    if (field.value) filter();
  }

  for (const holder of document.querySelectorAll("[data-copy]")) {
    const source = document.getElementById(holder.dataset.copy);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    const done = (text) => {
      button.textContent = text;
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    };
    const select = () => {
      const range = document.createRange();
      range.selectNodeContents(source);
      const selection = window.getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      done("Selected");
    };
    button.setAttribute("aria-label", `Copy ${holder.dataset.what}`);
    button.addEventListener("click", () => {
      if (!navigator.clipboard) return select();
      return navigator.clipboard.writeText(source.textContent).then(() => done("Copied"), select);
    });
    holder.append(button);
  }
})();
