// Albums: searches that this browser saved, as links to their addresses.

import { element } from "./dom.js";

const PLACE = "wordsight.albums", MOST = 50, LONGEST = 60;

/** Saved searches: [{name, search}]; none where the browser stores nothing. */
function stored() {
  try {
    const albums = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return albums.filter(({ name, search }) => typeof name === "string" && /^\?/.test(search)).slice(0, MOST);
  } catch {
    return [];
  }
}

function store(albums) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(albums.slice(0, MOST)));
  } catch { /* a private window: the link in the address still works */ }
}

export class Albums {
  /** ``list``: where links stand; ``button`` saves the search; ``name()`` describes it; ``open(search)`` shows one. */
  constructor({ list, button, name, open }) {
    Object.assign(this, { list, button, name, open });
    button.addEventListener("click", () => this.toggle());
  }

  /** Show the links on the page without a search, and the button on every other. */
  show(mayShow) {
    const here = location.search, albums = stored(), saved = albums.some(({ search }) => search === here);
    this.list.hidden = !mayShow || Boolean(here) || !albums.length;
    this.button.hidden = !mayShow || !here || /[?&]like=/.test(here);  // ids of another index name other pictures
    this.button.textContent = saved ? "★ Saved" : "☆ Save";
    this.button.setAttribute("aria-pressed", String(saved));
    this.list.replaceChildren(...albums.map((album) => this.link(album)));
  }

  link({ name, search }) {
    const open = element("a", { href: search }, name);
    open.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.open(search);
    });
    const remove = element("button", { type: "button", "aria-label": `Remove the album ${name}` }, "×");
    remove.addEventListener("click", () => {
      store(stored().filter((one) => one.search !== search));
      this.show(true);
    });
    return element("span", { class: "album" }, open, remove);
  }

  toggle() {
    const here = location.search, albums = stored(), others = albums.filter(({ search }) => search !== here);
    store(others.length < albums.length ? others : [{ name: this.name().slice(0, LONGEST), search: here }, ...albums]);
    this.show(true);
  }
}
