//! Names of objects and kinds of tree entries.

use std::fmt;

use foldstream_model::{Error, Result};

/// The hash that names objects in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectFormat {
    Sha1,
    Sha256,
}

impl ObjectFormat {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            other => {
                Err(Error::invalid(format!("object format not known: format={other:?} known=sha1, sha256")))
            }
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// The name of an object: 20 or 32 bytes, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    bytes: [u8; 32],
    length: u8,
}

impl ObjectId {
    /// Reads 40 or 64 hex digits.
    pub fn parse(hex: &[u8]) -> Result<Self> {
        let length = hex.len() / 2;
        if hex.len() != 40 && hex.len() != 64 {
            return Err(not_an_id(hex));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| not_an_id(hex))?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| not_an_id(hex))?;
        }
        Ok(Self { bytes, length: length as u8 })
    }

    /// Git's way of saying "no object": all zeros.
    pub fn is_null(&self) -> bool {
        self.bytes == [0; 32]
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

fn not_an_id(text: &[u8]) -> Error {
    let text = String::from_utf8_lossy(text);
    Error::invalid(format!("not the id of a git object: value={text:?} expected=40 or 64 hex digits"))
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.iter().take(usize::from(self.length)).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a tree entry is: `100644`, `100755`, `120000` (symlink), `160000` (submodule), or what old tools left there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(u32);

impl Mode {
    pub const SUBMODULE: Self = Self(0o160_000);

    /// Reads git's octal form.
    pub fn parse(octal: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(octal);
        match u32::from_str_radix(&text, 8) {
            Ok(mode) => Ok(Self(mode)),
            Err(_) => Err(Error::invalid(format!(
                "not the mode of a tree entry: value={text:?} expected=octal digits"
            ))),
        }
    }

    /// A submodule's entry names a commit of another repository: it has no blob here, and no size.
    pub fn is_submodule(self) -> bool {
        self == Self::SUBMODULE
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
