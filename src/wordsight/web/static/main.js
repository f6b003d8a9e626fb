// What is typed, dropped or clicked -> questions; answers -> the page. The address holds the question.

import * as server from "./api.js";
import { element } from "./dom.js";
import { Filters } from "./filters.js";
import { Hits, forgetHues, hue, lightRegion } from "./hits.js";
import * as keys from "./keyboard.js";
import { Liked } from "./picture_query.js";
import { invitation, served, verdict } from "./messages.js";
import { Viewer } from "./viewer.js";
import { showWords } from "./query_words.js";

const PAUSE = 160;  // milliseconds after the last key
const UNFINISHED = 500;  // more of them, until a query that cannot be read is taken for finished
const PAGE = 24;  // hits at a time
const MOST = 960;  // hits that one page shows
const FRESH = 10_000;  // milliseconds until an index may have grown
const AGAIN = 2000;  // milliseconds between looks for a server that is gone
const byId = (id) => document.getElementById(id);
const [input, form, words, status, problem, list, beside, empty, more, find, gone] =
  ["query", "form", "words", "status", "problem", "hits", "beside", "empty", "more", "find", "gone"].map(byId);

let about = null;  // what is served
let aboutAt = 0;
let answer = null;  // the last one
let asking = new AbortController();
let timer = 0;

const hits = new Hits(list, {
  light: (word, evidence) => lightRegion(beside, word, evidence),
  open: (at) => viewer.open(at, typed(), { texts: Boolean(about?.texts), originals: Boolean(about?.originals) }),
});
const viewer = new Viewer(byId("viewer"), {
  turn: (n) => hits.shown[n],
  count: () => hits.shown.length,
  total: () => Math.max(hits.shown.length, reachable(answer)),
  more: async () => {
    const before = hits.shown.length;
    if (!more.hidden) await ask({ offset: before });
    return hits.shown.length > before;
  },
  similar: (item) => likeItem(item, "pictures"),
  sentences: (item) => likeItem(item, "sentences"),
  closed: (at) => opens()[at]?.focus(),
});
const liked = new Liked({
  mostBytes: () => about?.most_bytes ?? Infinity,
  refused: (told) => (problem.textContent = told),
  chosen: () => {
    input.value = "";
    ask();
  },
});
const filters = new Filters({
  panel: byId("filters"), button: byId("filter"), chips: byId("filtered"),
  changed: (typing) => (typing ? soon() : ask()),
});
const typed = () => input.value.trim();
const opens = () => [...list.querySelectorAll(".open")];
const chosen = () => find.querySelector(":checked").value;
const choose = (kind) => (find.querySelector(`[value="${kind}"]`).checked = true);
const onlyTexts = () => about?.images === null;
const wanted = () => ((liked.what && chosen() === "sentences") || onlyTexts() ? "sentences" : "pictures");

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
    document.querySelector("main").classList.remove("waiting");  // for the first answer: what is below it has not moved
  }
}

function question(offset, signal) {
  const given = { k: PAGE, offset }, query = typed();
  if (liked.what && wanted() === "sentences") return server.like("v1/captions", { ...given, ...liked.asked }, signal);
  const ordered = { ...given, ...filters.asked({ ordered: true }) };
  if (liked.what) return server.like("v1/similar", { ...ordered, ...liked.asked, query }, signal);
  if (query && about.images !== null) return server.search({ ...ordered, query }, signal);
  return about.images ? server.newest({ ...given, ...filters.asked({ ordered: false }) }, signal) : null;
}

// Answers

function shown(found, offset) {
  problem.textContent = "";
  gone.hidden = true;
  answer = found;
  describe();
  const isSearch = Boolean(found?.hits);
  const items = found?.hits ?? (found?.items ?? []).map((item) => ({ item, words: [], relevant: true }));
  const at = placeOfFocus(offset);
  if (!offset) forgetHuesOf(items);
  hits.show(items, { more: offset > 0, line: isSearch });
  if (at >= 0) opens()[Math.min(at, hits.shown.length - 1)]?.focus({ preventScroll: !offset });
  list.classList.toggle("sentences", isSearch && wanted() === "sentences");
  beside.hidden = !list.classList.contains("sentences");
  list.classList.toggle("bare", !items[0]?.words.length);
  more.hidden = !found || hits.shown.length >= reachable(found);
  list.classList.remove("stale");
  tell(found);
  showTheWords();
}
/** Of the picture that has the focus once others take the places of those that are shown, or follow them; or -1. */
function placeOfFocus(offset) {
  const focused = document.activeElement;
  if (offset) return focused === more ? hits.shown.length : -1;
  return opens().indexOf(focused?.closest(".hit")?.querySelector(".open"));
}
/** How many hits can be seen one after the other. */
const reachable = (found) => Math.min(MOST, (isSorted(found ?? {}) ? found.relevant : found?.total) ?? 0);
const isSorted = (found) => Boolean(found.hits) && wanted() === "pictures" && filters.values.sort === "date";

/** Colours begin anew with a new question, in the order of its words. */
function forgetHuesOf(items) {
  forgetHues();
  for (const word of items[0]?.words ?? []) if (word.judged) hue(word.word);
}

function tell(found) {
  const kind = wanted(), pictures = kind === "pictures";
  const asked = {
    about, kind, narrow: pictures && filters.narrow, sort: pictures && filters.values.sort,
    signs: /(^|\s)[+-]\S/.test(typed()), instead: correct, compareAll: () => filters.set("engine", "exact"),
    clear: () => filters.clear(), best: () => filters.set("sort", ""),
  };
  status.replaceChildren(...verdict(found, asked));
  byId("passing").textContent = found && pictures && found.exact !== false ? `${found.total.toLocaleString("en")} of ${about.images.toLocaleString("en")} pass` : "";
  const lines = invitation(found, asked);
  empty.hidden = !lines;
  empty.replaceChildren(...(lines ? [element("h2", {}, lines[0]), element("p", {}, ...lines.slice(1))] : []));
  if (!(about.images ?? about.texts)) setTimeout(() => about && !(about.images ?? about.texts) && refresh(), AGAIN);
}

/** The words that were probably meant, in the place of those that the model does not know. */
function correct(suggestions) {
  for (const { word, instead } of suggestions) input.value = input.value.replaceAll(word, instead);
  showTheWords();
  ask();
}

/** What the field takes now, and which choices there are. */
function describe() {
  byId("about").textContent = served(about);
  const saying = liked.what && wanted() === "sentences";
  input.disabled = onlyTexts() || Boolean(saying);
  input.placeholder = saying ? "sentences for this picture" : onlyTexts() ? "drop a picture here, or choose one" : liked.what ? "add words" : "a dog running on the beach";
  find.hidden = !(liked.what && !onlyTexts() && about.texts);
  filters.allow(wanted() === "pictures");
}

function showTheWords() {
  const saying = liked.what && wanted() === "sentences";
  showWords(words, saying ? "" : input.value, answer?.hits?.[0]?.words ?? [], (changed) => {
    input.value = changed;
    showTheWords();
    ask();
  });
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
  list.classList.add("stale");  // they belong to another query
  if (error.problem?.status !== 422 || liked.what) {
    hits.clear();
    more.hidden = true;
  }
  words.hidden = true;
}

async function waitForServer() {
  gone.hidden = false;
  list.classList.add("stale");
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

function likeItem(item, what) {
  liked.set({ id: item.id, path: item.thumbnail });
  choose(what);
  input.value = "";
  history.pushState(null, "", location.href);
  ask();
  scrollTo({ top: 0 });
  input.focus();
}

// The address

function remember() {
  const told = new URLSearchParams();
  if (typed()) told.set("q", input.value);
  if (liked.what?.id) told.set("like", liked.what.id);
  if (liked.what?.id && wanted() === "sentences") told.set("find", "sentences");
  filters.write(told);
  const search = told.size ? `?${told}` : "";
  if (search !== location.search) history.replaceState(null, "", location.pathname + search);
  document.title = typed() ? `${typed()} – wordsight` : "wordsight";
}

function recall() {
  const told = new URLSearchParams(location.search), id = Number(told.get("like"));
  input.value = told.get("q") ?? "";
  choose(told.get("find") === "sentences" ? "sentences" : "pictures");
  liked.set(id ? { id, path: `/v1/items/${id}/thumbnail?size=640` } : null);
  filters.read(told);
  showTheWords();
  ask();
}

// Hands

input.addEventListener("input", (event) => {
  showTheWords();
  if (!event.isComposing) soon();
});
input.addEventListener("compositionend", soon);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
more.addEventListener("click", () => ask({ offset: hits.shown.length }));
find.addEventListener("change", () => ask());
byId("unlike").addEventListener("click", () => {
  liked.set(null);
  ask();
  input.focus();
});
addEventListener("popstate", recall);
keys.listen(input, opens);
server.takeToken();
recall();
if (matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });  // elsewhere a keyboard would cover the page
