// What all parts share: the data, what is chosen, and how to make elements and words.
const $ = (id) => document.getElementById(id);
const D = JSON.parse($("data").textContent);
const N = D.start.length;
const L = D.emotions; // labels that have probabilities; behind them there may be "uncertain"
const SIDES = Object.keys(D.modalities);
const STATUS_WORDS = Object.values(D.statuses); // D.modalities[…].status counts along these; 0 is ok
const LANES = D.speakers.length;

// chosen: the utterance in the card, in time order or by playback; shown: places in the table, sorted
// and filtered; visible[i]: whether the filter lets utterance i through
const state = {
  chosen: N ? 0 : -1,
  shown: Array.from({ length: N }, (_, i) => i),
  visible: new Uint8Array(N).fill(1),
  sort: { key: "start", down: false },
  printing: false,
};
const inTime = state.shown.slice().sort((a, b) => D.start[a] - D.start[b] || a - b);
const LONGEST = D.start.reduce((most, start, i) => Math.max(most, D.end[i] - start), 0);

const listeners = { chosen: [], shown: [], theme: [] };
const on = (what, listener) => listeners[what].push(listener);
const tell = (what, detail) => listeners[what].forEach((listener) => listener(detail));

/** An element; children are elements or words, which never become markup. */
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** m:ss.t, with hours where there are any. */
function clock(seconds, tenths = true) {
  const all = Math.max(0, Math.round(seconds * 10));
  const s = Math.floor(all / 10) % 60;
  const m = Math.floor(all / 600) % 60;
  const h = Math.floor(all / 36000);
  const two = (n) => String(n).padStart(2, "0");
  return (h ? `${h}:${two(m)}` : `${m}`) + `:${two(s)}` + (tenths ? `.${all % 10}` : "");
}

const count = (n) => n.toLocaleString("en");
const percent = (thousandths) => `${Math.round(thousandths / 10)} %`;
const speaker = (lane) => D.speakers[lane] ?? "unknown";
const unsure = new Set(D.uncertain);
const said = D.best.map((best, i) => (unsure.has(i) ? L : best)); // the label: the best, or uncertain
const confidence = (i) => D.p[i * L + D.best[i]];
const judged = (i) => SIDES.some((side) => D.modalities[side].status[i] === 0);

/** Log-odds with their sign; what is rounded to nothing has none. */
function signed(thousandths, digits = 2) {
  const words = Math.abs(thousandths / 1000).toFixed(digits);
  return (Number(words) === 0 ? "" : thousandths < 0 ? "−" : "+") + words;
}

/** The most probable label of one modality. */
function bestOf(side, i) {
  const p = D.modalities[side].p;
  let best = 0;
  for (let k = 1; k < L; k++) if (p[i * L + k] > p[i * L + best]) best = k;
  return best;
}

/** A letter on its emotion's colour. */
const badge = (label) => make("b", { class: `badge e${label}` }, D.marks[label]);

/** How probable the label is; behind `uncertain` stands of what that is the probability. */
const sureness = (i) => (unsure.has(i) ? `(most probable: ${D.labels[D.best[i]]} ${percent(confidence(i))})` : percent(confidence(i)));

/** Colours one beside the other as a CSS background, in the order of the labels. */
function stacked(p, i) {
  const parts = [];
  let total = 0;
  for (let k = 0; k < L; k++) total += p[i * L + k];
  let from = 0;
  for (let k = 0; k < L; k++) {
    if (!p[i * L + k]) continue;
    const to = from + (100 * p[i * L + k]) / (total || 1);
    parts.push(`${D.colours[k]} ${from.toFixed(1)}% ${to.toFixed(1)}%`);
    from = to;
  }
  return `linear-gradient(90deg,${parts.join(",")})`;
}

/** What one modality says of an utterance, in words. */
function inWords(side, i) {
  const one = D.modalities[side];
  if (one.status[i]) return `${side}: ${STATUS_WORDS[one.status[i]]}`;
  const order = D.labels.map((_, k) => k).slice(0, L).sort((a, b) => one.p[i * L + b] - one.p[i * L + a]);
  const shares = order.slice(0, 3).map((k) => `${D.labels[k]} ${percent(one.p[i * L + k])}`);
  return `${side}: ${shares.join(", ")}; contributed ${signed(one.share[i])}`;
}

/** Make an utterance the current one; `by` says who did: "table", "timeline", "playback", … */
function choose(i, by) {
  if (i < 0 || i >= N || (i === state.chosen && by === "playback")) return;
  state.chosen = i;
  tell("chosen", by);
}

/** The colour that a variable of the style has in the present theme. */
function hue(variable) {
  const probe = make("span");
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const DIRECTION = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** The utterance `step` places on from the chosen one among those shown, in time or as in the table. */
function neighbour(step, sorted) {
  const order = sorted ? state.shown : inTime.filter((i) => state.visible[i]);
  if (!order.length) return -1;
  const place = order.indexOf(state.chosen);
  if (place >= 0) return order[Math.min(Math.max(place + step, 0), order.length - 1)];
  if (sorted) return order[step > 0 ? 0 : order.length - 1];
  const now = D.start[state.chosen];
  const later = order.findIndex((i) => D.start[i] > now);
  const at = later < 0 ? order.length : later;
  return order[Math.min(Math.max(step > 0 ? at : at - 1, 0), order.length - 1)];
}
