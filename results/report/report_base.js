"use strict";
// Shared by all sections of the report: the data, helpers, and the dialog with the details of a number. All data is in the
// element #data; nothing is fetched.
const report = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows.map((cells, id) => {
    const row = { id };
    data.columns.forEach((name, i) => { row[name] = cells[i]; });
    return row;
  });
  const $ = (id) => document.getElementById(id);
  const theme = () => document.documentElement.dataset.theme;

  // -- helpers

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") node.className = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  const isNumber = (value) => typeof value === "number";
  const fixed = (value, digits = 3, sign = false) =>
    isNumber(value) ? (sign && value > -0.5 * 10 ** -digits ? "+" : "") + value.toFixed(digits).replace(/^-(0\.0+)$/, "$1")
      : value === "inf" ? "beyond" : "–";
  function roundHalfEven(value) {
    const floor = Math.floor(value);
    const rest = value - floor;
    if (Math.abs(rest - 0.5) > 1e-9) return Math.round(value);
    return floor % 2 === 0 ? floor : floor + 1;
  }
  const unique = (values) => [...new Set(values)];
  const taskKey = (row) => `${row.task} ${row.task_id} ${row.reduction}`;
  const names = unique(data.tasks.map((t) => t.task));
  const shownTask = (task) => task.label || task.task;
  function taskLabel(task) {
    const same = data.tasks.filter((t) => shownTask(t) === shownTask(task));
    const parts = [shownTask(task)];
    if (unique(same.map((t) => t.label_set)).length > 1) parts.push(task.label_set);
    if (unique(same.map((t) => t.reduction)).length > 1) parts.push(task.reduction);
    const label = parts.join(" · ");
    const twins = same.filter((t) => t.label_set === task.label_set && t.reduction === task.reduction);
    return twins.length > 1 ? `${label} · ${task.task_id}` : label;
  }
  const labels = new Map(data.tasks.map((t) => [taskKey(t), taskLabel(t)]));
  function fill(select, options, chosen) {
    const before = chosen ?? select.value;
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    if (options.some(([value]) => value === before)) select.value = before;
  }
  const taskOptions = (filter = () => true) => data.tasks.filter(filter).map((t) => [taskKey(t), labels.get(taskKey(t))]);
  const taskOf = (key) => data.tasks.find((t) => taskKey(t) === key);
  // Markers of the plots, as corners of polygons in a square of side 2.
  const around = (n, turn = 0, inner = 1) => Array.from({ length: n }, (_, i) => {
    const [angle, far] = [2 * Math.PI * i / n + turn - Math.PI / 2, i % 2 ? inner : 1];
    return [far * Math.cos(angle), far * Math.sin(angle)];
  });
  const cross = [[-1, -.33], [-.33, -.33], [-.33, -1], [.33, -1], [.33, -.33], [1, -.33], [1, .33], [.33, .33], [.33, 1],
    [-.33, 1], [-.33, .33], [-1, .33]];
  const SHAPES = {
    circle: around(24), square: [[-.85, -.85], [.85, -.85], [.85, .85], [-.85, .85]], diamond: around(4),
    "diamond-tall": around(4).map(([x, y]) => [.6 * x, y]), "triangle-up": around(3), "triangle-down": around(3, Math.PI),
    "triangle-left": around(3, -Math.PI / 2), "triangle-right": around(3, Math.PI / 2), pentagon: around(5),
    hexagon: around(6), octagon: around(8, Math.PI / 8), star: around(10, 0, .45), cross,
    x: cross.map(([x, y]) => [.75 * (x - y), .75 * (x + y)]),
  };
  function swatch(selector) {
    const style = data.styles[selector];
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["viewBox", "-3 -1.2 6 2.4"], ["class", "swatch"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
    const line = document.createElementNS(svg.namespaceURI, "path");
    line.setAttribute("d", "M-3 0H3");
    line.setAttribute("stroke", style[theme()]);
    line.setAttribute("stroke-width", ".35");
    if (style.dash !== "solid") line.setAttribute("stroke-dasharray", style.dash.split(",").map((part) => parseFloat(part) * 0.16).join(" "));
    const marker = document.createElementNS(svg.namespaceURI, "polygon");
    marker.setAttribute("points", SHAPES[style.symbol].map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" "));
    marker.setAttribute("fill", style[theme()]);
    svg.append(line, marker);
    return svg;
  }
  const selectorName = (name, id) => data.labels[id] || name;
  const shownSelector = (row) => selectorName(row.selector, row.selector_id);
  function selectorLabel(row, all) {
    const twins = unique(all.filter((r) => shownSelector(r) === shownSelector(row) && taskKey(r) === taskKey(row)).map((r) => r.selector_id));
    return twins.length > 1 ? `${shownSelector(row)} ${row.selector_id}` : shownSelector(row);
  }

  // Buttons that hide and show the curves of a plot: a click hides one, a double click shows it alone.
  function legend(target, lines, hidden, redraw) {
    target.replaceChildren(...lines.map(({ name, selector, mark }) => element("button", {
      type: "button", "data-name": name, "aria-pressed": String(!hidden.has(name)),
      onclick: () => {
        if (!hidden.delete(name)) hidden.add(name);
        redraw();
        [...target.children].find((b) => b.dataset.name === name)?.focus();
      },
      ondblclick: () => {
        hidden.clear();
        lines.forEach((other) => { if (other.name !== name) hidden.add(other.name); });
        redraw();
      },
    }, swatch(selector), name, mark)));
  }

  // -- unseen categories

  const noteOf = (row) => row.note === null ? null : taskOf(taskKey(row)).notes[row.note];
  // Mark of an exposed row; the line below the table says the same as its tooltip.
  const mark = (row) => noteOf(row) === null ? null : element("abbr", { class: "mark", title: noteOf(row) }, noteOf(row)[0]);
  function sentence(text) { return text && `${text[0].toUpperCase()}${text.slice(1)}.`; }
  function splits(tasks) {
    return tasks.filter((t) => t.split).map((t) => element("p", { class: "note" },
      element("strong", {}, `${labels.get(taskKey(t))}; ${t.split}`), t.few ? `. ${sentence(t.few)}` : "."));
  }
  function notes(tasks) {
    const lines = new Map();
    for (const task of tasks) {
      for (const note of task.notes) lines.set(note, [...(lines.get(note) ?? []), labels.get(taskKey(task))]);
    }
    return [...lines].map(([note, own]) => element("p", { class: "note" },
      data.tasks.length > 1 ? `${note} (${own.join(", ")})` : note));
  }

  // -- details of a number

  function details(title, shorts, extra = []) {
    $("d-title").textContent = title;
    const body = $("d-body");
    body.replaceChildren(...extra);
    for (const short of shorts) {
      const cell = data.cells[short];
      if (!cell) continue;
      body.append(
        element("dl", {},
          ...[["fingerprint", cell.fingerprint], ["archives", cell.labs], ["seed", cell.seed], ["images", cell.images],
            ["skipped images", cell.skipped], ["finished", cell.finished], ["machine", `${cell.machine} ${cell.device}`],
            ["versions", data.shared[cell.versions]]]
            .filter(([, value]) => value !== "")
            .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))])),
        element("pre", { "data-command": short }, data.shared[cell.command] || "unknown command"),
        element("details", {}, element("summary", {}, "Identities of selector and task (part of the fingerprint)"),
          element("pre", {}, `${data.shared[cell.selector]}\n${data.shared[cell.task]}`)));
    }
    $("details").showModal();
  }
  function showRow(row) {
    const lines = [["all", row.all, row.all_low, row.all_high], ["seen", row.seen, row.seen_low, row.seen_high],
      ["unseen", row.unseen, row.unseen_low, row.unseen_high], ["gap", row.gap, row.gap_low, row.gap_high],
      ["adjusted gap", row.gap_adjusted, row.gap_adjusted_low, row.gap_adjusted_high],
      ...[["retention_all", "retention"], ["retention_seen", "retention on seen"], ["retention_unseen", "retention on unseen"],
        ["gap_from_whole", "gap less that of whole images"]].map(([key, name]) => [name, row[key], row[`${key}_low`], row[`${key}_high`]])];
    const list = element("dl", {}, ...lines.filter(([, value]) => isNumber(value)).flatMap(([name, value, low, high]) => [
      element("dt", {}, name),
      element("dd", {}, fixed(value, 4) + (isNumber(low) ? `  [${fixed(low, 4)}, ${fixed(high, 4)}]` : ""))]));
    const missing = row.complete ? null : element("p", {}, `Incomplete: ${row.missing}`);
    const exposure = noteOf(row) === null ? null : element("p", {}, noteOf(row));
    const shorts = row.fingerprints.split(" ").filter(Boolean);
    details(`${shownSelector(row)} on ${shownTask(taskOf(taskKey(row)))}, keep ratio ${row.ratios}`, shorts, [missing, exposure, list].filter(Boolean));
  }
  function followHash() {
    const found = /^#row-(\d+)$/.exec(location.hash);
    if (found && rows[Number(found[1])]) showRow(rows[Number(found[1])]);
  }
  $("d-close").addEventListener("click", () => $("details").close());
  $("details").addEventListener("close", () => {
    if (location.hash.startsWith("#row-")) history.replaceState(null, "", location.pathname + location.search);
  });
  window.addEventListener("hashchange", followHash);

  return {
    data, rows, $, theme, element, isNumber, fixed, roundHalfEven, unique, taskKey, names,
    labels, fill, taskOptions, taskOf, swatch, selectorName, shownSelector, selectorLabel, legend, mark, splits, notes, details, showRow, followHash,
  };
})();
