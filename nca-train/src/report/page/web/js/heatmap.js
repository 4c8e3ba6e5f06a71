'use strict';
// The grid of architectures: a table whose cells run their models.

/** Viridis (van der Walt and Smith, 2015), perceptually uniform, at eighths of its range. */
const VIRIDIS = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21908c', '#27ad81', '#5dc863', '#aadc32', '#fde725']
  .map((code) => [1, 3, 5].map((at) => parseInt(code.slice(at, at + 2), 16)));

/** The colour map at t in [0, 1]: red, green, blue. */
function viridis(t) {
  const at = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((v, i) => Math.round(v + (at - low) * (VIRIDIS[low + 1][i] - v)));
}

function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** Black or white, whichever reads better on a colour, by relative luminance. */
function inkOn(colour) {
  const [red, green, blue] = colour.map((v) => (v / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.19 ? '#111' : '#fff';
}

/** Digits enough to tell values of a map apart. */
function digitsFor(highest) {
  if (highest >= 10) return 1;
  return highest >= 0.2 ? 2 : 3;
}

const MARKS = { diverged: '✕', failed: '!', unreadable: '?', 'not run': '–' };

class Heatmap {
  /** `run` is called with the model of a cell that was activated, `onScope` with the map that is shown. */
  constructor(run, onScope) {
    this.run = run;
    this.onScope = onScope;
    this.table = document.getElementById('heatmap');
    this.key = document.getElementById('key');
    this.at = [0, 0];
    this.running = [];
    this.#fillScopes();
    document.getElementById('aspect').addEventListener('change', () => this.draw());
    this.table.addEventListener('click', (event) => {
      const cell = event.target.closest('td');
      if (cell) this.#activate(cell);
    });
    this.table.addEventListener('keydown', (event) => this.#key(event));
  }

  get map() {
    const checked = document.querySelector('[name=scope]:checked');
    return DATA.sweep.maps[checked ? Number(checked.value) : 0];
  }

  get aspect() {
    return document.querySelector('[name=aspect]:checked').value;
  }

  /** Outlines the cells of the models that run. */
  mark(models) {
    this.running = models;
    for (const cell of this.table.querySelectorAll('td')) {
      const place = models.findIndex((model) => model && this.#isOf(cell, model));
      cell.classList.toggle('running', place >= 0);
    }
  }

  /** Shows the texture of a model, unless all are shown. */
  follow(model) {
    const { texture } = this.map;
    const { name } = textureOf(model);
    if (texture === null || texture === name) return;
    const index = DATA.sweep.maps.findIndex((map) => map.texture === name);
    document.querySelector(`[name=scope][value="${index}"]`).checked = true;
    this.draw();
    this.onScope(this.map);
  }

  draw() {
    const { channels, hidden } = DATA.sweep;
    const { map, aspect } = this;
    const value = (cell) => (aspect === 'error' ? cell.psiSe : cell.psi);
    const known = map.cells.flat().map(value).filter(Number.isFinite);
    this.highest = Math.max(...known, 0);
    const head = document.createElement('thead');
    const row = head.insertRow();
    row.append(heading('C \\ D', 'corner'), ...hidden.map((d) => heading(`${d}`, 'col')));
    const body = document.createElement('tbody');
    map.cells.forEach((cells, i) => {
      const line = body.insertRow();
      line.append(heading(`${channels[i]}`, 'row'), ...cells.map((cell, j) => this.#cell(cell, i, j, value(cell))));
    });
    const what = { psi: 'Ψ', error: 'Standard error of Ψ', frame: 'Last frames', flow: 'Optical flow' }[aspect];
    const caption = document.createElement('caption');
    caption.textContent = `${what} of ${map.texture ?? 'all textures'}: rows are channels C, columns hidden neurons D`;
    this.table.replaceChildren(caption, head, body);
    this.table.style.setProperty('--columns', hidden.length);
    this.table.classList.toggle('illustrated', aspect === 'frame' || aspect === 'flow');
    this.#focusable();
    this.#drawKey(what);
    this.mark(this.running);
  }

  #cell(cell, i, j, value) {
    const { aspect, highest } = this;
    const element = document.createElement('td');
    element.setAttribute('role', 'gridcell');
    element.dataset.row = i;
    element.dataset.column = j;
    element.tabIndex = -1;
    const model = DATA.models[cell.model];
    const picture = aspect === 'frame' ? model?.frame : aspect === 'flow' ? model?.flow : null;
    if (picture) {
      const image = new Image();
      image.src = picture;
      image.alt = '';
      element.append(image);
    } else if (Number.isFinite(value) && (aspect === 'psi' || aspect === 'error')) {
      const colour = viridis(highest > 0 ? value / highest : 0);
      element.style.backgroundColor = css(colour);
      element.style.color = inkOn(colour);
      element.textContent = value.toFixed(digitsFor(highest));
    } else {
      element.classList.add('none');
      element.textContent = MARKS[cell.status] ?? '–';
    }
    if (standsStill(cell)) element.classList.add('still');
    if (cell.measured > 0 && cell.measured < cell.of) element.classList.add('some-lost');
    element.classList.toggle('dead', model?.weights === null || model === undefined);
    element.setAttribute('aria-label', this.#words(cell, i, j));
    element.title = element.getAttribute('aria-label');
    return element;
  }

  #words(cell, i, j) {
    const name = `C = ${DATA.sweep.channels[i]}, D = ${DATA.sweep.hidden[j]}`;
    const reason = DATA.models[cell.model]?.dead;
    const dead = reason ? `; ${reason}` : '';
    if (cell.status !== 'ok') return `${name}: ${cell.status}${dead}`;
    const error = Number.isFinite(cell.psiSe) ? ` ± ${cell.psiSe.toFixed(3)}` : '';
    const floor = cell.judged === 0 ? 'its motion floor unknown'
      : cell.of > 1 ? `${cell.above} of ${cell.judged} models above their motion floor`
      : cell.above ? 'above its motion floor' : 'not above its motion floor';
    return `${name}: Ψ ${cell.psi.toFixed(3)}${error} px/frame, ${floor}${dead}`;
  }

  #drawKey(what) {
    const { aspect, highest, map } = this;
    const cells = map.cells.flat();
    const parts = [];
    const coloured = aspect === 'psi' || aspect === 'error';
    // Without a value above zero there is no scale.
    if (coloured && highest > 0) {
      const ramp = VIRIDIS.map(css).join(', ');
      parts.push(`<span>0</span><span class="ramp" style="background: linear-gradient(to right, ${ramp})"></span>`
        + `<span>${highest.toFixed(digitsFor(highest))} px/frame</span>`);
    }
    if (aspect === 'flow' && DATA.sweep.flowWheel) {
      parts.push(`<span class="with-wheel"><img class="wheel" src="${DATA.sweep.flowWheel}" alt="Colour wheel of directions">`
        + `<span>Colour is the direction of motion as on the wheel, its strength the length: `
        + `full at ${DATA.sweep.flowFull.toFixed(2)} px/frame.</span></span>`);
    }
    if (aspect === 'flow' && !DATA.sweep.flowWheel) parts.push('<span>This sweep has kept no optical flow.</span>');
    // A picture covers the hatching of its cell.
    if (coloured && cells.some(standsStill)) {
      parts.push('<span><i class="swatch still"></i> not above its motion floor: perhaps noise, not motion</span>');
    }
    for (const [status, mark] of Object.entries(MARKS)) {
      if (cells.some((cell) => cell.status === status)) {
        parts.push(`<span><b>${mark}</b> ${status}</span>`);
      }
    }
    if (DATA.sweep.seeds > 1) {
      // A picture cannot be a mean: it is of the model that runs.
      const shown = coloured ? `mean of ${DATA.sweep.seeds}` : `the first that can run of ${DATA.sweep.seeds}`;
      parts.push(`<span>${what}: ${shown} seeds${coloured ? '; the first that can, runs' : ''}</span>`);
    }
    if (map.texture === null) parts.push('<span>mean over textures; the strongest mover that can, runs</span>');
    this.key.innerHTML = parts.join('');
  }

  #fillScopes() {
    const { maps } = DATA.sweep;
    const scope = document.getElementById('scope');
    scope.hidden = maps.length < 2;
    maps.forEach(({ texture }, index) => {
      const label = document.createElement('label');
      label.innerHTML = `<input type="radio" name="scope" value="${index}"><span></span>`;
      label.querySelector('span').textContent = texture ?? 'All';
      label.querySelector('input').checked = index === 0;
      scope.append(label);
    });
    scope.addEventListener('change', () => {
      this.draw();
      this.onScope(this.map);
    });
  }

  #isOf(element, model) {
    const cell = this.map.cells[element.dataset.row][element.dataset.column];
    if (this.map.texture !== null) return DATA.models[cell.model] === model;
    const { channels, hidden } = DATA.sweep;
    return channels[element.dataset.row] === model.channels && hidden[element.dataset.column] === model.hidden;
  }

  #activate(element) {
    this.at = [Number(element.dataset.row), Number(element.dataset.column)];
    this.#focusable();
    element.focus({ preventScroll: true });
    const model = DATA.models[this.map.cells[this.at[0]][this.at[1]].model];
    if (model && model.weights !== null) this.run(model);
  }

  /** One cell of all can be reached with Tab; arrows go on from there. */
  #focusable() {
    for (const cell of this.table.querySelectorAll('td[tabindex="0"]')) cell.tabIndex = -1;
    this.#element(...this.at).tabIndex = 0;
  }

  #element(i, j) {
    return this.table.querySelector(`td[data-row="${i}"][data-column="${j}"]`);
  }

  #key(event) {
    const cell = event.target.closest('td');
    if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = DATA.sweep.channels.length, columns = DATA.sweep.hidden.length;
    const [i, j] = this.at;
    const moves = {
      ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1],
      Home: [i, 0], End: [i, columns - 1], PageUp: [0, j], PageDown: [rows - 1, j],
    };
    if (event.key === 'Enter') this.#activate(cell);
    else if (moves[event.key]) {
      const [row, column] = moves[event.key];
      this.at = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
      this.#focusable();
      this.#element(...this.at).focus();
    } else return;
    event.preventDefault();
  }
}

/** Whether no model of a cell is above its motion floor; what is not known is no sign of standing still. */
function standsStill({ above, judged }) {
  return judged > 0 && above === 0;
}

function heading(text, scope) {
  const element = document.createElement('th');
  element.textContent = text;
  if (scope !== 'corner') element.scope = scope;
  else element.className = scope;
  return element;
}
