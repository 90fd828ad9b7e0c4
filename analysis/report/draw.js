"use strict";
for (const data of document.querySelectorAll("script[type='application/json']")) {
  const figure = JSON.parse(data.textContent);
  const place = document.getElementById(data.dataset.of);
  Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false });
}
const resize = () => document.querySelectorAll(".plot").forEach((place) => Plotly.Plots.resize(place));
addEventListener("beforeprint", resize);
addEventListener("afterprint", resize);
