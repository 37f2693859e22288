//! What one report shows, family by family, in the forms that somebody wants: lines or protobuf, plain or compressed.
//! A block never changes; a poll makes a new one.

use super::encode::{Encoder, MayShow, Notations, Source};
use super::negotiate::{Format, Representation};
use super::pack::{Packer, Piece, store};
use crate::catalogue::Family;

/// How a part of a page is kept. Several representations share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    PackedLines,
    Messages,
    PackedMessages,
}

/// A set of forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forms([bool; 4]);

/// The encoded samples of one source, by family.
#[derive(Debug, Clone, Default)]
pub struct Block {
    parts: Vec<Part>,
    series: usize,
    forms: Forms,
}

/// The samples of one family.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) family: Family,
    pieces: [Option<Piece>; 4],
}

// === impl Form ===

impl Form {
    /// The one that a representation is made of.
    pub(super) const fn of(representation: Representation) -> Self {
        match (representation.format, representation.gzip) {
            (Format::Protobuf, false) => Self::Messages,
            (Format::Protobuf, true) => Self::PackedMessages,
            (_, false) => Self::Lines,
            (_, true) => Self::PackedLines,
        }
    }

    pub(super) const fn packed(self) -> bool {
        matches!(self, Self::PackedLines | Self::PackedMessages)
    }
}

// === impl Forms ===

impl Forms {
    pub(super) const fn has(self, form: Form) -> bool {
        self.0[form as usize]
    }

    /// Whether all of `wanted` are here.
    pub(super) fn meet(self, wanted: Self) -> bool {
        self.0.iter().zip(wanted.0).all(|(has, wanted)| *has || !wanted)
    }
}

impl FromIterator<Form> for Forms {
    fn from_iter<I: IntoIterator<Item = Form>>(forms: I) -> Self {
        let mut set = Self::default();
        forms.into_iter().for_each(|form| set.0[form as usize] = true);
        set
    }
}

// === impl Block ===

impl Block {
    /// What `source` shows now. Without a packer what is to be compressed is only wrapped.
    pub(super) fn encode(
        source: &dyn Source,
        forms: Forms,
        may_show: MayShow<'_>,
        mut packer: Option<&mut Packer>,
    ) -> Self {
        let has = |form| forms.has(form);
        let notations = Notations {
            lines: has(Form::Lines) || has(Form::PackedLines),
            messages: has(Form::Messages) || has(Form::PackedMessages),
        };
        let mut encoder = Encoder::new(notations, may_show);
        source.write(&mut encoder);
        let mut pack = |plain: &[u8]| packer.as_mut().map_or_else(|| store(plain), |packer| packer.pack(plain));
        let (mut parts, mut series) = (Vec::new(), 0);
        for rows in encoder.finish() {
            if !rows.family.spec().is_own() {
                series += rows.series;
            }
            let mut pieces = [const { None }; 4];
            for (plain, form, packed) in
                [(rows.lines, Form::Lines, Form::PackedLines), (rows.messages, Form::Messages, Form::PackedMessages)]
            {
                pieces[packed as usize] = has(packed).then(|| pack(&plain));
                pieces[form as usize] = has(form).then(|| {
                    let mut plain = plain;
                    plain.shrink_to_fit();
                    Piece::plain(plain.into())
                });
            }
            parts.push(Part { family: rows.family, pieces });
        }
        Self { parts, series, forms }
    }

    /// The exporter's own figures in the form of that representation. They are gone after one scrape, too soon to
    /// compress them.
    pub fn live(source: &dyn Source, representation: Representation) -> Self {
        Self::encode(source, [Form::of(representation)].into_iter().collect(), Box::new(|_, _| true), None)
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn part(&self, family: Family) -> Option<&Part> {
        self.parts.binary_search_by_key(&family, |part| part.family).ok().map(|index| &self.parts[index])
    }

    pub(super) const fn forms(&self) -> Forms {
        self.forms
    }

    /// Lets go of what nobody wants.
    pub(super) fn without(&self, wanted: Forms) -> Self {
        let mut block = self.clone();
        for (index, wanted) in wanted.0.into_iter().enumerate().filter(|(_, wanted)| !wanted) {
            block.forms.0[index] = wanted;
            block.parts.iter_mut().for_each(|part| part.pieces[index] = None);
        }
        block
    }

    /// Whether it has samples of a family.
    pub fn has(&self, family: Family) -> bool {
        self.part(family).is_some()
    }

    /// How many series of the vendor's it holds.
    pub const fn series(&self) -> usize {
        self.series
    }
}

// === impl Part ===

impl Part {
    /// The piece in a form that its block has.
    pub(super) fn piece(&self, form: Form) -> Option<&Piece> {
        self.pieces[form as usize].as_ref()
    }
}
