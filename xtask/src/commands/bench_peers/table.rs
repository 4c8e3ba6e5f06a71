//! What was measured, as Markdown and as CSV.

use std::fmt::Write as _;

use nca_train::report::stats::median;

use super::cases::Group;

/// Measurements of one program in one case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Times {
    /// Seconds of a unit, the median of each measurement.
    kept: Vec<f64>,
    /// Those during which other processes were busy.
    dropped: Vec<f64>,
}

impl Times {
    /// Adds a measurement: the seconds of its units, and whether others were busy.
    pub(super) fn add(&mut self, seconds: &[f64], disturbed: bool) {
        if let Some(median) = median(seconds) {
            let list = if disturbed { &mut self.dropped } else { &mut self.kept };
            list.push(median);
        }
    }

    /// Measurements that count.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Measurements that were dropped.
    pub(super) fn dropped(&self) -> usize {
        self.dropped.len()
    }

    /// Whether there is nothing but measurements that should be dropped.
    pub(super) fn disturbed(&self) -> bool {
        self.kept.is_empty() && !self.dropped.is_empty()
    }

    /// Seconds of a unit: the median of measurements, of the dropped ones if there is no other.
    pub(super) fn seconds(&self) -> Option<f64> {
        median(&self.kept).or_else(|| median(&self.dropped))
    }
}

/// A formulation of a peer in one case.
#[derive(Clone, Debug)]
pub(super) struct Theirs {
    pub(super) library: String,
    pub(super) formulation: String,
    pub(super) times: Times,
    /// Measured at first only: far from the best.
    pub(super) set_aside: bool,
}

impl Theirs {
    /// As users first write it.
    fn as_written(&self) -> bool {
        self.formulation == AS_WRITTEN
    }
}

/// The formulation that others are tuned from.
pub(super) const AS_WRITTEN: &str = "as written";

/// One case: ours and all of theirs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) group: Group,
    pub(super) case: String,
    /// Cell updates of a unit, where it has any.
    pub(super) updates: Option<f64>,
    /// Operations of a unit: ours, and a peer's.
    pub(super) flop: (f64, f64),
    pub(super) ours: Times,
    pub(super) theirs: Vec<Theirs>,
}

impl Row {
    fn as_written(&self) -> Option<&Theirs> {
        self.theirs.iter().find(|theirs| theirs.as_written())
    }

    /// The fastest of all that were measured to the end.
    fn best(&self) -> Option<&Theirs> {
        let finished = self.theirs.iter().filter(|theirs| !theirs.set_aside);
        let timed = finished.filter_map(|theirs| Some((theirs.times.seconds()?, theirs)));
        timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, theirs)| theirs)
    }

    /// How many times as long theirs takes.
    fn ratio(&self, theirs: Option<&Theirs>) -> Option<f64> {
        Some(theirs?.times.seconds()? / self.ours.seconds()?)
    }

    /// A time as the table shows it: millions of cell updates a second, or milliseconds.
    fn figure(&self, times: &Times) -> String {
        let Some(seconds) = times.seconds() else {
            return "–".into();
        };
        let text = match self.updates {
            Some(updates) => format!("{} M", digits(updates / seconds / 1e6)),
            None => format!("{} ms", digits(1e3 * seconds)),
        };
        // So that nobody takes it for a measurement.
        if times.disturbed() { format!("({text})") } else { text }
    }

    fn markdown(&self, peak: f64) -> String {
        let share = |flop: f64, times: Option<f64>| match times {
            Some(seconds) => format!("{:.0} %", 100.0 * flop / seconds / peak),
            None => "–".into(),
        };
        let (as_written, best) = (self.as_written(), self.best());
        let figure = |theirs: Option<&Theirs>| theirs.map_or("–".into(), |theirs| self.figure(&theirs.times));
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            self.case,
            self.figure(&self.ours),
            figure(as_written),
            figure(best),
            best.map_or("–".into(), |best| format!("{}: {}", best.library, best.formulation)),
            times_as(self.ratio(as_written)),
            times_as(self.ratio(best)),
            share(self.flop.0, self.ours.seconds()),
            share(self.flop.1, best.and_then(|best| best.times.seconds())),
        )
    }
}

/// Three significant digits, as many as are known.
fn digits(value: f64) -> String {
    let decimals = 2 - (value.log10().floor() as i32).clamp(-1, 2);
    format!("{value:.*}", decimals.max(0) as usize)
}

fn times_as(ratio: Option<f64>) -> String {
    ratio.map_or("–".into(), |ratio| format!("{ratio:.2} ×"))
}

/// Geometric mean of those that are known.
fn geometric_mean(ratios: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let logs: Vec<f64> = ratios.flatten().map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// A table for each group, and what their columns mean.
pub(super) fn markdown(rows: &[Row], peak: f64) -> String {
    let mut text = String::new();
    for (group, title) in [
        (
            Group::Step,
            "Steps (C×D/size/grids; millions of cell updates a second, active or not)",
        ),
        (Group::Train, "Forward and backward through time (one iteration)"),
        (
            Group::Spynet,
            "SpyNet (a pair of frames; `and back`: with the gradient of both)",
        ),
        (Group::Vgg, "VGG16 (`and back`: with the gradient of the pictures)"),
    ] {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.group == group).collect();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(
            text,
            "### {title}\n\n| case | ours | torch as written | best peer | which | ours to as written | ours to best | ours of \
             peak | best peer of peak |\n|---|---|---|---|---|---|---|---|---|\n"
        );
        for row in &rows {
            text += &row.markdown(peak);
        }
        let as_written = geometric_mean(rows.iter().map(|row| row.ratio(row.as_written())));
        let best = geometric_mean(rows.iter().map(|row| row.ratio(row.best())));
        let _ = write!(
            text,
            "| geometric mean | | | | | {} | {} | | |\n\n",
            times_as(as_written),
            times_as(best)
        );
    }
    let dropped: usize = rows.iter().flat_map(every).map(Times::dropped).sum();
    let all: usize = rows
        .iter()
        .flat_map(every)
        .map(|times| times.kept() + times.dropped())
        .sum();
    let _ = write!(
        text,
        "{dropped} of {all} measurements dropped, as other processes were busy."
    );
    if rows.iter().flat_map(every).any(Times::disturbed) {
        text += " Figures in parentheses are of such measurements, for lack of others: do not rely on them.";
    }
    text
}

/// The times in a row.
fn every(row: &Row) -> impl Iterator<Item = &Times> {
    std::iter::once(&row.ours).chain(row.theirs.iter().map(|theirs| &theirs.times))
}

/// One line for each program in each case.
pub(super) fn csv(rows: &[Row]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "group",
        "case",
        "program",
        "formulation",
        "seconds",
        "ratio_to_ours",
        "measurements",
        "dropped",
        "state",
    ])?;
    for row in rows {
        let mut write = |program: &str, formulation: &str, times: &Times, set_aside: bool| {
            let state = match (set_aside, times.disturbed()) {
                (true, _) => "set aside",
                (_, true) => "disturbed",
                _ => "measured",
            };
            let ratio = times
                .seconds()
                .zip(row.ours.seconds())
                .map(|(theirs, ours)| theirs / ours);
            let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
            writer.write_record([
                &format!("{:?}", row.group).to_lowercase(),
                &row.case,
                program,
                formulation,
                &number(times.seconds()),
                &number(ratio),
                &times.kept().to_string(),
                &times.dropped().to_string(),
                state,
            ])
        };
        write("ours", "", &row.ours, false)?;
        for theirs in &row.theirs {
            write(&theirs.library, &theirs.formulation, &theirs.times, theirs.set_aside)?;
        }
    }
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(kept: &[f64], dropped: &[f64]) -> Times {
        let mut times = Times::default();
        kept.iter().for_each(|&seconds| times.add(&[seconds], false));
        dropped.iter().for_each(|&seconds| times.add(&[seconds], true));
        times
    }

    fn theirs(library: &str, formulation: &str, seconds: f64, set_aside: bool) -> Theirs {
        Theirs {
            library: library.into(),
            formulation: formulation.into(),
            times: times(&[seconds], &[]),
            set_aside,
        }
    }

    fn row() -> Row {
        Row {
            group: Group::Step,
            case: "8x16/128x128/1".into(),
            updates: Some(4e6),
            flop: (1e9, 2e9),
            ours: times(&[0.1, 0.2, 0.3], &[0.01]),
            theirs: vec![
                theirs("torch", AS_WRITTEN, 1.2, false),
                theirs("torch", "planes", 0.05, true),
                theirs("jax", "rows", 0.5, false),
                Theirs {
                    times: Times::default(),
                    ..theirs("jax", "planes", 1.0, false)
                },
            ],
        }
    }

    #[test]
    fn disturbed_measurements_count_only_where_there_is_no_other() {
        let mut mixed = times(&[], &[0.5]);
        assert!(mixed.disturbed());
        assert_eq!(mixed.seconds(), Some(0.5));
        mixed.add(&[2.0, 1.0, 9.0], false);
        assert!(!mixed.disturbed());
        assert_eq!(mixed.seconds(), Some(2.0));
        assert_eq!((mixed.kept(), mixed.dropped()), (1, 1));
        mixed.add(&[], false);
        assert_eq!(mixed.kept(), 1);
        assert_eq!(Times::default().seconds(), None);
        assert!(!Times::default().disturbed());
    }

    #[test]
    fn ratios_are_to_ours() {
        let row = row();
        assert_eq!(row.best().map(|best| best.formulation.as_str()), Some("rows"));
        let close = |ratio: Option<f64>, expected: f64| ratio.is_some_and(|ratio| (ratio - expected).abs() < 1e-12);
        assert!(close(row.ratio(row.as_written()), 6.0));
        assert!(close(row.ratio(row.best()), 2.5));
        assert!(close(geometric_mean([Some(2.0), None, Some(8.0)].into_iter()), 4.0));
        assert_eq!(geometric_mean([None].into_iter()), None);
    }

    #[test]
    fn the_table_has_every_column() {
        let text = markdown(&[row()], 1e10);
        let line = "| 8x16/128x128/1 | 20.0 M | 3.33 M | 8.00 M | jax: rows | 6.00 × | 2.50 × | 50 % | 40 % |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("1 of 7 measurements dropped"), "{text}");
        assert!(!text.contains("parentheses"), "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(
            text.lines()
                .filter(|line| line.starts_with('|'))
                .all(|l| columns(l) == columns(line))
        );
        let mut noisy = row();
        noisy.ours = times(&[], &[0.2]);
        let text = markdown(&[noisy], 1e10);
        assert!(text.contains("| (20.0 M) |") && text.contains("parentheses"), "{text}");
    }

    #[test]
    fn csv_has_a_line_for_each_program() -> anyhow::Result<()> {
        let text = String::from_utf8(csv(&[row()])?)?;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[1], "step,8x16/128x128/1,ours,,0.2,1,3,1,measured");
        assert_eq!(lines[3], "step,8x16/128x128/1,torch,planes,0.05,0.25,1,0,set aside");
        Ok(())
    }

    #[test]
    fn three_digits() {
        for (value, expected) in [
            (0.0123, "0.012"),
            (1.2345, "1.23"),
            (12.345, "12.3"),
            (123.45, "123"),
            (12345.6, "12346"),
        ] {
            assert_eq!(digits(value), expected);
        }
    }
}
