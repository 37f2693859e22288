//! Where counters rest: keys and values, changed in transactions that are durable when they return. Nothing else is
//! asked of a store, so that another one can take this one's place.

/// One transaction's worth of changes: a key with its new value, or with none to remove it.
pub type Writes = Vec<(String, Option<Vec<u8>>)>;

/// A durable map.
pub trait Store: Send {
    /// Every pair whose key begins with `prefix`, in key order.
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// All of `writes` or nothing, on disk before it returns. After an error the store may be used again.
    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError>;
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made or the file cannot be opened.
    #[error("state {path} cannot be opened: {cause}")]
    Open {
        /// The file or directory.
        path: String,
        /// What the system says.
        cause: String,
    },
    /// Another process has it.
    #[error("state {path} is in use by another process: run one instance per state directory")]
    Locked {
        /// The file.
        path: String,
    },
    /// The file is not what was written.
    #[error("state {path} is damaged and is left as it is ({cause}): restore a copy, or move it away to start anew")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        cause: String,
    },
    /// Written by a newer version.
    #[error("state {path} has format {found}, newer than this version's {known}: run the newer version")]
    Newer {
        /// The file.
        path: String,
        /// The format in the file.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// A transaction failed while running; nothing of it counts.
    #[error("state {path} cannot be written: {cause}")]
    Write {
        /// The file.
        path: String,
        /// What the system says.
        cause: String,
    },
}
