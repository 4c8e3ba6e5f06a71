'use strict';
// Loss and Ψ in the course of training, drawn by uPlot.

/** Ends of a linear axis that shows zero, all values, and a little room beyond them. */
function fromZero(_, least, most) {
  const low = Math.min(least ?? 0, 0), high = Math.max(most ?? 0, 0);
  if (low === high) return [0, 1];
  const room = 0.05 * (high - low);
  return [low && low - room, high && high + room];
}

class Curves {
  /** `run` is called with the model whose line was clicked. */
  constructor(run) {
    this.run = run;
    this.charts = [];
    this.running = [];
    this.chooser = document.getElementById('curve-channels');
    this.chooser.append(new Option('every C', ''));
    for (const c of DATA.sweep.channels) this.chooser.append(new Option(`C = ${c}`, String(c)));
    this.chooser.addEventListener('change', () => this.draw());
    document.addEventListener('themechange', () => this.draw());
    new ResizeObserver(() => this.#fit()).observe(document.getElementById('psi-chart'));
    this.#drawKey();
  }

  /** Shows the models of a texture; of all textures those of the first. */
  show(texture) {
    this.texture = DATA.textures.findIndex(({ name }) => name === texture);
    if (this.texture < 0) this.texture = 0;
    this.draw();
  }

  /** Draws the lines of these models boldly. */
  mark(models) {
    this.running = models;
    for (const { chart, shown } of this.charts) {
      shown.forEach((model, i) => {
        chart.series[i + 1].width = this.#width(model);
      });
      chart.redraw(false);
    }
  }

  draw() {
    if (this.texture === undefined) return;
    const only = this.chooser.value;
    const shown = DATA.models.filter((model) => model.texture === this.texture && model.curve
      && (!only || model.channels === Number(only)));
    // A loss that asks for motion may be negative, which no logarithm shows.
    const positive = shown.every(({ curve }) => curve.loss.every((v) => v > 0));
    document.getElementById('loss-scale').textContent = positive ? ', logarithmic' : '';
    const training = shown.filter(({ curve }) => curve.psiOfTraining).length;
    document.getElementById('psi-frames').textContent = training === 0 ? ''
      : `, of the frames of training${training < shown.length ? ' in models trained for motion' : ''}`;
    for (const { chart } of this.charts) chart.destroy();
    this.charts = [
      this.#chart('psi-chart', shown, ({ psiIterations, psi }) => [psiIterations, psi], false),
      this.#chart('loss-chart', shown, ({ iterations, loss }) => [iterations, loss], positive),
    ].filter(Boolean);
  }

  #chart(place, models, pointsOf, logarithmic) {
    const room = document.getElementById(place);
    const shown = models.filter((model) => pointsOf(model.curve)[0].length > 0);
    room.replaceChildren();
    if (shown.length === 0) {
      room.textContent = 'Nothing was recorded.';
      return null;
    }
    const data = uPlot.join(shown.map(({ curve }) => pointsOf(curve)));
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ['--faint', '--line'].map((name) => style.getPropertyValue(name));
    const font = '12px system-ui, sans-serif';
    const axis = { stroke: ink, font, labelFont: font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const powers = (_, splits) => splits.map((v) => (Number.isInteger(Math.log10(v)) ? v : null));
    const power = (v) => (v === null ? '' : v >= 1000 || v < 0.01 ? v.toExponential(0).replace('e+', 'e') : String(v));
    const few = data[0].length <= 30;
    const tip = document.createElement('div');
    tip.className = 'tip';
    tip.hidden = true;
    let pointed = null;
    const chart = new uPlot({
      width: room.clientWidth || 320,
      height: this.#height(room),
      legend: { show: false },
      cursor: { focus: { prox: 24 }, points: { show: false }, drag: { x: true, y: false } },
      focus: { alpha: 0.25 },
      scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : { range: fromZero } },
      axes: [
        { ...axis, label: 'iterations', labelSize: 20 },
        { ...axis, size: 48, ...(logarithmic && {
          filter: powers,
          grid: { ...axis.grid, filter: powers },
          ticks: { ...axis.ticks, filter: powers },
          values: (_, splits) => splits.map(power),
        }) },
      ],
      series: [{}, ...shown.map((model) => ({
        stroke: this.#colour(model),
        width: this.#width(model),
        points: { show: few, size: 5 },
        spanGaps: true,
      }))],
      hooks: {
        setSeries: [(_, index) => {
          pointed = index ? shown[index - 1] : null;
          tip.hidden = !pointed;
          if (pointed) tip.textContent = modelName(pointed);
        }],
        setCursor: [(each) => {
          const { left, top } = each.cursor;
          tip.style.transform = `translate(${Math.min(left + 10, each.over.clientWidth - 130)}px, ${top + 12}px)`;
        }],
      },
    }, data, room);
    chart.over.append(tip);
    chart.over.addEventListener('click', () => {
      if (pointed && pointed.weights !== null) this.run(pointed);
    });
    return { chart, shown, room };
  }

  #fit() {
    for (const { chart, room } of this.charts) chart.setSize({ width: room.clientWidth, height: this.#height(room) });
  }

  #height(room) {
    return Math.round(Math.min(300, Math.max(200, 0.6 * room.clientWidth)));
  }

  #width(model) {
    return this.running.includes(model) ? 4 : 1.5;
  }

  /** Few neurons are dark, many bright; the ends of the map that a background would swallow are left out. */
  #colour(model) {
    return css(viridis(this.#shade(DATA.sweep.hidden.indexOf(model.hidden))));
  }

  #shade(index) {
    const { hidden } = DATA.sweep;
    const [low, high] = document.documentElement.dataset.theme === 'dark' ? [0.25, 1] : [0, 0.85];
    return hidden.length > 1 ? low + ((high - low) * index) / (hidden.length - 1) : (low + high) / 2;
  }

  #drawKey() {
    const key = document.getElementById('curve-key');
    const draw = () => {
      key.replaceChildren('D:', ...DATA.sweep.hidden.map((d, index) => {
        const item = document.createElement('span');
        item.textContent = d;
        item.style.setProperty('--dash', css(viridis(this.#shade(index))));
        item.className = 'dash';
        return item;
      }));
    };
    document.addEventListener('themechange', draw);
    draw();
  }
}
