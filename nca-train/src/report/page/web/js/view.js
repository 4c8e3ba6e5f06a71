'use strict';
// A screen: one running automaton, its picture, and the target beside it.

const MOST_PIXELS = 2048;

/** Makes an element from the template of that name. */
function fromTemplate(name) {
  return document.getElementById(`${name}-template`).content.firstElementChild.cloneNode(true);
}

/** The texture that a model was trained on. */
function textureOf(model) {
  return DATA.textures[model.texture];
}

/** A model in a few words. */
function modelName(model) {
  // No-break spaces: a line may end after the comma only.
  const architecture = `C\u00a0=\u00a0${model.channels}, D\u00a0=\u00a0${model.hidden}`;
  return DATA.textures.length > 1 ? `${textureOf(model).name} · ${architecture}` : architecture;
}

class Screen {
  /** `stage` tells what all screens share: window, tool, speed. */
  constructor(stage) {
    this.stage = stage;
    this.element = fromTemplate('screen');
    const find = (selector) => this.element.querySelector(selector);
    this.canvas = find('canvas');
    this.progress = find('.progress');
    this.target = find('.target');
    this.chooser = find('.model');
    this.facts = find('.facts');
    this.automaton = new Automaton(this.canvas);
    this.model = null;
    this.wanted = null;
    this.#fillChooser();
    this.#listen();
  }

  /** Takes up a model and starts it. */
  async show(model, height, width, seed) {
    this.wanted = model;
    // Two models chosen in quick succession: the later one stays, whichever is unpacked first.
    const loaded = await runnable(model);
    if (this.wanted !== model) return;
    const { automaton } = this;
    automaton.load(loaded, height, width, seed);
    Object.assign(this, { model, loaded });
    this.name();
    this.chooser.title = modelName(model);
    this.facts.textContent = factsOf(model);
    this.canvas.setAttribute('aria-label', `Running automaton: ${modelName(model)}`);
    const { target, name } = textureOf(model);
    this.target.hidden = !target;
    if (target) {
      const image = this.target.querySelector('img');
      image.src = target;
      image.alt = `Target texture ${name}`;
    }
    this.fit();
  }

  /** Says which model runs, after another was chosen in vain. */
  name() {
    this.chooser.value = String(DATA.models.indexOf(this.model));
  }

  /** Whether there is a model to run. */
  get ready() {
    return Boolean(this.automaton.model) && !this.automaton.gl.isContextLost();
  }

  restart(height, width, seed) {
    if (!this.ready) return;
    this.automaton.restart(height, width, seed);
    this.fit();
  }

  /** Whether the graphics processor has finished what it was given. */
  get idle() {
    return !this.ready || this.automaton.idle();
  }

  run(count) {
    if (this.ready) this.automaton.run(count);
  }

  /** As many pixels as the canvas has on the screen. */
  fit() {
    if (!this.ready) return;
    const { canvas, automaton } = this;
    canvas.style.aspectRatio = `${automaton.width} / ${automaton.height}`;
    const across = Math.max(1, Math.round(canvas.clientWidth * window.devicePixelRatio));
    const enlargement = Math.min(across / automaton.width, MOST_PIXELS / Math.max(automaton.width, automaton.height));
    canvas.width = Math.max(1, Math.round(automaton.width * enlargement));
    canvas.height = Math.max(1, Math.round(automaton.height * enlargement));
    this.draw();
  }

  draw() {
    if (!this.ready) return;
    const { automaton, stage, canvas } = this;
    automaton.draw({ centre: this.#centre(), enlargement: (stage.zoom * canvas.width) / automaton.width });
    this.progress.textContent = `step ${automaton.step.toLocaleString('en')}`;
  }

  /** Zeros the cells around a point given in parts of the canvas. */
  damage(u, v) {
    if (!this.ready) return;
    const { automaton, stage } = this;
    const [x, y] = this.#cellAt(u, v);
    const { width, height } = automaton;
    automaton.damage(((x % width) + width) % width, ((y % height) + height) % height, stage.brush);
  }

  /** The cell in the middle of the canvas. */
  #centre() {
    const { automaton, stage } = this;
    return [stage.centre[0] * automaton.width, stage.centre[1] * automaton.height];
  }

  #cellAt(u, v) {
    const { automaton, stage } = this;
    const [x, y] = this.#centre();
    return [x + ((u - 0.5) * automaton.width) / stage.zoom, y + ((v - 0.5) * automaton.height) / stage.zoom];
  }

  #fillChooser() {
    for (const [index, { name }] of DATA.textures.entries()) {
      const group = document.createElement('optgroup');
      group.label = name;
      DATA.models.forEach((model, id) => {
        if (model.texture !== index || model.weights === null) return;
        group.append(new Option(modelName(model), String(id)));
      });
      if (group.childElementCount > 0) this.chooser.append(group);
    }
    this.chooser.hidden = DATA.models.length < 2;
    this.chooser.addEventListener('change', () => this.stage.show(this, DATA.models[Number(this.chooser.value)]));
  }

  #listen() {
    const { canvas, stage } = this;
    let last = null;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      last = place(event);
      stage.choose(this);
      if (stage.tool === 'damage') this.#stroke(last, last);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!last) return;
      const at = place(event);
      if (stage.tool === 'damage') this.#stroke(last, at);
      else stage.move((last[0] - at[0]) / stage.zoom, (last[1] - at[1]) / stage.zoom);
      last = at;
    });
    for (const end of ['pointerup', 'pointercancel']) canvas.addEventListener(end, () => { last = null; });
    canvas.addEventListener('wheel', (event) => {
      // The page must still scroll: the wheel zooms with Ctrl (a pinch on a touchpad) only.
      if (!event.ctrlKey) return;
      event.preventDefault();
      stage.setZoom(stage.zoom * 2 ** (-event.deltaY / 100));
    }, { passive: false });
    canvas.addEventListener('keydown', (event) => this.#key(event));
    canvas.addEventListener('webglcontextlost', (event) => event.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      const { height, width, seed } = this.automaton;
      this.automaton = new Automaton(canvas);
      this.automaton.load(this.loaded, height, width, seed);
      this.fit();
    });
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  /** Damages along a line, without gaps unless it is longer than 32 times the brush. */
  #stroke(from, to) {
    const { automaton, stage } = this;
    const cells = Math.hypot((to[0] - from[0]) * automaton.width, (to[1] - from[1]) * automaton.height) / stage.zoom;
    const dabs = Math.min(64, Math.ceil((2 * cells) / stage.brush));
    for (let i = 0; i <= dabs; i++) {
      const t = dabs ? i / dabs : 0;
      this.damage(from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1]));
    }
    this.draw();
  }

  #key(event) {
    const { stage } = this;
    const step = 0.125 / stage.zoom;
    const actions = {
      ArrowLeft: () => stage.move(-step, 0),
      ArrowRight: () => stage.move(step, 0),
      ArrowUp: () => stage.move(0, -step),
      ArrowDown: () => stage.move(0, step),
      '+': () => stage.setZoom(stage.zoom * 2),
      '=': () => stage.setZoom(stage.zoom * 2),
      '-': () => stage.setZoom(stage.zoom / 2),
      r: () => stage.reset(),
      Enter: () => {
        this.damage(0.5, 0.5);
        this.draw();
      },
    };
    const action = event.ctrlKey || event.metaKey || event.altKey ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

/** What was measured of a model, in a line. */
function factsOf(model) {
  const facts = [];
  if (Number.isFinite(model.psi)) facts.push(`Ψ ${model.psi.toFixed(3)} px/frame`);
  if (model.aboveFloor === false) facts.push('not above its floor');
  if (Number.isFinite(model.distance)) facts.push(`texture distance ${model.distance.toFixed(2)}`);
  return facts.join(' · ');
}
