//! From root to a user of the system: ports are bound before, everything else happens after. Certificates and keys are
//! read as that user too, since they are read again while the server runs.
//!
//! It happens before the process has a second thread, and by the functions of the C library, which change all threads
//! (the system call itself changes one). What is set for a thread holds for those that it starts.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid};
use rustix::fs::{self as file, Mode, OFlags};
use rustix::thread::set_no_new_privs;

use crate::config::Account;

/// Why the process did not become another user.
#[derive(Debug)]
pub enum UserError {
    /// Only root can.
    NotRoot,
    /// The system knows no such user.
    User(String),
    /// The system knows no such group.
    Group(String),
    /// It is root, which would be no change.
    Superuser(String),
    /// The data folder could not be made for that user.
    Folder(PathBuf, io::Error),
    /// The system refused: at what, and why.
    System(&'static str, io::Error),
}

/// Whether the process runs as root.
pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// Becomes the user of an account for good. A data folder that is missing is made for that user; one that is there is
/// left as it is.
///
/// # Errors
///
/// See [`UserError`]. The process should end then: it may be something in between.
pub fn become_user(account: &Account, folder: Option<&Path>) -> Result<(), UserError> {
    if !is_root() {
        return Err(UserError::NotRoot);
    }
    let user = find_user(&account.user)?;
    let group = account.group.as_deref().map(find_group).transpose()?;
    let gid = group.unwrap_or(user.gid);
    if let Some(folder) = folder {
        give_folder(folder, user.uid, gid)
            .map_err(|error| UserError::Folder(folder.to_owned(), error))?;
    }
    let refused = |what| move |error: Errno| UserError::System(what, error.into());
    match group {
        // Whoever names a group wants that one alone.
        Some(gid) => unistd::setgroups(&[gid]),
        None => unistd::initgroups(&user.name, gid),
    }
    .map_err(refused("setting its groups"))?;
    unistd::setgid(gid).map_err(refused("setting its group"))?;
    unistd::setuid(user.uid).map_err(refused("setting its user"))?;
    if unistd::setuid(Uid::from_raw(0)).is_ok() {
        let error = io::Error::other("root can be had back");
        return Err(UserError::System("giving root up", error));
    }
    // Nor by a program that is root whoever runs it.
    set_no_new_privs(true)
        .map_err(|error| UserError::System("giving up programs of root", error.into()))
}

struct User {
    name: CString,
    uid: Uid,
    gid: Gid,
}

/// A user by name, or else by number.
fn find_user(text: &str) -> Result<User, UserError> {
    let unknown = || UserError::User(text.to_owned());
    let failed = |error: Errno| UserError::System("looking its user up", error.into());
    let by_name = unistd::User::from_name(text).map_err(failed)?;
    let found = match (by_name, text.parse()) {
        (Some(user), _) => Some(user),
        (None, Ok(number)) => unistd::User::from_uid(Uid::from_raw(number)).map_err(failed)?,
        (None, Err(_)) => None,
    };
    let unistd::User { name, uid, gid, .. } = found.ok_or_else(unknown)?;
    if uid.is_root() {
        return Err(UserError::Superuser(name));
    }
    let name = CString::new(name).map_err(|_| unknown())?;
    Ok(User { name, uid, gid })
}

/// A group by name, or else by number.
fn find_group(text: &str) -> Result<Gid, UserError> {
    let failed = |error: Errno| UserError::System("looking its group up", error.into());
    let by_name = Group::from_name(text).map_err(failed)?;
    match (by_name, text.parse()) {
        (Some(group), _) => Ok(group.gid),
        (None, Ok(number)) => Ok(Gid::from_raw(number)),
        (None, Err(_)) => Err(UserError::Group(text.to_owned())),
    }
}

/// Makes a folder that is missing, for this user alone.
fn give_folder(path: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = file::open(parent, flags, Mode::empty())?;
    file::mkdirat(&parent, name, Mode::RWXU)?;
    give(parent.as_fd(), name, uid, gid)
}

/// Lets a folder belong to a user. A link that somebody has put in its place is an error: a name would be followed to what
/// is root's.
fn give(parent: BorrowedFd<'_>, name: &OsStr, uid: Uid, gid: Gid) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = file::openat(parent, name, flags, Mode::empty())?;
    let (uid, gid) = (
        file::Uid::from_raw(uid.as_raw()),
        file::Gid::from_raw(gid.as_raw()),
    );
    Ok(file::fchown(&folder, Some(uid), Some(gid))?)
}

impl fmt::Display for UserError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserError::NotRoot => f.write_str(
                "only root can become another user (--user): start it as root, or as that user without --user",
            ),
            UserError::User(name) => write!(f, "there is no user {name:?} (--user)"),
            UserError::Group(name) => write!(f, "there is no group {name:?} (--user)"),
            UserError::Superuser(name) => {
                write!(f, "{name} is root itself (--user): name a user without rights")
            }
            UserError::Folder(path, error) => write!(
                f,
                "cannot make the data folder {} for --user: {error}",
                path.display()
            ),
            UserError::System(what, error) => {
                write!(f, "cannot become another user (--user), {what}: {error}")
            }
        }
    }
}

impl std::error::Error for UserError {}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_new_folder_is_not_followed() {
        let name = format!("roomcast-give-{}", std::process::id());
        let outer = std::env::temp_dir().join(name);
        let (of_root, data) = (outer.join("of-root"), outer.join("data"));
        fs::create_dir_all(&of_root).unwrap();
        symlink(&of_root, &data).unwrap();
        let before = fs::metadata(&of_root).unwrap();
        // Root could give it to anyone, and everybody else to themselves.
        let (uid, gid) = match is_root() {
            true => (Uid::from_raw(65_534), Gid::from_raw(65_534)),
            false => (unistd::geteuid(), unistd::getegid()),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = file::open(&outer, flags, Mode::empty()).unwrap();
        give(parent.as_fd(), OsStr::new("data"), uid, gid).expect_err("it is a link");
        let after = fs::metadata(&of_root).unwrap();
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        give(parent.as_fd(), OsStr::new("of-root"), uid, gid).expect("it is a folder");
        let given = fs::metadata(&of_root).unwrap();
        assert_eq!((given.uid(), given.gid()), (uid.as_raw(), gid.as_raw()));
        fs::remove_dir_all(outer).unwrap();
    }
}
