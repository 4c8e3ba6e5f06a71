//! `cargo xtask flow-train`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget};
use nca_core::Error;
use nca_core::backend::Backend;
use nca_train::exemplar::Exemplar;
use spynet::SpyNetWeights;
use spynet::synth::{Raster, SynthSettings};
use spynet::train::{Event, LogRow, Outcome, Recipe, Start, SynthSource, TrainOptions, train};

use crate::backend::{BackendArgs, Job};
use crate::lock::claim;
use crate::output::{print_line, say};
use crate::progress::bar_style;

/// Train the flow network that comes with the project, from pairs of frames it makes itself
///
/// Coarse to fine, then all levels together, as in Ranjan & Black 2017; nothing to download. The result
/// is a directory with the weights (f16 safetensors whose metadata tell recipe, seed and held-out
/// error), log.csv and the checkpoint that --resume goes on from.
#[derive(Args)]
pub(crate) struct FlowTrainArgs {
    /// Directory of the training
    #[arg(long, value_name = "DIR", default_value = "runs/flow")]
    out: PathBuf,
    /// Stages and their iterations: full (the default; an hour or two on two cores), quick (minutes, to see that everything
    /// works) or shipped (some four hours; with --seed 1 the recipe of the weights that come with the project: the full one, then
    /// --from its weights a refinement, from those --photographic, and from those --enlarged in their --rounds, each with a
    /// folder and a seed of its own)
    #[arg(long, value_enum)]
    budget: Option<Budget>,
    /// Start from the weights of this file, and refine them: fewer stages, that go on where the file's
    /// training ended
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// With --from: instead of refining everything, go on with levels 0 to 4 on scenes that are like photographs, with places
    /// where there is next to nothing to see
    #[arg(long, requires = "from", conflicts_with_all = ["rounds", "enlarged"])]
    photographic: bool,
    /// With --from: instead of refining everything, go on with levels 0 to 2 on scenes like photographs of which half the
    /// textures are enlarged, up to six times, then without those; in so many --rounds, if given
    #[arg(long, requires = "from")]
    enlarged: bool,
    /// With --from: apply each level so often, a number for each from the coarsest on, each time with the second frame
    /// warped anew. Unless --enlarged is given, trains levels 3 and 4 for it, where they have several rounds, instead of
    /// refining everything; with --iterations 0 nothing
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', requires = "from")]
    rounds: Option<Vec<usize>>,
    /// Iterations of all stages together, shared out as the budget does; of a shipped budget, those of each training
    #[arg(long, value_name = "N")]
    iterations: Option<u64>,
    /// Pairs of an iteration, in every stage
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,
    /// Adam's learning rates, as a multiple of the budget's [default: 1]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Train only the N coarsest levels; those above become copies, with --from only once a level has
    /// started from the one below
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=5))]
    levels: Option<u8>,
    /// Pictures of each built-in exemplar among the textures of the scenes [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=100))]
    exemplars: Option<u64>,
    /// Decides everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Go on from the last checkpoint in the directory, which must be there
    #[arg(long)]
    resume: bool,
    /// Train nothing: write the weights that the last checkpoint holds, over those that are there
    #[arg(long, conflicts_with = "resume")]
    as_it_is: bool,
    /// Seconds between checkpoints
    #[arg(long, value_name = "X", default_value_t = 60.0)]
    checkpoint_seconds: f64,
    #[command(flatten)]
    backend: BackendArgs,
}

/// What `--budget` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Budget {
    Quick,
    Full,
    Shipped,
}

/// What the quick budget leaves of the iterations of a refinement.
const QUICK_REFINEMENT: f64 = 0.01;
/// Pictures of each exemplar, where nobody says.
const EXEMPLARS: u64 = 2;
/// Name of the checkpoint in the training's directory, by [`train`].
const STATE_FILE: &str = "state.safetensors";
/// Name of the weights in the training's directory.
const WEIGHTS_FILE: &str = "spynet-synth.safetensors";
/// Held by a training as long as it writes into its directory.
const LOCK_FILE: &str = ".flow-train.lock";

/// What [`Budget::Shipped`] trains one after the other, in folders of these names, before the last, whose folder is `--out`.
const SHIPPED: [&str; 3] = ["full", "refined", "photographic"];

impl FlowTrainArgs {
    /// The recipe of a single training.
    fn recipe(&self) -> nca_core::Result<Recipe> {
        let recipe = match (&self.from, &self.rounds, self.budget) {
            (None, _, Some(Budget::Quick)) => Recipe::quick(self.seed),
            (None, ..) => Recipe::full(self.seed),
            (Some(path), ..) if self.enlarged => self.recipe_enlarged(Start::load(path)?)?,
            (Some(path), None, _) if self.photographic => Recipe::photographic(self.seed, Start::load(path)?),
            (Some(path), None, _) => Recipe::refine(self.seed, Start::load(path)?),
            (Some(path), Some(rounds), _) => return self.recipe_in_rounds(Start::load(path)?, rounds),
        };
        self.adjusted(recipe)
    }

    fn recipe_enlarged(&self, start: Start) -> nca_core::Result<Recipe> {
        let levels = start.levels().min(self.levels.map_or(usize::MAX, usize::from));
        let recipe = Recipe::enlarged(self.seed, start, self.rounds.clone()).map_err(rounds_refused)?;
        if self.trains_any(&recipe) {
            return Ok(recipe);
        }
        let found = format!("given for {levels} levels");
        Err(Error::invalid("--enlarged", found, "levels 0 to 2 to train"))
    }

    fn recipe_in_rounds(&self, start: Start, rounds: &[usize]) -> nca_core::Result<Recipe> {
        if self.iterations == Some(0) {
            self.check_untrained()?;
            return Recipe::rounds_alone(self.seed, start, rounds.to_vec()).map_err(rounds_refused);
        }
        let recipe = Recipe::in_rounds(self.seed, start, rounds.to_vec()).map_err(rounds_refused)?;
        if !self.trains_any(&recipe) {
            return Err(Error::invalid(
                "--rounds",
                format!("{rounds:?}"),
                "several rounds of a level to train, 3 or 4, or --iterations 0 to train none",
            ));
        }
        self.adjusted(recipe)
    }

    /// Whether `--levels` leaves something to train.
    fn trains_any(&self, recipe: &Recipe) -> bool {
        let levels = self.levels.map_or(usize::MAX, usize::from);
        recipe.stages.iter().any(|stage| stage.trained.top() < levels)
    }

    /// `recipe` with what other arguments change of it.
    fn adjusted(&self, mut recipe: Recipe) -> nca_core::Result<Recipe> {
        if self.from.is_some() && self.budget == Some(Budget::Quick) {
            recipe = recipe.scaled(QUICK_REFINEMENT);
        }
        if let Some(levels) = self.levels {
            recipe = recipe.up_to(usize::from(levels));
        }
        match self.iterations {
            None => {}
            Some(0) => {
                return Err(Error::invalid(
                    "--iterations",
                    0,
                    "at least 1, or 0 with --rounds alone",
                ));
            }
            Some(iterations) => {
                let factor = iterations as f64 / recipe.iterations() as f64;
                recipe = recipe.scaled(factor);
            }
        }
        for stage in &mut recipe.stages {
            if let Some(factor) = self.learning_rate {
                stage.learning_rate *= factor;
                if !(stage.learning_rate > 0.0 && stage.learning_rate.is_finite()) {
                    let expected = "a positive multiple of the budget's learning rates, as 0.5";
                    return Err(Error::invalid("--learning-rate", factor, expected));
                }
            }
            if let Some(batch) = self.batch {
                stage.batch = usize::from(batch);
            }
        }
        recipe.validate()?;
        Ok(recipe)
    }

    /// Refuses arguments about a training where there is none.
    fn check_untrained(&self) -> nca_core::Result<()> {
        let given = [
            ("--budget", self.budget.is_some()),
            ("--levels", self.levels.is_some()),
            ("--batch", self.batch.is_some()),
            ("--learning-rate", self.learning_rate.is_some()),
            ("--exemplars", self.exemplars.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Error::invalid(
                flag,
                "given with --iterations 0, which trains nothing",
                "at least 1 iteration with it",
            )),
            None => Ok(()),
        }
    }

    /// Directories of the trainings, in their order.
    fn directories(&self) -> Vec<PathBuf> {
        let before = match self.budget {
            Some(Budget::Shipped) => &SHIPPED[..],
            _ => &[],
        };
        let before = before.iter().map(|name| self.out.join(name));
        before.chain([self.out.clone()]).collect()
    }

    /// Refuses to write over what is in the directories, and to go on where there is nothing to go on from: of the last
    /// training, too, which may be hours away.
    fn check_directories(&self) -> nca_core::Result<()> {
        let directories = self.directories();
        let weights = self.out.join(WEIGHTS_FILE);
        if let Some(from) = &self.from
            && let (Ok(read), Ok(written)) = (from.canonicalize(), weights.canonicalize())
            && read == written
        {
            let expected = format!("another directory than that of --from {}", from.display());
            return Err(Error::invalid("--out", self.out.display(), expected));
        }
        let mut begun = 0;
        if self.resume || self.as_it_is {
            while begun < directories.len() && exists(&directories[begun].join(STATE_FILE))? {
                begun += 1;
            }
        }
        if begun == 0 && self.as_it_is {
            return Err(Error::format(&self.out, "no checkpoint", "one whose weights to take"));
        }
        if begun == 0 && self.resume {
            let expected = format!(
                "a directory with {STATE_FILE}, the checkpoint of a training to go on with; leave --resume out to begin one"
            );
            let found = format!("given for {}", directories[0].display());
            return Err(Error::invalid("--resume", found, expected));
        }
        for (number, directory) in directories.iter().enumerate().skip(begun) {
            for (file, found) in [
                (STATE_FILE, "a checkpoint"),
                (WEIGHTS_FILE, "weights of an earlier training"),
            ] {
                let path = directory.join(file);
                if !exists(&path)? {
                    continue;
                }
                let expected = if begun > 0 {
                    format!("none as long as {} has no checkpoint", directories[begun].display())
                } else if (number, file) == (0, STATE_FILE) {
                    "none, or --resume to go on from it".to_owned()
                } else {
                    "none: give another --out".to_owned()
                };
                return Err(Error::format(path, found, expected));
            }
        }
        Ok(())
    }

    /// Refuses arguments that a chain of trainings has no place for.
    fn check_chain(&self) -> nca_core::Result<()> {
        let given = [("--from", self.from.is_some()), ("--as-it-is", self.as_it_is)];
        if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
            return Err(Error::invalid(flag, "given", "none beside --budget shipped"));
        }
        // Whatever follows the first training starts with levels 0 to 2, and would only fail hours from now.
        if let Some(levels) = self.levels.filter(|&levels| levels < 3) {
            return Err(Error::invalid("--levels", levels, "3 to 5 with --budget shipped"));
        }
        match self.seed.checked_add(SHIPPED.len() as u64) {
            Some(_) => Ok(()),
            None => Err(Error::invalid("--seed", self.seed, "three seeds after it")),
        }
    }
}

/// Whether there is something at `path`; an error where nobody can tell.
fn exists(path: &Path) -> nca_core::Result<bool> {
    path.try_exists().map_err(|e| Error::io(path, e))
}

/// An error about rounds, by the name of their flag.
fn rounds_refused(error: Error) -> Error {
    match error {
        Error::Invalid { found, expected, .. } => Error::invalid("--rounds", found, expected),
        other => other,
    }
}

pub(crate) fn run(args: &FlowTrainArgs) -> anyhow::Result<()> {
    let chain = args.budget == Some(Budget::Shipped);
    if chain {
        args.check_chain()?;
    }
    args.check_directories()?;
    let recipe = args.recipe()?;
    let checkpoint_every = Duration::try_from_secs_f64(args.checkpoint_seconds).map_err(|_| {
        Error::invalid(
            "--checkpoint-seconds",
            args.checkpoint_seconds,
            "a number of at least 0",
        )
    })?;
    let backend = args.backend.open()?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::io(&args.out, e))?;
    // What a checkpoint holds can be had while its training goes on.
    let _claim = if args.as_it_is {
        None
    } else {
        Some(claim(&args.out, LOCK_FILE)?)
    };
    // Another process may have been at work there until now.
    args.check_directories()?;
    let run = |recipe: &Recipe, directory: &Path| -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        let outcome = backend.run(Training {
            directory,
            recipe,
            source: &source(recipe, args.exemplars.unwrap_or(EXEMPLARS))?,
            options: TrainOptions {
                resume: args.resume,
                checkpoint_every,
                as_it_is: args.as_it_is,
            },
        })?;
        let path = directory.join(WEIGHTS_FILE);
        outcome.weights.save_f16(&path, &outcome.metadata)?;
        if let Some(error) = outcome.metadata.get("spynet.held_out_epe") {
            print_line(&format!("held-out endpoint error: {error}"))?;
        }
        print_line(&format!("weights: {}", path.display()))?;
        Ok(path)
    };
    if !chain {
        run(&recipe, &args.out)?;
        return Ok(());
    }
    let [full, refined, photographic] = SHIPPED.map(|name| args.out.join(name));
    let start = Start::load(&run(&recipe, &full)?)?;
    let recipe = args.adjusted(Recipe::refine(args.seed + 1, start))?;
    let start = Start::load(&run(&recipe, &refined)?)?;
    let recipe = args.adjusted(Recipe::photographic(args.seed + 2, start))?;
    let start = Start::load(&run(&recipe, &photographic)?)?;
    let rounds = SpyNetWeights::builtin()?.rounds().to_vec();
    let recipe = args.adjusted(Recipe::enlarged(args.seed + 3, start, Some(rounds))?)?;
    run(&recipe, &args.out)?;
    Ok(())
}

/// Synthetic scenes whose textures are now and then pictures of the built-in exemplars.
///
/// Their seeds are not the one that `--texture` shows: nothing is measured on what was trained on.
fn source(recipe: &Recipe, exemplars: u64) -> nca_core::Result<SynthSource> {
    const SIDE: usize = 256;
    let mut names = Vec::new();
    let mut settings = SynthSettings::default();
    for exemplar in Exemplar::ALL {
        for seed in (Exemplar::SEED + 1..).take(exemplars as usize) {
            let texture = exemplar.render(SIDE, seed)?;
            names.push(format!("{exemplar} {seed} of {SIDE} px"));
            settings.rasters.push(Raster {
                height: texture.height,
                width: texture.width,
                rgb: texture.rgb,
            });
        }
    }
    SynthSource::new(recipe, &settings, &names)
}

struct Training<'a> {
    directory: &'a Path,
    recipe: &'a Recipe,
    source: &'a SynthSource,
    options: TrainOptions,
}

impl Job for Training<'_> {
    type Output = Outcome;

    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Outcome> {
        let progress = Progress::new();
        let outcome = train(
            backend,
            self.recipe,
            self.source,
            self.directory,
            &self.options,
            &mut |event| progress.show(event),
        )?;
        progress.bar.finish_and_clear();
        Ok(outcome)
    }
}

/// One bar for the stage in training; a line for each measurement.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new() -> Self {
        let template = "{prefix:16} {bar:30.cyan} {pos}/{len}  {eta} left  {msg}";
        Self {
            bar: ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(bar_style(template)),
        }
    }

    fn show(&self, event: Event<'_>) {
        match event {
            Event::Stage {
                number,
                stages,
                stage,
                done,
            } => {
                self.say(&format!("stage {number} of {stages}: {stage}"));
                self.bar.reset();
                self.bar.set_length(stage.iterations);
                self.bar.set_prefix(stage.trained.to_string());
                self.bar.set_position(done);
                self.bar.set_message("");
                // What was done before says nothing about how long the rest takes.
                self.bar.reset_eta();
            }
            Event::Trained { done, loss } => {
                self.bar.set_position(done);
                if self.bar.message().is_empty() {
                    self.bar.set_message(format!("loss {loss:.3} px"));
                }
            }
            Event::Measured(row) => {
                self.bar.set_message(held_out(row));
                self.say(&format!(
                    "  {:>6}  loss {:.4}  {}  {:.0} s",
                    row.iteration,
                    row.loss,
                    held_out(row),
                    row.seconds
                ));
            }
        }
    }

    /// A line above the bar; also where there is no terminal to draw one on.
    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            say!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

fn held_out(row: &LogRow) -> String {
    format!(
        "held-out EPE {:.4} px (zero flow {:.4})",
        row.held_out_epe, row.zero_epe
    )
}
