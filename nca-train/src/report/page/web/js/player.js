'use strict';
// The stage: one screen or two, and the controls that they share.

/** Steps for each frame that the browser shows. */
const SPEEDS = [[1 / 8, '1 step in 8 frames'], [1 / 4, '1 step in 4 frames'], [1 / 2, '1 step in 2 frames'],
  [1, '1 step a frame'], [2, '2 steps a frame'], [4, '4 steps a frame'], [8, '8 steps a frame'],
  [16, '16 steps a frame'], [32, '32 steps a frame']];
const ZOOM_MOST = 16;
const LARGEST_SEED = 2n ** 64n - 1n;

class Stage {
  constructor() {
    this.element = fromTemplate('stage');
    this.screens = [];
    this.chosen = null;
    this.playing = false;
    this.visible = true;
    this.speed = 1;
    this.due = 0;
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    for (const name of ['screens', 'notice', 'play', 'single', 'reset', 'speed', 'compare', 'brush', 'zoom', 'zoom-in',
      'zoom-out', 'grid-form', 'height', 'width', 'seed', 'reseed']) {
      this[`$${name}`] = this.element.querySelector(`#${name}`);
    }
    for (const [speed, words] of SPEEDS) this.$speed.append(new Option(words, String(speed), speed === 1, speed === 1));
    this.#listen();
    this.#setTool();
  }

  get brush() {
    return Number(this.$brush.value);
  }

  get tool() {
    return this.element.querySelector('[name=tool]:checked').value;
  }

  get seed() {
    return BigInt(this.$seed.value);
  }

  /** Adds the first screen; false, with the reason on the page, where this device cannot run automata. */
  open() {
    const screen = this.#addScreen();
    if (screen) this.choose(screen);
    return Boolean(screen);
  }

  /** Runs `model` on `screen`, on the grid that it was trained on. */
  async show(screen, model) {
    // A device that cannot run automata has no screen; the page says why.
    if (!screen) return;
    const alone = this.screens.length === 1;
    if (!this.$seed.value) this.$seed.value = model.seed;
    // Alone, the model brings its own grid.
    if (!(alone ? this.$seed : this['$grid-form']).reportValidity()) {
      screen.name();
      return;
    }
    this.choose(screen);
    if (alone) {
      const { height, width } = textureOf(model);
      [this.$height.value, this.$width.value] = [height, width];
      this.$brush.value = Math.max(1, Math.round(Math.min(height, width) / 10));
    }
    const done = await this.#attempt(() => screen.show(model, ...this.#grid(), this.seed));
    if (!screen.model) return;
    if (!done) {
      // The model before goes on.
      screen.name();
      if (alone) [this.$height.value, this.$width.value] = [screen.automaton.height, screen.automaton.width];
      return;
    }
    this.onShow?.(this.screens.map((each) => each.model));
    // Two models side by side start together.
    if (this.screens.length > 1) this.reset();
  }

  /** The screen that the next model goes to. */
  choose(screen) {
    this.chosen = screen;
    for (const each of this.screens) each.element.classList.toggle('chosen', each === screen);
  }

  play(playing) {
    this.playing = playing && this.screens.length > 0;
    this.$play.textContent = this.playing ? 'Pause' : 'Play';
    this.due = 0;
    if (this.playing && !this.frame) this.frame = requestAnimationFrame(() => this.#tick());
  }

  /** Starts all over, from the grid and seed that the fields say. */
  reset() {
    if (this.screens.length === 0) return;
    if (!this['$grid-form'].reportValidity()) return;
    this.#attempt(() => this.screens.forEach((screen) => screen.restart(...this.#grid(), this.seed)));
  }

  move(dx, dy) {
    this.centre = [this.centre[0] + dx, this.centre[1] + dy].map((part) => part - Math.floor(part));
    this.#draw();
  }

  setZoom(zoom) {
    this.zoom = Math.min(ZOOM_MOST, Math.max(1, zoom));
    // Without enlargement there is nothing to look for: the whole grid is there.
    if (this.zoom === 1) this.centre = [0.5, 0.5];
    this.$zoom.textContent = `${Number(this.zoom.toFixed(1))}×`;
    this.#draw();
  }

  #grid() {
    return [Number(this.$height.value), Number(this.$width.value)];
  }

  #draw() {
    for (const screen of this.screens) screen.draw();
  }

  #tick() {
    this.frame = 0;
    if (!this.playing) return;
    if (this.visible) {
      this.due = Math.min(this.due + this.speed, Math.max(1, this.speed));
      const count = Math.floor(this.due);
      // Of all, not of those up to the first that is busy: each is to be asked.
      if (count > 0 && !this.screens.map((screen) => screen.idle).includes(false)) {
        this.due -= count;
        for (const screen of this.screens) screen.run(count);
        this.#draw();
      }
    }
    this.frame = requestAnimationFrame(() => this.#tick());
  }

  #addScreen() {
    try {
      const screen = new Screen(this);
      this.screens.push(screen);
      this.$screens.append(screen.element);
      this.$screens.classList.toggle('two', this.screens.length > 1);
      return screen;
    } catch (error) {
      this.#say(error);
      return null;
    }
  }

  /** Does something that this device may refuse, and says so; whether it was done. */
  async #attempt(action) {
    try {
      await action();
      this.$notice.hidden = true;
      return true;
    } catch (error) {
      this.play(false);
      this.#say(error);
      return false;
    }
  }

  #say(error) {
    this.$notice.textContent = error instanceof Unsupported ? error.message : `This model cannot be run: ${error.message}`;
    this.$notice.hidden = false;
    if (!(error instanceof Unsupported)) console.error(error);
  }

  async #compare() {
    const two = this.screens.length < 2;
    if (two) {
      if (!this['$grid-form'].reportValidity()) return;
      const first = this.screens[0];
      const screen = this.#addScreen();
      if (!screen) return;
      await this.show(screen, this.neighbour?.(first.model) ?? first.model);
    } else {
      const gone = this.screens.find((screen) => screen !== this.chosen) ?? this.screens[1];
      gone.element.remove();
      gone.automaton.gl.getExtension('WEBGL_lose_context')?.loseContext();
      this.screens = this.screens.filter((screen) => screen !== gone);
      this.choose(this.screens[0]);
      this.$screens.classList.remove('two');
      this.onShow?.(this.screens.map((each) => each.model));
    }
    this.screens.forEach((screen) => screen.fit());
    this.$compare.setAttribute('aria-pressed', String(two));
  }

  #setTool() {
    this.$screens.dataset.tool = this.tool;
  }

  #listen() {
    this.$play.addEventListener('click', () => this.play(!this.playing));
    this.$single.addEventListener('click', () => {
      this.play(false);
      for (const screen of this.screens) screen.run(1);
      this.#draw();
    });
    this.$reset.addEventListener('click', () => this.reset());
    this.$speed.addEventListener('change', () => {
      this.speed = Number(this.$speed.value);
    });
    this.$compare.addEventListener('click', () => this.#compare());
    this['$zoom-in'].addEventListener('click', () => this.setZoom(this.zoom * 2));
    this['$zoom-out'].addEventListener('click', () => this.setZoom(this.zoom / 2));
    this.$reseed.addEventListener('click', () => {
      this.$seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
      // Of a seed that was too large; only typing is an input.
      this.$seed.setCustomValidity('');
      this.reset();
    });
    this.$seed.addEventListener('input', () => {
      const tooLarge = /^[0-9]+$/.test(this.$seed.value) && this.seed > LARGEST_SEED;
      this.$seed.setCustomValidity(tooLarge ? `At most ${LARGEST_SEED}` : '');
    });
    this['$grid-form'].addEventListener('change', () => this.reset());
    this['$grid-form'].addEventListener('submit', (event) => {
      event.preventDefault();
      this.reset();
    });
    this.element.addEventListener('change', () => this.#setTool());
    document.addEventListener('keydown', (event) => {
      const typing = event.target.closest?.('button, input, select, textarea, summary, a');
      if (event.key !== ' ' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.play(!this.playing);
    });
    // What nobody sees need not be computed.
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
    }).observe(this.$screens);
  }
}
