// Draws the charts of the page. Colours are names of the page's style, so light, dark and paper follow by
// themselves; what a chart needs lies in the element `charts`.
const { config, specs } = JSON.parse(document.getElementById("charts").textContent);

// Expressions are interpreted, not compiled: the page's policy allows no code but this script.
const options = {
  mode: "vega-lite",
  renderer: "svg",
  ast: true,
  actions: false,
  defaultStyle: false,
  tooltip: { theme: "custom" },
  config,
};

async function draw(canvas) {
  try {
    await vegaEmbed(canvas, specs[canvas.dataset.chart], options);
  } catch (error) {
    canvas.textContent = "This chart could not be drawn; its numbers stand below.";
    console.error(error);
  }
}

async function drawAll() {
  const canvases = [...document.querySelectorAll("[data-chart]")];
  await Promise.all(canvases.map(draw));
  document.documentElement.dataset.drawn = canvases.length;
}

// On paper nothing can be opened.
const unfolded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    unfolded.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of unfolded.splice(0)) details.open = false;
});

document.documentElement.classList.add("draws");
drawAll();
