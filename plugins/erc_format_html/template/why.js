// What moved the answer of an utterance, where `erc explain` looked: its words, and the utterances around it.
const MOST_SHOWN = 6; // words and utterances in the card's lists, the strongest first

/** 0, 1 or 2 for a change in thousandths of log-odds, negative where it speaks against the answer. */
function strength(change) {
  const size = D.levels.filter((level) => Math.abs(change) >= level).length;
  return change < 0 ? -size : size;
}

/** The same without colours. */
const signs = (change) => (change < 0 ? "−" : "+").repeat(Math.abs(strength(change)));

/** The words of an utterance; those that moved the answer are marked by colour, line and sign. */
function markedWords(i) {
  const text = D.text[i];
  const flat = D.why?.[i]?.words ?? [];
  const parts = [];
  let end = 0;
  for (let k = 0; k < flat.length; k += 3) {
    const [from, to, change] = flat.slice(k, k + 3);
    if (!strength(change)) continue;
    const look = `word ${change < 0 ? "against" : "for"}${Math.abs(strength(change)) > 1 ? " strong" : ""}`;
    parts.push(text.slice(end, from));
    parts.push(make("mark", { class: look, title: signed(change) }, text.slice(from, to), make("sup", {}, signs(change))));
    end = to;
  }
  parts.push(text.slice(end) || (end ? "" : "(no words)"));
  return parts;
}

/** Numbers in a flat list, `size` at a time, those with the strongest change (the last of them) first. */
function strongest(flat, size) {
  const rows = [];
  for (let k = 0; k < flat.length; k += size) rows.push(flat.slice(k, k + size));
  const weight = (row) => Math.abs(row[size - 1]);
  return rows.filter((row) => strength(row[size - 1])).sort((a, b) => weight(b) - weight(a)).slice(0, MOST_SHOWN);
}

const moved = (change) => make("span", { class: change < 0 ? "against" : "for" }, signed(change));

/** Lists below the words: what each of the strongest words and neighbours did to the answer. */
function whyParts(i) {
  const why = D.why?.[i];
  if (!why) return [];
  const words = strongest(why.words ?? [], 3).map(([from, to, change]) =>
    make("li", {}, moved(change), " ", make("bdi", {}, D.text[i].slice(from, to))),
  );
  const around = strongest(why.context, 2).map(([j, change]) => make("li", {}, moved(change), " ", neighbourLink(i, j)));
  const about = `How much higher the log-odds of ${D.labels[D.best[i]]} are with it than without it`;
  const box = make("div", { class: "why" });
  if (why.words) box.append(whyList("Words that matter", words, about));
  box.append(whyList("Utterances around it", around, about));
  return [box];
}

function whyList(title, items, about) {
  const list = items.length ? make("ul", {}, ...items) : make("p", { class: "legend" }, "none moved the answer");
  return make("section", { title: about }, make("h3", {}, title), list);
}

/** A button that goes to another utterance. */
function neighbourLink(i, j) {
  const steps = Math.abs(j - i);
  const where = `${count(steps)} ${j < i ? "before" : "after"}`;
  const words = D.text[j].length > 60 ? `${D.text[j].slice(0, 60)}…` : D.text[j] || "(no words)";
  const button = make("button", { type: "button", class: "go" }, `${where}: `, make("bdi", {}, words));
  button.addEventListener("click", () => {
    stepTo(j, "card");
    $("detail").querySelector("button.go")?.focus();
  });
  return button;
}
