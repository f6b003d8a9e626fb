// Questions to the server -> answers, or an error whose message can be shown.

const KEPT = "wordsight-token";
const RETRIES = 3;

export class Gone extends Error {}
export class NeedsToken extends Error {}
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? `The server answered ${problem.status}.`);
    this.problem = problem;
  }
}

/** A token in the address goes into the tab's memory, and out of the address. */
export function takeToken() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (!match) return;
  keepToken(decodeURIComponent(match[1]));
  history.replaceState(history.state, "", location.pathname + location.search);
}
export const keepToken = (token) => sessionStorage.setItem(KEPT, token);
const token = () => sessionStorage.getItem(KEPT);

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
  const told = Object.entries(given).filter(([, value]) => value !== undefined && value !== "");
  return told.length ? `${path}?${new URLSearchParams(told)}` : path;
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

/** An image of the server's; where a token is needed, an <img> alone could not send it. */
export async function show(image, path) {
  if (image.dataset.path === path) return;
  image.dataset.path = path;
  const relative = path.replace(/^\//, "");
  if (!token()) {
    image.src = relative;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await fetched(relative)).blob());
    image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    if (image.dataset.path === path) image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}
