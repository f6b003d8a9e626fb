// The picture of the query: dropped, pasted, chosen, or clicked among the hits.

import * as server from "./api.js";
import { size } from "./dom.js";

const HEIC = /\.(heic|heif|hif)$/i;  // most browsers do not know that these are pictures
const byId = (id) => document.getElementById(id);

export class Liked {
  /** ``chosen`` is called after a file was taken, ``refused`` with the reason against another. */
  constructor({ chosen, refused, mostBytes }) {
    Object.assign(this, { what: null, chosen, refused, mostBytes, images: [byId("liked"), byId("query-picture").querySelector("img")] });
    const file = byId("file");
    byId("choose").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      this.take(file.files[0]);
      file.value = "";
    });
    document.addEventListener("paste", (event) => this.take([...(event.clipboardData?.files ?? [])][0]));
    this.listenForDrops(byId("drop"));
  }

  /** Parameters of a request. */
  get parameters() {
    return this.what.file ? { file: this.what.file } : { id: this.what.id };
  }

  /** {id, path} of an item, {file, url}, or null. */
  set(what) {
    if (this.what?.url) URL.revokeObjectURL(this.what.url);
    this.what = what;
    byId("like").hidden = !what;
    for (const image of this.images) {
      if (what?.url) Object.assign(image, { src: what.url }), delete image.dataset.path;
      else if (what) server.show(image, what.path);
    }
    this.images[0].alt = what ? `Searching by ${what.file?.name ?? "a picture of the index"}` : "";
  }

  take(file) {
    if (!file) return;
    const most = this.mostBytes();
    if (!file.type.startsWith("image/") && !HEIC.test(file.name)) return this.refused(`${file.name} is not a picture; drop a JPEG, PNG or WebP file.`);
    if (file.size > most) return this.refused(`${file.name} has ${size(file.size)}, and the limit is ${size(most)}; send a smaller version.`);
    this.set({ file, url: URL.createObjectURL(file) });
    this.chosen();
  }

  listenForDrops(veil) {
    let inside = 0;  // dragenter and dragleave come for every element
    const count = (now) => veil.classList.toggle("on", (inside = Math.max(0, now)) > 0);
    document.addEventListener("dragenter", (event) => event.dataTransfer?.types.includes("Files") && count(inside + 1));
    document.addEventListener("dragleave", () => count(inside - 1));
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      count(0);
      this.take(event.dataTransfer?.files[0]);
    });
  }
}
