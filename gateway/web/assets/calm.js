// Draws what comes in bursts. Drawing hundreds of rows takes a while, and a page that does it for each burst does nothing else.
const usually = 250;

export class Calm {
  #draw;
  #rest;
  #now;
  #timer = null;
  #until = -Infinity;

  // draw is called soon after ask, at once if nothing was drawn for rest ms. So much lies between the end of one drawing and the
  // next, for everything else that the page does.
  constructor(draw, rest = usually, now = () => performance.now()) {
    this.#draw = draw;
    this.#rest = rest;
    this.#now = now;
  }

  ask() {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#draw();
      this.#until = this.#now() + this.#rest;
    }, Math.max(0, this.#until - this.#now()));
  }
}
