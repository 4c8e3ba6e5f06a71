//! The built-in exemplars: pure, the same at every size, colourful.

use nca_train::exemplar::Exemplar;

#[test]
fn pure_functions_of_name_size_and_seed() {
    for exemplar in Exemplar::ALL {
        let texture = exemplar.render(48, 3).unwrap();
        assert_eq!(texture, exemplar.render(48, 3).unwrap());
        assert_ne!(texture, exemplar.render(48, 4).unwrap(), "{exemplar}");
        assert_eq!(
            (texture.name.as_str(), texture.height, texture.width),
            (exemplar.name(), 48, 48)
        );
        assert_eq!(Exemplar::by_name(exemplar.name()), Some(exemplar));
    }
    assert_eq!(Exemplar::by_name("marble"), None);
}

/// Features scale with the picture: a large one made small is the small one.
#[test]
fn the_same_picture_at_every_size() {
    for exemplar in Exemplar::ALL {
        let (large, small) = (exemplar.render(128, 0).unwrap(), exemplar.render(64, 0).unwrap());
        let mut difference = 0.0;
        for (i, &value) in small.rgb.iter().enumerate() {
            let (plane, y, x) = (i / 4096, i / 64 % 64, i % 64);
            let at = |dy: usize, dx: usize| large.rgb[plane * 16384 + (2 * y + dy) * 128 + 2 * x + dx];
            let mean = (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0;
            difference += f64::from((value - mean).abs()) / small.rgb.len() as f64;
        }
        // 16 against 64 samples a pixel: an edge is sampled to about 1/8 of its height, and not
        // every pixel lies on one.
        assert!(difference < 0.01, "{exemplar}: {difference}");
    }
}

#[test]
fn colourful_and_contrasted() {
    for exemplar in Exemplar::ALL {
        let rgb = exemplar.render(64, 0).unwrap().rgb;
        let means: Vec<f64> = rgb
            .chunks_exact(4096)
            .map(|p| p.iter().map(|&v| f64::from(v)).sum::<f64>() / 4096.0)
            .collect();
        for (plane, &mean) in rgb.chunks_exact(4096).zip(&means) {
            let variance = plane.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 4096.0;
            assert!(
                variance.sqrt() > 0.05,
                "{exemplar}: standard deviation {}",
                variance.sqrt()
            );
        }
        let spread = means.iter().fold(0.0_f64, |a, &b| a.max(b)) - means.iter().fold(1.0_f64, |a, &b| a.min(b));
        assert!(spread > 0.1, "{exemplar}: grey, {means:?}");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for size in [0, 7, 1 << 20] {
        let message = Exemplar::Bubbly.render(size, 0).unwrap_err().to_string();
        assert!(
            message.contains(&size.to_string()) && message.contains("8 to"),
            "{message}"
        );
    }
}
