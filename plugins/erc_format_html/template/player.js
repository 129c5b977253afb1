// The recording: playing one utterance to its end, and following what is played.
const player = $("player");
let stopAt = Infinity; // seconds at which to pause
let seeking = false; // whether it is us who seek

/** Go to an utterance's start; play it where `sound`. */
function goTo(i, sound) {
  if (!player || i < 0) return;
  const end = Math.max(D.end[i], D.start[i] + 0.2);
  const go = () => {
    seeking = true;
    player.currentTime = D.start[i];
    stopAt = $("stop").checked ? end : Infinity;
    if (sound) start();
  };
  if (player.readyState >= 1) go();
  else {
    player.addEventListener("loadedmetadata", go, { once: true });
    player.load();
  }
}

function start() {
  // a refusal (no such file, stopped at once) is told by other events
  player.play().catch(() => {});
}

/** Choose an utterance and play it. */
function play(i, by) {
  choose(i, by);
  goTo(i, true);
}

function toggle() {
  if (!player) return;
  if (!player.paused) player.pause();
  else if (player.currentTime >= stopAt - 0.05 || player.currentTime === 0) goTo(state.chosen, true);
  else start();
}

/** The utterance that is heard at a time: the present one as long as it lasts, else the last to begin. */
function heardAt(time) {
  const now = state.chosen;
  if (now >= 0 && D.start[now] <= time && time < D.end[now]) return now;
  let low = 0;
  let high = inTime.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (D.start[inTime[middle]] <= time) low = middle + 1;
    else high = middle;
  }
  for (let k = low - 1; k >= 0 && D.start[inTime[k]] >= time - LONGEST; k--) {
    if (time < D.end[inTime[k]]) return inTime[k];
  }
  return -1;
}

function follow() {
  if (player.currentTime >= stopAt && !player.paused) {
    player.pause();
    return;
  }
  if (!player.paused) choose(heardAt(player.currentTime), "playback");
  moveHead(player.currentTime);
}

function everyFrame() {
  follow();
  if (!player.paused && !player.ended) requestAnimationFrame(everyFrame);
}

function lose() {
  $("lost-words").textContent = `${D.media.name} is not where this page looks for it, or this browser cannot play it.`;
  $("lost").hidden = false;
  player.hidden = true;
}

function found() {
  $("lost").hidden = true;
  player.hidden = false;
}

/** The bytes of Base64, a piece at a time so that no text of the whole length is made twice. */
function bytesOf(text) {
  if (Uint8Array.fromBase64) return [Uint8Array.fromBase64(text)];
  const pieces = [];
  for (let at = 0; at < text.length; at += 1 << 22) {
    pieces.push(Uint8Array.from(atob(text.slice(at, at + (1 << 22))), (char) => char.charCodeAt(0)));
  }
  return pieces;
}

function openMedia() {
  const content = $("content");
  if (!content) {
    player.src = D.media.src;
    return;
  }
  const blob = new Blob(bytesOf(content.textContent.trim()), { type: D.media.type });
  content.remove();
  player.src = URL.createObjectURL(blob);
}

function showPlaying() {
  const playing = player && !player.paused;
  $("play").textContent = playing ? "Pause" : "Play utterance";
  document.body.classList.toggle("playing", playing);
}

if (player) {
  player.addEventListener("play", () => requestAnimationFrame(everyFrame));
  for (const what of ["play", "pause", "ended"]) player.addEventListener(what, showPlaying);
  player.addEventListener("timeupdate", follow); // frames are not drawn in a hidden tab
  player.addEventListener("seeking", () => {
    if (!seeking) stopAt = Infinity; // by the player's own controls
  });
  player.addEventListener("seeked", () => {
    if (!seeking) choose(heardAt(player.currentTime), "playback");
    seeking = false;
    moveHead(player.currentTime);
  });
  player.addEventListener("error", lose);
  player.addEventListener("loadedmetadata", found);
  $("pick").addEventListener("change", (event) => {
    const file = event.target.files[0];
    if (file) player.src = URL.createObjectURL(file);
  });
  $("stop").addEventListener("change", (event) => {
    stopAt = event.target.checked && state.chosen >= 0 ? D.end[state.chosen] : Infinity;
  });
}
$("play").addEventListener("click", () => {
  if (player && !player.paused) player.pause();
  else play(state.chosen, "button");
});
for (const [id, step] of [["before", -1], ["after", 1]]) {
  $(id).addEventListener("click", () => stepTo(neighbour(step, false), "button"));
}

/** Choose a neighbour; what is played goes along, what is paused shows its picture. */
function stepTo(i, by) {
  if (i < 0) return;
  choose(i, by);
  goTo(i, Boolean(player) && !player.paused);
}
