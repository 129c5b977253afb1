// Which utterances are shown, and in which order.
const chips = [...document.querySelectorAll(".chip")];
const collator = new Intl.Collator(undefined, { sensitivity: "base", numeric: true });
let haystack = null; // what is searched, made when first needed

for (let lane = 0; lane < LANES; lane++) {
  $("who").append(make("option", { value: lane }, speaker(lane).slice(0, 60)));
}

function wanted() {
  const pressed = chips.filter((chip) => chip.getAttribute("aria-pressed") === "true");
  return {
    labels: new Set(pressed.map((chip) => Number(chip.dataset.label))),
    words: $("words").value.trim().toLowerCase().split(/\s+/).filter(Boolean),
    who: $("who").value,
    least: Number($("least").value) * 10,
  };
}

function applyFilter() {
  const want = wanted();
  if (want.words.length) haystack ||= D.text.map((text, i) => `${text} ${speaker(D.who[i])}`.toLowerCase());
  for (let i = 0; i < N; i++) {
    const fits =
      (!want.labels.size || want.labels.has(said[i])) &&
      (want.who === "" || D.who[i] === Number(want.who)) &&
      confidence(i) >= want.least &&
      want.words.every((word) => haystack[i].includes(word));
    state.visible[i] = fits ? 1 : 0;
  }
  $("least-shown").textContent = `${want.least / 10} %`;
  arrange();
}

/** What a column sorts by: smaller first. */
function comparer(key) {
  if (key === "who") return (a, b) => collator.compare(speaker(D.who[a]), speaker(D.who[b]));
  if (key === "text") return (a, b) => collator.compare(D.text[a], D.text[b]);
  if (key === "best") return (a, b) => said[a] - said[b] || confidence(b) - confidence(a);
  if (key === "sure") return (a, b) => confidence(a) - confidence(b);
  if (key === "start") return (a, b) => D.start[a] - D.start[b];
  const { status, share } = D.modalities[key];
  const value = (i) => (status[i] ? -Infinity : share[i]);
  return (a, b) => (value(a) === value(b) ? 0 : value(a) - value(b));
}

function arrange() {
  const { key, down } = state.sort;
  const compare = comparer(key);
  state.shown = inTime.filter((i) => state.visible[i]);
  if (key !== "start" || down) state.shown.sort((a, b) => (down ? compare(b, a) : compare(a, b)) || a - b);
  const some = state.shown.length < N ? `${count(state.shown.length)} of ` : "";
  $("found").textContent = `${some}${count(N)} utterance${N === 1 ? "" : "s"}`;
  $("show-all").disabled = state.shown.length === N;
  tell("shown");
}

function showAll() {
  for (const chip of chips) chip.setAttribute("aria-pressed", "false");
  $("filters").reset();
  applyFilter();
}

function sortBy(head) {
  const { key } = head.dataset;
  const high = !["start", "who", "text", "best"].includes(key); // figures: the highest first
  state.sort = { key, down: state.sort.key === key ? !state.sort.down : high };
  for (const one of document.querySelectorAll("[role=columnheader]")) {
    const mine = one === head;
    one.setAttribute("aria-sort", mine ? (state.sort.down ? "descending" : "ascending") : "none");
  }
  table.scrollTop = 0;
  arrange();
}

for (const chip of chips) {
  chip.addEventListener("click", () => {
    chip.setAttribute("aria-pressed", chip.getAttribute("aria-pressed") !== "true");
    applyFilter();
  });
}
for (const head of document.querySelectorAll("[role=columnheader]")) {
  head.firstElementChild.addEventListener("click", () => sortBy(head));
}
$("words").addEventListener("input", applyFilter);
$("who").addEventListener("change", applyFilter);
$("least").addEventListener("input", applyFilter);
$("show-all").addEventListener("click", showAll);
$("filters").addEventListener("submit", (event) => event.preventDefault());
