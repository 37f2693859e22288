//! Blocks become a page in one representation: for each family of the catalogue, in its order, one header and the pieces
//! of all reports behind one another. Between them goes, at each scrape, what the exporter says of itself: the places for
//! it are known, so that a scrape puts together a few dozen `Bytes` and copies none of the large ones.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::block::{Block, Form};
use super::message;
use super::negotiate::{Format, Representation};
use super::pack::{GZIP_HEADER, Packer, Piece, Sum, store};
use crate::catalogue::{ALL, Family, Kind};

/// Shorter pieces are copied together: each one costs an entry of a vectored write.
const SMALL: usize = 16 * 1024;
const END: &[u8] = b"# EOF\n";

/// A page without the exporter's own families.
#[derive(Debug)]
pub(super) struct Joined {
    representation: Representation,
    segments: Vec<Segment>,
}

/// Families with none of the exporter's own between them.
#[derive(Debug)]
struct Segment {
    first: Family,
    chunks: Chunks,
    crc: u32,
    /// Unpacked.
    length: u64,
}

/// A body, ready to be sent.
#[derive(Debug, Default)]
pub struct Body {
    /// Its parts, in order.
    pub chunks: std::vec::IntoIter<Bytes>,
    /// How many bytes are left.
    pub length: u64,
}

/// Bytes in a row, short ones copied together.
#[derive(Debug, Default)]
struct Chunks {
    done: Vec<Bytes>,
    open: BytesMut,
}

/// Compressed headers: they never change.
#[derive(Debug, Default)]
pub(super) struct Headers(HashMap<(Family, Format), Piece>);

// === impl Joined ===

impl Joined {
    /// All `blocks`, which must have the form of the representation.
    pub(super) fn new(
        representation: Representation,
        blocks: &[Arc<Block>],
        headers: &mut Headers,
        packer: &mut Packer,
    ) -> Self {
        let form = Form::of(representation);
        let mut segments = Vec::new();
        let mut open: Option<(Segment, Sum)> = None;
        let mut close = |open: Option<(Segment, Sum)>| {
            if let Some((mut segment, sum)) = open {
                segment.crc = sum.crc();
                segment.chunks.close();
                segments.push(segment);
            }
        };
        for family in ALL.iter().copied() {
            if family.spec().is_own() {
                close(open.take());
                continue;
            }
            let pieces: Vec<&Piece> =
                blocks.iter().filter_map(|block| block.part(family)?.piece(form)).filter(|p| p.length > 0).collect();
            if pieces.is_empty() {
                continue;
            }
            let segment = || Segment { first: family, chunks: Chunks::default(), crc: 0, length: 0 };
            let (segment, sum) = open.get_or_insert_with(|| (segment(), Sum::new()));
            let metrics = pieces.iter().map(|piece| piece.length).sum();
            let header = headers.piece(family, representation, metrics, packer);
            for piece in [&header].into_iter().chain(pieces) {
                segment.length += piece.length;
                if representation.gzip {
                    sum.append(piece.crc, piece.length);
                }
                segment.chunks.push(&piece.bytes);
            }
        }
        close(open);
        Self { representation, segments }
    }

    /// The whole page, with the exporter's own block as it is now.
    pub(super) fn with(&self, own: &Block) -> Body {
        let Representation { format, gzip } = self.representation;
        let mut whole = Whole { gzip, sum: Sum::new(), length: 0, chunks: Chunks::default() };
        if gzip {
            whole.chunks.push(&Bytes::from_static(GZIP_HEADER));
        }
        let mut segments = self.segments.iter().peekable();
        let form = Form::of(self.representation);
        for part in own.parts() {
            while let Some(segment) = segments.next_if(|segment| segment.first < part.family) {
                whole.push_segment(segment);
            }
            if let Some(piece) = part.piece(form) {
                whole.push(&header(part.family, format, piece.length));
                whole.push_piece(piece);
            }
        }
        segments.for_each(|segment| whole.push_segment(segment));
        if format == Format::OpenMetrics {
            whole.push(END);
        }
        whole.finish()
    }
}

/// A page that is put together for one scrape.
struct Whole {
    gzip: bool,
    sum: Sum,
    length: u64,
    chunks: Chunks,
}

impl Whole {
    fn push(&mut self, plain: &[u8]) {
        if self.gzip {
            self.push_piece(&store(plain));
        } else {
            self.chunks.open.extend_from_slice(plain);
        }
    }

    fn push_piece(&mut self, piece: &Piece) {
        self.chunks.push(&piece.bytes);
        self.note(piece.crc, piece.length);
    }

    fn push_segment(&mut self, segment: &Segment) {
        segment.chunks.done.iter().for_each(|chunk| self.chunks.push(chunk));
        self.note(segment.crc, segment.length);
    }

    fn note(&mut self, crc: u32, length: u64) {
        if self.gzip {
            self.sum.append(crc, length);
        }
        self.length += length;
    }

    fn finish(mut self) -> Body {
        if self.gzip {
            self.chunks.open.extend_from_slice(&self.sum.trailer(self.length));
        }
        self.chunks.close();
        let length = self.chunks.done.iter().map(|chunk| chunk.len() as u64).sum();
        Body { chunks: self.chunks.done.into_iter(), length }
    }
}

// === impl Body ===

impl Body {
    /// A body of one chunk.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = bytes.len() as u64;
        Self { chunks: if bytes.is_empty() { Vec::new() } else { vec![bytes] }.into_iter(), length }
    }

    /// All of it in one piece.
    pub fn concat(self) -> Vec<u8> {
        self.chunks.as_slice().concat()
    }
}

impl Iterator for Body {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.next()?;
        self.length -= chunk.len() as u64;
        Some(chunk)
    }
}

// === impl Chunks ===

impl Chunks {
    fn push(&mut self, bytes: &Bytes) {
        if bytes.len() < SMALL {
            self.open.extend_from_slice(bytes);
        } else {
            self.close();
            self.done.push(bytes.clone());
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
    }
}

// === impl Headers ===

impl Headers {
    fn piece(
        &mut self,
        family: Family,
        Representation { format, gzip }: Representation,
        metrics: u64,
        packer: &mut Packer,
    ) -> Piece {
        let header = || header(family, format, metrics);
        match (gzip, format) {
            (false, _) => Piece::plain(header().into()),
            // It holds the length of what follows, which changes.
            (true, Format::Protobuf) => store(&header()),
            (true, _) => self.0.entry((family, format)).or_insert_with(|| packer.pack(&header())).clone(),
        }
    }
}

/// What stands before the samples of a family: HELP, TYPE and, in OpenMetrics, UNIT. The help texts of the catalogue need
/// no escaping, which its tests hold.
fn header(family: Family, format: Format, metrics: u64) -> Vec<u8> {
    if format == Format::Protobuf {
        return message::header(family, metrics);
    }
    let spec = family.spec();
    let full = spec.full_name();
    let open = format == Format::OpenMetrics;
    let (name, kind) = match spec.kind {
        Kind::Counter if open => (full.trim_end_matches("_total"), "counter"),
        Kind::Counter => (full.as_str(), "counter"),
        Kind::Gauge => (full.as_str(), "gauge"),
        Kind::Histogram(_) => (full.as_str(), "histogram"),
    };
    let mut header = ["# HELP ", name, " ", spec.help, "\n# TYPE ", name, " ", kind, "\n"].concat();
    if open && let Some(unit) = spec.unit() {
        header.push_str(&["# UNIT ", name, " ", unit, "\n"].concat());
    }
    header.into()
}
