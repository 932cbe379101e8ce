//! Files of `/proc` that stay open: one `pread` tells what is so now. See proc(5).
//!
//! An open file of a process names that process for ever: when it is gone, reading fails, and no stranger with the same
//! number is ever read.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::LazyLock;

/// Most bytes that are read of one file.
const MOST: usize = 1 << 20;
/// What the buffer holds at first: enough for the files of processes.
const FIRST: usize = 4096;

/// A file of `/proc`, held open.
pub struct ProcFile(File);

impl ProcFile {
    /// Opens it.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// What it says now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read<'a>(&self, buffer: &'a mut Buffer) -> io::Result<&'a [u8]> {
        self.pieces(buffer, End::Nothing)
    }

    /// What a short file says now, which comes in one piece, as those of processes do: half the calls.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn read_short<'a>(&self, buffer: &'a mut Buffer) -> io::Result<&'a [u8]> {
        self.pieces(buffer, End::Short)
    }

    fn pieces<'a>(&self, buffer: &'a mut Buffer, end: End) -> io::Result<&'a [u8]> {
        let bytes = &mut buffer.0;
        let mut length = 0;
        loop {
            if length == MOST {
                return Ok(&bytes[..length]);
            }
            if length == bytes.len() {
                bytes.resize((length * 2).clamp(FIRST, MOST), 0);
            }
            let read = rustix::io::pread(&self.0, &mut bytes[length..], length as u64)?;
            length += read;
            if read == 0 || (end == End::Short && length < bytes.len()) {
                return Ok(&bytes[..length]);
            }
        }
    }
}

/// By what the end of a file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Long files come in pieces that may be smaller than the buffer: only nothing is the end.
    Nothing,
    /// What does not fill the buffer is all.
    Short,
}

/// Reused for every file.
#[derive(Default)]
pub struct Buffer(Vec<u8>);

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    pub name: &'a [u8],
    pub state: u8,
    pub parent: u32,
    pub session: u32,
    /// In clock ticks: its own, and that of children that it has waited for.
    pub own_ticks: u64,
    pub waited_ticks: u64,
    pub threads: u32,
    /// In clock ticks since boot.
    pub start: u64,
    pub resident_pages: u64,
}

impl<'a> Stat<'a> {
    /// Reads the text; none when it is none.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        // The name stands in brackets and may hold anything: the fields begin after the last bracket.
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let name = text.get(open + 1..close)?;
        let mut fields = words(text.get(close + 1..)?);
        let state = *fields.next()?.first()?;
        let parent = narrow(number(fields.next()?)?);
        let session = narrow(number(fields.nth(1)?)?);
        let mut ticks = || fields.next().and_then(number);
        // After session: tty, tpgid, flags and four counts of faults.
        let (user, system) = (fields_after(&mut ticks, 7)?, ticks()?);
        let (waited_user, waited_system) = (ticks()?, ticks()?);
        let threads = narrow(fields_after(&mut ticks, 2)?);
        let start = fields_after(&mut ticks, 1)?;
        let resident_pages = fields_after(&mut ticks, 1)?;
        Some(Self {
            name,
            state,
            parent,
            session,
            own_ticks: user + system,
            waited_ticks: waited_user + waited_system,
            threads,
            start,
            resident_pages,
        })
    }

    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

fn fields_after(next: &mut impl FnMut() -> Option<u64>, skipped: usize) -> Option<u64> {
    for _ in 0..skipped {
        next()?;
    }
    next()
}

/// The words of a text.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The lines of a text.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// A whole number at the beginning of a word; a negative one counts as 0.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.first() == Some(&b'-') {
        return Some(0);
    }
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit());
    let mut any = false;
    let value = digits.fold(0u64, |sum, digit| {
        any = true;
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    any.then_some(value)
}

/// As much of a number as fits.
pub fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// KiB of a page.
pub fn page_kib() -> u64 {
    static KIB: LazyLock<u64> = LazyLock::new(|| told_at_start(PAGE_SIZE).unwrap_or(4096) / 1024);
    *KIB
}

/// Clock ticks of a second.
pub fn ticks_per_second() -> u64 {
    static TICKS: LazyLock<u64> = LazyLock::new(|| told_at_start(CLOCK_TICKS).unwrap_or(100).max(1));
    *TICKS
}

/// What the kernel tells each program at its start: getauxval(3).
fn told_at_start(kind: usize) -> Option<u64> {
    let pairs = std::fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    pairs.chunks_exact(2 * WORD).find_map(|pair| {
        let (found, value) = pair.split_at(WORD);
        (word(found)? == kind).then(|| word(value)).flatten().map(|value| value as u64)
    })
}

const WORD: usize = size_of::<usize>();
/// `AT_PAGESZ`.
const PAGE_SIZE: usize = 6;
/// `AT_CLKTCK`.
const CLOCK_TICKS: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = b"77 (a) (b) R 12 77 5 0 -1 4194560 1 2 3 4 50 7 11 13 20 0 9 0 4242 1000 321 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        let wanted = Stat {
            name: b"a) (b",
            state: b'R',
            parent: 12,
            session: 5,
            own_ticks: 57,
            waited_ticks: 24,
            threads: 9,
            start: 4242,
            resident_pages: 321,
        };
        assert_eq!(stat, wanted);
    }

    #[test]
    fn the_kernel_tells_its_units() {
        assert!(page_kib() >= 4 && page_kib().is_power_of_two(), "{}", page_kib());
        assert!((100..=1024).contains(&ticks_per_second()), "{}", ticks_per_second());
        assert_eq!(told_at_start(9999), None);
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let file = ProcFile::open("/proc/self/stat").unwrap();
        let mut buffer = Buffer::default();
        let stat = Stat::parse(file.read(&mut buffer).unwrap()).unwrap();
        assert!(stat.threads >= 1 && stat.resident_pages > 0 && !stat.is_dead(), "{stat:?}");
        assert_eq!(crate::host::start_ticks(std::process::id()), Some(stat.start));
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = vec![b'x'; 3 * FIRST + 5];
        std::fs::write(file.path(), &text).unwrap();
        let read = ProcFile::open(file.path()).unwrap();
        assert_eq!(read.read(&mut Buffer::default()).unwrap(), text);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Stat::parse(&text);
            let _ = number(&text);
        }
    }
}
