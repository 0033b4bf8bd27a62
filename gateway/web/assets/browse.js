// The view of channels: the list of them, and the one that is looked at.
import { ask } from './server.js';
import { byID, element, setText } from './dom.js';
import * as format from './format.js';
import { VirtualList } from './virtual.js';
import { ChannelDetail } from './channel.js';

const narrow = matchMedia('(max-width: 720px)');
const keyOf = (app, channel) => JSON.stringify([app, channel]);

export class Browse {
  #list;
  #apps = [];
  #place = null;
  #tab = 'live';
  #detail;
  #timer = 0;

  // on.look(place) chooses the channel whose events are shown, on.error(err) tells of trouble,
  // on.go(place) goes to a channel.
  constructor(on) {
    this.#detail = new ChannelDetail(byID('channel'), { ...on, tab: (tab) => { this.#tab = tab; } });
    this.#list = new VirtualList(byID('channels-list'), {
      label: 'Channels of this gateway',
      height: () => narrow.matches ? 44 : 34,
      load: (from, limit) => ask('channels', { ...this.#query(), from, limit }),
      make: () => [element('span', { class: 'name' }), element('span', { class: 'number' })],
      fill: ([name, number], c) => {
        setText(name, c.channel);
        name.title = this.#apps.length > 1 ? `${c.channel} (${c.app})` : c.channel;
        setText(number, this.#apps.length > 1 ? `${c.app} · ${this.#number(c)}` : this.#number(c));
      },
      key: (c) => keyOf(c.app, c.channel),
      open: (c) => on.go({ app: c.app, channel: c.channel }),
      counted: (total, all) => setText(byID('channels-count'), total === all ? `${format.count(all)} ${all === 1 ? 'channel' : 'channels'} on this gateway` : `${format.count(total)} of ${format.count(all)} channels`),
      failed: on.error,
      empty: () => this.#none(on),
    });
    byID('channels-form').addEventListener('submit', (e) => {
      e.preventDefault();
      if (this.#timer) this.#search();
      byID('channels-list').focus();
    });
    byID('channels-search').addEventListener('input', () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), 150);
    });
    for (const id of ['channels-sort', 'channels-app']) byID(id).addEventListener('change', () => this.#list.reset());
  }

  apps(list) {
    this.#apps = list;
    byID('channels-app').hidden = list.length < 2;
    byID('channels-app').replaceChildren(element('option', { value: '' }, 'All apps'), ...list.map((a) => element('option', { value: a }, a)));
  }

  // search asks for what is typed, once the typing has ended.
  #search() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#list.reset();
  }

  #query() {
    const sort = byID('channels-sort').value;
    return { search: byID('channels-search').value.trim(), sort, order: sort === 'channel' ? 'asc' : 'desc', app: byID('channels-app').value };
  }

  #number(c) {
    switch (byID('channels-sort').value) {
      case 'rate': return `${format.rate(c.rate)}/s`;
      case 'published': return `${format.count(c.published)} events`;
    }
    return c.subscriptions === 1 ? '1 subscriber' : `${format.count(c.subscriptions)} subscribers`;
  }

  // Any channel can be looked at by its name: the log may have it though nobody follows it.
  #none(on) {
    const name = byID('channels-search').value.trim();
    if (!name) return [element('p', {}, 'Nobody is subscribed to a channel here. Type a name to look at what the log has of it.')];
    const app = byID('channels-app').value || this.#apps[0];
    const open = element('button', { type: 'button', title: name }, `Open ${name}`);
    open.addEventListener('click', () => on.go({ app, channel: name }));
    return [element('p', {}, 'No channel that is followed here has this in its name.'), open];
  }

  // show is called with the place in the address, or null.
  show(place) {
    const left = place === null && byID('channel').contains(document.activeElement);
    const came = place !== null && this.#place === null;
    this.#place = place;
    byID('view-channels').classList.toggle('open', place !== null);
    this.#list.select(place && keyOf(place.app, place.channel));
    this.#detail.show(place, this.#tab);
    if (!this.#list.known) this.#list.reset();
    else this.#list.refresh();
    if (left) byID('channels-list').focus();
    else if (came && narrow.matches) byID('channel').focus(); // the list is gone
  }

  hide() {
    this.#place = null;
    this.#detail.show(null);
  }
  live(group) { this.#detail.live(group); }
  // gap and refused tell why events of the channel are not shown: the connection was lost at a moment,
  // or the channel cannot be followed.
  gap(since) { this.#detail.gap(since); }
  refused(why) { this.#detail.refused(why); }

  refresh() {
    this.#list.refresh();
    if (this.#place) this.#detail.refresh();
  }
}
