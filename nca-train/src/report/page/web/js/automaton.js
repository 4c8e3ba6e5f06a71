'use strict';
// The automaton on the graphics processor.
//
// A state of C channels is a texture of ⌈C/4⌉ tiles, each as large as the grid and holding four
// channels in its red, green, blue and alpha; the hidden layer likewise. A step is three passes:
// mask, hidden layer, update. Weights are textures of 16-bit floats, just as they are in the file.

/** What this device cannot do. */
class Unsupported extends Error {}

/** Tiles of the grid's size, as near to a square as they go. */
class Tiling {
  constructor(gl, channels, width, height) {
    this.groups = Math.ceil(channels / 4);
    const across = Math.max(1, Math.round(Math.sqrt((this.groups * height) / width)));
    this.columns = Math.min(this.groups, across);
    this.width = this.columns * width;
    this.height = Math.ceil(this.groups / this.columns) * height;
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (this.width > most || this.height > most) {
      throw new Unsupported(`${channels} values in each of ${height}×${width} cells exceed this device's textures`);
    }
  }
}

class Automaton {
  /** An automaton that draws on `canvas`. Nothing runs before `load`. */
  constructor(canvas) {
    this.canvas = canvas;
    const gl = canvas.getContext('webgl2', { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true });
    if (!gl) throw new Unsupported('This browser offers no WebGL 2.');
    if (!gl.getExtension('EXT_color_buffer_float')) {
      throw new Unsupported('This device cannot compute in 32-bit floats (EXT_color_buffer_float is missing).');
    }
    this.gl = gl;
    this.programs = new Map();
    this.textures = [];
    this.framebuffer = gl.createFramebuffer();
    this.step = 0;
  }

  /** Takes up a model and starts it on a grid. */
  load(model, height, width, seed) {
    const { gl } = this;
    const { channels, hidden, kernels } = model;
    const channelGroups = Math.ceil(channels / 4), hiddenGroups = Math.ceil(hidden / 4);
    const inputs = 4 * kernels.length * channelGroups + 1;
    const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (Math.max(inputs, 4 * hiddenGroups + 1) > most) {
      throw new Unsupported('This model has more weights than fit a texture of this device.');
    }
    // What is refused leaves the model before as it was.
    this.#tilings(model, height, width);
    for (const texture of [this.w1, this.w2]) gl.deleteTexture(texture);
    this.model = model;
    const first = 4 * inputs * hiddenGroups;
    this.w1 = this.#weights(inputs, hiddenGroups, model.weights.subarray(0, first));
    this.w2 = this.#weights(4 * hiddenGroups + 1, channelGroups, model.weights.subarray(first));
    this.restart(height, width, seed);
  }

  /** Starts again from the seed state: on a grid of another size, or with another seed (a BigInt). */
  restart(height, width, seed) {
    const { gl, model } = this;
    const { stateTiles, hiddenTiles } = this.#tilings(model, height, width);
    for (const texture of this.textures) gl.deleteTexture(texture);
    Object.assign(this, { height, width, seed, stateTiles, hiddenTiles });
    this.state = this.#texture(gl.RGBA32F, stateTiles.width, stateTiles.height);
    this.spare = this.#texture(gl.RGBA32F, stateTiles.width, stateTiles.height);
    this.hidden = this.#texture(gl.RGBA32F, hiddenTiles.width, hiddenTiles.height);
    this.mask = this.#texture(gl.R8, width, height);
    this.columnExtremes = this.#texture(gl.RG32F, width, 1);
    this.extremes = this.#texture(gl.RG32F, 1, 1);
    this.textures = [this.state, this.spare, this.hidden, this.mask, this.columnExtremes, this.extremes];
    this.setState(seedState(model.seed, model.channels * height * width, seed));
    this.step = 0;
  }

  /** Advances by `count` steps. */
  run(count) {
    for (let i = 0; i < count; i++) {
      this.#maskPass();
      this.#pass('hidden', this.hidden, this.hiddenTiles, { state: this.state, mask: this.mask, weights: this.w1 });
      this.#pass('update', this.spare, this.stateTiles, {
        state: this.state, mask: this.mask, hidden: this.hidden, weights: this.w2,
      });
      [this.state, this.spare] = [this.spare, this.state];
      this.step = (this.step + 1) >>> 0;
    }
  }

  /** Zeros every cell nearer than `radius` to the point (x, y), in cells. */
  damage(x, y, radius) {
    this.#pass('damage', this.spare, this.stateTiles, { state: this.state }, (gl, at) => {
      gl.uniform2f(at('centre'), x, y);
      gl.uniform1f(at('radius'), radius);
    });
    [this.state, this.spare] = [this.spare, this.state];
  }

  /** Draws the picture: `centre` [x, y] is the cell in the middle, `enlargement` pixels a cell. */
  draw({ centre, enlargement }) {
    const { gl, canvas, model } = this;
    if (!model.rgb) {
      const row = { width: this.width, height: 1 }, one = { width: 1, height: 1 };
      const along = (columns) => (_, at) => gl.uniform1i(at('columns'), columns);
      this.#pass('extremes', this.columnExtremes, row, { source: this.state }, along(1));
      this.#pass('extremes', this.extremes, one, { source: this.columnExtremes }, along(0));
    }
    this.#pass('picture', null, canvas, { state: this.state, extremes: this.extremes }, (gl, at) => {
      gl.uniform1i(at('stretched'), model.rgb ? 0 : 1);
      gl.uniform1f(at('scale'), model.rgb ? model.rgb.scale : 1);
      gl.uniform1f(at('offset'), model.rgb ? model.rgb.offset : 0);
      gl.uniform2f(at('canvas'), canvas.width, canvas.height);
      gl.uniform2f(at('centre'), ...centre);
      gl.uniform1f(at('enlargement'), enlargement);
    });
  }

  /** Replaces the state: channel by channel, row by row. */
  setState(values) {
    const { gl, width, height, stateTiles, model } = this;
    const packed = new Float32Array(4 * stateTiles.width * stateTiles.height);
    for (let c = 0; c < model.channels; c++) {
      for (let y = 0; y < height; y++) {
        const from = (c * height + y) * width;
        for (let x = 0; x < width; x++) packed[this.#place(c, y, x)] = values[from + x];
      }
    }
    gl.bindTexture(gl.TEXTURE_2D, this.state);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, stateTiles.width, stateTiles.height, gl.RGBA, gl.FLOAT, packed);
  }

  /** The state: channel by channel, row by row. */
  readState() {
    const { gl, width, height, stateTiles, model } = this;
    const packed = new Float32Array(4 * stateTiles.width * stateTiles.height);
    this.#target(this.state, stateTiles);
    gl.readPixels(0, 0, stateTiles.width, stateTiles.height, gl.RGBA, gl.FLOAT, packed);
    const values = new Float32Array(model.channels * height * width);
    let to = 0;
    for (let c = 0; c < model.channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) values[to++] = packed[this.#place(c, y, x)];
      }
    }
    return values;
  }

  /** Which cells update in the next step, row by row: 1 or 0. */
  readMask() {
    const { gl, width, height } = this;
    this.#maskPass();
    const pixels = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return Uint8Array.from({ length: width * height }, (_, cell) => (pixels[4 * cell] ? 1 : 0));
  }

  /** Whether the graphics processor has finished what it was given; never waits. */
  idle() {
    const { gl } = this;
    if (this.fence) {
      if (gl.clientWaitSync(this.fence, 0, 0) === gl.TIMEOUT_EXPIRED) return false;
      gl.deleteSync(this.fence);
    }
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    return true;
  }

  /** Where the values of a model's cells are in their textures; refuses what these do not hold. */
  #tilings({ channels, hidden }, height, width) {
    const { gl } = this;
    return { stateTiles: new Tiling(gl, channels, width, height), hiddenTiles: new Tiling(gl, hidden, width, height) };
  }

  /** Where channel c of cell (y, x) is among a texture's numbers. */
  #place(c, y, x) {
    const { columns, width } = this.stateTiles;
    const group = c >> 2;
    const row = Math.floor(group / columns) * this.height + y;
    return 4 * (row * width + (group % columns) * this.width + x) + (c & 3);
  }

  #maskPass() {
    const threshold = Math.round(this.model.fireRate * 4294967296);
    this.#pass('mask', this.mask, this, {}, (gl, at) => {
      gl.uniform2ui(at('seed'), ...seedWords(this.seed));
      gl.uniform1ui(at('stepNumber'), this.step);
      gl.uniform1ui(at('threshold'), Math.min(threshold, 4294967295));
      gl.uniform1i(at('always'), threshold > 4294967295 ? 1 : 0);
    });
  }

  /** Runs one shader over `target` (a texture, or null for the canvas) of the given size. */
  #pass(name, target, size, textures, setMore) {
    const { gl, model } = this;
    const { program, at } = this.#program(name);
    gl.useProgram(program);
    this.#target(target, size);
    Object.entries(textures).forEach(([sampler, texture], unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(at(sampler), unit);
    });
    gl.uniform2i(at('size'), this.width, this.height);
    gl.uniform1fv(at('kernels'), model.kernels.flat());
    gl.uniform1i(at('channelGroups'), this.stateTiles.groups);
    gl.uniform1i(at('hiddenGroups'), this.hiddenTiles.groups);
    gl.uniform1i(at('stateColumns'), this.stateTiles.columns);
    gl.uniform1i(at('hiddenColumns'), this.hiddenTiles.columns);
    gl.uniform1i(at('clamped'), model.clamp === null ? 0 : 1);
    gl.uniform1f(at('bound'), model.clamp ?? 0);
    setMore?.(gl, at);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.activeTexture(gl.TEXTURE0);
  }

  #target(texture, { width, height }) {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, texture && this.framebuffer);
    if (texture) gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    gl.viewport(0, 0, width, height);
  }

  /** The program of a shader, for the present model's number of kernels and padding. */
  #program(name) {
    const { gl, model } = this;
    const key = `${name} ${model.kernels.length} ${model.padding}`;
    if (!this.programs.has(key)) {
      const head = ['#version 300 es', 'precision highp float;', 'precision highp int;', 'precision highp sampler2D;',
        '#define CIRCULAR 0', '#define ZERO 1', '#define REPLICATE 2',
        `#define KERNELS ${model.kernels.length}`, `#define PADDING ${model.padding.toUpperCase()}`, '#line 1\n'];
      const program = gl.createProgram();
      const parts = [[gl.VERTEX_SHADER, shaderSource('screen')], [gl.FRAGMENT_SHADER, head.join('\n') + shaderSource(name)]];
      for (const [kind, source] of parts) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
          throw new Error(`${name}: ${gl.getShaderInfoLog(shader)}`);
        }
        gl.attachShader(program, shader);
        gl.deleteShader(shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
        throw new Error(`${name}: ${gl.getProgramInfoLog(program)}`);
      }
      const places = new Map();
      const at = (uniform) => {
        if (!places.has(uniform)) places.set(uniform, gl.getUniformLocation(program, uniform));
        return places.get(uniform);
      };
      this.programs.set(key, { program, at });
    }
    return this.programs.get(key);
  }

  #texture(format, width, height) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    return texture;
  }

  #weights(width, height, halves) {
    const { gl } = this;
    const texture = this.#texture(gl.RGBA16F, width, height);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, height, gl.RGBA, gl.HALF_FLOAT, halves);
    return texture;
  }
}

/** Text of a shader of this page. */
function shaderSource(name) {
  return document.getElementById(`shader-${name}`).textContent.trim();
}
