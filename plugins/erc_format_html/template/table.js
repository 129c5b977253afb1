// The table: only the rows that are seen are in the page, and they are used again while it scrolls.
const table = $("table");
const rows = $("rows");
const pool = [];
let rowHeight = 36;
const SPARE = 4; // rows above and below what is seen

// a contribution that fills its half of the bar: all but the strongest twentieth are below
const sizes = SIDES.flatMap((side) => D.modalities[side].share.map(Math.abs)).sort((a, b) => a - b);
const strong = Math.max(sizes[Math.floor(sizes.length * 0.95)] || 0, 500);

const COLUMNS = ["start", "who", "text", "best", "sure"];

/** A row whose elements stay: while the table scrolls only their words and colours change. */
function makeRow() {
  const cells = Object.fromEntries(
    COLUMNS.map((name) => [name, make("div", { role: "gridcell", class: `c-${name}` })]),
  );
  const parts = { who: make("bdi"), text: make("bdi", { dir: "auto" }), mark: make("b"), label: make("span") };
  parts.percent = make("span");
  parts.bar = make("i");
  cells.who.append(parts.who);
  cells.text.append(parts.text);
  cells.best.append(parts.mark, parts.label);
  cells.sure.append(parts.percent, parts.bar);
  const sides = SIDES.map(() => {
    const [mark, bars, words] = [make("b"), make("i"), make("small")];
    return { cell: make("div", { role: "gridcell", class: "c-side" }, mark, bars, words), mark, bars, words };
  });
  const row = make("div", { role: "row", class: "row" }, ...Object.values(cells), ...sides.map((one) => one.cell));
  return { row, cells, parts, sides, at: -1, i: -1 };
}

function fill(made, at) {
  const i = state.shown[at];
  const { row, cells, parts } = made;
  if (made.at !== at) {
    made.at = at;
    row.style.top = `${at * rowHeight}px`;
    row.setAttribute("aria-rowindex", at + 2);
  }
  const chosen = i === state.chosen;
  if (made.i === i && made.chosen === chosen) return;
  made.chosen = chosen;
  row.className = chosen ? "row chosen" : "row";
  row.setAttribute("aria-selected", chosen);
  if (made.i === i) return;
  made.i = i;
  row.id = `row-${i}`;
  const best = said[i];
  cells.start.textContent = clock(D.start[i], D.span < 3600);
  parts.who.textContent = speaker(D.who[i]).slice(0, 120);
  parts.text.textContent = D.text[i].slice(0, 400) || "(no words)";
  parts.mark.className = `badge e${best}`;
  parts.mark.textContent = D.marks[best];
  parts.label.textContent = D.labels[best];
  parts.percent.textContent = judged(i) ? percent(confidence(i)) : "prior";
  const part = `${confidence(i) / 10}%`;
  parts.bar.style.background = `linear-gradient(90deg,${D.colours[best]} ${part},var(--line) 0)`;
  SIDES.forEach((side, k) => fillSide(made.sides[k], side, i));
}

/** One modality: its letter, its probabilities stacked, its contribution to the right or the left. */
function fillSide(made, side, i) {
  const one = D.modalities[side];
  const ok = one.status[i] === 0;
  const best = ok ? bestOf(side, i) : 0;
  made.cell.className = ok ? "c-side" : "c-side silent";
  made.mark.textContent = ok ? D.marks[best] : "";
  if (!ok || state.printing) {
    // on paper figures instead of bars: they are read without colours, and gradients make it slow
    const figures = () => `${percent(one.p[i * L + best])} ${signed(one.share[i], 1)}`;
    made.words.textContent = ok ? figures() : STATUS_WORDS[one.status[i]];
    made.cell.removeAttribute("aria-label");
    return;
  }
  made.words.textContent = "";
  made.cell.setAttribute("aria-label", `${D.labels[best]} ${percent(one.p[i * L + best])}, ${signed(one.share[i])}`);
  const reach = Math.min(Math.abs(one.share[i]) / strong, 1) * 50;
  const [from, to] = one.share[i] < 0 ? [50 - reach, 50] : [50, 50 + reach];
  const ink = one.share[i] < 0 ? "var(--against)" : "var(--text)";
  made.bars.style.background =
    `${stacked(one.p, i)} 0 0/100% 12px no-repeat,linear-gradient(90deg,transparent ${from}%,${ink} ${from}% ${to}%,` +
    `transparent ${to}%) 0 100%/100% 5px no-repeat,linear-gradient(var(--muted),var(--muted)) 50% 100%/1px 7px no-repeat`;
}

/** What is under the pointer in full: written only when asked for. */
function explain(event) {
  const cell = event.target.closest("#rows .row > div");
  const made = cell && pool.find((one) => one.row === cell.parentElement);
  if (!made || made.at < 0) return;
  const k = made.sides.findIndex((one) => one.cell === cell);
  if (k >= 0) cell.title = inWords(SIDES[k], made.i);
  else if (cell === made.cells.best) cell.title = `${D.labels[said[made.i]]} ${sureness(made.i)}`;
  else if (cell === made.cells.text) cell.title = D.text[made.i];
  else if (cell === made.cells.who) cell.title = speaker(D.who[made.i]);
}

function measureTable() {
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  rowHeight = Math.round(parseFloat(getComputedStyle(table).getPropertyValue("--row")) * size);
  table.style.setProperty("--height", `${rowHeight}px`);
  showRows(true);
}

/** Put the rows that are seen into the page; `anew`: what they hold may have changed. */
function showRows(anew) {
  const total = state.shown.length;
  rows.style.height = `${total * rowHeight}px`;
  table.setAttribute("aria-rowcount", total + 1);
  const first = Math.max(0, Math.floor(table.scrollTop / rowHeight) - SPARE);
  const last = Math.min(total, Math.ceil((table.scrollTop + table.clientHeight) / rowHeight) + SPARE);
  const room = Math.max(last - first, 0);
  while (pool.length < room) {
    const made = makeRow();
    pool.push(made);
    rows.append(made.row);
    anew = true; // places in the pool go by its length
  }
  const taken = new Set();
  for (let at = first; at < last; at++) {
    const made = pool[at % pool.length];
    taken.add(made);
    if (anew || made.at !== at) fill(made, at);
    made.row.hidden = false;
  }
  for (const made of pool) {
    if (taken.has(made)) continue;
    made.row.hidden = true;
    made.at = -1;
  }
  const seen = pool.some((made) => made.i === state.chosen && !made.row.hidden);
  if (seen) table.setAttribute("aria-activedescendant", `row-${state.chosen}`);
  else table.removeAttribute("aria-activedescendant");
}

/** Bring the chosen row into view, if it is among those shown. */
function revealRow() {
  const at = state.shown.indexOf(state.chosen);
  if (at < 0) return;
  const head = table.firstElementChild.offsetHeight;
  const y = at * rowHeight;
  if (y < table.scrollTop) table.scrollTop = y;
  else if (y + rowHeight > table.scrollTop + table.clientHeight - head) {
    table.scrollTop = y + rowHeight - table.clientHeight + head;
  }
}

/** All rows at once, for paper. */
function printRows() {
  rows.replaceChildren(...state.shown.map((_, at) => {
    const made = makeRow();
    fill(made, at);
    return made.row;
  }));
}

function screenRows() {
  rows.replaceChildren(...pool.map((made) => made.row));
  showRows(true);
}

let rowsAsked = false;
table.addEventListener("scroll", () => {
  if (rowsAsked || state.printing) return;
  rowsAsked = true;
  requestAnimationFrame(() => {
    rowsAsked = false;
    showRows(false);
  });
});
rows.addEventListener("pointerover", explain);
rows.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  const made = row && pool.find((one) => one.row === row);
  if (made && made.at >= 0) play(state.shown[made.at], "table");
});
table.addEventListener("keydown", (event) => {
  const page = Math.max(1, Math.floor(table.clientHeight / rowHeight) - 2);
  const steps = { Home: -N, End: N, PageUp: -page, PageDown: page };
  if (!(event.key in steps) || event.target.closest("button")) return;
  event.preventDefault();
  stepTo(neighbour(steps[event.key], true), "keys");
});
new ResizeObserver(() => !state.printing && measureTable()).observe(table);

on("chosen", () => {
  revealRow();
  showRows(true);
});
on("shown", () => {
  showRows(true);
  revealRow();
  showRows(false);
  $("none").hidden = state.shown.length > 0;
  $("none").textContent = N ? "No utterance is like that. Press Esc to show all." : "There are no utterances.";
});
