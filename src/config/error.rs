//! What can be wrong with the settings.

use std::fmt;
use std::path::PathBuf;

/// What is wrong, and where it stands.
#[derive(Debug)]
pub enum Error {
    /// The command line is wrong, or asked for help or for the version.
    Arguments(Box<clap::Error>),
    /// A variable cannot be read as what it should be.
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read, or is not what it should be.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// What is wrong with it, with the line.
        reason: String,
    },
    /// A setting is out of range, or does not fit another one.
    Setting {
        /// The flag, the variable, or the file and the key.
        place: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
}

impl Error {
    /// Tells the user: help and version on standard output, anything else on standard error.
    pub fn print(&self) {
        match self {
            // Nobody is left to be told when the stream is closed.
            Error::Arguments(error) => {
                let _ = error.print();
            }
            Error::Variable { .. } | Error::File { .. } | Error::Setting { .. } => {
                eprintln!("error: {self}")
            }
        }
    }

    /// The exit code: 0 for help and version, 2 for wrong settings.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Arguments(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Error::Variable { .. } | Error::File { .. } | Error::Setting { .. } => 2,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Arguments(error) => error.fmt(f),
            Error::Variable { name, reason } => write!(f, "{name}: {reason}"),
            Error::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Error::Setting { place, reason } => write!(f, "{place}: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<clap::Error> for Error {
    fn from(error: clap::Error) -> Error {
        Error::Arguments(Box::new(error))
    }
}
