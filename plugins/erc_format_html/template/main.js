// Keys, theme, paper; and the beginning.
const system = window.matchMedia("(prefers-color-scheme: dark)");

/** What the reader chose before; browsers may keep nothing for pages from disk. */
function remembered() {
  try {
    return localStorage.getItem("erc-theme");
  } catch {
    return null;
  }
}

function remember(theme) {
  try {
    localStorage.setItem("erc-theme", theme);
  } catch {
    // the switch still works for this visit
  }
}

function showTheme(theme) {
  const dark = theme ? theme === "dark" : system.matches;
  if (theme) document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-pressed", dark);
  tell("theme");
}

$("theme").addEventListener("click", () => {
  const theme = $("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
  remember(theme);
  showTheme(theme);
});
system.addEventListener("change", () => showTheme(document.documentElement.dataset.theme));

const typing = (target) => target.closest("input:not([type=checkbox]), select, textarea");

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const { key, target } = event;
  if (key === "Escape") {
    showAll();
    if (target === $("words")) table.focus();
    return;
  }
  if (typing(target)) {
    if (target !== $("words") || key !== "Enter") return;
    event.preventDefault();
    if (state.shown.length) stepTo(state.shown[0], "keys");
    table.focus();
    return;
  }
  if (key === "/" || key === "?") {
    event.preventDefault();
    if (key === "/") $("words").focus();
    else $("keys").showModal();
    return;
  }
  const control = target.closest("button, a, summary, label, input");
  if (target === player || (control && (key === " " || key === "Enter"))) return;
  const inside = target === table || box.contains(target);
  const act = {
    " ": toggle,
    Enter: inside ? () => play(state.chosen, "keys") : null,
    "+": zoomIn,
    "=": zoomIn,
    "-": zoomOut,
    "0": zoomFit,
  }[key];
  if (key === "ArrowLeft" || key === "ArrowRight") {
    event.preventDefault();
    stepTo(neighbour(DIRECTION[key], false), "keys");
  } else if (inside && key in DIRECTION) {
    event.preventDefault();
    stepTo(neighbour(DIRECTION[key], target === table), "keys");
  } else if (act) {
    event.preventDefault();
    act();
  }
}

function toPaper() {
  if (state.printing) return;
  state.printing = true;
  const { scale } = view;
  const { theme } = document.documentElement.dataset;
  document.documentElement.dataset.theme = "light"; // the canvas is drawn before the print style counts
  view.scale = fitScale();
  pane.scrollLeft = 0;
  tell("theme");
  layOut(AXIS + LANES * LANE + 4);
  printRows();
  view.scale = scale;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

function fromPaper() {
  if (!state.printing) return;
  state.printing = false;
  tell("theme");
  measureTimeline();
  screenRows();
}

document.addEventListener("keydown", onKey);
$("keys-open").addEventListener("click", () => $("keys").showModal());
window.addEventListener("beforeprint", toPaper);
window.addEventListener("afterprint", fromPaper);

document.documentElement.style.setProperty("--sides", SIDES.length);
table.classList.toggle("alone", !SIDES.length);
showTheme(remembered());
measureTimeline();
measureTable();
applyFilter();
showDetail();
if ($("turns")) showTurns();
if (D.media) {
  if ($("content")) setTimeout(openMedia); // after the page is drawn
  else openMedia();
}
performance.mark("erc-ready");
document.documentElement.dataset.ready = "yes";
