//! A file with settings, for `--config`.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file with settings, which goes with this value.
pub struct Settings(PathBuf);

impl Settings {
    pub fn new(text: &str) -> Settings {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("settings-{}-{number}.toml", process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).expect("the folder is writable");
        Settings(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("a path of text")
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl AsRef<OsStr> for Settings {
    fn as_ref(&self) -> &OsStr {
        self.0.as_os_str()
    }
}
