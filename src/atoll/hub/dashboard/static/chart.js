// Draws every figure.chart from the data-chart in it, in the colours of the theme, and again when either changes.
(() => {
  const drawn = new WeakMap();
  const colour = (tone) => {
    const probe = document.createElement("i"); // a variable may be light-dark(): only a property in use is resolved
    probe.className = `tone-${tone}`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const clock = (_plot, splits, _axis, _space, step) => {
    const form = { hour: "2-digit", minute: "2-digit", hour12: false, ...(step < 60 ? { second: "2-digit" } : {}) };
    return splits.map((at) => new Date(at * 1000).toLocaleTimeString([], form));
  };
  const options = (data, width) => {
    const axis = { stroke: colour("muted"), grid: { stroke: colour("faint"), width: 1 }, ticks: { show: false } };
    return {
      width,
      height: 150,
      legend: { live: true },
      cursor: { points: { size: 6 } },
      axes: [{ ...axis, values: clock, size: 28, space: 80 }, { ...axis, size: 48 }],
      scales: { y: { range: (_plot, _least, most) => [0, Math.max(1, most * 1.08)] } },
      series: [
        { value: "{HH}:{mm}:{ss}" },
        ...data.series.map(({ name, tone }) => ({ label: name, stroke: colour(tone), width: 2, points: { show: false } })),
      ],
    };
  };
  const draw = (figure) => {
    const plot = figure.querySelector(".plot"); // outside of the part that is drawn anew: the server knows nothing of it
    const known = drawn.get(plot);
    const text = figure.querySelector("[data-chart]")?.dataset.chart;
    if (!text) return;
    const theme = getComputedStyle(document.body).backgroundColor;
    const width = plot.clientWidth;
    if (known && known.theme === theme && known.width === width) {
      if (known.text !== text) known.chart.setData(values(JSON.parse(text)));
      known.text = text;
      return;
    }
    if (known) known.chart.destroy();
    const data = JSON.parse(text);
    drawn.set(plot, { text, theme, width, chart: new uPlot(options(data, width), values(data), plot) });
  };
  const values = (data) => [data.times, ...data.series.map((series) => series.values)];
  const all = () => document.querySelectorAll("figure.chart").forEach(draw);
  document.addEventListener("htmx:afterSwap", all);
  document.addEventListener("atoll:theme", all);
  window.addEventListener("resize", all);
  all();
})();
