(function () {
  "use strict";
  var figures = JSON.parse(document.getElementById("figures").textContent);
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  function themed(layout) {
    var axis = { gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--line") };
    var out = JSON.parse(JSON.stringify(layout));
    out.paper_bgcolor = "rgba(0,0,0,0)"; out.plot_bgcolor = "rgba(0,0,0,0)";
    out.font = { color: colour("--ink"), family: "system-ui, sans-serif", size: 13 };
    Object.assign(out.xaxis, axis); Object.assign(out.yaxis, axis);
    out.updatemenus.forEach(function (menu) {
      menu.bgcolor = colour("--card"); menu.bordercolor = colour("--line"); menu.font = { color: colour("--ink"), size: 12 };
    });
    return out;
  }
  function draw() {
    figures.forEach(function (figure, index) {
      if (!figure) { return; }
      figure.data.forEach(function (trace) {
        if (trace.marker) {
          trace.marker.line.color = colour(trace.name === "chosen" ? "--accent" : "--ink");
          trace.error_x.color = colour("--soft");
        } else { trace.line.color = colour("--soft"); }
      });
      Plotly.react("plot-" + index, figure.data, themed(figure.layout), { responsive: true, displaylogo: false });
    });
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.querySelector("button.theme").addEventListener("click", function () {
    var root = document.documentElement;
    var dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    draw();
  });
  var before;
  addEventListener("beforeprint", function () {
    before = document.documentElement.dataset.theme; document.documentElement.dataset.theme = "light"; draw();
  });
  addEventListener("afterprint", function () {
    if (before) { document.documentElement.dataset.theme = before; } else { delete document.documentElement.dataset.theme; }
    draw();
  });
})();
