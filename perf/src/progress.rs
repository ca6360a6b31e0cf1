//! How far a comparison is, on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// See the [module](self). Where nobody watches a terminal it is a line for each step.
pub struct Progress {
    bar: ProgressBar,
    is_watched: bool,
}

impl Progress {
    /// Nothing is done yet of so many seconds of work.
    pub fn new(seconds: u64) -> Progress {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3} %, {eta} left  {msg}");
        let bar = ProgressBar::new(seconds);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress {
            bar,
            is_watched: std::io::stderr().is_terminal(),
        }
    }

    /// A step begins.
    pub fn begin(&mut self, step: &str) {
        if self.is_watched {
            self.bar.set_message(step.to_owned());
            self.bar.tick();
        } else {
            eprintln!("{step}");
        }
    }

    /// Something that a reader should know at once.
    pub fn note(&mut self, text: &str) {
        if self.is_watched {
            self.bar.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    /// It has taken so many seconds.
    pub fn advance(&mut self, seconds: u64) {
        self.bar.inc(seconds);
    }

    /// All is done.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
