'use strict';
// What was found, in numbers and words.

/** The row of a list that is about `texture`; about a single one, where that is all there is. */
function ofScope(rows, texture) {
  return rows.filter((row) => row.texture === texture);
}

function signed(value) {
  return Number.isFinite(value) ? (value < 0 ? '−' : '+') + Math.abs(value).toFixed(2) : '–';
}

function interval({ low, high }) {
  return `[${signed(low)}, ${signed(high)}]`;
}

/** The first lines: how many move, and which most. */
function drawLead() {
  const { sweep, models } = DATA;
  const moving = ofScope(sweep.moving, null)[0] ?? sweep.moving[0];
  const strongest = movers()[0];
  const lead = [];
  const count = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
  if (models.length === 0) lead.push('No model has finished yet.');
  else lead.push(`${count(sweep.ok, 'model')} trained on ${count(DATA.textures.length, 'texture')}.`);
  if (moving?.above_floor === 0) lead.push(`None of ${moving.models} moves: no Ψ is above its model's motion floor.`);
  else if (moving) {
    const those = moving.above_floor === 1 ? 'moves: its Ψ is above its motion floor' : 'move: their Ψ is above their motion floors';
    lead.push(`${moving.above_floor} of ${moving.models} ${those}.`);
  }
  if (strongest?.aboveFloor === false) {
    lead.push(`The largest Ψ, ${strongest.psi.toFixed(2)} px/frame, is that of ${fullName(strongest)}.`);
  } else if (strongest) {
    lead.push(`The strongest mover is ${fullName(strongest)}: its picture moves ${strongest.psi.toFixed(2)} px/frame.`);
  }
  const lost = [[sweep.diverged, 'diverged'], [sweep.failed, 'failed'], [sweep.unreadable, 'unreadable'],
    [sweep.unfinished, 'still to come']];
  for (const [n, words] of lost) if (n > 0) lead.push(`${count(n, 'model')} ${words}.`);
  document.getElementById('lead').textContent = lead.join(' ');
  // Of no model there is nothing to say of how it was measured.
  document.getElementById('how').hidden = models.length === 0;
  document.getElementById('how').textContent = `Ψ is the mean length of the optical flow between two frames of an automaton that runs `
    + `by itself. ${sweep.provenance}. A model's motion floor is the larger Ψ of two that do not move: one frame seen twice, as it is `
    + `and with noise as strong as its own flicker. Above is what exceeds it by more than two standard errors.`;
}

/** What a reader should know of the whole, and why models have no Ψ. */
function drawWarnings() {
  const { warnings, lost } = DATA.sweep;
  const words = lost.map(({ texture, channels, hidden, seed, status, reason }) => {
    const where = DATA.textures.length > 1 ? ` on ${texture}` : '';
    const which = DATA.sweep.seeds > 1 ? `, seed ${seed}` : '';
    return `C = ${channels}, D = ${hidden}${which}${where} ${status}: ${reason ?? 'its result does not say why'}`;
  });
  for (const [name, lines] of [['warnings', warnings], ['lost', words]]) {
    const part = document.getElementById(name);
    part.hidden = lines.length === 0;
    // A long list would push what was found out of sight.
    part.open = lines.length <= 5;
    part.querySelector('ul').replaceChildren(...lines.map((line) => {
      const item = document.createElement('li');
      item.textContent = line;
      return item;
    }));
  }
}

/** How the sweep was made. */
function drawCommand() {
  const { command, settings } = DATA.sweep;
  document.getElementById('command').textContent = command ?? '';
  document.getElementById('settings').textContent = settings ?? '';
  document.getElementById('made').hidden = !command;
}

function fullName(model) {
  return `C\u00a0=\u00a0${model.channels}, D\u00a0=\u00a0${model.hidden}${DATA.textures.length > 1 ? ` on ${textureOf(model).name}` : ''}`;
}

/** Models that can be run, strongest first; those above their floor before the others. */
function movers() {
  const measured = DATA.models.filter((model) => Number.isFinite(model.psi));
  const rank = (model) => [model.aboveFloor === false ? 0 : 1, model.psi];
  return measured.sort((a, b) => rank(b)[0] - rank(a)[0] || rank(b)[1] - rank(a)[1]);
}

/** The strongest movers as buttons with their pictures. */
function drawMovers(run) {
  const list = document.getElementById('movers');
  for (const model of movers().filter((each) => each.weights !== null).slice(0, 6)) {
    const button = document.createElement('button');
    button.type = 'button';
    if (model.frame) {
      const image = new Image();
      image.src = model.frame;
      image.alt = '';
      button.append(image);
    }
    const name = document.createElement('span');
    name.textContent = modelName(model);
    const psi = document.createElement('b');
    psi.textContent = `Ψ ${model.psi.toFixed(3)}`;
    button.append(psi, name);
    button.addEventListener('click', () => run(model));
    const item = document.createElement('li');
    item.append(button);
    list.append(item);
  }
  document.querySelector('.best').hidden = list.childElementCount === 0;
}

/** The correlations of a texture, or of all. */
function drawCorrelations(texture) {
  const rows = ofScope(DATA.sweep.correlations, texture);
  const table = document.getElementById('correlations');
  const head = document.createElement('thead');
  const titles = ['Quantity', 'Spearman ρ', '', 'Pearson r', '', 'models', 'architectures'].map((text) => heading(text, 'col'));
  titles.forEach((title) => title.classList.toggle('drawn', title.textContent === ''));
  head.insertRow().append(...titles);
  const body = document.createElement('tbody');
  for (const row of rows) {
    const line = body.insertRow();
    line.append(heading(row.quantity, 'row'));
    for (const kind of ['spearman', 'pearson']) {
      const range = row[`${kind}_interval`];
      line.insertCell().textContent = signed(row[kind]) + (range ? ` ${interval(range)}` : row.remark ? ` (${row.remark})` : '');
      const drawn = line.insertCell();
      drawn.className = 'drawn';
      drawn.append(whisker(row[kind], range));
    }
    line.insertCell().textContent = row.n;
    line.insertCell().textContent = row.architectures;
  }
  const caption = document.createElement('caption');
  caption.textContent = `Ψ of ${texture ?? 'all textures'}`;
  table.replaceChildren(caption, head, body);
  document.getElementById('answer').textContent = answer(rows, texture);
}

/** A coefficient and its interval on a line from −1 to 1. */
function whisker(value, range) {
  const line = document.createElement('span');
  line.className = 'whisker';
  line.setAttribute('aria-hidden', 'true');
  if (!Number.isFinite(value)) return line;
  const part = (v) => `${50 * (v + 1)}%`;
  if (range) {
    const bar = document.createElement('i');
    bar.style.left = part(range.low);
    bar.style.width = `${50 * (range.high - range.low)}%`;
    line.append(bar);
  }
  const dot = document.createElement('b');
  dot.style.left = part(value);
  line.append(dot);
  return line;
}

/** The table in a sentence. */
function answer(rows, texture) {
  const where = texture ? `On ${texture}` : 'Over all textures';
  if (rows.length > 0 && rows.every((row) => row.remark === 'no model moves')) {
    return `${where} no model moves: of none is Ψ above its motion floor. Nothing can be said of what motion goes with.`;
  }
  const known = rows.filter((row) => row.spearman_interval);
  if (known.length === 0) return `${where} there are too few architectures, or too little variation, to tell.`;
  const clear = known.filter(({ spearman_interval: { low, high } }) => low > 0 || high < 0);
  if (clear.length === 0) {
    return `${where} no quantity goes with Ψ more clearly than chance would have it: every interval of Spearman's ρ holds 0.`;
  }
  const best = clear.reduce((a, b) => (Math.abs(b.spearman) > Math.abs(a.spearman) ? b : a));
  // The union bound; the quantities go with each other, so it is less.
  const chance = Math.min(100, 5 * known.length);
  return `${where} Ψ ${best.spearman > 0 ? 'rises' : 'falls'} with ${best.quantity} most clearly of ${known.length} quantities: `
    + `Spearman ρ = ${signed(best.spearman)}, 95 % interval ${interval(best.spearman_interval)}, ${best.n} models of `
    + `${best.architectures} architectures. It is the clearest of several: where nothing goes with Ψ, chance alone shows one like it in `
    + `up to about ${chance} % of sweeps.`;
}
