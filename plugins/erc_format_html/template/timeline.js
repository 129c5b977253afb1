// A lane per speaker on one canvas, which is as large as what is seen of it; a pane above it scrolls.
const box = $("timeline");
const pane = $("pane");
const canvas = $("lanes");
const pen = canvas.getContext("2d");
const AXIS = 22;
const EDGE = 10; // pixels after the end
const LANE = LANES <= 4 ? 38 : LANES <= 12 ? 28 : 22;
const MOST = 240; // pixels a second
const view = { scale: 0, names: 0, width: 0, height: 0, fitted: true, colours: {} };
const lanes = Array.from({ length: LANES }, () => []);
for (const i of inTime) lanes[D.who[i]].push(i);

const fitScale = () => (view.width - view.names - EDGE) / D.span;
const xOf = (time) => view.names + time * view.scale - pane.scrollLeft;
const timeOf = (x) => (x - view.names + pane.scrollLeft) / view.scale;

function measureTimeline() {
  const whole = AXIS + LANES * LANE + 4;
  box.style.setProperty("--whole", `${whole}px`);
  view.width = pane.clientWidth;
  view.names = Math.min(130, Math.round(view.width * 0.25));
  if (view.fitted || view.scale < fitScale()) view.scale = fitScale();
  layOut(whole);
}

function layOut(whole) {
  const wide = $("wide");
  wide.style.width = `${Math.floor(view.names + D.span * view.scale + EDGE)}px`;
  wide.style.height = `${whole}px`;
  view.width = pane.clientWidth;
  view.height = state.printing ? whole : pane.clientHeight;
  const ratio = state.printing ? 2 : window.devicePixelRatio || 1;
  canvas.width = Math.round(view.width * ratio);
  canvas.height = Math.round(view.height * ratio);
  canvas.style.width = `${view.width}px`;
  canvas.style.height = `${view.height}px`;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw();
}

/** Zoom so that what is under `x` (pixels of the pane) stays there. */
function zoomTo(scale, x = view.names + (view.width - view.names) / 2) {
  const time = timeOf(x);
  const least = fitScale();
  view.scale = Math.min(Math.max(scale, least), Math.max(MOST, least));
  view.fitted = view.scale === least;
  layOut(AXIS + LANES * LANE + 4);
  pane.scrollLeft = view.names + time * view.scale - x;
  draw();
  if (player) moveHead(player.currentTime);
}

let asked = false;
function drawSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

function draw() {
  const { width, height, names, colours } = view;
  pen.clearRect(0, 0, width, height);
  const top = state.printing ? 0 : pane.scrollTop;
  pen.textBaseline = "middle";
  for (let lane = 0; lane < LANES; lane++) {
    const y = AXIS + lane * LANE - top;
    if (y + LANE < AXIS || y > height) continue;
    if (lane % 2) {
      pen.fillStyle = colours.soft;
      pen.fillRect(0, y, width, LANE);
    }
    drawLane(lane, y);
  }
  drawNames(top);
  drawAxis();
  pen.fillStyle = colours.line;
  pen.fillRect(names - 1, 0, 1, height);
}

/** The first place in a lane whose utterance may be seen. */
function firstSeen(row, time) {
  let low = 0;
  let high = row.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (D.start[row[middle]] < time - LONGEST) low = middle + 1;
    else high = middle;
  }
  return low;
}

function drawLane(lane, y) {
  const row = lanes[lane];
  const until = timeOf(view.width);
  pen.font = `600 12px ${view.font}`;
  pen.textAlign = "center";
  for (let k = firstSeen(row, timeOf(view.names)); k < row.length; k++) {
    const i = row[k];
    if (D.start[i] > until) break;
    drawUtterance(i, y);
  }
}

function drawUtterance(i, y) {
  const x = xOf(D.start[i]);
  const width = Math.max((D.end[i] - D.start[i]) * view.scale - (view.scale > 8 ? 1 : 0), 1.5);
  if (x + width < view.names) return;
  const full = LANE - 6;
  const high = Math.round(full * (0.3 + 0.0007 * confidence(i)));
  const top = y + LANE - 3 - high;
  const seen = state.visible[i];
  pen.globalAlpha = seen ? 1 : 0.15;
  pen.fillStyle = D.colours[said[i]];
  pen.fillRect(x, top, width, high);
  if (width >= 9 + 6 * D.marks[said[i]].length && high >= 13 && seen) {
    pen.fillStyle = D.inks[said[i]];
    pen.fillText(D.marks[said[i]], Math.max(x, view.names) + (width - Math.max(view.names - x, 0)) / 2, top + high / 2 + 1);
  }
  pen.globalAlpha = 1;
  if (i === state.chosen && !state.printing) {
    pen.lineWidth = 2;
    pen.strokeStyle = view.colours.text;
    pen.strokeRect(x - 1, y + 1, Math.max(width, 4) + 2, LANE - 2);
  }
}

/** A name cut to the room it has, remembered: measuring words is slow. */
const cut = new Map();
function shortened(name, room) {
  const key = `${room} ${name}`;
  if (!cut.has(key)) {
    let words = name.slice(0, 60);
    if (pen.measureText(words).width > room || words.length < name.length) {
      while (words.length > 1 && pen.measureText(`${words}…`).width > room) words = words.slice(0, -1);
      words += "…";
    }
    cut.set(key, words);
  }
  return cut.get(key);
}

function drawNames(top) {
  const { names, height, colours } = view;
  pen.fillStyle = colours.card;
  pen.fillRect(0, 0, names, height);
  pen.font = `13px ${view.font}`;
  pen.textAlign = "left";
  for (let lane = 0; lane < LANES; lane++) {
    const y = AXIS + lane * LANE - top;
    if (y + LANE < AXIS || y > height) continue;
    if (lane % 2) {
      pen.fillStyle = colours.soft;
      pen.fillRect(0, y, names, LANE);
    }
    pen.fillStyle = colours.text;
    pen.fillText(shortened(speaker(lane), names - 18), 8, y + LANE / 2);
  }
}

function drawAxis() {
  const { width, names, colours } = view;
  pen.fillStyle = colours.card;
  pen.fillRect(0, 0, width, AXIS);
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const step = steps.find((one) => one * view.scale >= 64) || 28800;
  pen.fillStyle = colours.muted;
  pen.font = `12px ${view.font}`;
  pen.textAlign = "left";
  for (let time = Math.max(0, Math.floor(timeOf(names) / step)) * step; time <= D.span; time += step) {
    const x = xOf(time);
    if (x > width) break;
    if (x < names - 1) continue;
    pen.fillRect(x, AXIS - 6, 1, 6);
    if (x < width - 40) pen.fillText(clock(time, false), x + 4, AXIS / 2);
  }
  pen.fillStyle = colours.line;
  pen.fillRect(0, AXIS - 1, width, 1);
}

function moveHead(time) {
  const head = $("head");
  const x = xOf(time);
  head.hidden = !player || x < view.names || x > view.width;
  head.style.transform = `translateX(${x}px)`;
}

/** The utterance under a point of the pane, or -1; `near` pixels beside it count. */
function under(x, y, near = 4) {
  if (y < AXIS || x < view.names) return -1;
  const row = lanes[Math.floor((y - AXIS + pane.scrollTop) / LANE)];
  if (!row) return -1;
  const time = timeOf(x);
  let found = -1;
  let least = near / view.scale;
  for (let k = firstSeen(row, time - least); k < row.length; k++) {
    const i = row[k];
    if (D.start[i] > time + least) break;
    const away = Math.max(D.start[i] - time, time - D.end[i], 0);
    // one that is filtered out gives way to one that is not
    if (away <= least && (found < 0 || state.visible[i] >= state.visible[found])) [found, least] = [i, away];
  }
  return found;
}

function pointOf(event) {
  const frame = pane.getBoundingClientRect();
  return [event.clientX - frame.left, event.clientY - frame.top];
}

function showTip(event) {
  const tip = $("tip");
  const [x, y] = pointOf(event);
  const i = under(x, y);
  const lane = x < view.names && y > AXIS ? Math.floor((y - AXIS + pane.scrollTop) / LANE) : -1;
  tip.hidden = i < 0 && !(lane >= 0 && lane < LANES);
  pane.classList.toggle("over", i >= 0);
  if (tip.hidden) return;
  if (i < 0) tip.replaceChildren(speaker(lane).slice(0, 200));
  else {
    const head = make("p", {}, badge(said[i]), ` ${D.labels[said[i]]} ${sureness(i)}, ${clock(D.start[i])}`);
    tip.replaceChildren(head, make("bdi", {}, D.text[i].slice(0, 160) || "(no words)"));
  }
  const room = box.clientWidth - tip.offsetWidth - 4;
  tip.style.transform = `translate(${Math.max(4, Math.min(x + 12, room))}px, ${y + 18}px)`;
}

/** Bring the chosen utterance into view. */
function reveal() {
  const i = state.chosen;
  if (i < 0) return;
  const from = xOf(D.start[i]);
  const to = xOf(D.end[i]);
  if (from < view.names || to > view.width) pane.scrollLeft += from - view.names - (view.width - view.names) * 0.2;
  const y = D.who[i] * LANE;
  if (y < pane.scrollTop) pane.scrollTop = y;
  else if (AXIS + y + LANE > pane.scrollTop + view.height) pane.scrollTop = AXIS + y + LANE - view.height + 4;
}

let drag = null;
pane.addEventListener("pointerdown", (event) => {
  if (event.button === 0 && event.pointerType === "mouse") {
    const [x, y] = pointOf(event);
    if (x < pane.clientWidth && y < pane.clientHeight) drag = { x: event.clientX, y: event.clientY, left: pane.scrollLeft, top: pane.scrollTop, moved: false };
  }
});
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  drag.moved ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 4;
  if (!drag.moved) return;
  pane.classList.add("dragged");
  pane.scrollLeft = drag.left - (event.clientX - drag.x);
  pane.scrollTop = drag.top - (event.clientY - drag.y);
});
window.addEventListener("pointerup", () => {
  pane.classList.remove("dragged");
  setTimeout(() => (drag = null)); // the click comes after
});
pane.addEventListener("click", (event) => {
  if (drag && drag.moved) return;
  const i = under(...pointOf(event), 6);
  if (i >= 0) play(i, "timeline");
});
pane.addEventListener("pointermove", (event) => (drag && drag.moved ? ($("tip").hidden = true) : showTip(event)));
pane.addEventListener("pointerleave", () => ($("tip").hidden = true));
pane.addEventListener("scroll", () => {
  $("tip").hidden = true;
  drawSoon();
  if (player) moveHead(player.currentTime);
});
pane.addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomTo(view.scale * Math.exp(-event.deltaY / 300), pointOf(event)[0]);
  },
  { passive: false },
);
const zoomIn = () => zoomTo(view.scale * 1.6, Math.max(view.names, Math.min(view.width, xOf(D.start[state.chosen] || 0))));
const zoomOut = () => zoomTo(view.scale / 1.6);
const zoomFit = () => zoomTo(0);
$("zoom-in").addEventListener("click", zoomIn);
$("zoom-out").addEventListener("click", zoomOut);
$("zoom-fit").addEventListener("click", zoomFit);
new ResizeObserver(() => !state.printing && measureTimeline()).observe(box);

on("chosen", () => {
  reveal();
  drawSoon();
  if (player) moveHead(player.currentTime);
});
on("shown", drawSoon);
on("theme", () => {
  for (const name of ["text", "muted", "line", "soft", "card"]) view.colours[name] = hue(`--${name}`);
  view.font = getComputedStyle(document.body).fontFamily;
  draw();
});
