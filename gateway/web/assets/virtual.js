// A long list of which only what can be seen exists. The server has the rows and gives parts.
import { element } from './dom.js';

const part = 100;    // rows that are asked for at a time
const beyond = 8;    // rows that are drawn above and below what can be seen
const kept = 12;     // parts that are kept

export class VirtualList {
  #box;
  #opt;
  #space = element('div', { class: 'space' });
  #lines = new Map(); // index -> {line, cells}
  #free = [];
  #parts = new Map(); // number -> {rows, fresh, loading}
  #total = 0;
  #active = -1;
  #selected = null;
  #generation = 0;
  #known = false;
  #message = null;
  #wanted = -1;

  // opt: height() of a row, load(from, limit) -> {rows, total, all}, make() -> cells of a row,
  // fill(cells, row), key(row), open(row), label, counted(total, all), empty() -> nodes.
  constructor(box, opt) {
    this.#box = box;
    this.#opt = opt;
    box.setAttribute('role', 'listbox');
    box.setAttribute('aria-label', opt.label);
    box.tabIndex = 0;
    box.append(this.#space);
    box.addEventListener('scroll', () => this.#draw(), { passive: true });
    box.addEventListener('keydown', (e) => this.#key(e));
    box.addEventListener('click', ({ target }) => {
      const line = target.closest('.line');
      if (line) this.#choose(Number(line.dataset.index), true);
    });
    new ResizeObserver(() => this.#draw()).observe(box);
  }

  // reset begins again at the top, for another search or order.
  reset() {
    this.#generation++;
    this.#parts.clear();
    this.#active = this.#wanted = -1;
    this.#known = false;
    this.#box.scrollTop = 0;
    this.#load(0);
  }

  // refresh asks again for what can be seen.
  refresh() {
    for (const p of this.#parts.values()) p.fresh = false;
    this.#draw();
  }

  // select marks the row with a key.
  select(key) {
    this.#selected = key;
    this.#draw();
  }

  get known() { return this.#known; }

  #row(index) {
    return this.#parts.get(Math.floor(index / part))?.rows[index % part];
  }

  async #load(number) {
    const old = this.#parts.get(number);
    if (old?.loading) return;
    const generation = this.#generation;
    const entry = { rows: old?.rows ?? [], fresh: true, loading: true };
    this.#parts.set(number, entry);
    try {
      const got = await this.#opt.load(number * part, part);
      if (generation !== this.#generation) return;
      // A list that has become shorter is answered from its end.
      entry.rows = got.from === number * part ? got.rows : [];
      this.#total = got.total;
      this.#known = true;
      this.#opt.counted(got.total, got.all);
    } catch (err) {
      if (generation !== this.#generation) return;
      this.#opt.failed(err);
    } finally {
      entry.loading = false;
    }
    if (this.#wanted >= 0 && this.#row(this.#wanted)) this.#choose(this.#wanted, true);
    for (const n of this.#parts.keys()) {
      if (this.#parts.size > kept && n !== number) this.#parts.delete(n);
    }
    this.#draw();
  }

  #draw() {
    if (!this.#box.clientHeight) return;
    const height = this.#opt.height();
    this.#space.style.height = `${this.#total * height}px`;
    this.#say();
    const first = Math.max(0, Math.floor(this.#box.scrollTop / height) - beyond);
    const end = Math.min(this.#total, Math.ceil((this.#box.scrollTop + this.#box.clientHeight) / height) + beyond);
    for (const [index, l] of this.#lines) {
      if (index >= first && index < end) continue;
      this.#lines.delete(index);
      l.line.hidden = true;
      this.#free.push(l);
    }
    for (let i = first; i < end; i++) this.#place(i, height);
    if (this.#active >= 0) this.#box.setAttribute('aria-activedescendant', `${this.#box.id}-${this.#active}`);
    else this.#box.removeAttribute('aria-activedescendant');
    for (let n = Math.floor(first / part); n * part < end; n++) {
      if (!this.#parts.get(n)?.fresh) this.#load(n);
    }
  }

  #place(index, height) {
    let l = this.#lines.get(index);
    if (!l) {
      l = this.#free.pop() ?? this.#make();
      this.#lines.set(index, l);
      l.line.hidden = false;
      l.line.id = `${this.#box.id}-${index}`;
      l.line.dataset.index = index;
      l.line.style.transform = `translateY(${index * height}px)`;
      l.height = 0;
    }
    if (l.height !== height) {
      l.height = height;
      l.line.style.height = `${height}px`;
      l.line.style.transform = `translateY(${index * height}px)`;
    }
    const row = this.#row(index);
    if (row) this.#opt.fill(l.cells, row);
    l.line.classList.toggle('active', index === this.#active);
    l.line.setAttribute('aria-selected', String(row !== undefined && this.#opt.key(row) === this.#selected));
    l.line.setAttribute('aria-posinset', index + 1);
    l.line.setAttribute('aria-setsize', this.#total);
  }

  #make() {
    const cells = this.#opt.make();
    const line = element('div', { class: 'line', role: 'option' }, ...cells);
    this.#box.append(line);
    return { line, cells };
  }

  // What is said in the place of rows.
  #say() {
    const wanted = this.#known && this.#total === 0;
    if (!wanted) {
      this.#message?.remove();
      this.#message = null;
      return;
    }
    const message = element('div', { class: 'message' }, ...this.#opt.empty());
    if (this.#message?.textContent === message.textContent) return;
    this.#message?.remove();
    this.#message = message;
    this.#box.append(message);
  }

  #key(e) {
    if (e.target !== this.#box || e.ctrlKey || e.metaKey || e.altKey) return;
    const page = Math.max(1, Math.floor(this.#box.clientHeight / this.#opt.height()) - 1);
    const to = {
      ArrowDown: this.#active + 1, ArrowUp: this.#active < 0 ? 0 : this.#active - 1, PageDown: this.#active + page, PageUp: this.#active - page,
      Home: 0, End: this.#total - 1,
    }[e.key];
    if (to !== undefined) {
      e.preventDefault();
      this.#choose(Math.max(0, Math.min(this.#total - 1, to)), false);
    } else if (e.key === 'Enter' || e.key === ' ') {
      e.preventDefault();
      // Where nothing is found there may be something else to do.
      if (this.#known && this.#total === 0) this.#message?.querySelector('button')?.click();
      else this.#choose(Math.max(0, this.#active), true);
    }
  }

  #choose(index, open) {
    this.#active = index;
    const height = this.#opt.height();
    const top = index * height;
    if (top < this.#box.scrollTop) this.#box.scrollTop = top;
    else if (top + height > this.#box.scrollTop + this.#box.clientHeight) this.#box.scrollTop = top + height - this.#box.clientHeight;
    this.#draw();
    const row = this.#row(index);
    // A row that is on its way is opened when it is there.
    this.#wanted = open && !row ? index : -1;
    if (open && row) this.#opt.open(row);
  }
}
