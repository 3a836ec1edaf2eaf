// The page is complete without this script; it lets charts be explored: other scales, values under the pointer or cursor.
(() => {
  const block = document.getElementById("charts");
  if (!block) return;
  const SVG = "http://www.w3.org/2000/svg";
  const MARGIN = { left: 64, right: 12, top: 10, bottom: 46 };
  const REACH = 28; // pixels within which a run is pointed at

  const make = (name, attributes = {}, text = "") => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
  };
  const html = (name, attributes = {}, text = "") => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text) node.textContent = text;
    return node;
  };
  const pixel = (value) => value.toFixed(1);

  // as people write numbers: 1.3M, 70B, 0.0003
  const short = (value) => {
    const size = Math.abs(value);
    if (size === 0) return "0";
    for (const [limit, unit, letter] of [[1e12, 1e12, "T"], [1e9, 1e9, "B"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]]) {
      if (size >= limit && size < 1e16) return sign(`${Number((value / unit).toPrecision(3))}${letter}`);
    }
    if (size < 1e-4 || size >= 1e16) return sign(value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e"));
    return sign(String(Number(value.toPrecision(4))));
  };
  const sign = (text) => text.replaceAll("-", "−");

  const fitting = (label, most) => (label.length <= most ? label : `${label.slice(0, Math.max(1, most - 1))}…`);

  const logTicks = (low, high) => {
    for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]]) {
      const found = [];
      for (let d = Math.floor(Math.log10(low)); d <= Math.ceil(Math.log10(high)); d += 1) {
        for (const s of steps) if (s * 10 ** d >= low && s * 10 ** d <= high) found.push(s * 10 ** d);
      }
      if (found.length >= 4) return found.filter((_, k) => k % Math.max(1, Math.round(found.length / 6)) === 0);
    }
    return linearTicks(low, high);
  };
  const linearTicks = (low, high) => {
    const raw = (high - low) / 5;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = size * [1, 2, 2.5, 5, 10].find((s) => size * s >= raw * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= Math.floor(high / step + 1e-9); k += 1) {
      found.push(Number((k * step).toPrecision(12)));
    }
    return found;
  };

  // one closed shape of about equal area for each series, as the still pictures have them
  const marker = (k, x, y, r) => {
    const shape = (...points) => `M${points.map(([a, b]) => `${pixel(x + a * r)} ${pixel(y + b * r)}`).join("L")}z`;
    const g = 0.42, a = 1.25;
    return [
      () => `M${pixel(x - r)} ${pixel(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
      () => shape([-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]),
      () => shape([0, -1.2], [1.15, 0.85], [-1.15, 0.85]),
      () => shape([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]),
      () => shape([0, 1.2], [1.15, -0.85], [-1.15, -0.85]),
      () => shape([-g, -a], [g, -a], [g, -g], [a, -g], [a, g], [g, g], [g, a], [-g, a], [-g, g], [-a, g], [-a, -g], [-g, -g]),
    ][k % 6]();
  };

  const explore = (data) => {
    const holder = document.querySelector(`[data-chart="${data.id}"]`);
    if (!holder) return;
    const figure = holder.closest("figure");
    const curves = data.kind === "curves";
    const state = { x: data.x.log, y: data.y.log, bands: true, hidden: new Set(), at: null };
    const positive = (axis, index) => {
      const seen = data.series.flatMap((s) => [...s.dots.map((d) => d[index]), ...(curves ? (index ? s.y : s.x) : [])]);
      const known = seen.filter((v) => v !== null && v > 0 && v <= axis.high);
      return seen.some((v) => v !== null && v <= 0) || !known.length ? null : Math.min(...known);
    };
    const least = { x: positive(data.x, 0), y: positive(data.y, 1) };

    const readout = html("p", { class: "readout", "aria-live": "polite" });
    const hint = curves
      ? "Point at the chart, or focus it and use the arrow keys: left and right along the axis, up and down between lines."
      : "Point at a run, or focus the chart and use the arrow keys: left and right between runs, up and down between series.";
    readout.textContent = hint;

    let scale = {};
    let svg = null;
    let over = null;

    const place = (axis, logarithmic, low, length) => {
      const start = logarithmic && axis.low <= 0 ? low : axis.low;
      if (logarithmic) return (v) => (v > 0 ? (Math.log(v / start) / Math.log(axis.high / start)) * length : NaN);
      return (v) => ((v - start) / (axis.high - start)) * length;
    };
    const ticksOf = (axis, logarithmic, low) => {
      const start = logarithmic && axis.low <= 0 ? low : axis.low;
      return logarithmic ? logTicks(start, axis.high) : linearTicks(start, axis.high);
    };
    const runs = (xs, ys, keep) => {
      let path = "", open = false;
      xs.forEach((x, k) => {
        const v = ys[k];
        const shown = v !== null && keep(x) && Number.isFinite(scale.y(v)) && Number.isFinite(scale.x(x));
        if (shown) path += `${open ? "L" : "M"}${pixel(scale.x(x))} ${pixel(scale.up(v))}`;
        open = shown;
      });
      return path;
    };

    const draw = () => {
      const width = Math.max(300, holder.clientWidth || 640);
      const height = Math.min(440, Math.max(260, 0.6 * width));
      const w = width - MARGIN.left - MARGIN.right, h = height - MARGIN.top - MARGIN.bottom;
      const y = place(data.y, state.y, least.y, h);
      scale = { x: place(data.x, state.x, least.x, w), y, w, h };
      // far outside is as good as just outside
      scale.up = (v) => Math.min(4 * h, Math.max(-3 * h, h - y(v)));
      const focused = document.activeElement === svg;
      svg = make("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, tabindex: "0", role: "group",
        "aria-roledescription": "chart", "aria-label": `${data.title}. ${hint}` });
      const axes = make("g", { class: "axes", "aria-hidden": "true" });
      const bottom = MARGIN.top + h;
      const most = Math.max(2, Math.floor(w / 62));
      const xs = ticksOf(data.x, state.x, least.x);
      xs.filter((_, k) => k % Math.ceil(xs.length / most) === 0).forEach((v) => {
        const at = MARGIN.left + scale.x(v);
        axes.append(make("path", { class: "grid", d: `M${pixel(at)} ${MARGIN.top}V${bottom}` }),
          make("text", { x: pixel(at), y: bottom + 17, "text-anchor": "middle" }, short(v)));
      });
      ticksOf(data.y, state.y, least.y).forEach((v) => {
        const at = MARGIN.top + h - y(v);
        axes.append(make("path", { class: "grid", d: `M${MARGIN.left} ${pixel(at)}H${MARGIN.left + w}` }),
          make("text", { x: MARGIN.left - 7, y: pixel(at + 4.5), "text-anchor": "end" }, short(v)));
      });
      axes.append(make("path", { class: "axis", d: `M${MARGIN.left} ${MARGIN.top}V${bottom}H${MARGIN.left + w}` }),
        make("text", { x: MARGIN.left + w / 2, y: height - 8, "text-anchor": "middle" }, fitting(data.x.label, w / 6.6)),
        make("text", { transform: `translate(12 ${MARGIN.top + h / 2}) rotate(-90)`, "text-anchor": "middle" },
          fitting(data.y.label, h / 6.6)));
      const inside = make("svg", { x: MARGIN.left, y: MARGIN.top, width: w, height: h, overflow: "hidden", "aria-hidden": "true" });
      if (data.beyond) {
        const [a, b] = data.beyond.map((v) => Math.min(w, Math.max(0, scale.x(v))));
        inside.append(make("rect", { class: "shade", x: pixel(a), y: 0, width: pixel(Math.max(0, b - a)), height: h }));
      }
      if (!curves) inside.append(make("path", { class: "l guide", d: `M0 ${pixel(scale.up(0))}H${w}` }));
      data.series.forEach((s, k) => {
        if (state.hidden.has(k)) return;
        if (curves && state.bands && s.low) {
          const there = s.x.map((_, i) => i).filter((i) => s.low[i] !== null && s.high[i] !== null && s.high[i] > 0);
          const floor = (v) => (state.y && v <= 0 ? 3 * h : scale.up(v));
          const above = there.map((i) => `${pixel(scale.x(s.x[i]))} ${pixel(scale.up(s.high[i]))}`);
          const below = there.map((i) => `${pixel(scale.x(s.x[i]))} ${pixel(floor(s.low[i]))}`).reverse();
          if (there.length > 1) inside.append(make("path", { class: `band s${k % 6}`, d: `M${[...above, ...below].join("L")}z` }));
        }
      });
      data.series.forEach((s, k) => {
        if (state.hidden.has(k) || !curves) return;
        const known = s.known ? (x) => x >= s.known[0] * (1 - 1e-6) && x <= s.known[1] * (1 + 1e-6) : () => false;
        inside.append(make("path", { class: `l dashed s${k % 6}`, d: runs(s.x, s.y, () => true) }),
          make("path", { class: `l solid s${k % 6}`, d: runs(s.x, s.y, known) }));
      });
      data.series.forEach((s, k) => {
        if (state.hidden.has(k)) return;
        for (const hollow of [0, 1]) {
          const shapes = s.dots.filter((d) => d[2] === hollow && d[0] !== null && d[1] !== null)
            .map((d) => [scale.x(d[0]), scale.up(d[1])]).filter((p) => p.every(Number.isFinite));
          if (shapes.length) {
            inside.append(make("path", { class: `m s${k % 6}${hollow ? " hollow" : ""}`,
              d: shapes.map(([a, b]) => marker(k, a, b, 3.6)).join("") }));
          }
        }
      });
      over = make("g", {});
      inside.append(over);
      svg.append(axes, inside);
      svg.addEventListener("pointermove", point);
      svg.addEventListener("pointerdown", point);
      svg.addEventListener("pointerleave", () => tell(null));
      svg.addEventListener("keydown", press);
      holder.replaceChildren(svg);
      if (focused) svg.focus({ preventScroll: true });
      if (state.at) tell(state.at);
    };

    const valuesAt = (x) => {
      const parts = [];
      data.series.forEach((s, k) => {
        if (state.hidden.has(k) || !curves) return;
        let i = 0;
        s.x.forEach((v, n) => { if (Math.abs(scale.x(v) - scale.x(x)) < Math.abs(scale.x(s.x[i]) - scale.x(x))) i = n; });
        if (s.y[i] === null) return;
        const between = s.low && s.low[i] !== null && s.high[i] !== null ? ` (${exact(s.low[i])} to ${exact(s.high[i])})` : "";
        parts.push({ k, i, text: `${s.name}: ${exact(s.y[i])}${between}` });
      });
      return parts;
    };
    const exact = (v) => sign(String(Number(v.toPrecision(4))));

    // what is pointed at: a run {k, n}, or a place on the axis {x, k?}
    const tell = (at) => {
      state.at = at;
      over.replaceChildren();
      if (!at) { readout.textContent = hint; return; }
      if (at.n !== undefined) {
        const s = data.series[at.k], dot = s.dots[at.n];
        over.append(make("circle", { class: "ring", cx: pixel(scale.x(dot[0])), cy: pixel(scale.up(dot[1])), r: 8 }));
        const where = data.by && s.name ? `${data.by} ${s.name}, ` : "";
        const kind = dot[2] ? "held-out run" : "run";
        readout.textContent = dot[3] ? `${dot[2] ? "Held out: " : ""}${dot[3]} (${exact(dot[1])})`
          : `${where}${kind} at ${short(dot[0])}: ${exact(dot[1])}`;
        return;
      }
      over.append(make("path", { class: "cursor", d: `M${pixel(scale.x(at.x))} 0V${scale.h}` }));
      let parts = valuesAt(at.x);
      if (at.k !== undefined) parts = parts.filter((p) => p.k === at.k);
      for (const { k, i } of parts) {
        const s = data.series[k];
        over.append(make("circle", { class: `spot s${k % 6}`, cx: pixel(scale.x(s.x[i])), cy: pixel(scale.up(s.y[i])), r: 4 }));
      }
      readout.textContent = `${data.x.label} ${short(at.x)} — ${parts.map((p) => p.text).join("; ") || "no line is shown here"}`;
    };

    const point = (event) => {
      const box = svg.getBoundingClientRect();
      const zoom = (scale.w + MARGIN.left + MARGIN.right) / box.width;
      const px = (event.clientX - box.left) * zoom - MARGIN.left, py = (event.clientY - box.top) * zoom - MARGIN.top;
      if (px < -4 || px > scale.w + 4 || py < -4 || py > scale.h + 4) return tell(null);
      let best = null, distance = curves ? 10 : REACH;
      data.series.forEach((s, k) => {
        if (state.hidden.has(k)) return;
        s.dots.forEach((d, n) => {
          const away = Math.hypot(scale.x(d[0]) - px, scale.up(d[1]) - py);
          if (away < distance) { best = { k, n }; distance = away; }
        });
      });
      if (best) return tell(best);
      if (!curves) return tell(null);
      let x = null;
      data.series.forEach((s, k) => {
        if (state.hidden.has(k)) return;
        s.x.forEach((v) => { if (x === null || Math.abs(scale.x(v) - px) < Math.abs(scale.x(x) - px)) x = v; });
      });
      return x === null ? undefined : tell({ x });
    };

    const visible = () => data.series.map((_, k) => k).filter((k) => !state.hidden.has(k));
    const press = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 0, ArrowDown: 0, Home: 0, End: 0 }[event.key];
      if (event.key === "Escape") return tell(null);
      if (step === undefined || !visible().length) return undefined;
      event.preventDefault();
      const shown = visible();
      const turn = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
      const now = state.at && state.at.k !== undefined && shown.includes(state.at.k) ? shown.indexOf(state.at.k) : 0;
      const k = shown[(now + turn + shown.length) % shown.length];
      const s = data.series[k];
      if (curves) {
        const at = state.at && state.at.x !== undefined ? s.x.reduce((b, v, i) =>
          (Math.abs(scale.x(v) - scale.x(state.at.x)) < Math.abs(scale.x(s.x[b]) - scale.x(state.at.x)) ? i : b), 0) : -1;
        const jump = Math.max(1, Math.round(s.x.length / 40));
        let i = at < 0 ? 0 : at + step * jump;
        if (event.key === "Home") i = 0;
        if (event.key === "End") i = s.x.length - 1;
        return tell({ x: s.x[Math.min(s.x.length - 1, Math.max(0, i))], k });
      }
      const order = s.dots.map((_, n) => n).sort((a, b) => s.dots[a][0] - s.dots[b][0]);
      if (!order.length) return undefined;
      const was = state.at && state.at.k === k ? order.indexOf(state.at.n) : -1;
      let i = was < 0 ? 0 : was + step;
      if (event.key === "Home") i = 0;
      if (event.key === "End") i = order.length - 1;
      return tell({ k, n: order[Math.min(order.length - 1, Math.max(0, i))] });
    };

    const controls = html("div", { class: "controls", role: "group", "aria-label": `Scales of ${data.title}` });
    const toggle = (name, pressed, act) => {
      const button = html("button", { type: "button", "aria-pressed": String(pressed) }, name);
      button.addEventListener("click", () => {
        const now = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(now));
        act(now);
        draw();
      });
      return button;
    };
    if (least.x !== null) controls.append(toggle("log x", state.x, (on) => { state.x = on; state.at = null; }));
    if (least.y !== null) controls.append(toggle("log y", state.y, (on) => { state.y = on; state.at = null; }));
    if (curves && data.series.some((s) => s.low)) controls.append(toggle("intervals", true, (on) => { state.bands = on; }));
    if (controls.childElementCount) holder.before(controls);
    holder.after(readout);

    // each series can be put aside
    const items = Array.from(figure.querySelectorAll(".legend li:not(.of)")).slice(0, data.series.length);
    if (items.length > 1) {
      items.forEach((item, k) => {
        const button = toggle("", true, (on) => {
          if (on) state.hidden.delete(k); else state.hidden.add(k);
          state.at = null;
        });
        button.append(...item.childNodes);
        item.append(button);
      });
    }
    draw();
    let last = holder.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(holder.clientWidth - last) < 2) return;
      last = holder.clientWidth;
      draw();
    }).observe(holder);
  };

  for (const data of JSON.parse(block.textContent)) explore(data);
})();
