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

/** Starts `model`, at once unless the system asks for less motion. */
async function begin(stage, model) {
  if (!stage.open()) return;
  if (!model) return;
  await stage.show(stage.screens[0], model);
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  stage.play(!still);
}

async function start() {
  setUpTheme();
  document.getElementById('title').textContent = DATA.title;
  const stage = new Stage();
  document.getElementById('main').append(stage.element);
  await begin(stage, DATA.models[0]);
  return stage;
}

/** For whoever opens the console: the stage, once the first automaton is there. */
const NCA = { started: start() };
