//! PyTorch's files: some that it really wrote (`golden/pytorch`, made by the script beside it), and
//! hostile ones.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use nca_core::checkpoint::{Tensors, read_tensors_any};
use nca_core::{Nca, Preset, Result};
use proptest::prelude::*;
use serde::Deserialize;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pytorch")
}

/// The files that PyTorch wrote, without their directory.
fn files() -> Vec<String> {
    let entries = std::fs::read_dir(golden()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".pt")).collect();
    names.sort();
    names
}

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Reads `bytes` from a file.
fn read(bytes: &[u8]) -> Result<Tensors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read_tensors_any(file.path())
}

/// Reads what is expected to be wrong; the message must be one line that holds every one of `parts`.
fn refused(bytes: &[u8], parts: &[&str]) {
    let message = read(bytes).unwrap_err().to_string();
    assert!(!message.contains('\n'), "more than one line: {message}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

/// A file in the stream format: the preface, the pickle `object`, and storages of f32 by key.
fn stream(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    file.extend(b"\x80\x02");
    file.extend(object);
    file.extend(b"\x80\x02](");
    for (key, _) in storages {
        file.extend(text(key));
    }
    file.extend(b"e.");
    for (_, values) in storages {
        file.extend((values.len() as u64).to_le_bytes());
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

/// A file in the zip format, with the pickle `object` and storages of f32 by key.
fn archive(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(b"\x80\x02").unwrap();
    zip.write_all(object).unwrap();
    for (key, values) in storages {
        zip.start_file(format!("archive/data/{key}"), stored).unwrap();
        let bytes: Vec<_> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// `BINUNICODE`.
fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

/// `BININT`.
fn int(n: i32) -> Vec<u8> {
    [b"J", &n.to_le_bytes()[..]].concat()
}

/// A reference to the f32 storage `key` of `count` elements.
fn storage(key: &str, count: i32) -> Vec<u8> {
    [
        b"(",
        &text("storage")[..],
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        &int(count),
        b"tQ",
    ]
    .concat()
}

fn ints(values: &[i32]) -> Vec<u8> {
    let items: Vec<u8> = values.iter().flat_map(|&value| int(value)).collect();
    [b"(", &items[..], b"t"].concat()
}

/// A tensor made by the function `rebuild`, called with `extra` after storage, offset, shape, strides.
fn tensor(rebuild: &str, storage: &[u8], offset: i32, shape: &[i32], strides: &[i32], extra: &[u8]) -> Vec<u8> {
    let name = format!("ctorch._utils\n{rebuild}\n");
    [
        name.as_bytes(),
        b"(",
        storage,
        &int(offset),
        &ints(shape),
        &ints(strides),
        extra,
        b"tR",
    ]
    .concat()
}

/// The usual tensor over the f32 storage "0" of `count` elements.
fn view(count: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    tensor(
        "_rebuild_tensor_v2",
        &storage("0", count),
        offset,
        shape,
        strides,
        b"\x89}",
    )
}

/// `{"a": value}` as a whole pickle.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"}", &text("a")[..], value, b"s."].concat()
}

#[test]
fn files_written_by_pytorch_are_read_in_both_formats() {
    let expected = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Expected>> = serde_json::from_str(&expected).unwrap();
    let files = files();
    assert_eq!(files.len(), 14);
    for file in files {
        let (name, _) = file.split_once('.').unwrap();
        let tensors = read_tensors_any(golden().join(&file)).unwrap();
        let names: Vec<_> = tensors.iter().map(|(name, _)| name).collect();
        assert_eq!(names, expected[name].keys().collect::<Vec<_>>(), "{file}");
        for (key, expected) in &expected[name] {
            let tensor = tensors.get(key).unwrap();
            assert_eq!(
                (&tensor.shape, &tensor.values),
                (&expected.shape, &expected.values),
                "{file} {key}"
            );
        }
    }
}

#[test]
fn a_safetensors_file_is_told_by_its_content() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let nca = Nca::preset(Preset::Paper, 4, 6, 0).unwrap();
    nca.save(file.path()).unwrap();
    assert_eq!(read_tensors_any(file.path()).unwrap().len(), 3);
}

#[test]
fn a_state_dict_is_a_bare_model() {
    let (w1, b1, w2) = ([0.5; 4 * 12], [0.25; 4], [-0.5; 12]);
    let matrix = |key: &str, rows: i32, columns: i32| {
        let storage = storage(key, rows * columns);
        tensor(
            "_rebuild_tensor_v2",
            &storage,
            0,
            &[rows, columns],
            &[columns, 1],
            b"\x89}",
        )
    };
    let bias = tensor("_rebuild_tensor_v2", &storage("1", 4), 0, &[4], &[1], b"\x89}");
    let entries = [
        (&text("w1.weight"), matrix("0", 4, 12)),
        (&text("w1.bias"), bias),
        (&text("w2.weight"), matrix("2", 3, 4)),
    ];
    let entries: Vec<u8> = entries
        .into_iter()
        .flat_map(|(key, value)| [&key[..], &value].concat())
        .collect();
    let object = [b"ccollections\nOrderedDict\n)R(", &entries[..], b"u."].concat();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&archive(&object, &[("0", &w1), ("1", &b1), ("2", &w2)]))
        .unwrap();
    let nca = Nca::load(file.path(), Some(Preset::Paper)).unwrap();
    assert_eq!((nca.config.channels, nca.config.hidden), (3, 4));
    assert_eq!((&nca.params.w1[..], &nca.params.w2[..]), (&w1[..], &w2[..]));
    let message = Nca::load(file.path(), None).unwrap_err().to_string();
    assert!(message.contains("--perception"), "{message}");
}

/// What PyTorch wrote before 2018 (and Python 2 with it), as published weights still have it.
#[test]
fn the_oldest_forms_are_read() {
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    // A view record in the reference, the first rebuild function, a short Python 2 string as the key,
    // an ordered dictionary from a list of pairs.
    let key = b"U\x010";
    let record = [b"(", &text("view")[..], &int(2), &int(4), b"t"].concat();
    let storage = [
        b"(",
        &text("storage")[..],
        b"ctorch.cuda\nFloatStorage\n",
        key,
        &text("cuda:0"),
        &int(6),
        &record,
        b"tQ",
    ]
    .concat();
    let data = tensor("_rebuild_tensor", &storage, 1, &[3], &[1], b"");
    let object = [b"ccollections\nOrderedDict\n(](](", &text("a")[..], &data, b"eetR."].concat();
    let tensors = read(&stream(&object, &[("0", &values)])).unwrap();
    assert_eq!(tensors.get("a").unwrap().values, [4.0, 5.0, 6.0]);

    // A parameter made empty, whose data comes with its state.
    let state = [b"(", &data[..], b"NN\x88\x89t"].concat();
    let parameter = [b"ctorch.nn.parameter\nParameter\n)\x81", &state[..], b"b"].concat();
    let tensors = read(&stream(&dict(&parameter), &[("0", &values)])).unwrap();
    assert_eq!(tensors.get("a").unwrap().values, [4.0, 5.0, 6.0]);

    // A parameter made with its data.
    let parameter = [b"ctorch.nn.parameter\nParameter\n", &data[..], b"\x85R(\x88\x89Ntb"].concat();
    let tensors = read(&stream(&dict(&parameter), &[("0", &values)])).unwrap();
    assert_eq!(tensors.get("a").unwrap().values, [4.0, 5.0, 6.0]);
}

#[test]
fn a_single_tensor_has_no_name() {
    let object = [&view(2, 0, &[2], &[1])[..], b"."].concat();
    let tensors = read(&archive(&object, &[("0", &[1.0, 2.0])])).unwrap();
    assert_eq!(tensors.get("").unwrap().values, [1.0, 2.0]);
}

#[test]
fn pickles_that_would_run_code_are_refused() {
    let call = |name: &str| [b"c", name.as_bytes(), b"\n(", &text("true")[..], b"tR."].concat();
    for name in [
        "os\nsystem",
        "posix\nsystem",
        "builtins\neval",
        "__builtin__\ngetattr",
        "subprocess\nPopen",
        "torch\nload",
        "torch.hub\nload",
        "torch._utils\n_rebuild_qtensor",
        "collections\ndefaultdict",
    ] {
        let shown = name.replace('\n', ".");
        refused(&stream(&call(name), &[]), &["refers to", &shown, "no code is run"]);
        refused(&archive(&call(name), &[]), &["refers to", &shown]);
    }
    // The same through the instruction of newer protocols, and through older ones.
    let newer = [&text("os")[..], &text("system"), b"\x93(", &text("true"), b"tR."].concat();
    refused(&archive(&newer, &[]), &["os.system"]);
    refused(&archive(b"(S'true'\nios\nsystem\n.", &[]), &["STRING"]);
    refused(&archive(b"(ios\nsystem\n.", &[]), &["INST"]);
    refused(&archive(b"(cos\nsystem\no.", &[]), &["os.system"]);
    refused(&archive(b"\x82\x01.", &[]), &["EXT1"]);
    // A value cannot be called, nor can a tensor be given attributes.
    refused(&archive(b"K\x01)R.", &[]), &["the number 1", "can be called"]);
    let build = [&view(2, 0, &[2], &[1])[..], b"}b."].concat();
    refused(&archive(&build, &[("0", &[1.0, 2.0])]), &["attributes"]);
    // Escape sequences of a terminal do not reach it.
    refused(&archive(b"cos\x1b[31m\nsystem\n.", &[]), &["os\\u{1b}[31m"]);
}

#[test]
fn deep_pickles_cost_neither_stack_nor_time() {
    let depth = 500_000;
    // Tuples within tuples, and a list that holds itself.
    let tuples = [b")".to_vec(), vec![0x85; depth], b".".to_vec()].concat();
    refused(&stream(&tuples, &[]), &["levels"]);
    refused(&archive(b"]q\x00h\x00a.", &[]), &["levels"]);
    let marks = [vec![b'('; depth], b"t.".to_vec()].concat();
    refused(&stream(&marks, &[]), &["no tensors"]);
    let millions = [vec![b')'; (1 << 20) + 1], b".".to_vec()].concat();
    refused(&stream(&millions, &[]), &["objects"]);
}

#[test]
fn doubling_by_reference_costs_neither_memory_nor_time() {
    let values = [0.0; 100];
    // Each tuple holds the one before twice: two to the fifteenth paths, and to the fortieth.
    for (levels, reason) in [(15, "bytes of tensors"), (40, "levels")] {
        let mut object = [&view(100, 0, &[100], &[1])[..], b"q\x00"].concat();
        for level in 0..levels {
            object.extend([b'(', b'h', level, b'h', level, b't', b'q', level + 1]);
        }
        object.push(b'.');
        refused(&archive(&object, &[("0", &values)]), &[reason]);
    }
}

/// An empty tensor takes no memory, but every reference to it makes a name and a description.
#[test]
fn many_references_to_one_tensor_cost_no_memory() {
    let empty = view(1, 0, &[0], &[1]);
    for (name, references, reason) in [
        ("a", 1 << 18, "tensors"),
        (&"a".repeat(1000), 1 << 16, "bytes of names"),
    ] {
        let list = [&b"]("[..], &b"h\x00".repeat(references), b"e"].concat();
        let object = [b"(", &empty[..], b"q\x000", b"}", &text(name), &list, b"s."].concat();
        refused(&archive(&object, &[("0", &[0.0])]), &[reason]);
    }
}

#[test]
fn tensors_must_lie_within_their_storage() {
    let good = view(6, 1, &[2, 2], &[3, 1]);
    let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    let tensors = read(&archive(&dict(&good), &[("0", &values)])).unwrap();
    assert_eq!(tensors.get("a").unwrap().values, [1.0, 2.0, 4.0, 5.0]);
    for bad in [
        view(6, 2, &[2, 2], &[4, 1]),
        view(6, 6, &[1], &[1]),
        view(6, 0, &[7], &[1]),
        view(6, 0, &[i32::MAX, i32::MAX, i32::MAX], &[0, 0, 0]),
    ] {
        refused(&archive(&dict(&bad), &[("0", &values)]), &["within its storage of 6"]);
    }
    refused(
        &archive(&dict(&view(6, -1, &[1], &[1])), &[("0", &values)]),
        &["-1 as offset"],
    );
    refused(
        &archive(&dict(&view(6, 0, &[-1], &[1])), &[("0", &values)]),
        &["-1 as shape"],
    );
    refused(
        &archive(&dict(&view(6, 0, &[2, 2], &[1])), &[("0", &values)]),
        &["2 extents and 1 strides"],
    );
    refused(
        &archive(&dict(&view(6, 0, &[1; 17], &[1; 17])), &[("0", &values)]),
        &["at most 16"],
    );
    // A stride of zero makes much of little, up to a limit.
    let expanded = view(1, 0, &[1 << 18], &[0]);
    assert_eq!(
        read(&archive(&dict(&expanded), &[("0", &[7.0])]))
            .unwrap()
            .get("a")
            .unwrap()
            .values
            .len(),
        1 << 18
    );
    refused(
        &archive(&dict(&view(1, 0, &[1 << 30, 8], &[0, 0])), &[("0", &[7.0])]),
        &["34359738368 bytes in a file of"],
    );
}

#[test]
fn storages_must_be_what_the_pickle_says() {
    let object = dict(&view(2, 0, &[2], &[1]));
    refused(&archive(&object, &[]), &["zip"]);
    refused(
        &archive(&object, &[("0", &[1.0])]),
        &["4 bytes in data/0", "2 elements"],
    );
    refused(&stream(&object, &[]), &["no data for storage \"0\""]);
    refused(
        &stream(&object, &[("0", &[1.0])]),
        &["1 elements in storage \"0\"", "2 elements"],
    );
    refused(&stream(&object, &[("1", &[1.0, 2.0])]), &["\"1\""]);
    refused(
        &stream(&object, &[("0", &[1.0, 2.0]), ("0", &[1.0, 2.0])]),
        &["second time"],
    );
    let huge = dict(&view(i32::MAX, 0, &[2], &[1]));
    let mut file = stream(&huge, &[("0", &[])]);
    let at = file.len() - 8;
    file[at..].copy_from_slice(&(i32::MAX as u64).to_le_bytes());
    refused(&file, &["2147483647 elements in a file of"]);
    let twice = [b"(", &view(2, 0, &[2], &[1])[..], &view(3, 0, &[2], &[1]), b"t."].concat();
    refused(
        &archive(&twice, &[("0", &[1.0, 2.0])]),
        &["two descriptions of storage 0"],
    );
}

#[test]
fn a_flipped_bit_in_an_archive_is_noticed() {
    let good = archive(&dict(&view(2, 0, &[2], &[1])), &[("0", &[1.0, 2.0])]);
    assert!(read(&good).is_ok());
    for value in [&1.0_f32.to_le_bytes()[..], &text("a")] {
        let mut bad = good.clone();
        let at = bad.windows(value.len()).position(|window| window == value).unwrap();
        bad[at + value.len() - 1] ^= 1;
        refused(&bad, &["hecksum"]);
    }
}

#[test]
fn damaged_preludes_are_refused() {
    let object = dict(&view(1, 0, &[1], &[1]));
    let good = stream(&object, &[("0", &[1.0])]);
    assert!(read(&good).is_ok());
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    refused(&replaced(b"M\xe9\x03", b"M\xea\x03"), &["1002", "1001"]);
    let big_endian = [b"}", &text("little_endian")[..], b"\x89s."].concat();
    refused(&replaced(b"}.", &big_endian), &["big-endian"]);
    refused(&replaced(b"\x80\x02}", b"\x80\x09}"), &["protocol 9"]);
    refused(b"PK\x03\x04 and nothing else", &["zip"]);
    let mut empty = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    empty
        .start_file(
            "archive/other",
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
        )
        .unwrap();
    refused(&empty.finish().unwrap().into_inner(), &["without data.pkl"]);
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The contents of one of the files that PyTorch wrote.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(files()).prop_map(|name| std::fs::read(golden().join(name)).unwrap())
}

/// Instructions with plausible operands, in any order.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let plain =
        prop::sample::select(&b"N\x88\x89)]}((01ttaesuRb\x81Q\x85\x86\x87\x94\x93.2o"[..]).prop_map(|op| vec![op]);
    let small = (prop::sample::select(&b"KqhqhhU\x8cC\x8a"[..]), 0..6_u8).prop_map(|(op, n)| vec![op, n]);
    let names = prop::sample::select(vec![
        "collections\nOrderedDict",
        "torch\nFloatStorage",
        "torch\nSize",
        "torch._utils\n_rebuild_tensor_v2",
        "torch.nn.parameter\nParameter",
        "torch._utils\n_rebuild_parameter",
        "os\nsystem",
    ]);
    let words = prop::sample::select(vec!["storage", "0", "a"]);
    prop_oneof![
        4 => plain,
        3 => small,
        2 => words.prop_map(text),
        1 => names.prop_map(|name| [b"c", name.as_bytes(), b"\n"].concat()),
        1 => Just(storage("0", 4)),
        1 => Just(view(4, 0, &[2, 2], &[2, 1])),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn truncated_files_are_refused(file in any_file(), cut in any::<prop::sample::Index>()) {
        prop_assert!(read(&file[..cut.index(file.len())]).is_err());
    }

    #[test]
    fn altered_files_never_panic(
        file in any_file(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut file = file;
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file);
    }

    #[test]
    fn any_program_ends_in_a_value_or_an_error(
        program in proptest::collection::vec(instruction(), 0..40),
        zipped in any::<bool>(),
    ) {
        let object = [program.concat(), b".".to_vec()].concat();
        let storages = [("0", &[1.0, 2.0, 3.0, 4.0][..])];
        let file = if zipped { archive(&object, &storages) } else { stream(&object, &storages) };
        let _ = read(&file);
    }
}
