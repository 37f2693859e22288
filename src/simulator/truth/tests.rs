use super::*;

const NOW: i64 = 1_795_168_800; // 2026-11-20 10:00 UTC

#[test]
fn the_same_seed_tells_the_same_story() {
    let (one, two) = (Truth::new(7, 10), Truth::new(7, 10));
    for vendor in Vendor::ALL {
        for agent in 0..10 {
            let day = NOW / DAY;
            // Asked in another order, and after the cache has let go.
            two.shift(vendor, agent, day + 5);
            assert_eq!(one.shift(vendor, agent, day), two.shift(vendor, agent, day));
        }
    }
    assert_ne!(one.shift(Vendor::Huawei, 0, 20_000), Truth::new(8, 10).shift(Vendor::Huawei, 0, 20_000));
}

#[test]
fn nobody_talks_to_two_at_once() {
    let truth = Truth::new(1, 12);
    for vendor in Vendor::ALL {
        for agent in 0..12 {
            let calls = truth.started_in(vendor, agent, NOW - 3 * DAY..NOW);
            assert!(calls.len() > 300, "{vendor:?} {agent}: {}", calls.len());
            for pair in calls.windows(2) {
                assert!(pair[0].done() < pair[1].start, "{pair:?}");
            }
            for call in &calls {
                assert_eq!(call.answered, call.talk > 0);
                assert!(call.mute <= call.talk, "{call:?}");
                assert_eq!(call.hold > 0, call.hold_events > 0);
            }
        }
    }
}

#[test]
fn no_hour_is_dead() {
    let truth = Truth::new(3, 10);
    for hour in 0..48 {
        let from = NOW + hour * 3600;
        for vendor in Vendor::ALL {
            let busy = (0..10).filter(|agent| !truth.ended_in(vendor, *agent, from..from + 3600).is_empty()).count();
            assert!(busy >= 4, "{vendor:?} hour {hour}: {busy}");
        }
    }
}

#[test]
fn something_ends_every_few_seconds() {
    let truth = Truth::new(3, 10);
    let ended: usize =
        Vendor::ALL.iter().flat_map(|v| (0..10).map(|a| truth.ended_in(*v, a, NOW..NOW + 3600).len())).sum();
    assert!(ended > 360, "{ended} calls in an hour");
}

#[test]
fn a_session_counts_what_its_shift_counts() {
    let truth = Truth::new(5, 6);
    for agent in 0..6 {
        for at in (NOW..NOW + 2 * DAY).step_by(977).chain([NOW]) {
            let session = truth.session(agent, at);
            let day = truth.on_shift(Vendor::Huawei, agent, at);
            assert_eq!(session.is_some(), day.is_some());
            if let (Some(session), Some(day)) = (session, day) {
                let whole = Figures::of(truth.shift(Vendor::Huawei, agent, day).iter(), at);
                assert_eq!((session.figures.talk, session.figures.calls()), (whole.talk, whole.calls()));
                assert!(session.since <= at);
            }
        }
    }
}

#[test]
fn windows_add_up_to_the_whole() {
    let truth = Truth::new(5, 3);
    let now = NOW + DAY;
    let mut parts = Figures::default();
    for from in (NOW..now).step_by(3600) {
        parts += Figures::of(&truth.ended_in(Vendor::Wolkvox, 1, from..(from + 3600).min(now)), now);
    }
    assert_eq!(parts, Figures::of(&truth.ended_in(Vendor::Wolkvox, 1, NOW..now), now));
}

#[test]
fn every_eighth_wolkvox_agent_is_a_namesake() {
    let truth = Truth::new(1, 16);
    let agents = truth.agents(Vendor::Wolkvox);
    let keys: std::collections::HashSet<_> = agents.iter().map(|agent| &agent.key).collect();
    assert_eq!(keys.len(), 14);
    assert_eq!(agents[6].key, agents[7].key);
    for vendor in [Vendor::Ozonetel, Vendor::Huawei, Vendor::Voximplant] {
        let keys: std::collections::HashSet<_> = truth.agents(vendor).iter().map(|agent| &agent.key).collect();
        assert_eq!(keys.len(), 16);
    }
}

#[test]
fn an_operator_always_has_one_status() {
    let truth = Truth::new(2, 4);
    let mut seen = std::collections::BTreeSet::new();
    for agent in 0..4 {
        let window = NOW - 3 * DAY..NOW + 17;
        let stays = truth.statuses(agent, window.clone());
        assert_eq!((stays[0].from, stays[stays.len() - 1].to), (window.start, window.end));
        assert!(stays.iter().zip(&stays[1..]).all(|(one, next)| one.to == next.from));
        assert!(stays.iter().all(|stay| stay.from < stay.to));
        seen.extend(stays.iter().map(|stay| stay.status));
        let time_in = |status| stays.iter().filter(|stay| stay.status == status).map(|stay| stay.to - stay.from).sum();
        let calls = truth.started_in(Vendor::Voximplant, agent, window.start - DAY..window.end);
        let within = |from: i64, to: i64| (to.min(window.end) - from.max(window.start)).max(0);
        let talk: i64 = calls.iter().map(|call| within(call.pickup(), call.end())).sum();
        let wrap_up: i64 = calls.iter().map(|call| within(call.end(), call.done())).sum();
        assert_eq!((time_in(Status::InService), time_in(Status::AfterService)), (talk, wrap_up));
        // However the window is cut, the parts add up to the whole.
        let cut = window.start + 100_003;
        let parts = truth.statuses(agent, window.start..cut).into_iter().chain(truth.statuses(agent, cut..window.end));
        let parts: i64 = parts.filter(|stay| stay.status == Status::Ready).map(|stay| stay.to - stay.from).sum();
        assert_eq!(parts, time_in(Status::Ready));
    }
    assert_eq!(seen.len(), Status::ALL.len(), "{seen:?}");
}

#[test]
fn queues_turn_callers_away_now_and_then() {
    let truth = Truth::new(2, 1);
    let window = NOW..NOW + DAY;
    let all = truth.turned_away(0, &window);
    assert!((10..60).contains(&all.len()), "{}", all.len());
    let halves = [truth.turned_away(0, &(NOW..NOW + 40_000)), truth.turned_away(0, &(NOW + 40_000..window.end))];
    assert_eq!(halves.concat(), all);
    assert_ne!(truth.turned_away(1, &window), all);
}
