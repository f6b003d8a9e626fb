// What is typed, dropped or clicked -> questions; answers -> the page. The address holds the question.

import * as server from "./ask.js";
import { Hits, element, forgetHues, hue, lightRegion } from "./hits.js";
import { MAY, MUST, cycled, folded, parts } from "./query.js";
import { Viewer } from "./viewer.js";

const PAUSE = 160;  // milliseconds after the last key
const UNFINISHED = 500;  // more of them, until a query that cannot be read is taken for finished
const PAGE = 24;  // hits at a time
const FRESH = 10_000;  // milliseconds until an index may have grown
const AGAIN = 2000;  // milliseconds between looks for a server that is gone
const byId = (id) => document.getElementById(id);
const [input, form, words, status, problem, list, empty, more, find, gone, file, drop] =
  ["query", "form", "words", "status", "problem", "hits", "empty", "more", "find", "gone", "file", "drop"].map(byId);

let about = null;  // what is served
let aboutAt = 0;
let liked = null;  // the picture that is searched by: {id, path} or {file, url}
let answer = null;  // the last one
let asking = new AbortController();
let timer = 0;

const beside = byId("beside");
const hits = new Hits(list, {
  light: (word) => lightRegion(beside.querySelector(".region"), word),
  open: (at) => viewer.open(at, input.value.trim(), Boolean(about?.texts)),
});
const viewer = new Viewer(byId("viewer"), {
  turn: (n) => hits.shown[n],
  count: () => hits.shown.length,
  similar: (item) => likeItem(item, "pictures"),
  sentences: (item) => likeItem(item, "sentences"),
  closed: (at) => opens()[at]?.focus(),
});
const opens = () => [...list.querySelectorAll(".open")];
const chosen = () => find.querySelector(":checked").value;
const choose = (kind) => (find.querySelector(`[value="${kind}"]`).checked = true);
const onlyTexts = () => about?.images === null;
const wanted = () => ((liked && chosen() === "sentences") || onlyTexts() ? "sentences" : "pictures");

// Questions

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
}

/** Only the answer to the last question is shown. */
async function ask({ offset = 0 } = {}) {
  clearTimeout(timer);
  asking.abort();
  const { signal } = (asking = new AbortController());
  remember();
  const slow = setTimeout(() => busy(true), 250);
  try {
    if (!about || Date.now() - aboutAt > FRESH) [about, aboutAt] = [await server.about(), Date.now()];
    const found = await question(offset, signal);
    if (!signal.aborted) shown(found, offset);
  } catch (error) {
    clearTimeout(slow);
    if (!signal.aborted) busy(false);
    if (error.problem?.type.endsWith(":query")) await new Promise((done) => setTimeout(done, UNFINISHED));
    if (!signal.aborted) failed(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) busy(false);
  }
}

function question(offset, signal) {
  const given = { k: PAGE, offset }, text = input.value.trim();
  if (liked && wanted() === "sentences") return server.like("v1/captions", { ...given, ...picture() }, signal);
  if (liked) return server.like("v1/similar", { ...given, ...picture(), query: text }, signal);
  if (text && about.images !== null) return server.search({ ...given, query: text }, signal);
  return about.images ? server.newest(given, signal) : null;
}
const picture = () => (liked.file ? { file: liked.file } : { id: liked.id });

// Answers

function shown(found, offset) {
  problem.textContent = "";
  gone.hidden = true;
  answer = found;
  describe();
  const isSearch = Boolean(found?.hits);
  const items = found?.hits ?? (found?.items ?? []).map((item) => ({ item, words: [], relevant: true }));
  if (!offset) forgetHuesOf(items);
  hits.show(items, { more: offset > 0, line: isSearch });
  list.classList.toggle("sentences", isSearch && wanted() === "sentences");
  beside.hidden = !list.classList.contains("sentences");
  list.classList.toggle("bare", !items[0]?.words.length);
  more.hidden = !found || hits.shown.length >= found.total || hits.shown.length >= 960;
  status.replaceChildren(...verdict(found, isSearch));
  status.classList.toggle("nothing", isSearch && found.relevant === 0);
  invite(found, isSearch);
  showWords();
}

/** Colours begin anew with a new question, in the order of its words. */
function forgetHuesOf(items) {
  forgetHues();
  for (const word of items[0]?.words ?? []) if (word.judged) hue(word.word);
}

function verdict(found, isSearch) {
  if (!found?.total) return [];
  if (!isSearch) return ["The newest first."];
  const kind = wanted() === "sentences" ? "sentences" : "pictures";
  const all = `${found.total.toLocaleString("en")} ${kind}`;
  if (found.relevant) return [`${found.relevant.toLocaleString("en")} of ${all} match, the best first.`, ...unknown(found)];
  return [element("strong", {}, "Nothing here clearly matches."), ` These come closest, of ${all}.`, ...unknown(found)];
}

/** Words that the model never learnt find nothing anywhere. */
function unknown(found) {
  if (wanted() === "sentences") return [];
  const names = (found.hits[0]?.words ?? []).filter((word) => !word.known).map((word) => `“${word.word}”`);
  return names.length ? [` The model does not know ${names.join(", ")}.`] : [];
}

function describe() {
  const counted = (count, one, many) => (count === null ? [] : [`${count.toLocaleString("en")} ${count === 1 ? one : many}`]);
  byId("about").textContent = [...counted(about.images, "picture", "pictures"), ...counted(about.texts, "sentence", "sentences")].join(", ");
  const saying = liked && wanted() === "sentences";
  input.disabled = onlyTexts() || Boolean(saying);
  input.placeholder = saying ? "sentences for this picture" : onlyTexts() ? "drop a picture here, or choose one" : liked ? "add words" : "a dog running on the beach";
  find.hidden = !(liked && !onlyTexts() && about.texts);
}

/** What to do where there is nothing to see. */
function invite(found, isSearch) {
  const total = about.images ?? about.texts;
  const lines = !total ? ["This index is empty.", "Add to it: ", element("code", {}, "wordsight index FOLDER --out INDEX"), ". This page follows it."]
    : isSearch && !found.total ? ["No picture passes.", "A word that must be there, or must not, keeps all of them out: click it to let it go."]
    : !found && about.texts ? ["Drop a picture here", "or choose one: the sentences that tell of it come back."]
    : [];
  empty.hidden = !lines.length;
  const [title, ...rest] = lines;
  empty.replaceChildren(...(lines.length ? [element("h2", {}, title), element("p", {}, ...rest)] : []));
  if (!total) setTimeout(() => about && !(about.images ?? about.texts) && refresh(), AGAIN);
}

async function refresh() {
  about = null;
  await ask();
}

function failed(error) {
  if (error instanceof server.Gone) return waitForServer();
  if (error instanceof server.NeedsToken) return askForToken();
  problem.textContent = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  status.replaceChildren();
  if (error.problem?.status !== 422 || liked) clear();
  words.hidden = true;
}

function clear() {
  hits.clear();
  more.hidden = true;
}

async function waitForServer() {
  gone.hidden = false;
  status.replaceChildren();
  while (!(await server.isBack())) await new Promise((done) => setTimeout(done, AGAIN));
  if (gone.hidden) return;
  gone.hidden = true;
  refresh();
}

function askForToken() {
  const dialog = byId("asked");
  if (dialog.open) return;
  dialog.addEventListener("close", () => {
    server.keepToken(byId("token").value.trim());
    refresh();
  }, { once: true });
  dialog.showModal();
}

function busy(is) {
  form.classList.toggle("busy", is);
  list.setAttribute("aria-busy", String(is));
}

// Words: may, must, must not

const SAID = { "": "may be there", "+": "must be there", "-": "must not be there" };
const SIGN = { "": "", "+": "+", "-": "−" };

function showWords() {
  const first = answer?.hits?.[0]?.words ?? [];
  const plain = new Set(first.filter((word) => !word.judged).map((word) => folded(word.word)));
  const typed = input.value, found = liked && wanted() === "sentences" ? [] : parts(typed);
  const must = !(first.length === 1 && found.length > 1);
  const focused = [...words.children].indexOf(document.activeElement);
  words.replaceChildren(...found.flatMap((part) => wordOf(part, typed, must, plain)));
  if (focused >= 0) words.children[focused]?.focus();
  words.hidden = !words.children.length;
}

function wordOf(part, typed, must, plain) {
  if (part.sign === MAY && plain.has(folded(part.word)) || !folded(part.word)) return [];
  const told = part.sign === MAY ? [part.word] : [element("b", { "aria-hidden": "true" }, SIGN[part.sign]), part.word];
  return [element("button", {
    type: "button", class: `word ${part.sign === MAY ? "may" : part.sign === MUST ? "must" : "must-not"}`,
    "aria-label": `${part.word}: ${SAID[part.sign]}; press to change`, title: `${SAID[part.sign]}; click to change`,
    onclick: () => {
      input.value = cycled(typed, part, must);
      showWords();
      ask();
    },
  }, ...told)];
}

// Pictures

function likeItem(item, what) {
  setLiked({ id: item.id, path: item.thumbnail }, what);
  input.value = "";
  history.pushState(null, "", location.href);
  ask();
  scrollTo({ top: 0 });
  input.focus();
}

function likeFile(given) {
  if (!given) return;
  if (!given.type.startsWith("image/")) {
    problem.textContent = `${given.name} is no picture; drop a JPEG, PNG or WebP file.`;
    return;
  }
  if (about && given.size > about.most_bytes) {
    problem.textContent = `${given.name} has ${(given.size / 2 ** 20).toFixed(0)} MB, and the limit is ${about.most_bytes / 2 ** 20} MB; send a smaller version.`;
    return;
  }
  setLiked({ file: given, url: URL.createObjectURL(given) });
  input.value = "";
  ask();
}

function setLiked(what, kind) {
  if (liked?.url) URL.revokeObjectURL(liked.url);
  liked = what;
  byId("like").hidden = !what;
  if (kind) choose(kind);
  const shownAs = byId("liked");
  for (const image of [shownAs, beside.querySelector("img")]) {
    if (what?.url) Object.assign(image, { src: what.url }), delete image.dataset.path;
    else if (what) server.show(image, what.path);
  }
  shownAs.alt = what ? `Searching by ${what.file?.name ?? "a picture of the index"}` : "";
}

// The address

function remember() {
  const told = new URLSearchParams();
  if (input.value.trim()) told.set("q", input.value);
  if (liked?.id) told.set("like", liked.id);
  if (liked?.id && wanted() === "sentences") told.set("find", "sentences");
  const search = told.size ? `?${told}` : "";
  if (search !== location.search) history.replaceState(null, "", location.pathname + search);
  document.title = input.value.trim() ? `${input.value.trim()} – wordsight` : "wordsight";
}

function recall() {
  const told = new URLSearchParams(location.search), id = Number(told.get("like"));
  input.value = told.get("q") ?? "";
  choose(told.get("find") === "sentences" ? "sentences" : "pictures");
  setLiked(id ? { id, path: `/v1/items/${id}/thumbnail?size=640` } : null);
  ask();
}

// Hands

input.addEventListener("input", (event) => {
  showWords();
  if (!event.isComposing) soon();
});
input.addEventListener("compositionend", soon);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
more.addEventListener("click", () => ask({ offset: hits.shown.length }));
find.addEventListener("change", () => ask());
byId("choose").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  likeFile(file.files[0]);
  file.value = "";
});
byId("unlike").addEventListener("click", () => {
  setLiked(null);
  ask();
  input.focus();
});
addEventListener("popstate", recall);

document.addEventListener("paste", (event) => likeFile([...(event.clipboardData?.files ?? [])][0]));
let inside = 0;  // dragenter and dragleave come for every element
document.addEventListener("dragenter", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  inside += 1;
  drop.classList.add("on");
});
document.addEventListener("dragleave", () => {
  inside = Math.max(0, inside - 1);
  drop.classList.toggle("on", inside > 0);
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  drop.classList.remove("on");
  likeFile(event.dataTransfer?.files[0]);
});

// Keys

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=radio])");
  if (event.key === "/" && !typing) return take(event, input);
  if (event.key === "Escape" && !typing) return take(event, input);
  const all = opens();
  if (event.target === input && event.key === "ArrowDown") return take(event, all[0]);
  const at = all.indexOf(event.target.closest?.(".hit")?.querySelector(".open"));
  if (at >= 0) take(event, next(all, at, event.key));
});

function take(event, target) {
  if (!target) return;
  event.preventDefault();
  target.focus();
  if (target === input) input.select();
}

/** The picture that a key leads to from this one. */
function next(all, at, key) {
  if (key === "ArrowRight") return all[at + 1];
  if (key === "ArrowLeft") return all[at - 1];
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key === "ArrowUp" && at === 0) return input;
  if (key !== "ArrowDown" && key !== "ArrowUp") return undefined;
  const from = all[at].getBoundingClientRect(), down = key === "ArrowDown" ? 1 : -1;
  const beyond = all.map((one) => [one, one.getBoundingClientRect()]).filter(([, box]) => down * (box.top - from.top) > 4);
  const near = ([, box]) => Math.abs(box.top - from.top) * 4 + Math.abs(box.left - from.left);
  return beyond.sort((a, b) => near(a) - near(b))[0]?.[0] ?? (down < 0 ? input : undefined);
}

server.takeToken();
recall();
