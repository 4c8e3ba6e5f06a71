//! What a layer looks like: a colour for each point of the plane, or of a torus.

use std::sync::Arc;

use nca_core::philox::PhiloxRng;

use super::Raster;
use super::lattice::{Grid, Lattice};
use super::motion::Point;
use super::spline::interpolating;

/// Smallest cell of a noise, in pixels: its grains are about twice as large, which a pixel grid can show.
const FINEST: f64 = 2.5;
/// Narrowest edge, in pixels from one side to the other.
const SHARPEST: f64 = 2.0;

/// A texture.
pub(super) struct Texture {
    pattern: Pattern,
    colours: Colours,
    /// Fine noise on top, with its strength.
    detail: Option<(Grid, f32)>,
    /// Where it fades out, and how far: contrast is `exp(-depth·max(0, (1 + noise)/2))`.
    fading: Option<(Grid, f32)>,
    /// Pixels of the frame to one of its own, 1 or more.
    enlarged: f64,
}

enum Pattern {
    /// Noise in octaves: grids and their amplitudes.
    Noise(Vec<(Grid, f32)>),
    /// Patches of flat colour: noise, made steep.
    Patches { noise: Vec<(Grid, f32)>, gain: f32 },
    /// Round spots or rings, one in each cell.
    Spots {
        grid: Grid,
        radius: f64,
        edge: f64,
        ring: bool,
    },
    /// Bands, or two sets of bands multiplied (a chequerboard), bent by a noise.
    Bands {
        waves: [Grid; 2],
        checker: bool,
        gain: f64,
        bend: Grid,
        amount: f64,
    },
    /// Cells about random points, with dark joints between.
    Cells { grid: Grid, joint: f64 },
    /// Fallen leaves, large ones below small ones, on a ground of noise: sharp edges of every size, as
    /// in photographs.
    Leaves { ground: Vec<(Grid, f32)>, grids: Vec<Grid> },
    /// A picture: pixels of the raster for a step along x and along y.
    Picture {
        raster: Arc<Raster>,
        map: [f64; 4],
        offset: Point,
    },
}

/// From the four values of a pattern to RGB: `base + Σ mix·value`.
struct Colours {
    base: [f32; 3],
    mix: [[f32; 4]; 3],
}

/// What a texture may be made of.
pub(super) struct Palette<'a> {
    /// Size of the torus it has to fit, if any.
    pub(super) torus: Option<Point>,
    /// Pictures, each with its halves, quarters, …
    pub(super) rasters: &'a [Vec<Arc<Raster>>],
    /// Size of the image: the coarsest features.
    pub(super) extent: f64,
    /// Share of textures that fade out in places.
    pub(super) photographic: f64,
    /// Share of textures that are enlarged.
    pub(super) enlarged: f64,
}

impl Palette<'_> {
    /// A random texture that can be followed over `longest` pixels: no regular pattern whose next
    /// period would be mistaken for it.
    pub(super) fn draw(&self, rng: &mut PhiloxRng, longest: f64) -> Texture {
        /// The finest noise, enlarged so much, has grains of 30 pixels.
        const MOST: f64 = 6.0;
        /// What is enlarged should still show a few of its features.
        const LEAST_EXTENT: f64 = 12.0;
        if !(self.enlarged > 0.0 && rng.uniform() < self.enlarged) {
            return self.as_drawn(rng, longest);
        }
        let enlarged = log_uniform(rng, 1.0, MOST.min(self.extent / LEAST_EXTENT).max(1.01));
        // As for a frame so many times smaller.
        let small = Palette {
            torus: self.torus.map(|side| side.map(|v| v / enlarged)),
            extent: self.extent / enlarged,
            ..*self
        };
        Texture {
            enlarged,
            ..small.as_drawn(rng, longest / enlarged)
        }
    }

    /// As [`Palette::draw`], with features as fine as pixels can show.
    fn as_drawn(&self, rng: &mut PhiloxRng, longest: f64) -> Texture {
        /// Part of a period up to which a motion is unambiguous, with some room.
        const UNAMBIGUOUS: f64 = 0.4;
        let kinds = if self.rasters.is_empty() { 11 } else { 15 };
        let shortest = longest / UNAMBIGUOUS;
        let pattern = match rng.below(kinds) {
            0..3 => Pattern::Noise(self.octaves(rng)),
            3..5 => Pattern::Patches {
                noise: self.octaves(rng),
                gain: log_uniform(rng, 1.0, 4.0) as f32,
            },
            5 => self.spots(rng),
            6 | 7 if shortest < 0.7 * self.extent / 3.0 => self.bands(rng, shortest),
            6..=8 => self.leaves(rng),
            9 | 10 => self.cells(rng),
            _ => self.picture(rng),
        };
        let colours = match pattern {
            Pattern::Picture { .. } => Colours::recoloured(rng),
            _ => Colours::draw(rng),
        };
        let detail = (rng.uniform() < 0.5).then(|| {
            let cell = log_uniform(rng, FINEST, 8.0);
            (self.grid(rng, cell, 1.0), log_uniform(rng, 0.01, 0.12) as f32)
        });
        let fading = (self.photographic > 0.0 && rng.uniform() < self.photographic).then(|| {
            let cell = log_uniform(rng, self.extent / 12.0, self.extent / 2.0);
            (self.grid(rng, cell, 1.0), log_uniform(rng, 1.0, 8.0) as f32)
        });
        Texture {
            pattern,
            colours,
            detail,
            fading,
            enlarged: 1.0,
        }
    }

    /// A grid of cells of `cell` pixels, drawn out by `stretch` in a random direction.
    fn grid(&self, rng: &mut PhiloxRng, cell: f64, stretch: f64) -> Grid {
        let angle = rng.uniform_in(0.0, std::f64::consts::TAU);
        Grid::new(rng, cell, cell * stretch, angle, self.torus)
    }

    fn octaves(&self, rng: &mut PhiloxRng) -> Vec<(Grid, f32)> {
        let coarsest = log_uniform(rng, 6.0, (self.extent / 3.0).max(8.0));
        // 0 is white (every octave alike), 1 is as in photographs, beyond that it is smooth.
        let slope = rng.uniform_in(0.2, 1.6);
        let stretch = if rng.uniform() < 0.4 {
            log_uniform(rng, 1.0, 4.0)
        } else {
            1.0
        };
        let angle = rng.uniform_in(0.0, std::f64::consts::TAU);
        let mut octaves = Vec::new();
        let (mut cell, mut amplitude) = (coarsest, 1.0_f64);
        while cell >= FINEST && octaves.len() < 6 {
            octaves.push((
                Grid::new(rng, cell, cell * stretch, angle, self.torus),
                amplitude as f32,
            ));
            cell /= 2.0;
            amplitude *= 0.5_f64.powf(slope);
        }
        let norm = octaves.iter().map(|(_, a)| a * a).sum::<f32>().sqrt();
        for (_, amplitude) in &mut octaves {
            *amplitude /= norm;
        }
        octaves
    }

    fn spots(&self, rng: &mut PhiloxRng) -> Pattern {
        let cell = log_uniform(rng, 8.0, (self.extent / 4.0).max(10.0));
        let radius = cell * rng.uniform_in(0.3, 0.65);
        let stretch = rng.uniform_in(1.0, 1.4);
        Pattern::Spots {
            grid: self.grid(rng, cell, stretch),
            radius,
            edge: log_uniform(rng, SHARPEST, radius.max(SHARPEST * 1.01)),
            ring: rng.uniform() < 0.3,
        }
    }

    /// Bands with a period of `shortest` pixels or more.
    fn bands(&self, rng: &mut PhiloxRng, shortest: f64) -> Pattern {
        let shortest = shortest.max(6.0);
        let period = log_uniform(rng, shortest, (self.extent / 3.0).max(1.3 * shortest));
        let second = (period * rng.uniform_in(0.7, 1.5)).max(shortest);
        let angle = rng.uniform_in(0.0, std::f64::consts::TAU);
        let waves = [
            Grid::new(rng, period, period, angle, self.torus),
            Grid::new(rng, second, second, angle + std::f64::consts::FRAC_PI_2, self.torus),
        ];
        let bend_cell = period * rng.uniform_in(1.5, 4.0);
        Pattern::Bands {
            waves,
            checker: rng.uniform() < 0.5,
            // The flank of tanh(gain·sin(2πx)) is about period/(π·gain) wide.
            gain: log_uniform(rng, 0.5, (period / (std::f64::consts::PI * SHARPEST)).max(0.6)),
            bend: self.grid(rng, bend_cell, 1.0),
            amount: period * rng.uniform_in(0.0, 0.2),
        }
    }

    fn leaves(&self, rng: &mut PhiloxRng) -> Pattern {
        let mut cell = log_uniform(rng, 16.0, (self.extent / 2.0).max(20.0));
        let mut grids = Vec::new();
        while cell >= 8.0 && grids.len() < 4 {
            grids.push(self.grid(rng, cell, 1.0));
            cell /= rng.uniform_in(1.7, 3.0);
        }
        Pattern::Leaves {
            ground: self.octaves(rng),
            grids,
        }
    }

    fn cells(&self, rng: &mut PhiloxRng) -> Pattern {
        let cell = log_uniform(rng, 8.0, (self.extent / 4.0).max(10.0));
        let stretch = rng.uniform_in(1.0, 1.6);
        Pattern::Cells {
            grid: self.grid(rng, cell, stretch),
            joint: log_uniform(rng, SHARPEST, (cell / 4.0).max(SHARPEST * 1.01)),
        }
    }

    fn picture(&self, rng: &mut PhiloxRng) -> Pattern {
        let levels = &self.rasters[rng.below(self.rasters.len() as u32) as usize];
        let full = &levels[0];
        let angle = rng.uniform_in(0.0, std::f64::consts::TAU);
        // Size of the full raster in pixels of the frame.
        let side = (full.width as f64) * log_uniform(rng, 0.4, 2.5);
        let grid = Grid::new(
            rng,
            side,
            side * full.height as f64 / full.width as f64,
            angle,
            self.torus,
        );
        let origin = grid.cell([0.0; 2]);
        let [x, y] = [grid.cell([1.0, 0.0]), grid.cell([0.0, 1.0])];
        let steps = [x[0] - origin[0], y[0] - origin[0], x[1] - origin[1], y[1] - origin[1]];
        let dense = |r: &Raster| {
            let across = (steps[0].hypot(steps[1])) * r.width as f64;
            across.max(steps[2].hypot(steps[3]) * r.height as f64)
        };
        // Not more than a raster pixel a pixel, or it would alias.
        let raster = levels
            .iter()
            .find(|r| dense(r) <= 1.1)
            .unwrap_or(&levels[levels.len() - 1]);
        let (w, h) = (raster.width as f64, raster.height as f64);
        Pattern::Picture {
            raster: Arc::clone(raster),
            map: [steps[0] * w, steps[1] * w, steps[2] * h, steps[3] * h],
            offset: [origin[0] * w, origin[1] * h],
        }
    }
}

impl Texture {
    /// Roughly the standard deviation of its colours.
    pub(super) fn contrast(&self) -> f32 {
        let squares: f32 = self.colours.mix.iter().flatten().map(|v| v * v).sum();
        (squares / 3.0).sqrt()
    }

    /// Colour at `p`, in `[0, 1]`.
    pub(super) fn at(&self, lattice: &Lattice, p: Point) -> [f32; 3] {
        let p = p.map(|v| v / self.enlarged);
        let values = self.pattern.at(lattice, p);
        let mut colour = self.colours.rgb(values);
        if let Some((grid, strength)) = &self.detail {
            let noise = grid.noise(lattice, p);
            for (c, n) in colour.iter_mut().zip(noise) {
                *c += strength * (0.7 * noise[3] + 0.3 * n);
            }
        }
        if let Some((grid, depth)) = &self.fading {
            let share = (-depth * (0.5 + 0.5 * grid.noise(lattice, p)[0]).max(0.0)).exp();
            for (c, base) in colour.iter_mut().zip(self.colours.base) {
                *c = base + share * (*c - base);
            }
        }
        colour.map(|c| c.clamp(0.0, 1.0))
    }
}

impl Pattern {
    /// Four values of about -1 to 1.
    fn at(&self, lattice: &Lattice, p: Point) -> [f32; 4] {
        match self {
            Self::Noise(octaves) => fractal(octaves, lattice, p),
            Self::Patches { noise, gain } => fractal(noise, lattice, p).map(|v| soft_sign(v * gain)),
            Self::Spots {
                grid,
                radius,
                edge,
                ring,
            } => spots(grid, *radius, *edge, *ring, lattice, p),
            Self::Bands {
                waves,
                checker,
                gain,
                bend,
                amount,
            } => {
                let noise = bend.noise(lattice, p);
                let moved = [p[0] + amount * f64::from(noise[0]), p[1] + amount * f64::from(noise[1])];
                let wave = |grid: &Grid| {
                    let phase = grid.cell(moved)[0] * std::f64::consts::TAU;
                    soft_sign((gain * phase.sin()) as f32)
                };
                let (a, b) = (wave(&waves[0]), wave(&waves[1]));
                if *checker {
                    [a * b, 0.5 * a, 0.5 * b, 0.3 * noise[2]]
                } else {
                    [a, 0.5 * noise[2], 0.3 * noise[3], a * noise[2] * 0.3]
                }
            }
            Self::Leaves { ground, grids } => {
                let mut values = fractal(ground, lattice, p);
                for grid in grids {
                    leaves(grid, lattice, p, &mut values);
                }
                values
            }
            Self::Cells { grid, joint } => cells(grid, *joint, lattice, p),
            Self::Picture { raster, map, offset } => {
                let [r, g, b] = raster.at(
                    map[0] * p[0] + map[1] * p[1] + offset[0],
                    map[2] * p[0] + map[3] * p[1] + offset[1],
                );
                [r - 0.5, g - 0.5, b - 0.5, 0.0]
            }
        }
    }
}

fn fractal(octaves: &[(Grid, f32)], lattice: &Lattice, p: Point) -> [f32; 4] {
    let mut sum = [0.0; 4];
    for (grid, amplitude) in octaves {
        for (sum, v) in sum.iter_mut().zip(grid.noise(lattice, p)) {
            *sum += amplitude * v;
        }
    }
    sum
}

/// The 3×3 cells about `p`: offset in pixels from each cell's point to `p`, and its numbers.
fn around(grid: &Grid, lattice: &Lattice, p: Point) -> [(Point, [f32; 4]); 9] {
    let [x, y] = grid.cell(p);
    let (i, j) = (x.floor(), y.floor());
    std::array::from_fn(|k| {
        let (di, dj) = (i + (k % 3) as f64 - 1.0, j + (k / 3) as f64 - 1.0);
        let node = grid.node(lattice, di as i64, dj as i64);
        // Near the middle of its cell, so that the nearest ones are among the nine.
        let point = [di + 0.2 + 0.6 * f64::from(node[0]), dj + 0.2 + 0.6 * f64::from(node[1])];
        (grid.pixels([x - point[0], y - point[1]]), node)
    })
}

fn spots(grid: &Grid, radius: f64, edge: f64, ring: bool, lattice: &Lattice, p: Point) -> [f32; 4] {
    let mut value = [-0.6, 0.0, 0.0, 0.0];
    for (d, node) in around(grid, lattice, p) {
        let size = radius * (0.5 + 0.5 * f64::from(node[2]));
        let distance = d[0].hypot(d[1]);
        if distance > size + edge {
            continue;
        }
        let mut cover = smooth_step((size - distance) / edge + 0.5);
        if ring {
            cover *= 0.35 + 0.65 * smooth_step((distance - 0.6 * size) / edge + 0.5);
        }
        let cover = cover as f32;
        let target = [
            0.4 + node[3],
            2.0 * node[0] - 1.0,
            2.0 * node[2] - 1.0,
            2.0 * node[1] - 1.0,
        ];
        for (v, t) in value.iter_mut().zip(target) {
            *v += cover * (t - *v);
        }
    }
    value
}

/// One leaf in most cells, over what is there.
fn leaves(grid: &Grid, lattice: &Lattice, p: Point, values: &mut [f32; 4]) {
    /// Share of cells with a leaf.
    const SHARE: f32 = 0.7;
    let mut nearby = around(grid, lattice, p);
    // Which one lies on top must not depend on where one looks from.
    nearby.sort_unstable_by(|a, b| a.1[0].total_cmp(&b.1[0]));
    let cell = grid.pixels([0.0, 1.0]);
    let cell = cell[0].hypot(cell[1]);
    for (d, node) in nearby {
        if node[3] > SHARE {
            continue;
        }
        // Nothing of it may reach beyond the 3×3 cells: 1.2 cells from its point.
        let half = [
            cell * (0.2 + 0.5 * f64::from(node[1])),
            cell * (0.1 + 0.4 * f64::from(node[2])),
        ];
        let (sin, cos) = (f64::from(node[0]) * 400.0).sin_cos();
        let (u, v) = ((d[0] * cos + d[1] * sin).abs(), (d[1] * cos - d[0] * sin).abs());
        let inside = if node[3] < 0.5 * SHARE {
            (half[0] - u).min(half[1] - v)
        } else {
            // Near enough to the distance from an ellipse's rim.
            let k = (u / half[0]).hypot(v / half[1]);
            (1.0 - k) * half[1]
        };
        let cover = smooth_step(0.5 + inside / SHARPEST) as f32;
        let hue = node[3] / SHARE * 37.0;
        let target = [
            3.0 * (hue.fract() - 0.5),
            2.0 * node[1] - 1.0,
            2.0 * node[2] - 1.0,
            2.0 * node[0] - 1.0,
        ];
        for (v, t) in values.iter_mut().zip(target) {
            // What lies below shows a little: leaves are not quite flat.
            *v += cover * (t + 0.15 * *v - *v);
        }
    }
}

fn cells(grid: &Grid, joint: f64, lattice: &Lattice, p: Point) -> [f32; 4] {
    let points = around(grid, lattice, p);
    let distance = |k: usize| points[k].0[0].powi(2) + points[k].0[1].powi(2);
    let nearest = (0..9).fold(4, |best, k| if distance(k) < distance(best) { k } else { best });
    let (d, node) = points[nearest];
    // Distance to the nearest border: that to the bisector of the nearest point and another one.
    let mut border = f64::INFINITY;
    for (k, (other, _)) in points.iter().enumerate() {
        if k != nearest {
            let gap = [other[0] - d[0], other[1] - d[1]];
            let apart = gap[0].hypot(gap[1]).max(1e-9);
            border = border.min(0.5 * (distance(k) - distance(nearest)) / apart);
        }
    }
    let inside = smooth_step(border / joint) as f32;
    [
        2.0 * inside - 1.2,
        inside * (2.0 * node[2] - 1.0),
        inside * (2.0 * node[3] - 1.0),
        inside * (node[2] - node[3]),
    ]
}

impl Colours {
    /// Mostly light and dark with some colour; at times nearly grey, at times faint.
    fn draw(rng: &mut PhiloxRng) -> Self {
        let contrast = if rng.uniform() < 0.25 {
            log_uniform(rng, 0.02, 0.1)
        } else {
            rng.uniform_in(0.1, 0.3)
        };
        let chroma = if rng.uniform() < 0.3 {
            0.1
        } else {
            rng.uniform_in(0.2, 1.0)
        };
        let level = rng.uniform_in(0.3, 0.7);
        let base = std::array::from_fn(|_| (level + 0.25 * chroma * rng.uniform_in(-1.0, 1.0)) as f32);
        let light: [f64; 4] = std::array::from_fn(|k| rng.normal() * [1.0, 0.5, 0.3, 0.3][k]);
        let mix = std::array::from_fn(|_| {
            std::array::from_fn(|k| (light[k] + chroma * 0.7 * rng.normal() * [1.0, 0.6, 0.5, 0.5][k]) as f32)
        });
        let mut colours = Self { base, mix };
        let norm = colours.mix.iter().flatten().map(|v| v * v).sum::<f32>().sqrt() / 3_f32.sqrt();
        for v in colours.mix.iter_mut().flatten() {
            *v *= contrast as f32 / norm.max(1e-6);
        }
        colours
    }

    /// A picture's own colours, turned, bleached and dimmed at random.
    fn recoloured(rng: &mut PhiloxRng) -> Self {
        let contrast = rng.uniform_in(0.3, 1.1);
        let bleach = rng.uniform().powi(2);
        let turn = rng.below(6);
        let order = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][turn as usize];
        let mut mix = [[(contrast * bleach / 3.0) as f32; 4]; 3];
        for (row, &k) in mix.iter_mut().zip(&order) {
            row[k] += (contrast * (1.0 - bleach)) as f32;
        }
        Self {
            base: std::array::from_fn(|_| rng.uniform_in(0.4, 0.6) as f32),
            mix,
        }
    }

    fn rgb(&self, values: [f32; 4]) -> [f32; 3] {
        std::array::from_fn(|c| self.base[c] + (0..4).map(|k| self.mix[c][k] * values[k]).sum::<f32>())
    }
}

impl Raster {
    /// Colour at column `x`, row `y`, between the pixels by Catmull–Rom interpolation.
    fn at(&self, x: f64, y: f64) -> [f32; 3] {
        let (i, j) = (x.floor(), y.floor());
        let (wx, wy) = (interpolating((x - i) as f32), interpolating((y - j) as f32));
        let column: [usize; 4] =
            std::array::from_fn(|k| (i as i64 - 1 + k as i64).rem_euclid(self.width as i64) as usize);
        let plane = self.width * self.height;
        let mut colour = [0.0; 3];
        for (k, wy) in (0..).zip(wy) {
            let row = (j as i64 - 1 + k).rem_euclid(self.height as i64) as usize * self.width;
            for (column, wx) in column.iter().zip(wx) {
                for (c, sum) in colour.iter_mut().enumerate() {
                    *sum += wx * wy * self.rgb[c * plane + row + column];
                }
            }
        }
        colour
    }
}

/// Logarithmically uniform.
pub(super) fn log_uniform(rng: &mut PhiloxRng, low: f64, high: f64) -> f64 {
    low * (high / low).powf(rng.uniform())
}

/// 0 below 0, 1 above 1, smooth between.
pub(super) fn smooth_step(t: f64) -> f64 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// -1 to 1, of slope 1 at 0.
fn soft_sign(v: f32) -> f32 {
    v / (1.0 + v * v).sqrt()
}
