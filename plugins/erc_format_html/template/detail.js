// The card of the chosen utterance: words, probabilities together and per modality, contributions.
function showDetail() {
  const i = state.chosen;
  const card = $("detail");
  if (i < 0) {
    card.replaceChildren(make("p", { class: "empty" }, "There are no utterances."));
    return;
  }
  const times = `${clock(D.start[i])} – ${clock(D.end[i])}`;
  const words = make("blockquote", { dir: "auto" }, ...markedWords(i));
  card.replaceChildren(
    make("p", { class: "verdict" }, badge(said[i]), " ", make("strong", {}, D.labels[said[i]]), ` ${sureness(i)}`),
    make("p", { class: "where" }, make("bdi", {}, speaker(D.who[i])), ` · ${times} · ${count(i + 1)} of ${count(N)}`),
    words,
  );
  if (!judged(i)) card.append(make("p", { class: "legend" }, "Nothing to judge by: this is what is usual in the training data."));
  card.append(...whyParts(i), figures(i));
}

/** Labels down, together and modalities across; a cell's bar is its number. */
function figures(i) {
  const heard = SIDES.filter((side) => D.modalities[side].status[i] === 0);
  const columns = [D.p, ...heard.map((side) => D.modalities[side].p)];
  const head = make("tr", {}, make("td"), ...["together", ...heard].map((name) => make("th", { scope: "col" }, name)));
  const body = make("tbody");
  D.labels.slice(0, L).forEach((label, k) => {
    const row = make("tr", { class: k === D.best[i] ? "best" : "" });
    row.append(make("th", { scope: "row" }, badge(k), " ", label));
    for (const p of columns) {
      const cell = make("td", { class: `figure e${k}` }, make("span", {}, percent(p[i * L + k])));
      cell.style.setProperty("--part", `${p[i * L + k] / 10}%`);
      row.append(cell);
    }
    body.append(row);
  });
  const table = make("table", { class: "figures" }, make("thead", {}, head), body);
  if (heard.length) table.append(contributions(i, heard));
  const made = make("div", {}, table);
  const silent = SIDES.filter((side) => !heard.includes(side));
  if (silent.length) {
    const words = silent.map((side) => `${side}: ${STATUS_WORDS[D.modalities[side].status[i]]}`);
    made.append(make("p", { class: "legend" }, words.join("; ")));
  }
  for (const side of SIDES) {
    const note = D.modalities[side].notes?.[i];
    if (note) made.append(make("p", { class: "legend" }, `${side}: ${note}`));
  }
  return made;
}

function contributions(i, heard) {
  const most = Math.max(...heard.map((side) => Math.abs(D.modalities[side].share[i])), 1);
  const about = `Shapley value: how far each modality moved the log-odds of ${D.labels[D.best[i]]}`;
  const row = make("tr", { title: about }, make("th", { scope: "row", colspan: 2 }, "contribution"));
  for (const side of heard) {
    const share = D.modalities[side].share[i];
    const cell = make("td", { class: share < 0 ? "moved against" : "moved" }, make("span", {}, signed(share)));
    cell.style.setProperty("--part", `${(50 * Math.abs(share)) / most}%`);
    row.append(cell);
  }
  return make("tfoot", {}, row);
}

on("chosen", showDetail);
