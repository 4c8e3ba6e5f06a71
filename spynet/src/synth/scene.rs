//! Layers and the two frames they make.

use super::lattice::Lattice;
use super::motion::{Motion, Point};
use super::shape::Shape;
use super::texture::Texture;

/// One sheet: its texture, where it is, how it moves.
pub(super) struct Layer {
    pub(super) texture: Texture,
    /// `None` is everywhere: the background.
    pub(super) shape: Option<Shape>,
    pub(super) motion: Motion,
    /// What it turns into by the second frame, without moving, and how far, 0 to 1.
    pub(super) fade: Option<(Texture, f32)>,
}

/// Layers from back to front; the first one is the background.
pub(super) struct Scene {
    pub(super) lattice: Lattice,
    pub(super) layers: Vec<Layer>,
    /// Size of the torus, if it is one.
    pub(super) torus: Option<Point>,
}

impl Scene {
    /// The copy of `p` on the torus that is nearest to `centre`.
    fn nearest(&self, p: Point, centre: Point) -> Point {
        match self.torus {
            Some(size) => std::array::from_fn(|k| p[k] - size[k] * ((p[k] - centre[k]) / size[k]).round()),
            None => p,
        }
    }

    /// Point of the first frame that `layer` shows at `q` in the second, and how much of it is
    /// covered; `None` where the layer is not. `near` is a guess.
    fn source(&self, layer: &Layer, q: Point, near: Option<Point>) -> Option<(Point, f64)> {
        let Some(shape) = &layer.shape else {
            return Some((layer.motion.source(q, near.unwrap_or(q)), 1.0));
        };
        let there = layer.motion.flow(shape.centre);
        let centre = [shape.centre[0] + there[0], shape.centre[1] + there[1]];
        let q = self.nearest(q, centre);
        // No motion stretches by a half.
        if (q[0] - centre[0]).hypot(q[1] - centre[1]) > 1.5 * shape.reach + 2.0 {
            return None;
        }
        let p = layer
            .motion
            .source(q, near.unwrap_or([q[0] - there[0], q[1] - there[1]]));
        let cover = shape.cover([p[0] - shape.centre[0], p[1] - shape.centre[1]]);
        (cover > 0.0).then_some((p, cover))
    }

    /// Cover of `layer` at `p` in the first frame, and `p` itself on the torus's nearest copy.
    fn here(&self, layer: &Layer, p: Point) -> Option<(Point, f64)> {
        let Some(shape) = &layer.shape else {
            return Some((p, 1.0));
        };
        let p = self.nearest(p, shape.centre);
        let cover = shape.cover([p[0] - shape.centre[0], p[1] - shape.centre[1]]);
        (cover > 0.0).then_some((p, cover))
    }

    /// Front to back until nothing shines through.
    fn compose(&self, mut colour_of: impl FnMut(usize, &Layer) -> Option<([f32; 3], f64)>) -> [f32; 3] {
        let (mut colour, mut through) = ([0.0; 3], 1.0_f32);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let Some((rgb, cover)) = colour_of(index, layer) else {
                continue;
            };
            let cover = cover as f32;
            for (sum, v) in colour.iter_mut().zip(rgb) {
                *sum += through * cover * v;
            }
            through *= 1.0 - cover;
            if through <= 0.0 {
                break;
            }
        }
        colour
    }

    /// Colour of the first frame at `p`.
    pub(super) fn first(&self, p: Point) -> [f32; 3] {
        self.compose(|_, layer| {
            let (p, cover) = self.here(layer, p)?;
            Some((layer.texture.at(&self.lattice, p), cover))
        })
    }

    /// Colour of the second frame at `q`; `near` holds a guess for each layer, which is renewed.
    pub(super) fn second(&self, q: Point, near: &mut [Option<Point>]) -> [f32; 3] {
        self.compose(|index, layer| {
            let Some((p, cover)) = self.source(layer, q, near[index]) else {
                near[index] = None;
                return None;
            };
            // The next pixel of the row.
            near[index] = Some([p[0] + 1.0, p[1]]);
            let mut rgb = layer.texture.at(&self.lattice, p);
            if let Some((other, share)) = &layer.fade {
                for (v, other) in rgb.iter_mut().zip(other.at(&self.lattice, p)) {
                    *v += share * (other - *v);
                }
            }
            Some((rgb, cover))
        })
    }

    /// Flow of what is in front at `p` in the first frame, and whether the second frame of
    /// `width`×`height` pixels shows it.
    pub(super) fn truth(&self, p: Point, width: usize, height: usize) -> (Point, bool) {
        /// From here on a layer is in front.
        const HALF: f64 = 0.5;
        let front = |layer: &&(usize, &Layer)| self.here(layer.1, p).is_some_and(|(_, cover)| cover >= HALF);
        let layers: Vec<_> = self.layers.iter().enumerate().collect();
        let Some(&(index, layer)) = layers.iter().rev().find(front) else {
            return ([0.0; 2], false);
        };
        let (p, _) = self.here(layer, p).unwrap_or((p, 1.0));
        let flow = layer.motion.flow(p);
        let q = [p[0] + flow[0], p[1] + flow[1]];
        let inside = self.torus.is_some()
            || (0.0..=(width - 1) as f64).contains(&q[0]) && (0.0..=(height - 1) as f64).contains(&q[1]);
        let hidden = || {
            let above = &self.layers[index + 1..];
            above
                .iter()
                .any(|layer| self.source(layer, q, None).is_some_and(|(_, cover)| cover >= HALF))
        };
        (flow, inside && !hidden())
    }
}

#[cfg(test)]
mod tests {
    use nca_core::philox::{PhiloxRng, Stream};

    use super::*;
    use crate::synth::texture::Palette;

    /// A square of half width 6 at (20, 16) that moves by (5, 0) over a still background; the same
    /// across the seam of a torus.
    #[test]
    fn a_square_hides_what_it_moves_over() {
        for (torus, x0) in [(None, 20.0), (Some([40.0, 32.0]), 33.0)] {
            let palette = Palette {
                torus,
                rasters: &[],
                extent: 32.0,
                photographic: 0.0,
                enlarged: 0.0,
            };
            let mut rng = PhiloxRng::new(1, Stream::Test, 0);
            let mut layer = |shape, shift| Layer {
                texture: palette.draw(&mut rng, 5.0),
                shape,
                motion: Motion { shift, ..Motion::STILL },
                fade: None,
            };
            let square = Shape::square([x0, 16.0], 6.0);
            let layers = vec![layer(None, [0.0; 2]), layer(Some(square), [5.0, 0.0])];
            let scene = Scene {
                lattice: Lattice::new(0, 0),
                layers,
                torus,
            };
            for p in 0..40 * 32 {
                let (x, y) = (f64::from(p % 40), f64::from(p / 40));
                // Offset from the square's centre, the short way round on the torus.
                let dx = if torus.is_some() {
                    (x - x0 + 20.0).rem_euclid(40.0) - 20.0
                } else {
                    x - x0
                };
                let rows = (y - 16.0).abs() <= 6.0;
                let (flow, visible) = scene.truth([x, y], 40, 32);
                if rows && dx.abs() <= 6.0 {
                    // 20 + 6 + 5 is still inside.
                    assert_eq!((flow, visible), ([5.0, 0.0], true), "{x} {y}");
                } else {
                    let covered = rows && (dx - 5.0).abs() <= 6.0;
                    assert_eq!((flow, visible), ([0.0; 2], !covered), "{x} {y}");
                }
                // The square's inside, five pixels on.
                if rows && dx.abs() <= 4.0 && (y - 16.0).abs() <= 4.0 {
                    let second = scene.second([(x + 5.0).rem_euclid(40.0), y], &mut [None, None]);
                    for (a, b) in scene.first([x, y]).iter().zip(second) {
                        // Places on the torus are rounded to 1e-14, colours to 1e-7.
                        assert!((a - b).abs() < 1e-5, "{x} {y}");
                    }
                }
            }
        }
    }
}
