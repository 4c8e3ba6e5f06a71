//! Checks of arguments that take more than comparing a length: for backends, which all refuse the same calls in the
//! same words.
//!
//! Those of plain lengths are made with [`check_len`], those of products of sizes with [`shape`].

use crate::config::{Grid, NcaConfig};
use crate::error::{Error, Result, check_len};
use crate::params::{Params, param_sizes};

/// The product of `sizes`; `usize::MAX`, which no buffer has, where those that are not zero have one that no array could.
///
/// A product that wrapped could be the length of a buffer much smaller than the sizes a kernel goes by. Of an empty array
/// the other sizes must be possible too, for they are multiplied by each other.
#[must_use]
pub fn elements(sizes: &[usize]) -> usize {
    let others = sizes.iter().filter(|&&size| size > 0);
    let product = others.fold(1, |product: usize, &size| product.saturating_mul(size));
    match product {
        _ if product > isize::MAX as usize => usize::MAX,
        _ if sizes.contains(&0) => 0,
        product => product,
    }
}

/// A buffer of `found` elements must have the shape `sizes`.
pub fn shape(op: &'static str, what: &'static str, found: usize, sizes: &[usize]) -> Result<()> {
    check_len(op, what, found, elements(sizes))
}

/// The automaton must be [valid](NcaConfig::validate), and every array of a step on `grid`, which may be empty, one that
/// memory could address: what the operations of an automaton ask before they multiply sizes.
pub fn automaton(op: &'static str, config: &NcaConfig, grid: Grid) -> Result<()> {
    config.validate()?;
    let Grid { batch, height, width } = grid;
    let rows = config.perceived().max(config.hidden).max(config.channels);
    // No array has more bytes, whatever its element.
    if elements(&[rows, batch.max(1), height.max(1), width.max(1)]) <= isize::MAX as usize / size_of::<f64>() {
        return Ok(());
    }
    Err(Error::invalid(
        format!("{op}: grid"),
        format!("{batch} of {height}x{width} cells"),
        "no more than memory can address",
    ))
}

/// `out[slot]` must exist, `found` being the elements of `out`.
pub fn slot(op: &'static str, found: usize, slot: usize) -> Result<()> {
    if slot < found {
        return Ok(());
    }
    Err(Error::Length {
        op,
        what: "out",
        found,
        expected: slot.saturating_add(1),
    })
}

/// `a`, of `found` elements, must be a whole number of samples as long as `b`, of `sample`.
pub fn samples(op: &'static str, found: usize, sample: usize) -> Result<()> {
    whole_samples(op, "a", found, sample)
}

/// `x`, of `found` elements, must be a whole number of samples of `channels` planes of `plane` elements.
pub fn planes(op: &'static str, channels: usize, plane: usize, found: usize) -> Result<()> {
    whole_samples(op, "x", found, elements(&[channels, plane]))
}

fn whole_samples(op: &'static str, what: &'static str, found: usize, sample: usize) -> Result<()> {
    if found == 0 || (sample > 0 && found.is_multiple_of(sample)) {
        return Ok(());
    }
    Err(Error::Length {
        op,
        what,
        found,
        expected: elements(&[found.checked_div(sample).unwrap_or(0).max(1), sample]),
    })
}

/// Weights, or their gradients, must have the shapes of `config`; `len` tells a tensor's elements.
pub fn params<B>(op: &'static str, config: &NcaConfig, params: &Params<B>, len: impl Fn(&B) -> usize) -> Result<()> {
    let sizes = param_sizes(config);
    check_len(op, "w1", len(&params.w1), sizes.w1)?;
    check_len(op, "b1", len(&params.b1), sizes.b1)?;
    check_len(op, "w2", len(&params.w2), sizes.w2)?;
    check_len(op, "b2", params.b2.as_ref().map_or(0, len), sizes.b2.unwrap_or(0))
}

/// An operand of `found` elements must be one matrix of `len` elements for each of `batch` products, or one for all
/// of them. Returns the elements from a product's matrix to the next one's: 0 where all share it.
pub fn operand(op: &'static str, what: &'static str, found: usize, batch: usize, len: usize) -> Result<usize> {
    if found == len {
        return Ok(0);
    }
    shape(op, what, found, &[batch, len])?;
    Ok(len)
}

/// Activations belong to the last of `steps` steps and have `expected` elements each; `len` tells how many one has.
/// Returns the first step that has some.
pub fn activations<B>(
    op: &'static str,
    steps: usize,
    activations: &[B],
    len: impl Fn(&B) -> usize,
    expected: usize,
) -> Result<usize> {
    for one in activations {
        check_len(op, "activations", len(one), expected)?;
    }
    steps.checked_sub(activations.len()).ok_or_else(|| {
        let what = format!("{op}: number of activations");
        Error::invalid(what, activations.len(), format!("at most {steps}, one for each step"))
    })
}

/// A matrix of which minima are taken must have something in it.
pub fn matrix(op: &'static str, rows: usize, columns: usize) -> Result<()> {
    if rows > 0 && columns > 0 {
        return Ok(());
    }
    Err(Error::invalid(
        format!("{op}: shape"),
        format!("{rows}x{columns}"),
        "at least one row and column",
    ))
}

/// There must be indices of the shape `sizes`, all below `bound`: for backends that can see them.
pub fn index(op: &'static str, what: &'static str, index: &[u32], sizes: &[usize], bound: usize) -> Result<()> {
    shape(op, what, index.len(), sizes)?;
    // Of copies: the largest reference is not searched for by vectors.
    match index.iter().copied().max() {
        Some(most) if most as usize >= bound => {
            let expected = format!("an index below {bound}");
            Err(Error::invalid(format!("{op}: {what}"), most, expected))
        }
        _ => Ok(()),
    }
}

/// The scratch buffers by name: there must be `N`.
pub fn scratch<'a, S, const N: usize>(op: &'static str, scratch: &'a mut [S]) -> Result<&'a mut [S; N]> {
    let found = scratch.len();
    scratch.try_into().map_err(|_| Error::Length {
        op,
        what: "list of scratch buffers",
        found,
        expected: N,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_cannot_be_counted_are_no_length() {
        let half = 1 << (usize::BITS / 2);
        assert_eq!(elements(&[]), 1);
        assert_eq!(elements(&[3, 5, 7]), 105);
        assert_eq!(elements(&[3, 0, 7]), 0);
        for sizes in [
            &[half, half][..],
            &[0, half, half],
            &[half, 2, half, 0],
            &[half, half / 2],
        ] {
            assert_eq!(elements(sizes), usize::MAX, "{sizes:?}");
        }
        assert_eq!(elements(&[half, half / 4]), 1 << (usize::BITS - 2));
    }

    #[test]
    fn samples_are_whole() {
        for (found, sample) in [(0, 0), (0, 4), (4, 4), (12, 4)] {
            samples("op", found, sample).unwrap();
            planes("op", 2, sample / 2, found).unwrap();
        }
        for (found, sample, words) in [
            (3, 4, "op: a has 3 elements, expected 4"),
            (9, 4, "op: a has 9 elements, expected 8"),
            (1, 0, "op: a has 1 elements, expected 0"),
        ] {
            assert_eq!(samples("op", found, sample).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn activations_are_those_of_the_last_steps() {
        let first = |steps, lengths: &[usize]| activations("op", steps, lengths, |&len| len, 7);
        assert_eq!(first(3, &[7, 7]).unwrap(), 1);
        assert_eq!(first(0, &[]).unwrap(), 0);
        let error = first(1, &[7, 7]).unwrap_err().to_string();
        assert!(
            error.contains("op: number of activations") && error.contains("at most 1"),
            "{error}"
        );
        let error = first(2, &[7, 6]).unwrap_err().to_string();
        assert_eq!(error, "op: activations has 6 elements, expected 7");
    }

    #[test]
    fn operands_are_shared_or_one_for_each_product() {
        assert_eq!(operand("matmul", "a", 6, 3, 6).unwrap(), 0);
        assert_eq!(operand("matmul", "a", 18, 3, 6).unwrap(), 6);
        let error = operand("matmul", "a", 12, 3, 6).unwrap_err().to_string();
        assert_eq!(error, "matmul: a has 12 elements, expected 18");
    }
}
