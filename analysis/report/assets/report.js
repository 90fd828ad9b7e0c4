"use strict";
const data = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text }, attributes);

// Figures come in the colours of a light page.
const darkScreen = matchMedia("screen and (prefers-color-scheme: dark)");
const darkColours = new Map(Object.entries(data.dark));
let printing = false;
const recolour = (key, value) =>
  (darkScreen.matches && !printing && typeof value === "string" && darkColours.get(value)) || value;
const options = { responsive: true, displayModeBar: false };
const touch = matchMedia("(pointer: coarse)").matches;

function drawFigures() {
  for (const script of document.querySelectorAll("script[data-of]")) {
    const figure = JSON.parse(script.textContent, recolour);
    const place = byId(script.dataset.of);
    if (touch) figure.layout.dragmode = false; // a finger that crosses a figure scrolls the page
    // Two figures fit on a page of paper, and the first one below the answer.
    const most = place.closest(".answer") ? 240 : 300;
    if (printing && figure.layout.height < 600) figure.layout.height = Math.min(figure.layout.height, most);
    place.style.height = `${figure.layout.height}px`;
    place.style.minWidth = printing ? "0" : ""; // paper does not scroll
    Plotly.react(place, figure.data, figure.layout, options);
  }
}

function redrawFigures(forPrint) {
  printing = forPrint;
  drawFigures();
  document.querySelectorAll(".plot").forEach((place) => Plotly.Plots.resize(place));
}

drawFigures();
darkScreen.addEventListener("change", drawFigures);
const unfolded = [];
addEventListener("beforeprint", () => {
  unfolded.push(...document.querySelectorAll("details:not([open])"));
  unfolded.forEach((one) => (one.open = true));
  redrawFigures(true);
});
addEventListener("afterprint", () => {
  unfolded.splice(0).forEach((one) => (one.open = false));
  redrawFigures(false);
});

function save(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
  make("a", "", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

for (const place of document.querySelectorAll(".plot")) {
  const button = make("button", "PNG", { type: "button", className: "png", title: "Download this figure as a picture" });
  button.addEventListener("click", () =>
    Plotly.downloadImage(place, {
      format: "png", filename: place.id, scale: 2, width: place.clientWidth, height: place.clientHeight,
    }));
  place.closest("figure").querySelector("figcaption").append(button);
  place.on("plotly_click", ({ points: [point] }) => {
    const number = point.customdata ?? point.data.meta;
    if (number !== undefined && number !== null) showTrial(number);
  });
}

// A command with a button that copies it. Lines are broken between words, not after the hyphens of an option.
function addCopyButton(command) {
  const words = command.textContent.split(/( +)/);
  command.replaceChildren(...words.map((word) => (word.trim() ? make("span", word) : word)));
  const button = make("button", "Copy", { type: "button", className: "copy" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  const box = make("div", "", { className: "copyable" });
  command.replaceWith(box);
  box.append(command, button);
}
document.querySelectorAll("pre.command").forEach(addCopyButton);

// The ranking: sorted by a click on a heading, searched, saved.
const table = byId("trials");
const rows = table ? [...table.tBodies[0].rows] : [];
const headings = table ? [...table.tHead.rows[0].cells] : [];
const cellText = (row, index) => row.cells[index].textContent.trim();
const headingText = (heading, between) =>
  [...heading.firstElementChild.childNodes].map((one) => one.textContent.trim()).filter(Boolean).join(between);
const cellNumber = (row, index) => Number.parseFloat(cellText(row, index).replace("−", "-").replaceAll(",", ""));

function sortRows(index, direction) {
  headings.forEach((heading, place) => heading.setAttribute("aria-sort",
    place === index && direction ? (direction > 0 ? "ascending" : "descending") : "none"));
  const [dense, ...trials] = rows;
  const compare = (a, b) => {
    const [x, y] = [cellNumber(a, index), cellNumber(b, index)];
    if (Number.isNaN(x) && Number.isNaN(y)) return direction * cellText(a, index).localeCompare(cellText(b, index));
    return Number.isNaN(x) - Number.isNaN(y) || direction * (x - y); // what is unknown comes last
  };
  table.tBodies[0].append(dense, ...(direction ? trials.sort(compare) : trials));
}

function filterRows() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const front = byId("front-only").checked;
  const narrowed = words.length > 0 || front || headings.some((one) => /cending/.test(one.getAttribute("aria-sort")));
  table.classList.toggle("short", !narrowed && !byId("all-rows").hidden);
  let shown = 0;
  for (const row of rows.slice(1)) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word)) || (front && !row.classList.contains("front"));
    shown += !row.hidden && !(table.classList.contains("short") && row.classList.contains("more"));
  }
  byId("count").textContent = `${shown} of ${rows.length - 1} trials`;
}

if (table) {
  headings.forEach((heading, index) => {
    const button = make("button", "", { type: "button", className: "sort" });
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = index && heading.dataset.better !== "low" ? -1 : 1;
      const now = { ascending: 1, descending: -1 }[heading.getAttribute("aria-sort")] ?? 0;
      sortRows(index, now === 0 ? first : now === first ? -first : 0);
      filterRows();
    });
  });
  const more = byId("all-rows");
  more.hidden = !table.querySelector(".more");
  more.addEventListener("click", () => {
    more.hidden = true;
    filterRows();
  });
  byId("find").addEventListener("input", filterRows);
  byId("front-only").addEventListener("change", filterRows);
  byId("csv").addEventListener("click", () => {
    const quote = (text) => `"${text.replaceAll('"', '""')}"`;
    const titles = headings.map((heading) => headingText(heading, ", "));
    const name = (row) => row.cells[0].querySelector("b").textContent;
    const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden);
    const lines = shown.map((row) => [name(row), ...[...row.cells].slice(1).map((cell) =>
      cell.classList.contains("unknown") ? "" : cell.textContent.trim().replace("−", "-"))]);
    save("ranking.csv", [titles, ...lines].map((line) => line.map(quote).join(",")).join("\r\n") + "\r\n");
  });
  document.querySelector(".tools").hidden = false;
  filterRows();
}

// A trial: what the table says of it, its curve, its settings, its commands.
function showTrial(number) {
  const trial = data.trials[number];
  const row = rows.find((one) => one.dataset.number === String(number));
  byId("trial-heading").textContent = `Trial ${trial ? trial.label : number}`;
  const facts = trial && trial.state !== "complete" ? [["state", trial.state]] : [];
  if (row) headings.slice(1).forEach((heading, index) => facts.push([
    headingText(heading, " "), cellText(row, index + 1)]));
  const fill = (list, pairs) => list.replaceChildren(
    ...pairs.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  fill(byId("trial-facts"), facts.filter(([, value]) => value !== "–"));
  fill(byId("trial-settings"), trial ? trial.settings : []);
  byId("trial-commands").replaceChildren();
  for (const [what, command] of Object.entries(data.commands)) {
    if (trial && trial.state !== "complete") continue;
    const text = make("pre", command.replaceAll("NUMBER", number), { className: "command", tabIndex: 0 });
    byId("trial-commands").append(make("p", what), text);
    addCopyButton(text);
  }
  byId("trial").showModal();
  drawCurve(trial);
}

function drawCurve(trial) {
  const place = byId("trial-curve");
  Plotly.purge(place);
  place.hidden = !trial || trial.epoch.length === 0;
  if (place.hidden) return;
  const { template } = JSON.parse(document.querySelector("script[data-of]").textContent, recolour).layout;
  const { epoch, accuracy, alpha } = trial;
  const traces = [
    { x: epoch, y: accuracy, name: "validation accuracy, if cut", mode: "lines+markers", line: { color: "#4C78A8" } },
    { x: [Math.max(0, epoch[0] - 1), ...epoch], y: [...alpha, alpha.at(-1)], name: "alpha", mode: "lines", yaxis: "y2",
      line: { color: "#E69F00", shape: "hv" } },
  ];
  const layout = {
    template, height: 300, margin: { l: 12, r: 12, t: 12, b: 12 },
    xaxis: { title: { text: "epoch" }, rangemode: "tozero" },
    yaxis: { title: { text: "validation accuracy, if cut" }, tickformat: ".0%" },
    yaxis2: { title: { text: "alpha" }, overlaying: "y", side: "right", range: [-0.03, 1.03], showgrid: false,
      tickvals: [0, 0.25, 0.5, 0.75, 1] },
  };
  Plotly.newPlot(place, traces, layout, options);
}

const asButton = (element, number) => {
  const button = make("button", "", { type: "button", className: "trial-link", title: "Show this trial" });
  button.append(...element.childNodes);
  element.append(button);
  button.addEventListener("click", () => showTrial(number));
};
rows.filter((row) => row.dataset.number).forEach((row) => asButton(row.cells[0].querySelector("b"), row.dataset.number));
document.querySelectorAll("[data-trial]").forEach((element) => asButton(element, element.dataset.trial));

// An address that ends in #trial-15 opens with that trial.
function showAddressed() {
  const [, number] = /^#trial-(\d+)$/.exec(location.hash) ?? [];
  if (number !== undefined) showTrial(number);
}
addEventListener("hashchange", showAddressed);
showAddressed();
byId("close").addEventListener("click", () => byId("trial").close());
byId("trial").addEventListener("click", (event) => event.target === byId("trial") && byId("trial").close());
