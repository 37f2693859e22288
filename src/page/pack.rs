//! Compressed pieces that can be put behind one another: raw deflate that ends on a byte and refers to nothing before its
//! beginning. Any row of them, between the header and the trailer of gzip, is one valid stream of one member; the checksum
//! of the whole comes from those of the pieces.

use bytes::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};

/// No name, no time, an unknown system.
pub(super) const GZIP_HEADER: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty block that says to be the last.
const LAST_BLOCK: [u8; 2] = [3, 0];
/// The longest stored block.
const STORED: usize = 0xffff;

/// A piece of a page in one form.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// What it unpacks to: checksum and length. A plain piece has no checksum.
    pub(super) crc: u32,
    pub(super) length: u64,
}

/// The checksum of what was put together so far.
#[derive(Debug, Clone)]
pub(super) struct Sum(Hasher);

/// Compresses one piece after another.
pub(super) struct Packer(Compress);

// === impl Piece ===

impl Piece {
    pub(super) fn plain(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { bytes, crc: 0, length }
    }
}

// === impl Sum ===

impl Sum {
    pub(super) fn new() -> Self {
        Self(Hasher::new())
    }

    /// Puts behind it what was summed elsewhere.
    pub(super) fn append(&mut self, crc: u32, length: u64) {
        self.0.combine(&Hasher::new_with_initial_len(crc, length));
    }

    pub(super) fn crc(&self) -> u32 {
        self.0.clone().finalize()
    }

    /// What ends a stream of so many bytes.
    #[expect(clippy::cast_possible_truncation, reason = "gzip keeps the length in 32 bits")]
    pub(super) fn trailer(&self, length: u64) -> [u8; 10] {
        let mut trailer = [0; 10];
        trailer[..2].copy_from_slice(&LAST_BLOCK);
        trailer[2..6].copy_from_slice(&self.crc().to_le_bytes());
        trailer[6..].copy_from_slice(&(length as u32).to_le_bytes());
        trailer
    }
}

// === impl Packer ===

impl Packer {
    pub(super) fn new() -> Self {
        // The fastest: lines are so alike that more effort gains little.
        Self(Compress::new(Compression::fast(), false))
    }

    /// A piece of its own.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Piece {
        self.0.reset();
        let mut out = Vec::with_capacity(plain.len() / 6 + 64);
        let mut rest = plain;
        loop {
            let before = self.0.total_in();
            let status = self.0.compress_vec(rest, &mut out, FlushCompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            // Room that is left over means that all is flushed.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
            if !matches!(status, Ok(Status::Ok | Status::BufError)) {
                return store(plain);
            }
            out.reserve(out.capacity());
        }
        out.shrink_to_fit();
        Piece { bytes: out.into(), crc: crc32fast::hash(plain), length: plain.len() as u64 }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

/// A piece that is not compressed, for what is gone before that would pay.
pub(super) fn store(plain: &[u8]) -> Piece {
    let mut out = Vec::with_capacity(plain.len() + 5 * plain.len().div_ceil(STORED));
    for block in plain.chunks(STORED) {
        let length = u16::try_from(block.len()).unwrap_or_default();
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    Piece { bytes: out.into(), crc: crc32fast::hash(plain), length: plain.len() as u64 }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    /// Unpacks one member, and wants nothing behind it.
    fn unpack(stream: &[u8]) -> Vec<u8> {
        let mut reader = flate2::bufread::GzDecoder::new(stream);
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain).unwrap();
        assert!(reader.into_inner().is_empty());
        plain
    }

    proptest! {
        /// Whatever is stitched is one member that unpacks to the whole; and it is what the checksum says.
        #[test]
        fn stitched_pieces_are_one_stream(parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), 1_usize..300, any::<bool>()), 0..8)) {
            let (mut packer, mut sum, mut length) = (Packer::new(), Sum::new(), 0);
            let (mut whole, mut stream) = (Vec::new(), GZIP_HEADER.to_vec());
            for (part, times, stored) in parts {
                let plain = part.repeat(times);
                let piece = if stored { store(&plain) } else { packer.pack(&plain) };
                sum.append(piece.crc, piece.length);
                length += piece.length;
                stream.extend_from_slice(&piece.bytes);
                whole.extend_from_slice(&plain);
            }
            stream.extend_from_slice(&sum.trailer(length));
            prop_assert_eq!(unpack(&stream), whole);
        }
    }

    #[test]
    fn lines_shrink() {
        let lines = (0..2000)
            .map(|n| format!("family_total{{agent=\"operator.{n:05}\"}} {}\n", n * 37))
            .collect::<Vec<_>>()
            .concat();
        let piece = Packer::new().pack(lines.as_bytes());
        assert!(piece.bytes.len() * 4 < lines.len(), "{} of {}", piece.bytes.len(), lines.len());
    }
}
