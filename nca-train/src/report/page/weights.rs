//! Weights as the page carries them: 16-bit floats in the order of the shaders' textures,
//! compressed, as text.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use half::f16;
use nca_core::{Error, HostParams, Nca, Result};

/// Values in a texel.
const TEXEL: usize = 4;

/// The automaton that the page runs: `nca` with every weight rounded to a 16-bit float.
///
/// # Errors
/// When a weight is beyond the largest 16-bit float.
pub fn as_shown(nca: &Nca) -> Result<Nca> {
    nca.validate()?;
    let rounded = nca
        .params
        .try_map(|values| values.iter().map(|&v| Ok(to_half(v)?.to_f32())).collect::<Result<_>>())?;
    Ok(Nca {
        config: nca.config.clone(),
        params: rounded,
    })
}

/// The weights of `nca` as text: base64 of a zlib stream of all high bytes, then all low bytes.
pub(super) fn pack(nca: &Nca) -> Result<String> {
    nca.validate()?;
    let texels = texels(nca)?;
    // Neighbouring weights share signs and exponents: apart from the low bytes those compress.
    let high = texels.iter().map(|v| (v.to_bits() >> 8) as u8);
    let low = texels.iter().map(|v| v.to_bits() as u8);
    let planes: Vec<u8> = high.chain(low).collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let packed = encoder.write_all(&planes).and_then(|()| encoder.finish());
    let packed = packed.map_err(|e| Error::invalid("weights", e, "values that can be compressed"))?;
    Ok(BASE64_STANDARD.encode(packed))
}

/// Both layers as the rows of two textures, one after the other.
///
/// A row makes four outputs; its texels hold what one input contributes to each of them, the last
/// one the biases. Inputs of the first layer are kernel k of channel c at `k·C' + c`, C' being C
/// rounded up to a multiple of four; what rounding up adds is zero.
fn texels(nca: &Nca) -> Result<Vec<f16>> {
    let config = &nca.config;
    let HostParams { w1, b1, w2, b2 } = &nca.params;
    let (channels, hidden) = (config.channels, config.hidden);
    let padded = channels.next_multiple_of(TEXEL);
    let first = |output: usize, input: usize| {
        let (kernel, channel) = (input / padded, input % padded);
        (channel < channels).then(|| w1[output * config.perceived() + kernel * channels + channel])
    };
    let second = |output: usize, input: usize| (input < hidden).then(|| w2[output * hidden + input]);
    let mut texels = Vec::new();
    layer(&mut texels, (hidden, config.kernels() * padded), first, Some(b1))?;
    let inputs = hidden.next_multiple_of(TEXEL);
    layer(&mut texels, (channels, inputs), second, b2.as_ref())?;
    Ok(texels)
}

/// Appends the texture of one layer.
fn layer(
    texels: &mut Vec<f16>,
    (outputs, inputs): (usize, usize),
    weight: impl Fn(usize, usize) -> Option<f32>,
    bias: Option<&Vec<f32>>,
) -> Result<()> {
    for row in 0..outputs.div_ceil(TEXEL) {
        for input in 0..=inputs {
            for output in TEXEL * row..TEXEL * (row + 1) {
                let value = match output < outputs {
                    true if input < inputs => weight(output, input),
                    true => bias.map(|bias| bias[output]),
                    false => None,
                };
                texels.push(to_half(value.unwrap_or(0.0))?);
            }
        }
    }
    Ok(())
}

fn to_half(value: f32) -> Result<f16> {
    let half = f16::from_f32(value);
    if half.is_finite() {
        Ok(half)
    } else {
        Err(Error::invalid(
            "weight",
            value,
            format!("at most {}, the largest 16-bit float", f16::MAX),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;
    use nca_core::Preset;

    use super::*;

    fn unpack(text: &str) -> Vec<f32> {
        let packed = BASE64_STANDARD.decode(text).unwrap();
        let mut planes = Vec::new();
        ZlibDecoder::new(packed.as_slice()).read_to_end(&mut planes).unwrap();
        let (high, low) = planes.split_at(planes.len() / 2);
        high.iter()
            .zip(low)
            .map(|(&high, &low)| f16::from_bits(u16::from_be_bytes([high, low])).to_f32())
            .collect()
    }

    #[test]
    fn texels_hold_the_weights_where_the_shaders_look() {
        let (channels, hidden, kernels) = (5, 6, 4);
        let mut nca = Nca::preset(Preset::Notebook, channels, hidden, 1).unwrap();
        nca = as_shown(&nca).unwrap();
        let found = unpack(&pack(&nca).unwrap());
        let inputs = kernels * 8 + 1;
        assert_eq!(found.len(), 4 * (inputs * 2 + 9 * 2));
        // Kernel 2 of channel 4 as seen by neuron 5: second row of the first texture.
        let at = 4 * (inputs + 2 * 8 + 4) + 1;
        assert_eq!(found[at], nca.params.w1[5 * kernels * channels + 2 * channels + 4]);
        // Bias of neuron 3: last texel of the first row.
        assert_eq!(found[4 * (inputs - 1) + 3], nca.params.b1[3]);
        // Neuron 4 as it moves channel 4: second row of the second texture.
        let second = 4 * inputs * 2;
        assert_eq!(found[second + 4 * (9 + 4)], nca.params.w2[4 * hidden + 4]);
        assert_eq!(found[second + 4 * (9 + 8)], nca.params.b2.as_ref().unwrap()[4]);
        // What there is no neuron or channel for is zero.
        assert_eq!(found[4 * (inputs + 2) + 2], 0.0);
        assert_eq!(found[4 * (2 * 8 + 5)], 0.0);
        assert_eq!(found[second + 4 * 6], 0.0);
    }

    #[test]
    fn refuses_weights_beyond_the_largest_half() {
        let mut nca = Nca::preset(Preset::Paper, 4, 8, 0).unwrap();
        nca.params.b1[3] = 1e5;
        assert!(pack(&nca).unwrap_err().to_string().contains("100000"));
        assert!(as_shown(&nca).is_err());
    }
}
