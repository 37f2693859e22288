//! A disk in memory under the real embedded store. What is written is readable at once and safe only once it is synced:
//! a crash keeps any part of the rest. It can be full, and it can die at any write.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::chaos::Dice;

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    content: Vec<u8>,
    /// What survives a crash.
    safe: Vec<u8>,
    /// Writes since the last sync, in order.
    unsynced: Vec<Change>,
    /// Which incarnation of the program may use it.
    boot: u64,
    /// Writes fail while it is full.
    full: bool,
    /// Writes left until it dies under the program.
    life: Option<u64>,
    /// Syncs left until then: it dies right after the last of them, between two transactions.
    syncs_left: Option<u64>,
    syncs: u64,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// The disk as one incarnation of the program has it open.
#[derive(Debug)]
pub(crate) struct Handle {
    disk: Disk,
    boot: u64,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open(&self) -> Handle {
        Handle { disk: self.clone(), boot: self.lock().boot }
    }

    /// The program is gone: of what was not synced any part may have reached the platter.
    pub(crate) fn crash(&self, dice: &mut Dice) {
        let mut state = self.lock();
        let kept = dice.between(0, 100);
        for change in std::mem::take(&mut state.unsynced) {
            if dice.percent(kept) {
                change.apply(&mut state.safe);
            }
        }
        let state = &mut *state;
        state.content.clone_from(&state.safe);
        state.boot += 1;
        state.life = None;
        state.syncs_left = None;
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Dies after so many more writes.
    pub(crate) fn die_after(&self, writes: u64) {
        self.lock().life = Some(writes);
    }

    /// Dies right after so many more syncs.
    pub(crate) fn die_after_syncs(&self, syncs: u64) {
        self.lock().syncs_left = Some(syncs);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.lock().life == Some(0)
    }

    pub(crate) fn size(&self) -> usize {
        self.lock().content.len()
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.lock().syncs
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[start..end].copy_from_slice(data);
            }
            Self::Length(length) => image.resize(*length as usize, 0),
        }
    }
}

impl Handle {
    /// The disk for a write or a sync, if this incarnation still has it.
    fn spend(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.lock();
        if state.boot != self.boot || state.life == Some(0) {
            return Err(io::Error::other("the disk is gone"));
        }
        if state.full {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if let Some(life) = &mut state.life {
            *life -= 1;
        }
        Ok(state)
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().content.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        let from = state.content.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(from.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.spend()?;
        let change = Change::Length(len);
        change.apply(&mut state.content);
        state.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.spend()?;
        if std::env::var_os("DISK_THAT_LIES").is_some() {
            return Ok(());
        }
        state.syncs += 1;
        for change in std::mem::take(&mut state.unsynced) {
            change.apply(&mut state.safe);
        }
        if let Some(left) = &mut state.syncs_left {
            *left -= 1;
            if *left == 0 {
                state.life = Some(0);
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.spend()?;
        let change = Change::Write(offset, data.to_vec());
        change.apply(&mut state.content);
        state.unsynced.push(change);
        Ok(())
    }
}
