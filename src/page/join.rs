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

/// So many reports share what is joined of them: a publication copies the short pieces of one group, not of the page.
const GROUP: usize = 8;

/// A page without the families that are live.
#[derive(Debug)]
pub(super) struct Joined {
    representation: Representation,
    groups: Vec<Arc<Group>>,
    segments: Vec<Run>,
}

/// What some blocks show of each family.
#[derive(Debug)]
struct Group {
    blocks: Vec<Arc<Block>>,
    runs: Vec<Run>,
}

/// Pieces in a row: of one family in a group, of all families between two live ones in a page.
#[derive(Debug)]
struct Run {
    first: Family,
    chunks: Chunks,
    /// Of compressed pieces.
    sum: Option<Sum>,
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
    /// All `blocks`, which must have the form of the representation. What has not changed since `before` stays.
    pub(super) fn new(
        representation: Representation,
        before: Option<&Self>,
        blocks: &[Arc<Block>],
        headers: &mut Headers,
        packer: &mut Packer,
    ) -> Self {
        let form = Form::of(representation);
        let group = |(index, blocks): (usize, &[Arc<Block>])| match before.and_then(|before| before.groups.get(index)) {
            Some(group) if group.is_of(blocks) => Arc::clone(group),
            _ => Arc::new(Group::new(form, blocks)),
        };
        let groups: Vec<Arc<Group>> = blocks.chunks(GROUP).enumerate().map(group).collect();
        let mut segments: Vec<Run> = Vec::new();
        let mut open: Option<Run> = None;
        for family in ALL.iter().copied() {
            if family.spec().is_live() {
                segments.extend(open.take());
                continue;
            }
            let runs: Vec<&Run> = groups.iter().filter_map(|group| group.run(family)).collect();
            if runs.is_empty() {
                continue;
            }
            let segment = open.get_or_insert_with(|| Run::new(family, representation.gzip));
            let metrics = runs.iter().map(|run| run.length).sum();
            segment.push(&headers.piece(family, representation, metrics, packer));
            for run in runs {
                segment.append(run);
            }
        }
        segments.extend(open);
        for segment in &mut segments {
            segment.chunks.close();
        }
        Self { representation, groups, segments }
    }

    /// The whole page, with the exporter's own block as it is now.
    pub(super) fn with(&self, own: &Block) -> Body {
        let Representation { format, gzip } = self.representation;
        let mut whole = Whole(Run::new(ALL[0], gzip));
        if gzip {
            whole.0.chunks.push(&Bytes::from_static(GZIP_HEADER));
        }
        let mut segments = self.segments.iter().peekable();
        let form = Form::of(self.representation);
        for part in own.parts() {
            while let Some(segment) = segments.next_if(|segment| segment.first < part.family) {
                whole.0.append(segment);
            }
            if let Some(piece) = part.piece(form) {
                whole.push(&header(part.family, format, piece.length));
                whole.0.push(piece);
            }
        }
        segments.for_each(|segment| whole.0.append(segment));
        if format == Format::OpenMetrics {
            whole.push(END);
        }
        whole.finish()
    }
}

/// A page that is put together for one scrape.
struct Whole(Run);

impl Whole {
    fn push(&mut self, plain: &[u8]) {
        if self.0.sum.is_some() {
            self.0.push(&store(plain));
        } else {
            self.0.chunks.open.extend_from_slice(plain);
            self.0.length += plain.len() as u64;
        }
    }

    fn finish(self) -> Body {
        let Run { mut chunks, sum, length, .. } = self.0;
        if let Some(sum) = sum {
            chunks.open.extend_from_slice(&sum.trailer(length));
        }
        chunks.close();
        let length = chunks.done.iter().map(|chunk| chunk.len() as u64).sum();
        Body { chunks: chunks.done.into_iter(), length }
    }
}

// === impl Group ===

impl Group {
    fn new(form: Form, blocks: &[Arc<Block>]) -> Self {
        let run = |family: Family| {
            let pieces = || blocks.iter().filter_map(|block| block.part(family)?.piece(form)).filter(|p| p.length > 0);
            pieces().next()?;
            let mut run = Run::new(family, form.packed());
            run.chunks.open.reserve(pieces().map(|piece| piece.bytes.len()).filter(|length| *length < SMALL).sum());
            pieces().for_each(|piece| run.push(piece));
            run.chunks.close();
            Some(run)
        };
        Self { blocks: blocks.to_vec(), runs: ALL.iter().copied().filter_map(run).collect() }
    }

    /// They are held, so that no other block can be where one of them was.
    fn is_of(&self, blocks: &[Arc<Block>]) -> bool {
        self.blocks.len() == blocks.len() && self.blocks.iter().zip(blocks).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn run(&self, family: Family) -> Option<&Run> {
        self.runs.binary_search_by_key(&family, |run| run.first).ok().map(|index| &self.runs[index])
    }
}

// === impl Run ===

impl Run {
    fn new(first: Family, packed: bool) -> Self {
        Self { first, chunks: Chunks::default(), sum: packed.then(Sum::new), length: 0 }
    }

    fn push(&mut self, piece: &Piece) {
        self.chunks.push(&piece.bytes);
        self.note(piece.crc, piece.length);
    }

    /// `run` must be closed.
    fn append(&mut self, run: &Self) {
        run.chunks.done.iter().for_each(|chunk| self.chunks.push(chunk));
        self.note(run.sum.as_ref().map_or(0, Sum::crc), run.length);
    }

    fn note(&mut self, crc: u32, length: u64) {
        if let Some(sum) = &mut self.sum {
            sum.append(crc, length);
        }
        self.length += length;
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
