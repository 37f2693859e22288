//! The embedded store: one redb file, one table. redb syncs at commit, keeps a checksum of every page and rolls an
//! unfinished transaction back when it is opened after a crash.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableDefinition, TableError,
};

use super::store::{Store, StoreError, Writes};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("ledger");
const FILE: &str = "state.redb";
/// The ledger keeps its own copy of everything: redb needs little.
const CACHE: usize = 4 << 20;
/// A lock is waited for this often,
const LOCK_TRIES: u32 = 20;
/// and this long each time.
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Of redb; its files are so many of them.
const PAGE: usize = 4096;

/// A redb database.
pub struct RedbStore {
    /// For messages.
    path: PathBuf,
    open: Opener,
    /// None after a failed write, until it is opened again.
    database: Option<Database>,
}

type Opener = Box<dyn Fn(&Path) -> Result<Database, StoreError> + Send>;

impl RedbStore {
    /// Opens the file in `folder`, or makes it. What cannot be read is never overwritten.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        // It names people.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| StoreError::Open { path: folder.display().to_string(), cause: error.to_string() })?;
        let path = folder.join(FILE);
        let made = !path.exists();
        if made {
            create(folder, &path)?;
        } else {
            tighten(&path);
        }
        // A process that is just ending, or one that was just forked off, may still hold the lock for a moment.
        let mut tries = 0;
        let database = loop {
            let sound = if made { Ok(()) } else { check(&path) };
            match sound.and_then(|()| open(&path)) {
                Err(StoreError::Locked { .. }) if tries < LOCK_TRIES => tries += 1,
                opened => break opened?,
            }
            std::thread::sleep(LOCK_PAUSE);
        };
        Ok(Self { path, open: Box::new(open), database: Some(database) })
    }

    /// A database on something that is no file: the simulation brings a disk of its own.
    pub fn over<B: StorageBackend>(
        name: &str,
        backend: impl Fn() -> Result<B, std::io::Error> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let path = PathBuf::from(name);
        let open: Opener = Box::new(move |path| {
            let backend = backend()
                .map_err(|error| StoreError::Open { path: path.display().to_string(), cause: error.to_string() })?;
            guard(path, || {
                Builder::new().set_cache_size(CACHE).create_with_backend(backend).map_err(|error| explain(path, &error))
            })
        });
        let database = Some(open(&path)?);
        Ok(Self { path, open, database })
    }

    fn write_error(&self, cause: &dyn std::fmt::Display) -> StoreError {
        StoreError::Write { path: self.path.display().to_string(), cause: cause.to_string() }
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.database = Some((self.open)(&self.path)?);
        }
        self.database.as_ref().ok_or_else(|| self.write_error(&"closed"))
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for RedbStore {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let path = self.path.clone();
        let database = self.database()?;
        guard(&path, || {
            let damaged = |error: &dyn std::fmt::Display| StoreError::Damaged {
                path: path.display().to_string(),
                cause: error.to_string(),
            };
            let transaction = database.begin_read().map_err(|error| damaged(&error))?;
            let table = match transaction.open_table(TABLE) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(damaged(&error)),
            };
            let mut found = Vec::new();
            for pair in table.range(prefix..).map_err(|error| damaged(&error))? {
                let (key, value) = pair.map_err(|error| damaged(&error))?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let result = self.database().map_err(|error| error.to_string()).and_then(|database| write(database, writes));
        result.map_err(|cause| {
            // redb refuses to go on after a failed write: the file is opened anew at the next one.
            self.database = None;
            self.write_error(&cause)
        })
    }
}

fn write(database: &Database, writes: &Writes) -> Result<(), String> {
    let transaction = database.begin_write().map_err(|error| error.to_string())?;
    {
        let mut table = transaction.open_table(TABLE).map_err(|error| error.to_string())?;
        for (key, value) in writes {
            match value {
                Some(value) => table.insert(key.as_str(), value.as_slice()).map_err(|error| error.to_string())?,
                None => table.remove(key.as_str()).map_err(|error| error.to_string())?,
            };
        }
    }
    transaction.commit().map_err(|error| error.to_string())
}

/// Made aside and renamed, so that a file under the right name was once complete: an empty one is damage. Made in memory
/// first: redb syncs at each of its own steps, and all of them together need one.
fn create(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let open_error = |cause: String| StoreError::Open { path: path.display().to_string(), cause };
    let memory = Memory::default();
    let database = Builder::new()
        .set_cache_size(CACHE)
        .create_with_backend(memory.clone())
        .map_err(|error| open_error(error.to_string()))?;
    write(&database, &Vec::new()).map_err(open_error)?;
    drop(database);
    let place = || {
        let aside = folder.join(format!("{FILE}.new"));
        let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        tighten(&aside);
        let length = memory.len()?;
        file.set_len(length)?;
        let mut page = [0; PAGE];
        // Most of it is still empty, and stays a hole.
        for place in (0..length).step_by(PAGE) {
            memory.read(place, &mut page)?;
            if page.iter().any(|byte| *byte != 0) {
                file.seek(SeekFrom::Start(place))?;
                file.write_all(&page)?;
            }
        }
        file.sync_all()?;
        fs::rename(&aside, path)?;
        fs::File::open(folder)?.sync_all()
    };
    place().map_err(|error: io::Error| open_error(error.to_string()))
}

/// Nobody else may read a file either that was there already. Where that cannot be had, as on some file systems, the start
/// does not fail for it.
fn tighten(path: &Path) {
    let open = |metadata: fs::Metadata| metadata.permissions().mode() & 0o077 != 0;
    if fs::metadata(path).is_ok_and(open)
        && let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(0o600))
    {
        tracing::warn!(path = %path.display(), %error, "others may read the state");
    }
}

/// A new file that somebody still looks at when redb has closed it.
#[derive(Debug, Clone, Default)]
struct Memory(Arc<InMemoryBackend>);

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Checks every page before the file is opened for writing, in a copy in memory: opening it would already write to it.
fn check(path: &Path) -> Result<(), StoreError> {
    let name = || path.display().to_string();
    let open_error = |error: &std::io::Error| StoreError::Open { path: name(), cause: error.to_string() };
    let file = fs::File::open(path).map_err(|error| open_error(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Locked { path: name() }),
        Err(fs::TryLockError::Error(error)) => return Err(open_error(&error)),
    }
    let bytes = fs::read(path).map_err(|error| open_error(&error))?;
    if bytes.is_empty() {
        return Err(StoreError::Damaged { path: name(), cause: "the file is empty".to_owned() });
    }
    guard(path, || {
        let memory = InMemoryBackend::new();
        let filled = memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes));
        filled.map_err(|error| open_error(&error))?;
        drop(bytes);
        let mut copy =
            Builder::new().set_cache_size(CACHE).create_with_backend(memory).map_err(|error| explain(path, &error))?;
        // False means that an unfinished transaction was rolled back, as after any crash.
        copy.check_integrity().map_err(|error| explain(path, &error)).map(drop)
    })
}

fn open(path: &Path) -> Result<Database, StoreError> {
    guard(path, || Builder::new().set_cache_size(CACHE).open(path).map_err(|error| explain(path, &error)))
}

fn explain(path: &Path, error: &DatabaseError) -> StoreError {
    let path = path.display().to_string();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Locked { path },
        DatabaseError::Storage(StorageError::Io(io)) if io.kind() != std::io::ErrorKind::InvalidData => {
            StoreError::Open { path, cause: io.to_string() }
        }
        other => StoreError::Damaged { path, cause: other.to_string() },
    }
}

/// redb asserts what it reads: a damaged page can panic instead of giving an error.
fn guard<T>(path: &Path, action: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(action)).unwrap_or_else(|_| {
        Err(StoreError::Damaged { path: path.display().to_string(), cause: "its pages do not fit together".to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, Option<Vec<u8>>) {
        (key.to_owned(), Some(value.as_bytes().to_vec()))
    }

    #[test]
    fn keeps_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = RedbStore::open(folder.path()).unwrap();
        store.commit(&vec![pair("a1", "x"), pair("a2", "y"), pair("b", "z")]).unwrap();
        store.commit(&vec![("a1".to_owned(), None)]).unwrap();
        drop(store);
        let mut store = RedbStore::open(folder.path()).unwrap();
        assert_eq!(store.read("a").unwrap(), [("a2".to_owned(), b"y".to_vec())]);
    }

    #[test]
    fn nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        drop(RedbStore::open(&state).unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&state.join(FILE))), (0o700, 0o600));
        // An older version made it, or it was left over when one was made.
        for left in [FILE.to_owned(), format!("{FILE}.new")] {
            fs::rename(state.join(FILE), state.join(&left)).unwrap();
            fs::set_permissions(state.join(&left), fs::Permissions::from_mode(0o644)).unwrap();
            drop(RedbStore::open(&state).unwrap());
            assert_eq!(mode(&state.join(FILE)), 0o600, "{left}");
        }
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = RedbStore::open(folder.path()).unwrap();
        assert!(matches!(RedbStore::open(folder.path()), Err(StoreError::Locked { .. })));
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        for damage in ["empty", "text", "flipped"] {
            let folder = tempfile::tempdir().unwrap();
            let mut store = RedbStore::open(folder.path()).unwrap();
            store.commit(&(0..500).map(|n| pair(&format!("k{n:04}"), &"v".repeat(200))).collect()).unwrap();
            drop(store);
            let path = folder.path().join(FILE);
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                "empty" => bytes.clear(),
                "text" => bytes = b"this is no database".to_vec(),
                _ => {
                    let middle = bytes.windows(50).position(|window| window.iter().all(|b| *b == b'v')).unwrap();
                    bytes[middle + 10] ^= 0x55;
                }
            }
            fs::write(&path, &bytes).unwrap();
            let error = RedbStore::open(folder.path()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { .. }), "{damage}: {error}");
            assert!(fs::read(&path).unwrap() == bytes, "{damage}: the file was touched");
        }
    }
}
