//! Repositories of any size, drawn by a seed.

use std::{collections::BTreeMap, io::Result, path::Path};

use super::{Chance, Head, Mark, Writer, hostile::PATHS};

const FOLDERS: [&str; 12] =
    ["src", "tests", "docs", "engine", "a", "b", "c", "\u{1f980}", "x y", "%", "-", "lib"];
const PEOPLE: [&[u8]; 6] = [
    b"Ada <ada@example.org>",
    b"Grace <grace@example.org>",
    b"Zo\xeb <zoe@example.org>",
    b"Linus <linus@example.org>",
    b"Barbara <barbara@example.org>",
    b"Edsger <edsger@example.org>",
];

/// Writes `commits` commits on the first-parent line of `main` into an empty repository: files that come, change, go and
/// come back, change their mode or kind, become folders and files again; merges, octopus merges among them; submodules;
/// hostile paths; empty commits; clocks that stand still and step back.
pub fn long(folder: &Path, commits: u64, seed: u64) -> Result<()> {
    let mut history = History {
        writer: Writer::start(folder)?,
        chance: Chance::new(seed),
        files: BTreeMap::new(),
        last: None,
        clock: 1_500_000_000,
        submodule: if is_sha256(folder)? { 64 } else { 40 },
    };
    for number in 0..commits {
        if number % 50 == 49 { history.merge(number)? } else { history.plain(number)? }
    }
    history.writer.finish()
}

/// Writes three commits over `files` files in folders of 100: all are added, every second one is changed, every tenth
/// is deleted.
pub fn wide(folder: &Path, files: u64) -> Result<()> {
    let mut writer = Writer::start(folder)?;
    let path = |number: u64| format!("folder-{:05}/file-{number}", number / 100).into_bytes();
    let mark = writer.commit(&Head { message: b"All files", ..Head::default() })?;
    for number in 0..files {
        writer.put("100644", &path(number), format!("{number}\n").as_bytes())?;
    }
    let mark = writer.commit(&Head { message: b"Every second file", parents: &[mark], ..Head::default() })?;
    for number in (0..files).step_by(2) {
        writer.put("100644", &path(number), format!("{number}\nchanged\n").as_bytes())?;
    }
    writer.commit(&Head { message: b"Without every tenth file", parents: &[mark], ..Head::default() })?;
    for number in (0..files).step_by(10) {
        writer.delete(&path(number))?;
    }
    writer.finish()
}

fn is_sha256(folder: &Path) -> Result<bool> {
    super::git(folder, &["rev-parse", "--show-object-format"]).map(|format| format.starts_with(b"sha256"))
}

struct History {
    writer: Writer,
    chance: Chance,
    /// The files of the line, and whether each is executable.
    files: BTreeMap<Vec<u8>, bool>,
    last: Option<Mark>,
    clock: u64,
    /// How many digits the commit of a submodule has.
    submodule: usize,
}

impl History {
    fn plain(&mut self, number: u64) -> Result<()> {
        let last = self.last;
        self.begin("main", last.as_slice(), format!("Commit {number}").as_bytes())?;
        if self.chance.once_in(40) {
            return Ok(());
        }
        for _ in 0..=self.chance.below(4) {
            self.change(number)?;
        }
        Ok(())
    }

    /// One to three commits beside the line, each with a file of its own, and their merge.
    fn merge(&mut self, number: u64) -> Result<()> {
        let line = self.last;
        let mut parents: Vec<_> = line.into_iter().collect();
        let sides: Vec<_> =
            (0..=self.chance.below(3)).map(|side| format!("side/{number}-{side}").into_bytes()).collect();
        for side in &sides {
            parents.push(self.begin("side", line.as_slice(), b"On the side")?);
            self.writer.put("100644", side, b"from the side\n")?;
        }
        self.begin("main", &parents, b"A merge")?;
        for side in sides {
            self.put(side, b"from the side\n")?;
        }
        if self.chance.once_in(4) { self.change(number) } else { Ok(()) }
    }

    fn begin(&mut self, branch: &str, parents: &[Mark], message: &[u8]) -> Result<Mark> {
        match self.chance.below(10) {
            0 => self.clock -= 3_000,
            1 => {}
            _ => self.clock += 1 + self.chance.below(7_200),
        }
        let authored = self.clock - self.chance.below(100_000);
        let author = self.chance.one_of(&PEOPLE);
        let head = Head { branch, author, authored, committed: self.clock, message, parents };
        let mark = self.writer.commit(&head)?;
        if branch == "main" {
            self.last = Some(mark);
        }
        Ok(mark)
    }

    fn change(&mut self, number: u64) -> Result<()> {
        let content = format!("{}\n", self.chance.number()).repeat(1 + self.chance.below(20) as usize);
        match self.chance.below(12) {
            0 | 1 => self.delete_one(),
            2 => self.change_mode(),
            3 => {
                let path = self.new_path();
                self.make_way(&path)?;
                self.files.insert(path.clone(), false);
                let digit = char::from(b'1' + (number % 9) as u8).to_string();
                self.writer.submodule(&path, &digit.repeat(self.submodule))
            }
            4..=6 => {
                let path = self.new_path();
                self.put(path, content.as_bytes())
            }
            _ => {
                let path = self.some_file();
                self.put(path, content.as_bytes())
            }
        }
    }

    fn put(&mut self, path: Vec<u8>, content: &[u8]) -> Result<()> {
        self.make_way(&path)?;
        let mode = if self.chance.once_in(30) { "120000" } else { "100644" };
        self.writer.put(mode, &path, content)?;
        self.files.insert(path, false);
        Ok(())
    }

    fn delete_one(&mut self) -> Result<()> {
        let path = self.some_file();
        if self.files.remove(&path).is_none() {
            return Ok(());
        }
        self.writer.delete(&path)
    }

    fn change_mode(&mut self) -> Result<()> {
        let path = self.some_file();
        let executable = !self.files.get(&path).copied().unwrap_or_default();
        self.make_way(&path)?;
        self.writer.put(if executable { "100755" } else { "100644" }, &path, b"the same\n")?;
        self.files.insert(path, executable);
        Ok(())
    }

    /// Deletes what stands where a file is to be: files that its folders are to replace, or a folder.
    fn make_way(&mut self, path: &[u8]) -> Result<()> {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ancestors: Vec<_> = slashes.filter_map(|(place, _)| path.get(..place)).collect();
        for folder in ancestors {
            if self.files.remove(folder).is_some() {
                self.writer.delete(folder)?;
            }
        }
        let inside = [path, b"/"].concat();
        let below: Vec<_> = self
            .files
            .range(inside.clone()..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&inside))
            .collect();
        if !below.is_empty() {
            self.writer.delete(path)?;
        }
        for path in below {
            self.files.remove(&path);
        }
        Ok(())
    }

    /// A file of the line, or a new path when there is none behind a place drawn at random.
    fn some_file(&mut self) -> Vec<u8> {
        let near = self.new_path();
        let found = self.files.range(near.clone()..).next().map(|(path, _)| path.clone());
        found.unwrap_or(near)
    }

    fn new_path(&mut self) -> Vec<u8> {
        if self.chance.once_in(10) {
            return self.chance.one_of(&PATHS).to_vec();
        }
        let depth = self.chance.below(4);
        let mut path = String::new();
        for _ in 0..depth {
            path += self.chance.one_of(&FOLDERS);
            path.push('/');
        }
        match self.chance.below(20) {
            0 => path += self.chance.one_of(&FOLDERS),
            _ => path += &format!("{}.rs", self.chance.below(200)),
        }
        path.into_bytes()
    }
}
