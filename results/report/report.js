"use strict";
// The sections of the report: leaderboard, curves, categories, agreement and gallery. `report` comes from report_base.js.
(() => {
  const {
    data, rows, $, theme, element, isNumber, fixed, roundHalfEven, unique, taskKey, names,
    labels, fill, taskOptions, taskOf, swatch, selectorName, shownSelector, selectorLabel, legend, mark, splits, notes, details, showRow, followHash,
    pareto,
  } = report;

  // -- leaderboard

  const rank = (row, prefix) => !isNumber(row[`${prefix}rank`]) ? null
    : row[`${prefix}rank`] === row[`${prefix}rank_last`] ? `${row[`${prefix}rank`]}`
      : `${row[`${prefix}rank`]}–${row[`${prefix}rank_last`]}`;
  const value = (name, { sign = false, title = name, group = null, help }) => ({
    key: name, title, group, help, number: true,
    text: (row) => [fixed(row[name], 3, sign), isNumber(row[`${name}_low`])
      ? element("small", {}, ` [${fixed(row[`${name}_low`], 3, sign)}, ${fixed(row[`${name}_high`], 3, sign)}]`) : null],
  });
  const breakEven = (row, control) =>
    [row[`break_even_${control}_range`] === "below" ? "<" : null, fixed(row[`break_even_${control}`], 2)];
  const columns = [
    { key: "selector", title: "selector", help: "Method that ranks the patches of an image.",
      text: (row) => [swatch(row.selector), selectorLabel(row, rows)] },
    { key: "rank", title: "rank", number: true, text: (row) => [rank(row, "") ?? "–"],
      help: "Place in the table by the metric on all categories; a range where selectors are tied. Selectors that see the "
        + "ground truth or keep everything (oracle, full) have no rank." },
    { key: "task", title: "task", help: "Data set and what is measured on it.", text: (row) => [labels.get(taskKey(row))] },
    { key: "metric", title: "metric", help: "What the numbers of the row are.", text: (row) => [row.metric] },
    { key: "keep_ratio", title: "keep ratio", number: true, text: (row) => [row.ratios],
      help: "Share of the patches that are kept; “auc” is the mean over keep ratios (area under the curve)." },
    value("all", { help: "The metric on all categories." }),
    value("seen", { help: "The metric on categories that the label set of the split contains." }),
    value("unseen", { help: "The metric on categories that it does not contain." }),
    value("gap", { sign: true, help: "Seen less unseen: above 0, the selector keeps more of what its labels name." }),
    value("gap_adjusted", { sign: true, title: "adjusted gap",
      help: "Gap less the mean gap of the controls variance and center, which use no labels: what is left is not due to "
        + "seen and unseen objects differing in size or place." }),
    value("gap_from_whole", { sign: true, title: "gap less whole image’s", group: "retention", help: "Gap less the gap of whole images." }),
    value("retention_all", { title: "retention", group: "retention", help: "The metric as a share of that of whole images." }),
    value("retention_seen", { title: "retention on seen", group: "retention", help: "The same on seen categories." }),
    value("retention_unseen", { title: "retention on unseen", group: "retention", help: "The same on unseen categories." }),
    { key: "unseen_rank", title: "rank on unseen", number: true, text: (row) => [rank(row, "unseen_") ?? "–"],
      help: "Place by the metric on unseen categories; none for selectors whose labels may contain them († ‡)." },
    { key: "supervision", title: "supervision", text: (row) => row.supervision.split(/(?<=[+])/).flatMap((part, i) => i ? [element("wbr"), part] : [part]),
      help: "Label sets that the selector was trained with; “self” and “none” use no labels." },
    { key: "break_even_random", title: "as random at", group: "cost", number: true, text: (row) => breakEven(row, "random"),
      help: "Keep ratio at which random patches reach the same value: the higher, the more a choice of patches is worth. "
        + "“<” means less than all that were measured, “beyond” that random patches never reach it." },
    { key: "break_even_downsample", title: "as downsample at", group: "cost", number: true, text: (row) => breakEven(row, "downsample"),
      help: "Share of patches at which a smaller version of the whole image reaches the same value." },
    { key: "selector_ms", title: "selector ms", group: "cost", number: true, text: (row) => [fixed(row.selector_ms, 1)],
      help: "Milliseconds that the selector takes for an image, on the machine of the run." },
    { key: "selector_gflops", title: "GFLOPs", group: "cost", number: true, text: (row) => [fixed(row.selector_gflops, 2)],
      help: "Operations of the selector for an image, in 10⁹." },
    { key: "images_per_second", title: "images/s", group: "cost", number: true, text: (row) => [fixed(row.images_per_second, 1)],
      help: "Images that selector and model process in a second." },
    { key: "latency_both_ms", title: "ms at batch 1", group: "cost", number: true, text: (row) => [fixed(row.latency_both_ms, 1)],
      help: "Milliseconds of selector and model together for one image at a time, as `ltrp-bench latency` measures them." },
    { key: "break_even_time_b1", title: "as fast as whole at", group: "cost", number: true,
      text: (row) => [row.break_even_time_b1_range === "above" ? ">" : null, fixed(row.break_even_time_b1, 2)],
      help: "Keep ratio below which selector and model together are faster than the model on whole images." },
    { key: "images", title: "images", number: true, text: (row) => [String(row.images)], help: "Number of images measured." },
  ].filter((column) => rows.some((row) => row[column.key] !== null && row[column.key] !== ""));
  const marked = new Set(["selector", "unseen", "gap", "gap_adjusted", "gap_from_whole", "retention_unseen"]);
  const linked = new Set(["all", "seen", "unseen", "gap", "gap_adjusted", "gap_from_whole", "retention_all",
    "retention_seen", "retention_unseen", "rank", "unseen_rank", "break_even_random",
    "break_even_downsample", "selector_ms", "selector_gflops", "images_per_second", "images"]);
  const keyColumns = new Set(["selector", "rank", "task", "metric", "keep_ratio", "all", "seen", "unseen", "gap"]);
  const classOf = (column) => [column.number && "num", `c-${column.key}`, column.group && `g-${column.group}`,
    keyColumns.has(column.key) && "key"].filter(Boolean).join(" ");
  const falls = (column) => column.number && column.key !== "keep_ratio" && !column.key.includes("rank");
  let sorting = null;

  function sortKey(row, key) {
    const found = row[key];
    if (found === "inf") return Infinity;
    return key === "keep_ratio" && found === null ? 2 : found;
  }
  function sorted(list) {
    if (!sorting) return list;
    const { key, down } = sorting;
    return [...list].sort((a, b) => {
      const [x, y] = [sortKey(a, key), sortKey(b, key)];
      if (x === null || y === null) return (x === null) - (y === null) || a.id - b.id;
      const order = typeof x === "string" ? x.localeCompare(y) : x - y;
      return (down ? -order : order) || a.id - b.id;
    });
  }
  function tableHead() {
    $("board").tHead.replaceChildren(element("tr", {}, ...columns.map((column) => {
      const state = sorting?.key === column.key ? (sorting.down ? "descending" : "ascending") : null;
      return element("th", { scope: "col", class: classOf(column), "aria-sort": state }, element("button", {
        type: "button", "data-key": column.key, title: column.help,
        onclick: () => {
          sorting = sorting?.key === column.key ? { key: column.key, down: !sorting.down } : { key: column.key, down: falls(column) };
          table();
          $("board").querySelector(`button[data-key="${column.key}"]`).focus();
        },
      }, column.title));
    })));
    for (const group of ["retention", "cost"]) $("board").classList.toggle(`with-${group}`, $(`f-${group}`).checked);
    $("f-sort").value = sorting?.key ?? "";
  }
  function table() {
    tableHead();
    const text = $("f-text").value.trim().toLowerCase().split(/[\s,]+/).filter(Boolean);
    const shown = sorted(rows.filter((row) =>
      (!$("f-task").value || taskKey(row) === $("f-task").value)
      && (!$("f-ratio").value || row.ratios === $("f-ratio").value)
      && (!$("f-complete").checked || row.complete)
      && (!$("f-exposed").checked || row.note === null)
      && (!text.length || text.some((part) => `${row.selector} ${shownSelector(row)}`.toLowerCase().includes(part)))));
    const tableOf = (row) => `${taskKey(row)} ${row.metric} ${row.ratios}`;
    // Lines between tables, unless each is a single row, as on a selector's page.
    const grouped = !sorting && unique(shown.map(tableOf)).length < shown.length;
    $("board").tBodies[0].replaceChildren(...shown.map((row, i) => element("tr",
      { class: `${row.complete ? "" : "incomplete"} ${grouped && i && tableOf(row) !== tableOf(shown[i - 1]) ? "first" : ""}`.trim(), "data-row": row.id },
      ...columns.map((column) => {
        const inside = column.text(row).filter((part) => part !== null);
        const empty = inside.length === 1 && inside[0] === "–";
        if (!row.complete && column.key === "all") inside.splice(0, inside.length, `incomplete: ${row.missing}`);
        else if (row.all === null && column.key === "all") inside.splice(0, inside.length, "nothing to measure");
        else if (linked.has(column.key) && !empty && row.fingerprints) {
          const label = `${column.title} of ${shownSelector(row)} at keep ratio ${row.ratios}: show how it was measured`;
          inside.splice(0, inside.length, element("a", { href: `#row-${row.id}`, title: label }, ...inside));
        }
        return element("td", { class: classOf(column), "data-label": column.title }, ...inside,
          marked.has(column.key) && !empty ? mark(row) : null);
      }))));
    const tasks = unique(shown.map(taskKey)).map(taskOf);
    $("f-splits").replaceChildren(...splits(tasks));
    $("f-notes").replaceChildren(...notes(tasks));
    $("f-count").textContent = `${shown.length} of ${rows.length} rows`;
    remember();
  }

  // -- curves

  const hidden = new Set();
  let plotly = null;

  function points(task, group) {
    const own = rows.filter((row) => taskKey(row) === task && row.keep_ratio !== null && row.metric === taskOf(task).metric);
    const lines = new Map();
    for (const row of own) {
      const key = selectorLabel(row, own);
      if (!lines.has(key)) lines.set(key, []);
      lines.get(key).push(row);
    }
    const order = Object.keys(data.styles);
    return [...lines].sort(([, a], [, b]) => order.indexOf(a[0].selector) - order.indexOf(b[0].selector))
      .map(([name, line]) => ({ name, group, line: line.sort((a, b) => a.keep_ratio - b.keep_ratio) }));
  }
  const tint = (hex, alpha) => `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${alpha})`;
  const markOf = (line) => mark(line.find((row) => row.note !== null) ?? line[0]);
  function traces(task, group) {
    const out = [];
    for (const { name, line } of points(task, group)) {
      if (hidden.has(name)) continue;
      const style = data.styles[line[0].selector];
      const exposed = group === "unseen" ? markOf(line)?.textContent ?? "" : "";
      const x = line.map((row) => row.keep_ratio);
      const banded = line.filter((row) => isNumber(row[`${group}_low`]));
      if ($("c-bands").checked && banded.length > 1) {
        out.push({
          x: [...banded, ...[...banded].reverse()].map((row) => row.keep_ratio),
          y: [...banded.map((row) => row[`${group}_high`]), ...[...banded].reverse().map((row) => row[`${group}_low`])],
          fill: "toself", fillcolor: tint(style[theme()], 0.13), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
        });
      }
      out.push({
        x, y: line.map((row) => row[group]), name, mode: "lines+markers", connectgaps: false,
        customdata: line.map((row) => row.id), line: { color: style[theme()], width: 1.6, dash: style.dash },
        marker: { symbol: style.symbol + (exposed && "-open"), size: 7, color: style[theme()] },
        hovertext: line.map((row) => `${name}${exposed}<br>keep ratio ${row.ratios}<br>${group} ${fixed(row[group], 4)}`
          + (isNumber(row[`${group}_low`]) ? `<br>[${fixed(row[`${group}_low`], 4)}, ${fixed(row[`${group}_high`], 4)}]` : "")),
        hoverinfo: "text",
      });
    }
    return out;
  }
  function curves() {
    const task = $("c-task").value;
    if (!task) return;
    const own = taskOf(task);
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    const grid = getComputedStyle(document.documentElement).getPropertyValue("--line").trim();
    const all = points(task, "seen").flatMap(({ line }) => line);
    const values = all.flatMap((row) => ["seen", "unseen"].flatMap((g) => [row[g], row[`${g}_low`], row[`${g}_high`]])).filter(isNumber);
    const pad = 0.04 * (Math.max(...values) - Math.min(...values) || 1);
    const range = [Math.min(...values) - pad, Math.max(...values) + pad];
    if (plotly) {
      for (const group of ["seen", "unseen"]) {
        const axis = { gridcolor: grid, zeroline: false, linecolor: grid, automargin: true };
        plotly.react(`plot-${group}`, traces(task, group), {
          showlegend: false, margin: { l: 48, r: 8, t: 8, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
          font: { color: ink, size: 12 }, hovermode: "closest",
          xaxis: { ...axis, title: { text: "keep ratio" }, range: [0, 1.04 * Math.max(...all.map((row) => row.keep_ratio))] }, yaxis: { ...axis, title: { text: own.metric }, range },
        }, { responsive: true, displaylogo: false, displayModeBar: false });
        const plot = $(`plot-${group}`);
        if (!plot.dataset.ready) {
          plot.dataset.ready = "yes";
          plot.on("plotly_click", (event) => { const id = event.points[0].customdata; if (id !== undefined) showRow(rows[id]); });
        }
      }
    }
    const lines = points(task, "seen");
    legend($("plot-legend"), lines.map(({ name, line }) => ({ name, selector: line[0].selector, mark: markOf(line) })), hidden, curves);
    const incomplete = unique(lines.filter(({ line }) => line.some((row) => !row.complete)).map(({ name }) => name));
    $("c-splits").replaceChildren(...splits([own]));
    $("c-exposed").replaceChildren(...notes([own]));
    $("c-note").textContent = incomplete.length ? `Incomplete curves: ${incomplete.join(", ")}.` : "";
  }
  async function plotlyScript() {
    const file = $("plotly").dataset.file;
    const script = element("script", { src: file });
    if (file) {
      return new Promise((done, failed) => { script.onload = done; script.onerror = failed; document.head.append(script); });
    }
    const packed = Uint8Array.from(atob($("plotly").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  }
  async function loadPlotly() {
    await plotlyScript();
    plotly = window.Plotly;
    curves();
    pareto.draw(plotly);
    document.documentElement.dataset.plots = "ready";
  }

  // -- categories

  function categories() {
    const own = taskOf($("k-task").value)?.categories ?? [];
    const named = unique(own.map((one) => `${one.selector} ${one.selector_id}`));
    const first = (key) => own.find((one) => `${one.selector} ${one.selector_id}` === key);
    const shown = named.map((key) => shownSelector(first(key)));
    fill($("k-selector"), named.map((key, i) => [key, withId(shown[i], first(key).selector_id, shown)]));
    const mine = own.filter((one) => `${one.selector} ${one.selector_id}` === $("k-selector").value);
    fill($("k-ratio"), mine.map((one) => [String(one.keep_ratio), String(one.keep_ratio)]));
    const found = mine.find((one) => String(one.keep_ratio) === $("k-ratio").value);
    if (!found) { $("k-out").replaceChildren(element("p", { class: "note" }, "This task has no metrics of single categories.")); return; }
    const list = (title, part) => element("div", {}, element("h3", {}, title), element("table", {},
      element("tbody", {}, ...part.map(([name, number, group, n]) => element("tr", {},
        element("td", {}, name), element("td", {}, group),
        element("td", { class: "num" }, element("a", { href: "#categories", onclick: (event) => {
          event.preventDefault();
          details(`${shownSelector(found)} on ${name}`, [found.cell]);
        } }, fixed(number, 3))),
        element("td", {}, element("span", { class: "bar", style: `width:${Math.max(0, Math.min(1, number)) * 6}rem` })),
        element("td", { class: "num" }, element("small", {}, `n ${n}`)))))));
    $("k-out").replaceChildren(list(`Best of ${found.count} categories (${found.metric})`, found.best), list(`Worst of ${found.count} categories (${found.metric})`, [...found.worst].reverse()));
  }

  // -- agreement

  // Name of one of several selectors, with its id where another has the same name.
  const withId = (name, id, all) => all.filter((other) => other === name).length > 1 ? `${name} ${id}` : name;
  function matrix() {
    const own = taskOf($("a-task").value)?.agreement ?? [];
    fill($("a-ratio"), own.map((one) => [String(one.keep_ratio), String(one.keep_ratio)]), $("a-ratio").value || "0.25");
    const found = own.find((one) => String(one.keep_ratio) === $("a-ratio").value);
    if (!found) {
      $("matrix").replaceChildren();
      $("a-note").textContent = "Fewer than two selectors have stored ranks of patches; start the run again to add them.";
      return;
    }
    const named = found.selectors.map((name, i) => selectorName(name, found.ids[i]));
    const shown = named.map((name, i) => withId(name, found.ids[i], named));
    $("matrix").replaceChildren(
      element("thead", {}, element("tr", {}, element("td"), ...shown.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...found.matrix.map((line, i) => element("tr", {},
        element("th", { scope: "row" }, swatch(found.selectors[i]), shown[i]),
        ...line.map((number) => element("td", {
          style: isNumber(number) ? `background:rgba(var(--cell),${number.toFixed(3)});color:${number > 0.5 ? "#111" : "inherit"}` : "",
        }, fixed(number, 2)))))));
    $("a-note").textContent = `First ${found.images} images of the task, first seed.`;
  }

  // -- gallery

  const images = new Map();
  function loadImage(src) {
    if (!images.has(src)) {
      images.set(src, new Promise((done) => { const image = new Image(); image.onload = () => done(image); image.src = src; }));
    }
    return images.get(src);
  }
  // Anchors of matplotlib's "viridis": from dark to light in even steps of lightness.
  const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
  function colour(share) {
    const at = Math.min(share * (RAMP.length - 1), RAMP.length - 1.001);
    const [low, rest] = [Math.floor(at), at - Math.floor(at)];
    return `rgb(${RAMP[low].map((c, i) => Math.round(c + (RAMP[low + 1][i] - c) * rest)).join(",")})`;
  }
  let request = 0;
  async function gallery() {
    const own = taskOf($("g-task").value)?.gallery;
    $("g-out").textContent = Number($("g-ratio").value).toFixed(2);
    if (!own) {
      $("g-grid").replaceChildren(element("p", { class: "note" }, "No images are stored for this task; start the run again to add them."));
      return;
    }
    fill($("g-image"), own.images.map((one, i) => [String(i), one.id]));
    const one = own.images[Number($("g-image").value)];
    const mode = document.querySelector('input[name="g-mode"]:checked').value;
    const turn = ++request;
    const image = await loadImage(one.src);
    if (turn !== request) return;  // a later request replaced this one
    const width = 336;
    const height = Math.round(width * one.height / one.width);
    const paper = getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
    const keep = Number($("g-ratio").value);
    const named = own.selectors.map(([id, name]) => [id, name, selectorName(name, id)]);
    const figures = [[null, "image", "image"], ...named].map(([id, name, shown]) => {
      const ranks = id === null ? null : one.ranks[id];
      if (id !== null && !ranks) return null;
      const total = ranks ? ranks.ranks.length : 0;
      const kept = Math.max(1, roundHalfEven(keep * total));
      const canvas = element("canvas", { width, height, role: "img", "data-kept": ranks ? kept : null,
        "aria-label": ranks ? `${shown} keeps ${kept} of ${total} patches` : `image ${one.id}` });
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = one.width > 160;
      pen.drawImage(image, 0, 0, width, height);
      if (ranks) {
        const [gh, gw] = ranks.grid;
        ranks.ranks.forEach((place, i) => {
          const [row, column] = [Math.floor(i / gw), i % gw];
          const box = [Math.floor(column * width / gw), Math.floor(row * height / gh)];
          const size = [Math.floor((column + 1) * width / gw) - box[0], Math.floor((row + 1) * height / gh) - box[1]];
          if (mode === "map") { pen.globalAlpha = 1; pen.fillStyle = colour(1 - place / Math.max(1, total - 1)); pen.fillRect(...box, ...size); }
          else if (place >= kept) { pen.globalAlpha = 0.84; pen.fillStyle = paper; pen.fillRect(...box, ...size); }
        });
      }
      return element("figure", {}, canvas, element("figcaption", {}, id === null ? shown : swatch(name),
        id === null ? null : withId(shown, id, named.map((one) => one[2]))));
    });
    $("g-grid").replaceChildren(...figures.filter(Boolean));
  }

  // -- the address: a link to the page shows the same table

  const FIELDS = { keep: "f-ratio", selector: "f-text", complete: "f-complete", exposed: "f-exposed", retention: "f-retention", cost: "f-cost" };
  function remember() {
    const query = new URLSearchParams();
    if ($("f-task").value) query.set("task", labels.get($("f-task").value));
    for (const [name, id] of Object.entries(FIELDS)) {
      const field = $(id);
      if (field.type === "checkbox" ? field.checked : field.value.trim()) query.set(name, field.type === "checkbox" ? "1" : field.value.trim());
    }
    if (sorting) query.set("sort", (sorting.down ? "-" : "") + sorting.key);
    const text = query.toString();
    history.replaceState(null, "", location.pathname + (text && `?${text}`) + location.hash);
  }
  function recall() {
    const query = new URLSearchParams(location.search);
    const task = [...labels].find(([, label]) => label === query.get("task"));
    if (task) {
      for (const id of ["f-task", "c-task", "p-task", "k-task"]) {
        if ([...$(id).options].some((option) => option.value === task[0])) $(id).value = task[0];
      }
    }
    for (const [name, id] of Object.entries(FIELDS)) {
      if (!query.has(name)) continue;
      if ($(id).type === "checkbox") $(id).checked = true;
      else $(id).value = query.get(name);
    }
    if (!$("f-ratio").value) $("f-ratio").value = "";
    const [, minus, key] = /^(-?)(.*)$/.exec(query.get("sort") ?? "");
    if (columns.some((column) => column.key === key)) sorting = { key, down: minus === "-" };
  }

  // -- page

  const drawAll = () => { table(); curves(); pareto.draw(plotly); categories(); matrix(); gallery(); };

  document.addEventListener("themechange", drawAll);
  const selectors = unique(rows.map((row) => row.selector));
  const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  $("summary").textContent = [counted(Object.keys(data.cells).length, "cell"), counted(selectors.length, "selector"), counted(names.length, "task")].join(" · ");
  $("findings").hidden = !data.findings.length;
  $("findings-text").replaceChildren(...data.findings.map((text) => element("p", {}, text)));
  for (const node of document.querySelectorAll(".of-intervals")) node.hidden = !data.intervals;
  $("f-help").querySelector("dl").replaceChildren(...columns.flatMap((column) => [element("dt", {}, column.title), element("dd", {}, column.help)]));
  for (const group of ["retention", "cost"]) $(`f-${group}`).parentElement.hidden = !columns.some((column) => column.group === group);
  fill($("f-sort"), [["", "rank"], ...columns.filter((column) => keyColumns.has(column.key) && column.key !== "rank").map((column) => [column.key, column.title])]);
  $("f-sort").addEventListener("change", () => {
    const column = columns.find((one) => one.key === $("f-sort").value);
    sorting = column ? { key: column.key, down: Boolean(falls(column)) } : null;
    table();
  });
  fill($("f-task"), [["", "all"], ...taskOptions()]);
  const ratios = unique(rows.map((row) => row.ratios)).sort((a, b) => (Number(a) || 2) - (Number(b) || 2));
  fill($("f-ratio"), [["", "all"], ...ratios.map((ratio) => [ratio, ratio])]);
  for (const id of ["c-task", "k-task"]) fill($(id), taskOptions());
  fill($("a-task"), taskOptions((t) => t.agreement.length));
  fill($("g-task"), taskOptions((t) => t.gallery));
  $("f-exposed").parentElement.hidden = rows.every((row) => row.note === null);
  for (const id of ["f-task", "f-ratio", "f-complete", "f-exposed", "f-retention", "f-cost"]) $(id).addEventListener("change", table);
  $("f-text").addEventListener("input", table);
  $("f-reset").addEventListener("click", () => { $("filters").reset(); sorting = null; table(); });
  for (const id of ["c-task", "c-bands"]) $(id).addEventListener("change", () => { if (id === "c-task") hidden.clear(); curves(); });
  $("p-task").addEventListener("change", () => { pareto.hidden.clear(); pareto.draw(plotly); });
  for (const id of ["k-task", "k-selector", "k-ratio"]) $(id).addEventListener("change", categories);
  for (const id of ["a-task", "a-ratio"]) $(id).addEventListener("change", matrix);
  for (const id of ["g-task", "g-image"]) $(id).addEventListener("change", gallery);
  $("g-ratio").addEventListener("input", gallery);
  for (const radio of document.querySelectorAll('input[name="g-mode"]')) radio.addEventListener("change", gallery);
  recall();
  drawAll();
  followHash();
  loadPlotly();
})();
