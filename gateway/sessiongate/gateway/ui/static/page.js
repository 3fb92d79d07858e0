/** The page: puts its parts together, and passes on what happens. */

import { Acting } from "./acting.js";
import { Api } from "./api.js";
import { defaultQuery, fitting, readHash, writeHash } from "./address.js";
import { Blocking } from "./blocking.js";
import { Chooser } from "./chooser.js";
import { columnsOf } from "./columns.js";
import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { find, make, number, setText } from "./dom.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { Health } from "./health.js";
import { useKeys } from "./keys.js";
import { Listing } from "./listing.js";
import { Lookback } from "./lookback.js";
import { Login } from "./login.js";
import { Overview } from "./overview.js";
import { SessionStore } from "./store.js";
import { visible } from "./text.js";
import { useThemes } from "./theme.js";
import { Clock, timeOfDay } from "./times.js";
import { rest } from "./turns.js";

const EACH = 250; // milliseconds between two changes of order
const LINGERING = 1200; // milliseconds for which a session that has gone stays in its place
const MARKED = 20; // new sessions at once that are marked as such; of more, none stands out

class Page {
  #query = defaultQuery();
  #isPaused = false;
  #replacement; // in progress: a snapshot takes the place of what was shown
  #timer;
  #drawnAt = 0;
  #clock = new Clock();
  #store = new SessionStore();
  #listing = new Listing();
  #credentials = new Credentials();

  constructor() {
    const login = new Login(this.#credentials, () => this.#forget());
    const api = new Api(this.#credentials, login, this.#clock);
    const open = (id) => this.#open(id);
    this.connection = new Connection(this.#clock, () => this.feed.retry());
    this.health = new Health(api, this.#clock);
    const shared = {
      api,
      store: this.#store,
      clock: this.#clock,
      credentials: this.#credentials,
    };
    this.drawer = new Drawer({ ...shared, open, acting: new Acting(shared) });
    this.blocking = new Blocking(open, () =>
      this.#change({ view: "blocked", sort: { column: "waits", descending: false } }),
    );
    this.chooser = new Chooser((patch, isTyping) => this.#change(patch, isTyping));
    this.grid = new Grid(find("grid"), {
      current: (session) =>
        this.#isPaused ? session : (this.#store.live.get(session.id) ?? session),
      open,
      sort: (column) => this.#sort(column),
      now: () => this.#clock.now,
    });
    this.feed = new Feed(api, {
      store: this.#store,
      clock: this.#clock,
      connection: this.connection,
      health: this.health,
      overview: new Overview(api, this.#clock, (facet, value) => this.chooser.toggle(facet, value)),
      touched: (id) => this.#isPaused || this.grid.touch(id),
      changed: () => this.#schedule(),
      complete: () => this.#complete(),
      restarted: () => this.#restart(),
      chosen: (isOverview) => this.#showMode(isOverview),
    });
    this.lookback = new Lookback(api, {
      store: this.#store,
      clock: this.#clock,
      connection: this.connection,
      change: (patch) => this.#change(patch),
      turned: (isPast) => this.#turn(isPast),
      complete: () => this.#complete(),
      restarted: () => this.#restart(),
    });
    find("pause").addEventListener("click", () => this.#pause());
    find("empty-clear").addEventListener("click", () => this.chooser.clear());
    find("faults-close").addEventListener("click", () => (find("faults").hidden = true));
    useKeys({
      search: () => this.chooser.focusSearch(),
      pause: () => this.#pause(),
      past: () => this.lookback.toggle(),
      close: () =>
        this.#query.session === undefined ? this.lookback.leave() : this.#open(undefined),
    });
    useThemes();
    addEventListener("popstate", () => this.#navigate());
    setInterval(() => this.#tick(), 1000);
  }

  start() {
    this.#navigate();
  }

  /** Shows the view in the address. */
  #navigate() {
    const { query, faults } = readHash(location.hash);
    showFaults(faults);
    this.#use(query);
  }

  #change(patch, isTyping = false) {
    const before = writeHash(this.#query);
    const query = fitting({ ...this.#query, ...patch });
    const hash = writeHash(query);
    if (hash !== before) {
      const url = hash || location.pathname + location.search;
      const replaces = isTyping && this.#query.search && query.search;
      history[replaces ? "replaceState" : "pushState"](null, "", url);
    }
    this.#use(query);
  }

  #use(query) {
    const before = this.#query;
    const isFirst = !this.#listing.hasQuery;
    const differs = (...names) => isFirst || names.some((name) => before[name] !== query[name]);
    this.#query = query;
    this.chooser.showQuery(query);
    this.lookback.show(query);
    this.grid.showSort(query.sort);
    if (!this.#isPast) this.feed.choose(query.filters);
    if (differs("at", "view", "search", "filters", "sort", "group")) this.#list();
    if (differs("at", "view", "search", "filters", "sort")) this.grid.toTop();
    this.#draw();
    this.grid.showOpened(query.session);
    if (this.drawer.id !== query.session) {
      this.drawer.show(query.session);
      if (query.session !== undefined) this.drawer.focus();
      else this.drawer.leave(this.grid);
    }
  }

  get #isPast() {
    return this.#query.at !== undefined;
  }

  // The past takes the place of what is now, or the other way round.
  #turn(isPast) {
    if (this.#isPaused) this.#pause();
    if (isPast) {
      this.feed.stop();
      this.#showMode(false);
    }
    this.grid.useColumns(columnsOf(isPast));
    this.drawer.use(isPast);
    this.health.isFollowed = !isPast;
  }

  #open(id) {
    if (id !== this.#query.session) this.#change({ session: id });
    else if (id !== undefined) this.drawer.focus();
  }

  #sort(column) {
    const { sort } = this.#query;
    const descending = sort.column === column && !sort.descending;
    this.#change({ sort: { column, descending } });
  }

  #pause() {
    if (this.#isPast && !this.#isPaused) return;
    this.#isPaused = !this.#isPaused;
    if (this.#isPaused) this.#clock.freeze();
    else this.#clock.thaw();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.connection.pause(this.#isPaused);
    this.#showPause();
    if (!this.#isPaused) this.#take();
  }

  #showPause() {
    const button = find("pause");
    button.setAttribute("aria-pressed", this.#isPaused);
    setText(button, this.#isPaused ? `Pause (${waiting(this.#store.waiting)})` : "Pause");
  }

  #forget() {
    this.#open(undefined);
    const wasPast = this.#isPast;
    this.lookback.leave(); // which follows what is now, if it was not followed
    if (!wasPast) this.feed.restart();
  }

  // Nothing that was shown is known any more.
  #restart() {
    this.#replacement = undefined;
    this.#store.take();
    this.#list();
    if (this.#isPaused) this.#pause();
    this.#draw();
  }

  // A snapshot is complete: it takes the place of what was shown, in several steps.
  async #complete() {
    if (this.#isPaused) {
      this.#showPause();
      return;
    }
    const replacement = {};
    this.#replacement = replacement;
    const changes = this.#store.take();
    await rest();
    if (this.#replacement !== replacement) return;
    this.#list();
    await rest();
    if (this.#replacement !== replacement) return;
    this.#replacement = undefined;
    this.#draw();
    this.drawer.change(new Set(changes.map(({ id }) => id)));
  }

  // Not more often than the eye can follow, whatever changes.
  #schedule() {
    if (this.#isPaused) return;
    this.#timer ??= setTimeout(
      () => this.#take(),
      Math.max(0, this.#drawnAt + EACH - performance.now()),
    );
  }

  #take() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#replacement) return;
    this.#drawnAt = performance.now();
    const changes = this.#store.take();
    if (!changes.length && this.#listing.count) return;
    this.#listing.change(changes, this.#clock.now, (session) => this.grid.shows(session));
    const fresh = changes.filter(({ old, now }) => !old && now).map(({ id }) => id);
    this.#draw(fresh.length <= MARKED ? fresh : []);
    this.drawer.change(new Set(changes.map(({ id }) => id)));
  }

  #list() {
    this.#listing.choose(this.#query, this.#store.shown.values(), this.#clock.now);
  }

  #draw(fresh = []) {
    const { size } = this.#store.shown;
    this.grid.show(this.#listing, fresh);
    const { isComplete, others } = this.#isPast ? this.lookback.past : this.feed;
    const isKnown = isComplete || size > 0;
    this.chooser.showCounts(this.#listing, isKnown ? size : undefined, others);
    if (!this.#isPast) this.blocking.show(this.#store, this.#clock.now, isKnown);
    find("empty").hidden = this.#listing.count > 0;
    find("empty-clear").hidden = size === 0;
    const text = size ? "No session matches." : isKnown ? this.#emptiness() : "Reading sessions…";
    setText(find("empty-text"), text);
    this.#title();
  }

  #emptiness() {
    if (this.#isPast) return this.lookback.past.emptiness;
    const bad = this.health.troubled.length;
    if (!this.health.states.size)
      return "There are no sessions, and no sources that they could come from.";
    if (!bad) return "There are no sessions. All sources can be read, so nobody is connected.";
    const sources = `${bad} of ${this.health.states.size} sources`;
    const fault = `${sources} cannot be read completely: somebody may be connected there.`;
    return `There are no sessions to show. But ${fault}`;
  }

  #title() {
    const blocked = this.#store.blocked.size;
    const said = [
      this.#isPast && timeOfDay(this.#query.at),
      this.connection.isLost && "Lost",
      blocked && `${number(blocked)} blocked`,
      "Sessiongate",
    ];
    const title = said.filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
  }

  #showMode(isOverview) {
    document.body.classList.toggle("counts-only", isOverview);
    find("overview").hidden = !isOverview;
  }

  #tick() {
    this.connection.tick();
    this.health.tick();
    this.#title();
    this.lookback.tick();
    if (this.#isPast) return;
    if (this.#isPaused) {
      this.#showPause();
      return;
    }
    const now = this.#clock.now;
    if (this.#listing.tick(now, LINGERING)) this.#draw();
    else this.grid.tick();
    this.blocking.show(this.#store, now, this.feed.isComplete || this.#store.shown.size > 0);
    this.drawer.refresh();
  }
}

function waiting(count) {
  return count === 1 ? "1 change waits" : `${number(count)} changes wait`;
}

function showFaults(faults) {
  const lines = faults.map(({ where, value, allowed }) =>
    make(
      "p",
      {},
      "The address cannot be followed completely: ",
      `${where} has no “${visible(value, 60)}”. Allowed are: ${allowed}.`,
    ),
  );
  find("faults").hidden = !lines.length;
  find("faults-text").replaceChildren(...lines);
}

new Page().start();
