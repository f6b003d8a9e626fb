// The page: input becomes requests, answers become hits. The address holds the query.

import * as server from "./api.js";
import { Albums } from "./albums.js";
import { element } from "./dom.js";
import { Filters } from "./filters.js";
import { Hits, forgetHues, hue, lightRegion, tellingWords } from "./hits.js";
import { listenForHelp } from "./help.js";
import * as keys from "./keyboard.js";
import { Liked } from "./picture_query.js";
import { invitation, served, verdict } from "./messages.js";
import { Viewer } from "./viewer.js";
import { showWords } from "./query_words.js";

const TYPING_MS = 160;  // pause after the last key
const UNFINISHED_MS = 500;  // further pause before an invalid query is reported
const PAGE = 24;  // hits per request
const MAX_HITS = 960;  // on one page
const FRESH_MS = 10_000;  // after which the index may have grown
const AHEAD = 600;  // pixels below the window where the next hits are loaded
const RETRY_MS = 2000;  // between attempts to reach the server
const byId = (id) => document.getElementById(id);
const [input, form, words, status, problem, list, queryPicture, empty, more, find, gone] =
  ["query", "form", "words", "status", "problem", "hits", "query-picture", "empty", "more", "find", "gone"].map(byId);

let about = null;  // facts about the server
let aboutAt = 0;
let answer = null;  // the last one
let continued = null;  // the answer after which more was loaded without a click
let request = new AbortController();
let timer = 0;

const hits = new Hits(list, {
  light: (word, evidence) => lightRegion(queryPicture, word, evidence),
  open: (at) => viewer.open(at, typed(), { texts: Boolean(about?.texts), originals: Boolean(about?.originals && about.opens_pictures), shows: Boolean(about?.shows_files && about.opens_pictures) }),
});
const viewer = new Viewer(byId("viewer"), {
  turn: (n) => hits.shown[n],
  count: () => hits.shown.length,
  total: () => Math.max(hits.shown.length, available(answer)),
  last: () => Math.max(hits.shown.length, reachable(answer)),
  more: async () => {
    const before = hits.shown.length;
    if (!more.hidden) await search({ offset: before });
    return hits.shown.length > before;
  },
  similar: (item) => likeItem(item, "pictures"),
  sentences: (item) => likeItem(item, "sentences"),
  closed: (at) => opens()[at]?.focus(),
});
const liked = new Liked({
  mostBytes: () => about?.most_bytes ?? Infinity,
  refused: (message) => (problem.textContent = message),
  chosen: () => {
    input.value = "";
    search();
  },
});
const filters = new Filters({
  panel: byId("filters"), button: byId("filter"), chips: byId("filtered"),
  changed: (typing) => (typing ? soon() : search()),
});
const albums = new Albums({
  list: byId("albums"), button: byId("save"), name: () => [typed(), filters.described].filter(Boolean).join(", "),
  open: (search) => {
    history.pushState(null, "", location.pathname + search);
    recall();
  },
});
const mix = byId("mix").querySelector("input");
const typed = () => input.value.trim();
const opens = () => [...list.querySelectorAll(".open")];
const chosen = () => find.querySelector(":checked").value;
const choose = (kind) => (find.querySelector(`[value="${kind}"]`).checked = true);
const onlyTexts = () => about?.images === null;
const wanted = () => ((liked.what && chosen() === "sentences") || onlyTexts() ? "sentences" : "pictures");

// Requests

function soon() {
  clearTimeout(timer);
  timer = setTimeout(search, TYPING_MS);
}

/** Send the query; only the answer to the last request is shown. */
async function search({ offset = 0 } = {}) {
  clearTimeout(timer);
  request.abort();
  const { signal } = (request = new AbortController());
  remember();
  const slow = setTimeout(() => busy(true), 250);
  try {
    if (!about || Date.now() - aboutAt > FRESH_MS) [about, aboutAt] = [await server.about(), Date.now()];
    const found = await fetchHits(offset, signal);
    if (!signal.aborted) showAnswer(found, offset);
  } catch (error) {
    clearTimeout(slow);
    if (!signal.aborted) busy(false);
    if (error.problem?.type.endsWith(":query")) await new Promise((done) => setTimeout(done, UNFINISHED_MS));
    if (!signal.aborted) failed(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) busy(false);
    document.querySelector("main").classList.remove("waiting");  // with the first answer, so that nothing below it moves
  }
}

function fetchHits(offset, signal) {
  const page = { k: PAGE, offset }, query = typed();
  if (liked.what && wanted() === "sentences") return server.like("v1/captions", { ...page, ...liked.parameters }, signal);
  const ordered = { ...page, ...filters.parameters({ ordered: true }) };
  if (liked.what) return server.like("v1/similar", { ...ordered, ...liked.parameters, query, ...(query ? { weight: mix.value / 100 } : {}) }, signal);
  if (query && about.images !== null) return server.search({ ...ordered, query }, signal);
  return about.images ? server.newest({ ...page, ...filters.parameters({ ordered: false }) }, signal) : null;
}

// Answers

function showAnswer(found, offset) {
  problem.textContent = "";
  gone.hidden = true;
  answer = found;
  describe();
  const isSearch = Boolean(found?.hits);
  const items = found?.hits ?? (found?.items ?? []).map((item) => ({ item, words: [], relevant: true }));
  const at = placeOfFocus(offset);
  if (!offset) forgetHuesOf(items);
  hits.show(items, { more: offset > 0, threshold: isSearch });
  if (at >= 0) opens()[Math.min(at, hits.shown.length - 1)]?.focus({ preventScroll: !offset });
  list.classList.toggle("sentences", isSearch && wanted() === "sentences");
  queryPicture.hidden = !list.classList.contains("sentences");
  list.classList.toggle("bare", !(items[0] && tellingWords(items[0]).length));
  more.hidden = !found || hits.shown.length >= reachable(found);
  list.classList.remove("stale");
  showStatus(found);
  showTheWords();
  byId("mix").hidden = !liked.what || !typed() || wanted() === "sentences";
  albums.show(!onlyTexts());
  continueIfSeen();
}
/** Load the next hits where the end of the list is seen, as long as they match; the button goes further. */
function continueIfSeen() {
  const matches = !answer?.hits || hits.shown.length < answer.relevant;
  if (more.hidden || !matches || answer === continued) return;
  if (more.getBoundingClientRect().top < innerHeight + AHEAD) {
    continued = answer;
    search({ offset: hits.shown.length });
  }
}
/** Position of the focused picture, to restore the focus after new hits; or -1. */
function placeOfFocus(offset) {
  const focused = document.activeElement;
  if (offset) return focused === more ? hits.shown.length : -1;
  return opens().indexOf(focused?.closest(".hit")?.querySelector(".open"));
}
const available = (found) => (isSorted(found ?? {}) ? found.relevant : found?.total) ?? 0;
/** Number of hits that this page can show. */
const reachable = (found) => Math.min(MAX_HITS, available(found));
const isSorted = (found) => Boolean(found.hits) && wanted() === "pictures" && filters.values.sort === "date";

/** A new query assigns colours anew, in the order of its words. */
function forgetHuesOf(items) {
  forgetHues();
  for (const word of items[0]?.words ?? []) if (word.judged) hue(word.word);
}

function showStatus(found) {
  const kind = wanted(), pictures = kind === "pictures";
  const context = {
    about, kind, narrow: pictures && filters.narrow, sort: pictures && filters.values.sort,
    signs: /(^|\s)[+-]\S/.test(typed()), instead: correct, compareAll: () => filters.set("engine", "exact"),
    clear: () => filters.clear(), best: () => filters.set("sort", ""),
  };
  status.replaceChildren(...verdict(found, context));
  byId("passing").textContent = found && pictures && found.exact !== false ? `${found.total.toLocaleString("en")} of ${about.images.toLocaleString("en")} pass` : "";
  const message = invitation(found, context);
  empty.hidden = !message;
  empty.replaceChildren(...(message ? [element("h2", {}, message[0]), element("p", {}, ...message.slice(1))] : []));
  if (!(about.images ?? about.texts)) setTimeout(() => about && !(about.images ?? about.texts) && refresh(), RETRY_MS);
}

/** Replace unknown words by their suggestions. */
function correct(suggestions) {
  for (const { word, instead } of suggestions) input.value = input.value.replaceAll(word, instead);
  showTheWords();
  search();
}

/** Update the search field and the available choices. */
function describe() {
  byId("about").textContent = served(about);
  const forSentences = liked.what && wanted() === "sentences";
  input.disabled = onlyTexts() || Boolean(forSentences);
  input.placeholder = forSentences ? "sentences for this picture" : onlyTexts() ? "drop a picture here, or choose one" : liked.what ? "add words" : "a dog running on the beach";
  find.hidden = !(liked.what && !onlyTexts() && about.texts);
  filters.allow(wanted() === "pictures");
  filters.offer(about.engines);
}

function showTheWords() {
  const forSentences = liked.what && wanted() === "sentences";
  showWords(words, forSentences ? "" : input.value, answer?.hits?.[0]?.words ?? [], (changed) => {
    input.value = changed;
    showTheWords();
    search();
  });
}

async function refresh() {
  about = null;
  await search();
}

function failed(error) {
  if (error instanceof server.Gone) return waitForServer();
  if (error instanceof server.NeedsToken) return askForToken();
  problem.textContent = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  status.replaceChildren();
  list.classList.add("stale");  // the hits belong to another query
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
  while (!(await server.isBack())) await new Promise((done) => setTimeout(done, RETRY_MS));
  if (gone.hidden) return;
  gone.hidden = true;
  refresh();
}

function askForToken() {
  const dialog = byId("token-dialog");
  if (dialog.open) return;
  dialog.addEventListener("close", () => {
    server.storeToken(byId("token").value.trim());
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
  search();
  scrollTo({ top: 0 });
  input.focus();
}

// The address

function remember() {
  const parameters = new URLSearchParams();
  if (typed()) parameters.set("q", input.value);
  if (liked.what?.id) parameters.set("like", liked.what.id);
  if (liked.what?.id && wanted() === "sentences") parameters.set("find", "sentences");
  if (liked.what?.id && typed() && mix.value !== "50") parameters.set("mix", mix.value);
  filters.write(parameters);
  const search = parameters.size ? `?${parameters}` : "";
  if (search !== location.search) history.replaceState(null, "", location.pathname + search);
  document.title = typed() ? `${typed()} – wordsight` : "wordsight";
}

function recall() {
  const parameters = new URLSearchParams(location.search), id = Number(parameters.get("like"));
  input.value = parameters.get("q") ?? "";
  choose(parameters.get("find") === "sentences" ? "sentences" : "pictures");
  liked.set(id ? { id, path: `/v1/items/${id}/thumbnail?size=640` } : null);
  const share = Number(parameters.get("mix") ?? 50);
  mix.value = share >= 0 && share <= 100 ? share : 50;
  filters.read(parameters);
  showTheWords();
  search();
}

// Events

input.addEventListener("input", (event) => {
  showTheWords();
  if (!event.isComposing) soon();
});
input.addEventListener("compositionend", soon);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
more.addEventListener("click", () => search({ offset: hits.shown.length }));
find.addEventListener("change", () => search());
byId("unlike").addEventListener("click", () => {
  liked.set(null);
  search();
  input.focus();
});
mix.addEventListener("input", soon);
addEventListener("scroll", continueIfSeen, { passive: true });
addEventListener("popstate", recall);
listenForHelp(byId("help-dialog"), byId("keys"), input);
keys.listen(input, opens);
server.takeToken();
recall();
if (matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });  // on touch screens a keyboard would cover the page
