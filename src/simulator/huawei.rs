//! Huawei CC-Gateway: `statisticsEx` of one agent, and nothing else. Sign-in, sign-out and event polls would disturb
//! the agent, so they are answered 404 and stand in the log as forbidden. Numbers count since the agent's sign-in.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Method;
use http::request::Parts;
use serde::Serialize;

use super::serve::{Api, Asked, FORBIDDEN, Refusal, Reply};
use super::truth::Rng;
use super::{Vendor, World};

const STATISTICS: &str = "statisticsEx";
/// The first agent's id; the others follow.
const FIRST_AGENT: u32 = 101;

pub(super) struct Gateway(Arc<World>);

#[derive(Serialize)]
struct Answer<R> {
    message: &'static str,
    retcode: &'static str,
    result: R,
}

#[derive(Serialize)]
struct Statistics {
    talktime: u64,
    answernums: u64,
    calloutnums: u64,
}

impl Gateway {
    pub(super) const fn new(world: Arc<World>) -> Self {
        Self(world)
    }

    fn statistics(&self, asked: &Asked, id: &str) -> Reply {
        if asked.head.method != Method::GET {
            return Reply::wrong_method("GET");
        }
        if !asked.header("content-type").starts_with("application/json") {
            return error("000-006", "message parameter error");
        }
        let truth = &self.0.truth;
        let agent = id.parse::<u32>().ok().and_then(|id| id.checked_sub(FIRST_AGENT));
        let Some(agent) = agent.filter(|agent| (*agent as usize) < truth.agents(Vendor::Huawei).len()) else {
            return signed_out();
        };
        let given = asked.header("guid");
        if given.strip_prefix("JSESSIONID=").unwrap_or(given) != guid(&self.0, agent) {
            return no_right();
        }
        let Some(session) = truth.session(agent, self.0.now()) else { return signed_out() };
        let figures = session.figures;
        let result = Statistics { talktime: figures.talk, answernums: figures.answered, calloutnums: figures.outbound };
        Reply::json(200, &Answer { message: "", retcode: "0", result })
    }
}

impl Api for Gateway {
    fn name(&self, asked: &Parts) -> &'static str {
        if agent_of(asked.uri.path()).is_some() { STATISTICS } else { FORBIDDEN }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        agent_of(asked.path()).map_or_else(|| Reply::page(404), |id| self.statistics(asked, id))
    }

    fn refuse(&self, _: &Asked, why: Refusal) -> Reply {
        match why {
            Refusal::Credentials => no_right(),
            // The gateway's nearest word for it.
            Refusal::RateLimited => error("000-007", "interface repeatedly invoked"),
            Refusal::Broken => error("100-007", "WAS resource unreachable"),
        }
    }
}

/// Every agent's GUID, as an operator's middleware would hand them out.
pub(super) fn guids(world: &World) -> String {
    let agents = world.truth.agents(Vendor::Huawei);
    let pairs: Vec<_> =
        agents.iter().map(|agent| format!("\"{}\":\"{}\"", agent.key, guid(world, agent.index))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn guid(world: &World, agent: u32) -> String {
    let mut rng = Rng::of(&[world.options.seed, 5, u64::from(agent), world.rotation.load(Ordering::Relaxed)]);
    let (high, low) = (rng.next(), rng.next());
    let (a, b, c, d) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF, low >> 48);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}.AgentGateway{}", low & 0xFFFF_FFFF_FFFF, agent % 2)
}

fn agent_of(path: &str) -> Option<&str> {
    path.strip_prefix("/agentgateway/resource/calldata/")?.strip_suffix("/statisticsEx").filter(|id| !id.contains('/'))
}

fn signed_out() -> Reply {
    error("100-006", "agent not login")
}

fn no_right() -> Reply {
    // The gateway's own spelling.
    error("000-003", "no right to invite resouce")
}

fn error(retcode: &'static str, message: &'static str) -> Reply {
    Reply::json(200, &Answer { message, retcode, result: "" })
}
