// How often one emotion follows another: of the whole conversation, or within one speaker's turns.
function turnsOf(row) {
  const found = D.labels.map(() => new Array(D.labels.length).fill(0));
  for (let k = 1; k < row.length; k++) found[said[row[k - 1]]][said[row[k]]]++;
  return found;
}

function showTurns() {
  const who = $("turns-who").value;
  const found = turnsOf(who === "" ? inTime : lanes[Number(who)]);
  const used = D.labels.map((_, k) => k).filter((k) => found[k].some(Boolean) || found.some((row) => row[k]));
  if (!used.length) {
    $("turns").replaceChildren(make("caption", {}, "One utterance has no next."));
    return;
  }
  const most = Math.max(...found.flat());
  const head = make("tr", {}, make("td"));
  for (const to of used) head.append(make("th", { scope: "col" }, badge(to), " ", D.labels[to]));
  const body = make("tbody");
  for (const from of used) {
    const row = make("tr", {}, make("th", { scope: "row" }, badge(from), " ", D.labels[from]));
    for (const to of used) {
      const n = found[from][to];
      const cell = make("td", { class: from === to ? "same" : "" }, n ? count(n) : "·");
      cell.style.setProperty("--heat", `${n ? Math.round(8 + (62 * n) / most) : 0}%`);
      row.append(cell);
    }
    body.append(row);
  }
  $("turns").replaceChildren(make("thead", {}, head), body);
}

if ($("turns")) {
  for (let lane = 0; lane < LANES; lane++) {
    if (LANES > 1) $("turns-who").append(make("option", { value: lane }, speaker(lane).slice(0, 60)));
  }
  $("turns-who").addEventListener("change", showTurns);
}
