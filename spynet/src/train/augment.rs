//! Variants of a pair that keep its motion known: mirrored, turned, recoloured.
//!
//! The two frames are not swapped: the flow back is not known where the first frame's pixels leave none.

use nca_core::philox::PhiloxRng;

/// A symmetry of the square, or of a rectangle where it keeps the sides, with a recolouring. Both frames
/// of a pair get the same one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Variant {
    /// Mirrored left to right, after the transposition.
    mirror_x: bool,
    /// Mirrored top to bottom, after the transposition.
    mirror_y: bool,
    /// Rows and columns exchanged.
    transpose: bool,
    /// Which channel each new channel shows.
    channels: [usize; 3],
    /// `scale · x + offset` of each new channel, clamped to `[0, 1]`.
    scale: [f32; 3],
    offset: [f32; 3],
}

impl Variant {
    /// A random one; `square` frames may be transposed.
    pub(super) fn draw(rng: &mut PhiloxRng, square: bool) -> Self {
        const SCALES: (f64, f64) = (0.6, 1.2);
        const CHANNEL_SCALES: (f64, f64) = (0.85, 1.15);
        const SHIFT: f64 = 0.1;
        let symmetry = rng.below(8);
        let order = rng.choose(3, 3);
        // One colour in two is its own negative: what moves may be dark or bright.
        let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
        let scale = sign * rng.uniform_in(SCALES.0, SCALES.1);
        let shift = rng.uniform_in(-SHIFT, SHIFT);
        let scale = [0; 3].map(|_| scale * rng.uniform_in(CHANNEL_SCALES.0, CHANNEL_SCALES.1));
        Self {
            mirror_x: symmetry & 1 != 0,
            mirror_y: symmetry & 2 != 0,
            transpose: square && symmetry & 4 != 0,
            channels: [order[0], order[1], order[2]],
            scale: scale.map(|s| s as f32),
            // About mid-grey.
            offset: scale.map(|s| (0.5 - 0.5 * s + shift) as f32),
        }
    }

    /// Writes the variant of a frame `[3,h,w]`.
    pub(super) fn frame(&self, (height, width): (usize, usize), source: &[f32], target: &mut [f32]) {
        let plane = height * width;
        for (c, target) in target.chunks_exact_mut(plane).enumerate() {
            let source = &source[self.channels[c] * plane..][..plane];
            let (scale, offset) = (self.scale[c], self.offset[c]);
            self.arrange((height, width), source, target, |v| {
                (scale * v + offset).clamp(0.0, 1.0)
            });
        }
    }

    /// Writes the variant of a flow field `[2,h,w]`, whose vectors turn with the frame.
    pub(super) fn flow(&self, size: (usize, usize), source: &[f32], target: &mut [f32]) {
        let (u, v) = source.split_at(size.0 * size.1);
        let (new_u, new_v) = target.split_at_mut(size.0 * size.1);
        let (along_x, along_y) = if self.transpose { (v, u) } else { (u, v) };
        let sign = |mirrored| if mirrored { -1.0 } else { 1.0 };
        let (sign_x, sign_y) = (sign(self.mirror_x), sign(self.mirror_y));
        self.arrange(size, along_x, new_u, |v| sign_x * v);
        self.arrange(size, along_y, new_v, |v| sign_y * v);
    }

    /// Moves the pixels of a plane to where they belong.
    fn arrange(&self, (height, width): (usize, usize), source: &[f32], target: &mut [f32], value: impl Fn(f32) -> f32) {
        for (y, row) in target.chunks_exact_mut(width).enumerate() {
            let y = if self.mirror_y { height - 1 - y } else { y };
            for (x, target) in row.iter_mut().enumerate() {
                let x = if self.mirror_x { width - 1 - x } else { x };
                // Only squares are transposed.
                let from = if self.transpose { x * width + y } else { y * width + x };
                *target = value(source[from]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nca_core::philox::Stream;

    use super::*;

    /// A pixel at `p` of frame 1 is at `p + flow(p)` of frame 2, whatever the variant: frames that name
    /// their own pixels show where each went.
    #[test]
    fn vectors_still_lead_from_frame_to_frame() {
        const SIDE: usize = 8;
        const PLANE: usize = SIDE * SIDE;
        let name = |p: usize| 0.2 + 0.6 * p as f32 / PLANE as f32;
        let first: Vec<f32> = (0..3 * PLANE).map(|i| name(i % PLANE)).collect();
        // Everything moves by (2, 1), around the edges.
        let from = |i: usize| (i / SIDE + SIDE - 1) % SIDE * SIDE + (i % SIDE + SIDE - 2) % SIDE;
        let second: Vec<f32> = (0..3 * PLANE).map(|i| name(from(i % PLANE))).collect();
        let flow: Vec<f32> = (0..2 * PLANE).map(|i| if i < PLANE { 2.0 } else { 1.0 }).collect();
        let mut rng = PhiloxRng::new(1, Stream::Test, 0);
        let mut directions = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let variant = Variant::draw(&mut rng, true);
            let (mut new_first, mut new_second) = (vec![0.0; 3 * PLANE], vec![0.0; 3 * PLANE]);
            let mut new_flow = vec![0.0; 2 * PLANE];
            variant.frame((SIDE, SIDE), &first, &mut new_first);
            variant.frame((SIDE, SIDE), &second, &mut new_second);
            variant.flow((SIDE, SIDE), &flow, &mut new_flow);
            for p in 0..PLANE {
                let x = (p % SIDE) as f32 + new_flow[p];
                let y = (p / SIDE) as f32 + new_flow[PLANE + p];
                let wrap = |v: f32| (v as i32).rem_euclid(SIDE as i32) as usize;
                assert_eq!(new_first[p], new_second[wrap(y) * SIDE + wrap(x)], "{variant:?}");
            }
            directions.insert((new_flow[0] as i32, new_flow[PLANE] as i32));
        }
        assert_eq!(directions.len(), 8);
    }
}
