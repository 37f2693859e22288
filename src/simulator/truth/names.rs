//! Invented people. The surnames are made of two syllables that no language joins this way.

use super::Agent;
use crate::simulator::Vendor;

const INDIA: [&str; 10] = ["Asha", "Ravi", "Meena", "Kiran", "Divya", "Arjun", "Lata", "Nikhil", "Priya", "Sunil"];
const ANDES: [&str; 10] =
    ["Lucía", "Andrés", "Camila", "Íñigo", "Marta", "Julián", "Sofía", "Óscar", "Valeria", "Tomás"];
const OTHER: [&str; 10] = ["Ana", "Bruno", "Clara", "Davi", "Elisa", "Fabio", "Gilda", "Hugo", "Iara", "Joel"];
const HEADS: [&str; 10] = ["Bel", "Cor", "Dan", "Fel", "Gor", "Hal", "Mor", "Nev", "Tar", "Val"];
const TAILS: [&str; 10] = ["añez", "brook", "dosto", "fern", "gatti", "lund", "mire", "quist", "roda", "wick"];
/// Every so many Wolkvox agents one bears the name of the one before him.
const HOMONYM: usize = 8;

pub(super) fn roster(vendor: Vendor, size: usize) -> Vec<Agent> {
    (0..size).map(|index| agent(vendor, index)).collect()
}

fn agent(vendor: Vendor, index: usize) -> Agent {
    let place = u32::try_from(index).unwrap_or(u32::MAX);
    match vendor {
        Vendor::Ozonetel => {
            let first = pick(&INDIA, index);
            let number = index / INDIA.len();
            let key = first.to_lowercase();
            let key = if number == 0 { key } else { format!("{key}{number}") };
            Agent { index: place, key, number: 40_000 + place, name: full(first, index) }
        }
        Vendor::Wolkvox => {
            let namesake = if index % HOMONYM == HOMONYM - 1 { index - 1 } else { index };
            let group = if namesake.is_multiple_of(2) { "COM" } else { "ING" };
            let name = format!("{group}-{}", full(pick(&ANDES, namesake), namesake).to_uppercase());
            Agent { index: place, key: name.clone(), number: 12_000 + place, name }
        }
        Vendor::Huawei | Vendor::Voximplant => {
            let number = place + if vendor == Vendor::Huawei { 101 } else { 1768 };
            Agent { index: place, key: number.to_string(), number, name: full(pick(&OTHER, index), index) }
        }
    }
}

/// A name of its own for each of the first ten thousand.
fn full(first: &str, index: usize) -> String {
    let (head, tail) = (pick(&HEADS, index / 10 + index), pick(&TAILS, index / 100 + index));
    match index / 1000 {
        0 => format!("{first} {head}{tail}"),
        more => format!("{first} {head}{tail} {more}"),
    }
}

fn pick<'a>(list: &[&'a str; 10], index: usize) -> &'a str {
    list[index % 10]
}
