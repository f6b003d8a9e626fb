// Requests to the server; errors have messages for the reader.

const TOKEN_KEY = "wordsight-token";
const RETRIES = 3;

export class Gone extends Error {}
export class NeedsToken extends Error {}
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? `The server answered ${problem.status}.`);
    this.problem = problem;
  }
}

/** Move a token from the address to the storage of this tab. */
export function takeToken() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match) return;
  storeToken(decodeURIComponent(match[1]));
  history.replaceState(history.state, "", location.pathname + location.search);
}
export const storeToken = (token) => sessionStorage.setItem(TOKEN_KEY, token);
const token = () => sessionStorage.getItem(TOKEN_KEY);
export const hasToken = () => Boolean(token());

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function fetched(path, options = {}, tries = RETRIES) {
  const headers = token() ? { authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("The server does not answer.");
  }
  if (response.ok) return response;
  if (response.status === 503 && tries > 0) {
    await pause(Number(response.headers.get("retry-after") ?? 1));
    options.signal?.throwIfAborted();
    return fetched(path, options, tries - 1);
  }
  const problem = await response.json().catch(() => ({ status: response.status }));
  if (response.status === 401) throw new NeedsToken(problem.detail);
  throw new Refused(problem);
}

function address(path, given) {
  const pairs = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  return pairs.length ? `${path}?${new URLSearchParams(pairs)}` : path;
}

async function sent(path, given, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(given))
    if (value !== undefined && value !== "") form.append(name, value);
  return (await fetched(path, { method: "POST", body: form, signal })).json();
}
const got = async (path, given = {}, signal = undefined) => (await fetched(address(path, given), { signal })).json();

export const about = () => got("v1/about");
export const folders = () => got("v1/folders");
export const newest = (given, signal) => got("v1/items", given, signal);
export const search = (given, signal) => got("v1/search", given, signal);
export const explain = (given, signal) => got("v1/explain", given, signal);
export const like = (path, { file, ...given }, signal) =>
  file ? sent(path, { ...given, picture: file, id: undefined }, signal) : got(path, given, signal);

export async function isBack() {
  try {
    return (await fetch("healthz", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** Path relative to this page, without the prefix of a proxy. */
const relative = (path) => path.slice(path.lastIndexOf("v1/"));
export const original = (item) => `v1/items/${item.id}/original`;

const blobUrl = async (path) => URL.createObjectURL(await (await fetched(path)).blob());

/** Load an image of the server; an <img> alone cannot send a token. ``keep``: the old image stays until then. */
export async function show(image, path, { keep = false } = {}) {
  if (image.dataset.path === path) return;
  image.dataset.path = path;
  try {
    const url = token() ? await blobUrl(relative(path)) : relative(path);
    if (keep) await Object.assign(new Image(), { src: url }).decode();
    if (image.dataset.path !== path) return;
    if (token()) image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    image.src = url;
  } catch {
    if (!keep) image.dispatchEvent(new Event("error"));
  }
}

/** Open an item's file on the machine of the server; ``where``: viewer or folder. */
export const showFile = (item, where) =>
  fetched(`v1/items/${item.id}/show`, { method: "POST", body: JSON.stringify({ where }), headers: { "content-type": "application/json" } });

/** Open a file in a new tab, or save it under a name. */
export async function openFile(path, name) {
  const tab = name ? null : window.open("", "_blank");
  try {
    const url = await blobUrl(path);
    if (tab) tab.location = url;
    else Object.assign(document.createElement("a"), { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    tab?.close();
    throw error;
  }
}
