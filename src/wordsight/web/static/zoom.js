// Zoom by wheel, double click, two fingers or keys; drag to move.

const MAX_SCALE = 8;
const STEP = 1.5;
const SWIPE = 60;  // pixels to the side that turn to the next picture
const STILL = 6;  // pixels that a click may move

export class Zoom {
  /** ``view`` cuts off what ``picture`` shows beyond it. ``enlarged`` is called as soon as more pixels help, ``swiped`` with -1 or 1. */
  constructor(view, picture, { enlarged, swiped, changed }) {
    Object.assign(this, { view, picture, enlarged, swiped, changed, scale: 1, x: 0, y: 0, fingers: new Map() });
    view.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.about(event, this.scale * Math.exp(-event.deltaY * (event.ctrlKey ? .01 : .002)));
    }, { passive: false });
    view.addEventListener("dblclick", (event) => this.about(event, this.scale > 1 ? 1 : 2 * STEP));
    view.addEventListener("pointerdown", (event) => this.down(event));
    view.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => this.up(event, end));
  }

  reset() {
    this.fingers.clear();
    this.set(1, 0, 0);
  }

  /** Zoom about the middle, by a key or a button. */
  step(direction) {
    const { left, top, width, height } = this.view.getBoundingClientRect();
    this.about({ clientX: left + width / 2, clientY: top + height / 2 }, this.scale * STEP ** direction);
  }

  /** Zoom about a point, which stays in its place. */
  about({ clientX, clientY }, wanted) {
    const { left, top } = this.view.getBoundingClientRect(), scale = Math.max(1, Math.min(MAX_SCALE, wanted));
    const x = clientX - left, y = clientY - top, ratio = scale / this.scale;
    this.set(scale, x - ratio * (x - this.x), y - ratio * (y - this.y));
  }

  /** Set scale and offset, so that the picture covers its frame. */
  set(scale, x, y) {
    const { clientWidth: width, clientHeight: height } = this.view;
    this.scale = scale;
    this.x = Math.max(width * (1 - scale), Math.min(0, x));
    this.y = Math.max(height * (1 - scale), Math.min(0, y));
    this.picture.style.transform = scale > 1 ? `translate(${this.x}px, ${this.y}px) scale(${scale})` : "";
    this.view.classList.toggle("enlarged", scale > 1);
    if (scale > 1) this.enlarged();
    this.changed(scale, MAX_SCALE);
  }

  down(event) {
    if (event.button > 0) return;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.began = { x: event.clientX, y: event.clientY, one: this.fingers.size === 1 };
    this.view.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    if (this.fingers.size === 2) this.pinch(event.pointerId, before, now);
    else if (this.scale > 1) this.set(this.scale, this.x + now.x - before.x, this.y + now.y - before.y);
    this.fingers.set(event.pointerId, now);
  }

  pinch(id, before, now) {
    const [, other] = [...this.fingers].find(([one]) => one !== id);
    const apart = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
    const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 };
    this.about(middle, this.scale * apart(now) / apart(before));
  }

  up(event, end) {
    if (!this.fingers.delete(event.pointerId) || end === "pointercancel") return;
    const across = event.clientX - this.began.x, down = event.clientY - this.began.y;
    const alone = this.began.one && !this.fingers.size && event.pointerType !== "mouse" && this.scale === 1;
    if (alone && Math.abs(across) > SWIPE && Math.abs(across) > 2 * Math.abs(down) + STILL) this.swiped(across < 0 ? 1 : -1);
  }
}
