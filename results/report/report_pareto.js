"use strict";
// Pareto plots of the report: the metric over each cost that was measured. Shared parts come from report_base.js.
report.pareto = (() => {
  const { data, rows, $, theme, element, fixed, fill, taskOptions, taskOf, taskKey, selectorLabel, legend, showRow } = report;
  const hidden = new Set();

  function lines(cost) {
    const own = cost.points.map(([id]) => rows[id]);
    const found = new Map();
    for (const [id, x] of cost.points) {
      const name = selectorLabel(rows[id], own);
      if (!found.has(name)) found.set(name, []);
      found.get(name).push({ row: rows[id], x });
    }
    const order = Object.keys(data.styles);
    return [...found].map(([name, points]) => ({ name, points: points.sort((a, b) => a.row.keep_ratio - b.row.keep_ratio) }))
      .sort((a, b) => order.indexOf(a.points[0].row.selector) - order.indexOf(b.points[0].row.selector));
  }
  function traces(cost) {
    const out = lines(cost).filter(({ name }) => !hidden.has(name)).map(({ name, points }) => {
      const style = data.styles[points[0].row.selector];
      return {
        x: points.map(({ x }) => x), y: points.map(({ row }) => row.all), name, mode: "lines+markers",
        customdata: points.map(({ row }) => row.id), line: { color: style[theme()], width: 1.2, dash: style.dash },
        marker: { symbol: style.symbol, size: 7, color: style[theme()] }, hoverinfo: "text",
        hovertext: points.map(({ row, x }) => `${name}<br>keep ratio ${row.ratios}<br>${row.metric} ${fixed(row.all, 4)}<br>${x} ${cost.title}`),
      };
    });
    out.push({
      x: cost.front.map(([x]) => x), y: cost.front.map(([, y]) => y), mode: "lines+markers", hoverinfo: "skip",
      line: { color: theme() === "dark" ? "#eeeeee" : "#1a1a1a", width: 0.8 }, marker: { symbol: "circle-open", size: 13 },
    });
    return out;
  }
  // Round numbers over the costs, more of them where the costs are close to each other.
  function ticks(cost) {
    const costs = cost.points.map(([, x]) => x);
    const [low, high] = [Math.min(...costs), Math.max(...costs)];
    const out = [];
    for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)); power++) {
      for (const sub of high < 6 * low ? [1, 1.5, 2, 3, 4, 5, 7] : [1, 2, 5]) out.push(Number((sub * 10 ** power).toPrecision(3)));
    }
    return out;
  }
  function draw(plotly) {
    const task = taskOf($("p-task").value);
    if (!task) return;
    const style = getComputedStyle(document.documentElement);
    const [ink, grid] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
    const plots = $("pareto-plots");
    if (plots.dataset.task !== taskKey(task)) {
      plots.replaceChildren(...task.costs.map(() => element("div", { class: "plot" })));
      plots.dataset.task = taskKey(task);
    }
    if (plotly) {
      task.costs.forEach((cost, i) => {
        const axis = { gridcolor: grid, zeroline: false, linecolor: grid, automargin: true };
        const [x, y] = cost.whole;
        const dotted = { type: "line", line: { color: "#888888", width: 1, dash: "dot" }, layer: "below" };
        const shapes = [x === null ? null : { ...dotted, x0: x, x1: x, yref: "paper", y0: 0, y1: 1 },
          y === null ? null : { ...dotted, y0: y, y1: y, xref: "paper", x0: 0, x1: 1 }].filter(Boolean);
        plotly.react(plots.children[i], traces(cost), {
          showlegend: false, margin: { l: 48, r: 8, t: 8, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
          font: { color: ink, size: 12 }, hovermode: "closest", shapes,
          xaxis: { ...axis, type: "log", tickvals: ticks(cost), ticktext: ticks(cost).map(String), title: { text: cost.title } }, yaxis: { ...axis, title: { text: task.metric } },
        }, { responsive: true, displaylogo: false, displayModeBar: false });
        if (!plots.children[i].dataset.ready) {
          plots.children[i].dataset.ready = "yes";
          plots.children[i].on("plotly_click", (event) => { const id = event.points[0].customdata; if (id !== undefined) showRow(rows[id]); });
        }
      });
    }
    const named = lines(task.costs[0]).map(({ name, points }) => ({ name, selector: points[0].row.selector }));
    legend($("pareto-legend"), named, hidden, () => draw(plotly));
    const machines = [...new Set(task.costs.flatMap((cost) => cost.machines))];
    $("p-note").textContent = machines.length ? `Measured on ${machines.join(", ")}.` : "";
  }
  const measured = taskOptions((task) => task.costs.length);
  for (const node of document.querySelectorAll(".of-costs")) node.hidden = !measured.length;
  fill($("p-task"), measured);
  return { hidden, draw };
})();
