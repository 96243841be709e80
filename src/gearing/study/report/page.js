// Draws the charts of a report in the colours of the page, and again when these or its width change.
(() => {
  "use strict";
  const root = document.documentElement;
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const config = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset" };

  // A text that begins with two dashes names a colour of the style sheet.
  const coloured = (value, style) => {
    if (typeof value === "string") return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) {
      const plain = typeof value[0] === "number" && typeof value[value.length - 1] !== "string";
      return plain ? value : value.map((v) => coloured(v, style));
    }
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  };

  const put = (object, path, value) => {
    const steps = path.split(".");
    const last = steps.pop();
    for (const step of steps) object = object[step] = object[step] || {};
    object[last] = value;
  };

  const axis = (given) => ({
    gridcolor: "--line", linecolor: "--line-strong", zerolinecolor: "--line-strong", tickcolor: "--line-strong",
    fixedrange: true, title: { standoff: 10 }, ...given,
  });

  const layoutOf = (spec) => {
    const given = structuredClone(spec.layout);
    const layout = {
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12, color: "--ink-2" },
      hoverlabel: { bgcolor: "--card", bordercolor: "--line-strong", font: { color: "--ink", size: 12 } },
      hovermode: "x unified", dragmode: narrow.matches ? false : "zoom",
      margin: { l: 56, r: 14, t: 10, b: 34 }, ...given,
    };
    for (const name of ["xaxis", "yaxis"]) layout[name] = axis(layout[name]);
    if (layout.xaxis.type === "date") layout.xaxis.fixedrange = narrow.matches;
    if (narrow.matches) {
      layout.margin = { ...layout.margin, l: Math.min(layout.margin.l, 50), r: 10 };
      layout.font = { ...layout.font, size: 11 };
      layout.xaxis.nticks = layout.xaxis.nticks || 5;
      for (const [path, value] of Object.entries(spec.narrow)) if (!path.startsWith("traces.")) put(layout, path, value);
    }
    return layout;
  };

  const tracesOf = (spec) => {
    const own = Object.entries(spec.narrow).filter(([path]) => path.startsWith("traces."));
    if (!narrow.matches || !own.length) return spec.traces;
    const changed = { traces: structuredClone(spec.traces) };
    for (const [path, value] of own) put(changed, path, value);
    return changed.traces;
  };

  const draw = (number) => {
    const style = getComputedStyle(root);
    const spec = specs[number];
    return Plotly.react(
      `chart-${number}`, coloured(tracesOf(spec), style), coloured(layoutOf(spec), style), config,
    );
  };

  const drawAll = async () => {
    for (let number = 0; number < specs.length; number += 1) {
      await draw(number);
      // Between two charts the page stays free to scroll.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    root.dataset.drawn = String(Math.round(performance.now()));
  };

  document.addEventListener("click", (event) => {
    const key = event.target.closest("button.key");
    if (!key) return;
    const number = Number(key.dataset.chart);
    const shown = key.getAttribute("aria-pressed") !== "true";
    key.setAttribute("aria-pressed", String(shown));
    specs[number].traces[Number(key.dataset.trace)].visible = shown;
    draw(number);
  });
  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  drawAll();
})();
