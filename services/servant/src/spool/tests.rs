//! The spool as its two ends see it.

use super::*;
use events::Timestamp;
use events::log::{Gap, GapReason, LogLine};
use proptest::prelude::*;

const ROOMY: SpoolLimits = SpoolLimits { segment_bytes: 300, ..SpoolLimits::STANDARD };
const SMALL: SpoolLimits = SpoolLimits { segment_bytes: 300, spool_bytes: 1500 };
const FEW: BatchLimits = BatchLimits { lines: 7, bytes: 1 << 20 };
const ALL: BatchLimits = BatchLimits { lines: usize::MAX, bytes: usize::MAX };

fn writer(folder: &Path, limits: SpoolLimits) -> SpoolWriter {
    SpoolWriter::open(folder, Output::Stdout, limits).unwrap()
}

fn reader(folder: &Path, next: u64) -> SpoolReader {
    let position = (next == 1).then_some(0);
    SpoolReader::open(folder, Output::Stdout, Bookmark { next, position })
}

/// Everything that is there, with the gaps.
#[derive(Default, Debug)]
struct Read {
    lines: Vec<(u64, LogLine)>,
    gaps: Vec<Gap>,
}

impl Read {
    fn all(reader: &mut SpoolReader) -> Self {
        let mut all = Self::default();
        while let Some(batch) = reader.read(FEW).unwrap() {
            all.add(batch);
        }
        all
    }

    fn add(&mut self, batch: Batch) {
        assert_eq!(batch.end.next, batch.first + batch.lines.len() as u64);
        self.gaps.extend(batch.gap);
        self.lines.extend((batch.first..).zip(batch.lines));
    }

    fn texts(&self) -> Vec<(u64, String)> {
        let text = |line: &LogLine| String::from_utf8_lossy(&line.text).into_owned();
        self.lines.iter().map(|(number, line)| (*number, text(line))).collect()
    }
}

#[test]
fn a_segment_that_was_begun_again_under_its_name_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = writer(folder.path(), ROOMY);
    write_lines(&mut first, 1..=1);
    let mut reader = reader(folder.path(), 1);
    assert_eq!(Read::all(&mut reader).lines.len(), 1);
    let path = segments(folder.path(), Output::Stdout).unwrap().remove(0).path;
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    write_lines(&mut writer(folder.path(), ROOMY), 2..=2);
    assert_eq!(Read::all(&mut reader).texts(), [(2, "line 2".to_owned())]);
}

fn write_lines(writer: &mut SpoolWriter, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        writer.take(Timestamp(number), format!("line {number}\n").as_bytes());
    }
}

#[test]
fn lines_come_back_numbered_across_segments_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = writer(folder.path(), ROOMY);
    write_lines(&mut first, 1..=50);
    assert!(first.flush() && !first.flush());
    drop(first);
    let mut second = writer(folder.path(), ROOMY);
    second.take(Timestamp(51), b"line 51\nhalf");
    second.finish(Timestamp(52));
    let read = Read::all(&mut reader(folder.path(), 1));
    assert_eq!(read.gaps, []);
    assert_eq!(read.lines.len(), 52);
    assert!(read.texts().iter().take(51).all(|(number, text)| *text == format!("line {number}")));
    assert_eq!(read.lines[51].1.text, b"half");
    assert!(read.lines[51].1.open && !read.lines[50].1.open);
    let later = Read::all(&mut reader(folder.path(), 40));
    assert_eq!(later.texts()[0], (40, "line 40".to_owned()));
}

#[test]
fn bytes_that_are_no_text_and_long_lines_survive() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), SpoolLimits::STANDARD);
    writer.take(Timestamp(1), &vec![0xff; LINE_BYTES + 10]);
    writer.take(Timestamp(1), b"\n\0\xfe\r\n\n");
    writer.take(Timestamp(1), &vec![b'x'; LINE_BYTES]);
    writer.take(Timestamp(1), b"\nend\n");
    let read = Read::all(&mut reader(folder.path(), 1));
    let shapes: Vec<_> =
        read.lines.iter().map(|(_, line)| (line.text.len(), line.continued, line.open)).collect();
    let whole = |length| (length, false, false);
    let pieces = [(LINE_BYTES, false, true), (10, true, false)];
    assert_eq!(shapes, [&pieces[..], &[whole(3), whole(0), whole(LINE_BYTES), whole(3)]].concat());
    assert_eq!(read.lines[2].1.text, b"\0\xfe\r");
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_them_exactly() {
    let folder = tempfile::tempdir().unwrap();
    write_lines(&mut writer(folder.path(), SMALL), 1..=200);
    let read = Read::all(&mut reader(folder.path(), 1));
    let lost = read.lines[0].0 - 1;
    assert!(lost > 100 && lost < 200, "{lost}");
    let bytes = (1..=lost).map(|number| format!("line {number}\n").len() as u64).sum();
    assert_eq!(read.gaps, [Gap { lines: lost, bytes: Some(bytes), reason: GapReason::SpoolFull }]);
    assert_eq!(read.lines.len() as u64, 200 - lost);
    assert_eq!(read.texts().last().unwrap(), &(200, "line 200".to_owned()));
}

#[test]
fn a_torn_frame_is_dropped_by_the_next_writer() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = writer(folder.path(), SpoolLimits::STANDARD);
    first.take(Timestamp(1), b"one\n");
    first.take(Timestamp(1), b"two\n");
    let path = segments(folder.path(), Output::Stdout).unwrap().remove(0).path;
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    writer(folder.path(), SpoolLimits::STANDARD).take(Timestamp(2), b"again\n");
    let read = Read::all(&mut reader(folder.path(), 1));
    assert_eq!(read.texts(), [(1, "one".to_owned()), (2, "again".to_owned())]);
}

#[test]
fn what_is_shipped_is_deleted_but_for_the_open_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), ROOMY);
    write_lines(&mut writer, 1..=50);
    let mut reader = reader(folder.path(), 1);
    Read::all(&mut reader);
    reader.forget_before(51).unwrap();
    assert_eq!(segments(folder.path(), Output::Stdout).unwrap().len(), 1);
    write_lines(&mut writer, 51..=51);
    assert_eq!(Read::all(&mut reader).texts(), [(51, "line 51".to_owned())]);
}

#[test]
fn packed_segments_read_the_same_while_they_are_being_packed() {
    let folder = tempfile::tempdir().unwrap();
    write_lines(&mut writer(folder.path(), ROOMY), 1..=100);
    let mut reader = reader(folder.path(), 1);
    let mut read = Read::default();
    read.add(reader.read(FEW).unwrap().unwrap());
    let waiting = reader.waiting().unwrap();
    assert!(waiting.len() > 5);
    waiting.iter().for_each(|segment| pack(segment).unwrap());
    let forms: Vec<_> =
        segments(folder.path(), Output::Stdout).unwrap().iter().map(|segment| segment.form).collect();
    assert_eq!(forms.iter().filter(|form| **form == Form::Packed).count(), waiting.len());
    std::fs::write(folder.path().join("stdout-00000000000000000999.log.new"), b"half").unwrap();
    tidy(folder.path()).unwrap();
    while let Some(batch) = reader.read(FEW).unwrap() {
        read.add(batch);
    }
    assert_eq!(read.gaps, []);
    assert_eq!(read.lines.len(), 100);
    // A writer that comes later goes on behind them.
    write_lines(&mut writer(folder.path(), ROOMY), 101..=101);
    assert_eq!(Read::all(&mut reader).texts(), [(101, "line 101".to_owned())]);
}

#[test]
fn what_is_given_up_is_a_gap_with_exact_counts_wherever_a_reader_stands() {
    // From the begin, after some lines, amid a batch that is being read; and with a last line that has no end.
    for (read_before, last) in [(0, "line 100\n"), (1, "line 100\n"), (2, "line 100"), (0, "line 100")] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), ROOMY);
        write_lines(&mut writer, 1..=99);
        writer.take(Timestamp(100), last.as_bytes());
        drop(writer);
        let mut reader = reader(folder.path(), 1);
        let mut read = Read::default();
        (0..read_before).for_each(|_| read.add(reader.read(FEW).unwrap().unwrap()));
        pack(&segments(folder.path(), Output::Stdout).unwrap()[3]).unwrap();
        assert!(waiting_bytes(folder.path()).unwrap() > 900);
        give_up(folder.path()).unwrap();
        give_up(folder.path()).unwrap();
        assert_eq!(waiting_bytes(folder.path()).unwrap(), 0);
        assert_eq!(segments(folder.path(), Output::Stdout).unwrap().len(), 1);

        while let Some(batch) = reader.read(FEW).unwrap() {
            read.add(batch);
        }
        reader.rest().into_iter().for_each(|batch| read.add(batch));
        let [gap] = read.gaps.as_slice() else { panic!("{:?}", read.gaps) };
        let told = read.lines.len() as u64;
        assert_eq!((gap.lines, gap.reason), (100 - told, GapReason::SpoolFull));
        let lost = (told + 1..100).map(|number| format!("line {number}\n").len()).sum::<usize>() + last.len();
        assert_eq!(gap.bytes, Some(lost as u64));
    }
}

#[test]
fn nothing_is_given_up_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    give_up(folder.path()).unwrap();
    drop(writer(folder.path(), ROOMY));
    give_up(folder.path()).unwrap();
    assert_eq!(segments(folder.path(), Output::Stdout).unwrap(), []);
}

#[test]
fn a_damaged_segment_is_a_gap_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    write_lines(&mut writer(folder.path(), ROOMY), 1..=100);
    let waiting = reader(folder.path(), 1).waiting().unwrap();
    pack(&waiting[1]).unwrap();
    let packed = waiting[1].path.with_extension("log.zst");
    std::fs::write(&packed, b"no zstd at all").unwrap();
    let read = Read::all(&mut reader(folder.path(), 1));
    let lost = waiting[2].first - waiting[1].first;
    assert_eq!(read.gaps.len(), 1);
    assert_eq!(read.gaps[0].lines, lost);
    assert_eq!(read.lines.len() as u64, 100 - lost);
}

#[test]
fn what_an_older_version_wrote_is_read_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for number in 1..=3_u64 {
        let text = format!("old {number}");
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&[9, 0, 0]);
    std::fs::write(folder.path().join(format!("stdout-{:020}.spool", 1)), bytes).unwrap();
    writer(folder.path(), ROOMY).take(Timestamp(9), b"new\n");
    let read = Read::all(&mut reader(folder.path(), 2));
    let expected = [(2, "old 2"), (3, "old 3"), (4, "new")];
    assert_eq!(read.texts(), expected.map(|(number, text)| (number, text.to_owned())));
    assert_eq!(read.gaps, []);
}

#[test]
fn a_line_that_nobody_ends_is_given_out_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    writer(folder.path(), ROOMY).take(Timestamp(1), b"whole\nprompt> ");
    let mut reader = reader(folder.path(), 1);
    assert_eq!(Read::all(&mut reader).texts(), [(1, "whole".to_owned())]);
    let rest = reader.rest().unwrap();
    assert_eq!((rest.first, &rest.lines[0].text[..], rest.lines[0].open), (2, &b"prompt> "[..], true));
    assert_eq!(reader.rest(), None);
}

/// A folder whose disk takes so many bytes, until it is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn of(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "the tests of a full disk mount one: run them as root");
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    let disk = Disk::of("256k");
    let folder = disk.0.path();
    let filler = folder.join("filler");
    let mut writer = writer(folder, SpoolLimits::STANDARD);
    write_lines(&mut writer, 1..=10);
    let mut reader = reader(folder, 1);
    assert_eq!(Read::all(&mut reader).lines.len(), 10);
    let full = std::io::copy(&mut std::io::repeat(0), &mut std::fs::File::create(&filler).unwrap());
    assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
    let mut number = 10;
    while !writer.is_failing() {
        number += 1;
        write_lines(&mut writer, number..=number);
    }
    // The first that failed, and these.
    write_lines(&mut writer, number + 1..=number + 100);
    writer.take(Timestamp(1), b"half of");
    std::fs::remove_file(filler).unwrap();
    writer.take(Timestamp(1), b" a line\n");
    write_lines(&mut writer, number + 102..=number + 110);
    let read = Read::all(&mut reader);
    let lost: u64 = (number..=number + 100).map(|number| format!("line {number}\n").len() as u64).sum();
    let bytes = Some(lost + b"half of a line\n".len() as u64);
    assert_eq!(read.gaps, [Gap { lines: 102, bytes, reason: GapReason::WriteFailed }]);
    assert_eq!(read.texts()[0].0, 11);
    assert_eq!(read.texts().last().unwrap(), &(number + 110, format!("line {}", number + 110)));
    assert!(segments(folder, Output::Stdout).unwrap().len() <= 2, "no empty files are left");
}

/// What an instance may do to its spool.
#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<u8>),
    Finish,
    Reopen,
    Pack,
    ReadSome,
    RestartReader,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let text =
        prop::collection::vec(prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()], 0..200);
    let long = (60_000_usize..140_000, any::<bool>()).prop_map(|(length, ended)| {
        let mut bytes = vec![b'L'; length];
        bytes.extend(ended.then_some(b'\n'));
        bytes
    });
    let edge = (0_usize..3).prop_map(|more| vec![b'E'; LINE_BYTES - 1 + more]);
    prop::collection::vec(
        prop_oneof![
            12 => text.prop_map(Deed::Write),
            1 => long.prop_map(Deed::Write),
            1 => edge.prop_map(Deed::Write),
            1 => Just(Deed::Finish),
            1 => Just(Deed::Reopen),
            1 => Just(Deed::Pack),
            3 => Just(Deed::ReadSome),
            1 => Just(Deed::RestartReader),
        ],
        0..60,
    )
}

/// What must come back: runs of bytes, cut into lines and pieces.
fn expected(runs: &[Vec<u8>]) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for run in runs.iter().filter(|run| !run.is_empty()) {
        let ended = run.ends_with(b"\n");
        let body = if ended { &run[..run.len() - 1] } else { &run[..] };
        let count = body.split(|byte| *byte == b'\n').count();
        for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
            let has_newline = ended || index + 1 < count;
            let pieces: Vec<&[u8]> =
                if line.is_empty() { vec![line] } else { line.chunks(LINE_BYTES).collect() };
            for (place, text) in pieces.iter().enumerate() {
                let open = place + 1 < pieces.len() || !has_newline;
                let (at, text, continued) = (Timestamp(1), text.to_vec(), place > 0);
                lines.push(LogLine { at, text, continued, open });
            }
        }
    }
    lines
}

fn play(deeds: &[Deed], limits: SpoolLimits) -> (Vec<Vec<u8>>, Read) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), limits);
    let mut mark = Bookmark::START;
    let mut reader = reader(folder.path(), 1);
    let (mut runs, mut read) = (vec![Vec::new()], Read::default());
    for deed in deeds {
        match deed {
            Deed::Write(bytes) => {
                writer.take(Timestamp(1), bytes);
                runs.last_mut().unwrap().extend_from_slice(bytes);
            }
            Deed::Finish => {
                writer.finish(Timestamp(1));
                runs.push(Vec::new());
            }
            Deed::Reopen => {
                writer = SpoolWriter::open(folder.path(), Output::Stdout, limits).unwrap();
                runs.push(Vec::new());
            }
            Deed::Pack => reader.waiting().unwrap().iter().for_each(|segment| pack(segment).unwrap()),
            Deed::ReadSome => {
                if let Some(batch) = reader.read(FEW).unwrap() {
                    mark = batch.end;
                    read.add(batch);
                    reader.forget_before(mark.next).unwrap();
                }
            }
            Deed::RestartReader => reader = SpoolReader::open(folder.path(), Output::Stdout, mark),
        }
    }
    while let Some(batch) = reader.read(ALL).unwrap() {
        read.add(batch);
    }
    if let Some(batch) = reader.rest() {
        read.add(batch);
    }
    (runs, read)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn below_the_cap_every_byte_comes_back_once(deeds in deeds()) {
        let (runs, read) = play(&deeds, SpoolLimits { segment_bytes: 500, spool_bytes: 1 << 40 });
        prop_assert_eq!(&read.gaps, &[]);
        let lines: Vec<LogLine> = read.lines.iter().map(|(_, line)| line.clone()).collect();
        prop_assert_eq!(lines, expected(&runs));
        prop_assert!(read.lines.iter().zip(1..).all(|((number, _), expected)| *number == expected));
    }

    #[test]
    fn above_the_cap_what_is_missing_is_counted_exactly(deeds in deeds()) {
        let (runs, read) = play(&deeds, SpoolLimits { segment_bytes: 500, spool_bytes: 2000 });
        let all = expected(&runs);
        for (number, line) in &read.lines {
            prop_assert_eq!(line, &all[usize::try_from(*number).unwrap() - 1]);
        }
        let told: u64 = read.gaps.iter().map(|gap| gap.lines).sum();
        prop_assert_eq!(told + read.lines.len() as u64, all.len() as u64);
        let bytes: u64 = read.gaps.iter().map(|gap| gap.bytes.unwrap()).sum();
        let given: u64 = read.lines.iter().map(|(_, line)| line.bytes()).sum();
        prop_assert_eq!(bytes + given, runs.iter().map(|run| run.len() as u64).sum::<u64>());
    }
}
