//! The parts of the way from an answer to a scrape, each by itself, for those who work on one of them: `cargo bench --bench
//! parts`. What is required of the whole is measured in `cost`.

#[path = "support/operators.rs"]
mod operators;

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use contact_center_exporter::health::Health;
use contact_center_exporter::page::{Format, Page, Representation, process};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use operators::{Account, SERIES, answer};

const OPERATORS: usize = 10_000;

fn parts(criterion: &mut Criterion) {
    let mut account = Account::new("shop-eu", "2026-03-02T08:00:00Z".parse().unwrap_or_default()).expect("a book");
    let body = |turn| Bytes::from(answer(account.day(), OPERATORS, turn));
    let (first, bodies) = (body(1), [body(2), body(3)]);
    let reading = account.decode(&first).expect("an answer");
    account.apply(&reading).expect("memory");

    let mut group = criterion.benchmark_group("10000 operators");
    group.sample_size(20).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements((OPERATORS * SERIES) as u64));
    group.bench_function("decode", |bench| bench.iter(|| account.decode(black_box(&first))));
    group.bench_function("serde_json::Value of the same", |bench| {
        bench.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&first)));
    });
    let readings = bodies.map(|body| account.decode(&body).expect("an answer"));
    let mut turn = 0;
    group.bench_function("ledger", |bench| {
        bench.iter(|| {
            turn += 1;
            account.apply(&readings[turn % 2])
        });
    });
    for (name, format, gzip) in [
        ("encode text", Format::Text004, false),
        ("encode and compress text", Format::Text004, true),
        ("encode protobuf", Format::Protobuf, false),
        ("encode and compress protobuf", Format::Protobuf, true),
    ] {
        let page = Page::new(1);
        page.make(Representation { format, gzip });
        group.bench_function(name, |bench| bench.iter(|| account.publish(&page, 0)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("scrape");
    let health = Health::default();
    group.bench_function("process_*", |bench| bench.iter(process::samples));
    for (name, format, gzip) in
        [("text", Format::Text004, false), ("gzip", Format::Text004, true), ("protobuf, gzip", Format::Protobuf, true)]
    {
        let page = Page::new(1);
        let representation = Representation { format, gzip };
        let view = {
            page.make(representation);
            account.publish(&page, 0);
            page.make(representation)
        };
        group.bench_function(format!("own families, {name}"), |bench| {
            bench.iter(|| health.block_in(representation, page.series()));
        });
        let own = health.block_in(representation, page.series());
        group.bench_function(format!("join, {name}"), |bench| {
            bench.iter_batched(|| (), |()| view.with(black_box(&own)), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, parts);
criterion_main!(benches);
