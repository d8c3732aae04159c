//! A small repository with everything odd that git permits.

use std::{io::Result, path::Path};

use super::{Head, Kind, Mark, Writer, unborn};

/// Paths that break what handles paths carelessly.
pub const PATHS: [&[u8]; 22] = [
    b"plain.txt",
    b"with space",
    b"new\nline",
    b"tab\there",
    b"quote\"double",
    b"\"starts quoted\"",
    b"it's",
    b"back\\slash",
    b"caf\xe9.latin1",
    b"\xff\xfe",
    "caf\u{e9}.nfc".as_bytes(),
    "cafe\u{301}.nfd".as_bytes(),
    "\u{1f980}/\u{1f469}\u{200d}\u{1f680}.rs".as_bytes(),
    "\u{202e}right-to-left".as_bytes(),
    b"-n",
    b"--help/-rf",
    b"100%/%41/%2F",
    b"case/README",
    b"case/readme",
    b"\x01\x1b[31mred",
    b":100644 100644",
    b"commit 0123",
];

/// How many commits [`hostile`] has on its first-parent line.
pub const COMMITS: u64 = 26;

/// Makes the repository in an empty folder. Its last commit has every path of [`PATHS`], and some more.
pub fn hostile(folder: &Path, kind: Kind) -> Result<()> {
    unborn(folder, kind)?;
    let mut story = Story { writer: Writer::start(folder)?, last: None, clock: 1_700_000_000 };
    paths(&mut story)?;
    kinds(&mut story, if kind.sha256 { 64 } else { 40 })?;
    files_and_folders(&mut story)?;
    people_and_clocks(&mut story)?;
    merges(&mut story)?;
    story.writer.finish()
}

struct Story {
    writer: Writer,
    last: Option<Mark>,
    clock: u64,
}

impl Story {
    /// Begins the next commit of the line.
    fn next(&mut self, message: &str) -> Result<Mark> {
        self.clock += 60;
        self.next_with(&Head {
            authored: self.clock,
            committed: self.clock,
            message: message.as_bytes(),
            ..Head::default()
        })
    }

    fn next_with(&mut self, head: &Head<'_>) -> Result<Mark> {
        let parents: Vec<_> = self.last.into_iter().chain(head.parents.iter().copied()).collect();
        let mark = self.writer.commit(&Head { parents: &parents, ..head.clone() })?;
        self.last = Some(mark);
        Ok(mark)
    }
}

fn paths(story: &mut Story) -> Result<()> {
    story.next("Every hostile path")?;
    for path in PATHS {
        story.writer.put("100644", path, b"one\ntwo\n")?;
    }
    story.next("Long components and a deep path")?;
    story.writer.put("100644", &[b'l'; 250], b"long\n")?;
    story.writer.put("100644", &[&[b'l'; 250][..], b"\xff"].concat(), b"long too\n")?;
    story.writer.put(
        "100644",
        &[vec![b'p'; 250], vec![b'q'; 250], vec![b'r'; 250]].join(&b'/'),
        b"longer\n",
    )?;
    story.writer.put(
        "100644",
        &[vec![b'p'; 250], vec![b'q'; 250], vec![b's'; 250]].join(&b'/'),
        b"longer\n",
    )?;
    story.writer.put("100644", &[b'd'; 100].map(|letter| vec![letter]).join(&b'/'), b"deep\n")?;
    story.next("Every hostile path changes")?;
    for path in PATHS {
        story.writer.put("100644", path, b"one\nthree\nfour\n")?;
    }
    story.next("Every hostile path goes")?;
    for path in PATHS {
        story.writer.delete(path)?;
    }
    story.next("And comes back")?;
    for path in PATHS {
        story.writer.put("100644", path, b"back\n")?;
    }
    story.next("An empty commit").map(drop)
}

fn kinds(story: &mut Story, digits: usize) -> Result<()> {
    story.next("A binary, an empty file, no line end, a symlink, a submodule, a script")?;
    story.writer.put("100644", b"binary", b"\0\x01\x02\n\0")?;
    story.writer.put("100644", b"empty", b"")?;
    story.writer.put("100644", b"no-line-end", b"no line end")?;
    story.writer.put("120000", b"link", b"plain.txt")?;
    story.writer.submodule(b"vendor/module", &"1".repeat(digits))?;
    story.writer.put("100755", b"script", b"#!/bin/sh\n")?;
    story.writer.put("100644", b".gitattributes", b"*.txt -diff\nscript binary\n")?;
    story.next("Only modes change")?;
    story.writer.put("100644", b"script", b"#!/bin/sh\n")?;
    story.writer.put("100755", b"plain.txt", b"back\n")?;
    story.next("Types change: file to symlink with the same bytes, symlink to file, file to submodule")?;
    story.writer.put("120000", b"script", b"#!/bin/sh\n")?;
    story.writer.put("100644", b"link", b"a file now\n")?;
    story.writer.delete(b"empty")?;
    story.writer.submodule(b"empty", &"3".repeat(digits))?;
    story.next("The submodule moves, the binary grows")?;
    story.writer.submodule(b"vendor/module", &"2".repeat(digits))?;
    story.writer.put("100644", b"binary", &[0; 5_000])?;
    story.next("The submodule becomes a folder")?;
    story.writer.delete(b"vendor/module")?;
    story.writer.put("100644", b"vendor/module/file", b"inside\n")
}

fn files_and_folders(story: &mut Story) -> Result<()> {
    story.next("A file")?;
    story.writer.put("100644", b"thing", b"a file\n")?;
    story.next("becomes a folder")?;
    story.writer.delete(b"thing")?;
    story.writer.put("100644", b"thing/inside", b"a file\n")?;
    story.writer.put("100644", b"thing-beside", b"sorts between\n")?;
    story.next("and a file again")?;
    story.writer.delete(b"thing")?;
    story.writer.put("100644", b"thing", b"a file again\n")?;
    story.next("A file moves without a change")?;
    story.writer.delete(b"plain.txt")?;
    story.writer.put("100755", b"moved.txt", b"back\n")?;
    story.next("and back")?;
    story.writer.delete(b"moved.txt")?;
    story.writer.put("100755", b"plain.txt", b"back\n")
}

fn people_and_clocks(story: &mut Story) -> Result<()> {
    let now = story.clock;
    let long_subject = "long ".repeat(40_000);
    let odd: [(&[u8], u64, u64, &[u8]); 6] = [
        (b"Zo\xeb <zo\xeb@example.org>", now, now, b"Not UTF-8: \xe9\xff"),
        (b" <>", now, now, b""),
        (b"Nameless Address <>", now - 5_000, now - 5_000, b"A clock that stepped back\nwith a second line"),
        (b"Ada <ada@example.org>", 0, 0, b"At the epoch"),
        (b"Future <f@example.org>", 31_556_952_000_000_000, now + 1, b"Written in a thousand million years"),
        (b"Ada <ada@example.org>", now + 2, now + 2, long_subject.as_bytes()),
    ];
    for (place, (author, authored, committed, message)) in odd.into_iter().enumerate() {
        story.next_with(&Head { author, authored, committed, message, ..Head::default() })?;
        story.writer.put("100644", format!("odd/{place}").as_bytes(), b"x\n")?;
    }
    Ok(())
}

fn merges(story: &mut Story) -> Result<()> {
    let side = |story: &mut Story, name: &str| {
        let parents: Vec<_> = story.last.into_iter().collect();
        let head = Head { branch: name, message: b"On the side", parents: &parents, ..Head::default() };
        let mark = story.writer.commit(&head)?;
        story.writer.put("100644", format!("side/{name}").as_bytes(), b"side\n")?;
        Ok::<_, std::io::Error>(mark)
    };
    let sides = [side(story, "a")?, side(story, "b")?, side(story, "c")?, side(story, "d")?];
    story.next("The line goes on")?;
    story.writer.put("100644", b"thing", b"meanwhile\n")?;
    let [a, b, c, d] = sides;
    story.clock += 60;
    let at = story.clock;
    story.next_with(&Head {
        parents: &[a],
        message: b"A merge",
        authored: at,
        committed: at,
        ..Head::default()
    })?;
    story.writer.put("100644", b"side/a", b"side\n")?;
    story.next_with(&Head {
        parents: &[b, c],
        message: b"An octopus",
        authored: at,
        committed: at,
        ..Head::default()
    })?;
    story.writer.put("100644", b"side/b", b"side\n")?;
    story.writer.put("100644", b"side/c", b"side\n")?;
    story.next_with(&Head {
        parents: &[d],
        message: b"An evil merge",
        authored: at,
        committed: at,
        ..Head::default()
    })?;
    story.writer.put("100644", b"side/d", b"not what was on the side\n")?;
    story.writer.put("100644", b"thing", b"evil\n")
}
