'use strict';
// The page itself: puts the parts in place and starts the first automaton.

/** Light, dark, or whatever the system says. */
function setUpTheme() {
  const button = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  const apply = () => {
    const dark = chosen ? chosen === 'dark' : system.matches;
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light' : 'Dark';
    button.setAttribute('aria-label', `Switch to ${dark ? 'light' : 'dark'} colours`);
    document.dispatchEvent(new Event('themechange'));
  };
  button.addEventListener('click', () => {
    chosen = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark';
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}

/** Whether the system asks for less motion. */
function still() {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}

/** The parts of a page about a sweep, around the stage. */
function setUpReport(stage) {
  document.getElementById('main').append(fromTemplate('report'));
  document.getElementById('stage-room').append(stage.element);
  drawLead();
  drawWarnings();
  drawCommand();
  if (DATA.sweep.maps.length === 0) {
    // No model has finished yet: there is nothing to choose from, and nothing to run.
    for (const part of document.querySelectorAll('.report > :not(.findings, #made)')) part.hidden = true;
    return undefined;
  }
  const show = async (model) => {
    const wasPlaying = stage.playing;
    await stage.show(stage.chosen, model);
    stage.play(wasPlaying || !still());
    // On a narrow screen the stage is below the grid.
    stage.element.scrollIntoView({ block: 'nearest', behavior: still() ? 'auto' : 'smooth' });
  };
  const run = (model) => {
    stage.latest = show(model);
  };
  const curves = new Curves(run);
  stage.curves = curves;
  const heatmap = new Heatmap(run, (map) => {
    drawCorrelations(map.texture);
    curves.show(map.texture);
  });
  stage.onShow = (models) => {
    if (stage.chosen.model) heatmap.follow(stage.chosen.model);
    heatmap.mark(models);
    curves.mark(models);
  };
  // Beside a mover, one that stands still, or moves least: there is something to compare.
  stage.neighbour = (model) => movers().filter((each) => each.weights !== null && each !== model
    && each.texture === model.texture).at(-1);
  drawMovers(run);
  heatmap.draw();
  drawCorrelations(heatmap.map.texture);
  curves.show(heatmap.map.texture);
  return movers().find((model) => model.weights !== null) ?? DATA.models.find((model) => model.weights !== null);
}

async function start() {
  setUpTheme();
  document.getElementById('title').textContent = DATA.title;
  const stage = new Stage();
  let first = DATA.models[0];
  if (DATA.sweep) first = setUpReport(stage);
  else document.getElementById('main').append(stage.element);
  stage.element.hidden = !first;
  if (!first || !stage.open()) return stage;
  await stage.show(stage.screens[0], first);
  stage.play(!still());
  return stage;
}

/** For whoever opens the console: the stage, once the first automaton is there. */
const NCA = { started: start() };
