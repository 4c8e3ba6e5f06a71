//! What `render` leaves: pictures, animations, videos; views, and several models in one.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{AnimationDecoder, RgbImage};
use nca_core::{Nca, NcaConfig, Preset};

/// Rows, columns and frames of what is rendered.
const FLAGS: [&str; 8] = ["--size", "20x24", "--steps", "12", "--every", "4", "--threads", "1"];

/// A folder with models that do something: `notebook` starts from noise with random weights.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self, name: &str, channels: usize) -> PathBuf {
        let config = NcaConfig::preset(Preset::Notebook, channels, 8).expect("a configuration");
        let path = self.path(name);
        let nca = Nca::new(config, channels as u64).expect("a model");
        nca.save(&path).expect("a file");
        path
    }
}

fn render(models: &[PathBuf], out: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("render").arg("--out").arg(out).args(FLAGS).args(flags);
    for model in models {
        command.arg("--model").arg(model);
    }
    command
}

fn run(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

#[track_caller]
fn rendered(models: &[PathBuf], out: &Path, flags: &[&str]) {
    let output = run(render(models, out, flags));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The frames of a folder, in order.
fn frames(folder: &Path) -> Vec<RgbImage> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        // Beside them it is noted how many there are to be.
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| image::open(path).expect("a picture").into_rgb8())
        .collect()
}

/// A part of a picture.
fn part(picture: &RgbImage, x: u32, width: u32) -> RgbImage {
    image::imageops::crop_imm(picture, x, 0, width, picture.height()).to_image()
}

#[test]
fn side_by_side_is_both_views() {
    let place = Place::new();
    let model = [place.model("a.safetensors", 4)];
    let view = |name: &str| {
        rendered(&model, &place.path(name), &["--view", name]);
        frames(&place.path(name))
    };
    let (rgb, flow, both) = (view("rgb"), view("flow"), view("side-by-side"));
    assert_eq!((rgb.len(), flow.len(), both.len()), (4, 4, 4));
    for ((rgb, flow), both) in rgb.iter().zip(&flow).zip(&both) {
        assert_eq!(both.dimensions(), (2 * 24 + 2, 20));
        assert_eq!(&part(both, 0, 24), rgb);
        assert_eq!(&part(both, 26, 24), flow);
    }
    // Nothing came before the first frame; noise that changes is seen to move.
    assert!(flow[0].pixels().all(|p| p.0 == [255; 3]));
    assert!(flow[1].pixels().any(|p| p.0 != [255; 3]));
    // Full saturation at ten times the speed is paler.
    rendered(&model, &place.path("pale"), &["--view", "flow", "--flow-max", "10"]);
    let sum = |picture: &RgbImage| picture.as_raw().iter().map(|&v| u64::from(v)).sum::<u64>();
    assert!(sum(&frames(&place.path("pale"))[1]) > sum(&flow[1]));
    // A single picture is that of the last frames.
    let still = place.path("still.png");
    rendered(&model, &still, &["--view", "flow"]);
    assert_eq!(image::open(still).expect("a picture").into_rgb8(), flow[3]);
}

#[test]
fn several_models_have_a_tile_each() {
    let place = Place::new();
    let models = [
        place.model("a.safetensors", 4),
        place.model("b.safetensors", 5),
        place.model("c.safetensors", 6),
    ];
    rendered(&models, &place.path("all"), &["--scale", "3"]);
    let all = frames(&place.path("all"));
    assert_eq!(all.len(), 4);
    for model in &models {
        let name = model.file_stem().expect("a name");
        rendered(
            std::slice::from_ref(model),
            &place.path("").join(name),
            &["--scale", "3"],
        );
        let alone = frames(&place.path("").join(name));
        let last = &alone[3];
        // Somewhere in the grid is the picture as it is alone.
        let page = &all[3];
        let there = (0..=page.width() - last.width()).any(|x| {
            (0..=page.height() - last.height()).any(|y| {
                *page.get_pixel(x, y) == *last.get_pixel(0, 0)
                    && last
                        .enumerate_pixels()
                        .all(|(dx, dy, p)| page.get_pixel(x + dx, y + dy) == p)
            })
        });
        assert!(there, "{}", model.display());
    }
}

#[test]
fn every_format_of_an_animation_has_the_same_frames() {
    let place = Place::new();
    let model = [place.model("a.safetensors", 4)];
    let gif = place.path("a.gif");
    rendered(&model, &gif, &["--fps", "10", "--scale", "2"]);
    let file = std::io::BufReader::new(std::fs::File::open(gif).expect("the file"));
    let gif = image::codecs::gif::GifDecoder::new(file).expect("a GIF");
    let gif = gif.into_frames().collect_frames().expect("its frames");
    assert_eq!(gif.len(), 4);
    assert!(gif.iter().all(|frame| frame.delay().numer_denom_ms() == (100, 1)));
    assert_eq!(gif[0].buffer().dimensions(), (48, 40));
}

#[test]
fn a_video_has_the_frames_and_the_rate_it_was_asked_for() {
    if Command::new("ffprobe").arg("-version").output().is_err() {
        eprintln!("skipped: no ffmpeg on PATH");
        return;
    }
    let place = Place::new();
    let models = [place.model("a.safetensors", 4), place.model("b.safetensors", 5)];
    for name in ["a.mp4", "a.webm"] {
        let out = place.path(name);
        rendered(
            &models,
            &out,
            &["--fps", "30", "--view", "side-by-side", "--scale", "4"],
        );
        let probe = Command::new("ffprobe")
            .args(["-v", "error", "-count_frames", "-of", "csv=p=0"])
            .args(["-show_entries", "stream=r_frame_rate,avg_frame_rate,nb_read_frames"])
            .arg(&out)
            .output()
            .expect("ffprobe runs");
        let found = String::from_utf8_lossy(&probe.stdout).trim().to_owned();
        assert_eq!(found, "30/1,30/1,4", "{name}");
    }
}

/// Frames of an earlier, longer run would be taken for those of this one.
#[test]
fn a_folder_of_frames_is_of_one_run() {
    let place = Place::new();
    let model = [place.model("a.safetensors", 4)];
    let out = place.path("frames");
    rendered(&model, &out, &[]);
    assert_eq!(frames(&out).len(), 4);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args("render --size 16 --steps 4 --every 4 --threads 1 --model".split(' '));
    command.arg(&model[0]).arg("--out").arg(&out);
    let output = run(command);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    assert!(
        message.contains("frames: replaced 4 frames of an earlier run"),
        "{message}"
    );
    let left = frames(&out);
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|frame| frame.dimensions() == (16, 16)));

    // Pictures of others that are numbered so, too.
    let others = place.path("others");
    std::fs::create_dir(&others).expect("a folder");
    for name in ["000000.png", "000001.png"] {
        std::fs::copy(out.join(name), others.join(name)).expect("a copy");
    }
    let refused = run(render(&model, &others, &[]));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(
        message.contains("others: found 000001.png, which no run is known"),
        "{message}"
    );
    assert_eq!(frames(&others), left);
}

/// On a file system of four KiB, where the system lets the test make one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    const SCRIPT: &str = "mount -t tmpfs -o size=4k none \"$1\" || exit 77; disk=$1; shift; \
                          \"$@\"; code=$?; ls -A \"$disk\"; exit $code";
    let place = Place::new();
    let (model, disk) = (place.model("a.safetensors", 4), place.path("disk"));
    std::fs::create_dir(&disk).expect("a folder");
    let mut names = vec!["a.png", "a.gif", "a.apng", "frames"];
    if Command::new("ffmpeg").arg("-version").output().is_ok() {
        names.extend(["a.mp4", "a.webm"]);
    } else {
        eprintln!("skipped for videos: no ffmpeg on PATH");
    }
    let own = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]);
        command.arg(&disk).arg(program);
        command
    };
    if !own("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system of its own for a test");
        return;
    }
    for name in names {
        let mut command = own(env!("CARGO_BIN_EXE_xtask"));
        command.args("render --size 64 --steps 12 --threads 1 --model".split(' '));
        let output = command.arg(&model).arg("--out").arg(disk.join(name)).output();
        let output = output.expect("as the probe has shown");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{name}: {message}");
        for word in [name, "No space left on device"] {
            assert!(message.contains(word), "no '{word}' in: {message}");
        }
        let left = String::from_utf8_lossy(&output.stdout);
        assert_eq!(left.trim(), if name == "frames" { name } else { "" });
    }
}

/// Neither a video nor the folder it was made in.
#[cfg(unix)]
#[test]
fn an_interrupted_video_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::time::{Duration, Instant};

    let place = Place::new();
    // One that can run forever: it does nothing yet.
    let model = place.path("still.safetensors");
    let nca = Nca::preset(Preset::Paper, 4, 8, 0).expect("a model");
    nca.save(&model).expect("a file");
    // What is encoded is of no interest here, nor whether there is an ffmpeg.
    let (bin, videos) = (place.path("bin"), place.path("videos"));
    std::fs::create_dir(&bin).expect("a folder");
    std::fs::create_dir(&videos).expect("a folder");
    let ffmpeg = bin.join("ffmpeg");
    std::fs::write(&ffmpeg, "#!/bin/sh\nfor last; do :; done\nexec cat > \"$last\"\n").expect("a script");
    std::fs::set_permissions(&ffmpeg, PermissionsExt::from_mode(0o755)).expect("a program");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path))).expect("a PATH");
    // The video in the making, once there are frames in it.
    let unfinished = || {
        let folder = std::fs::read_dir(&videos).ok()?.flatten().next()?.path();
        let video = folder.join("video.mp4").metadata().ok()?;
        (video.len() > 0).then_some(folder)
    };
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args("render --size 16 --steps 4000000000 --threads 1 --model".split(' '))
            .arg(&model)
            .arg("--out")
            .arg(videos.join("a.mp4"))
            .env("PATH", &path)
            .spawn()
            .expect("the binary runs");
        let start = Instant::now();
        let mut told = false;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a process") {
                break status;
            }
            if !told && unfinished().is_some() {
                let kill = Command::new("kill")
                    .args([format!("-{signal}"), child.id().to_string()])
                    .status();
                told = kill.expect("a signal").success();
            }
            if start.elapsed() > Duration::from_secs(60) {
                child.kill().expect("a process to kill");
                panic!("{signal} does not end it");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.signal(), Some(number), "{status}");
        let left: Vec<_> = std::fs::read_dir(&videos).expect("the folder").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_video_without_ffmpeg_is_refused_in_one_line() {
    let place = Place::new();
    let model = [place.model("a.safetensors", 4)];
    let out = place.path("a.mp4");
    let mut command = render(&model, &out, &[]);
    command.env("PATH", "");
    let output = run(command);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    for word in ["a.mp4", "ffmpeg", "PATH", ".gif"] {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
    // The model alone is left.
    assert_eq!(std::fs::read_dir(place.folder.path()).expect("the folder").count(), 1);
}

#[test]
fn flags_that_mean_nothing_are_refused() {
    let place = Place::new();
    let model = [place.model("a.safetensors", 4)];
    let refused = |out: &str, flags: &[&str], words: &[&str]| {
        let output = run(render(&model, &place.path(out), flags));
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{flags:?}: no '{word}' in: {message}");
        }
        assert!(!place.path(out).exists());
    };
    refused("a.gif", &["--flow-max", "2"], &["--flow-max", "--view flow"]);
    refused("a.gif", &["--flow", "classical"], &["--flow", "--view flow"]);
    refused(
        "a.gif",
        &["--view", "flow", "--flow-max", "0"],
        &["--flow-max", "positive"],
    );
    refused("a.gif", &["--view", "flow", "--flow", "magic"], &["--flow", "magic"]);
    refused("a.gif", &["--view", "sideways"], &["sideways", "side-by-side"]);
    refused("a.png", &[], &["--every", "single picture"]);
    refused("a.png", &["--view", "flow", "--fps", "5"], &["--fps", ".mp4"]);
    refused("frames", &["--fps", "5"], &["--fps", ".mp4"]);
    refused("a.avi", &[], &[".avi", ".mp4"]);
}
