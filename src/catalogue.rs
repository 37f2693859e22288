//! Every family on the page: name, type, unit, labels, help and the vendors' source fields. HELP and TYPE lines, the
//! metrics documentation and the tests of both read this table; a family that is not here cannot be shown.

/// The prefix of every family of ours.
pub const PREFIX: &str = "contact_center_";

/// Prometheus types that the page knows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Any value.
    Gauge,
    /// Classic buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// The values of the label `state` of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Finishing a call's work.
    AfterCallWork,
    /// Taken out of the queues by the vendor.
    Banned,
    /// Signed in, and not available.
    NotReady,
    /// Waiting for a call.
    Ready,
    /// Being called.
    Ringing,
    /// On a call.
    Talking,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::AfterCallWork, Self::Banned, Self::NotReady, Self::Ready, Self::Ringing, Self::Talking];

    /// As the label has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterCallWork => "after_call_work",
            Self::Banned => "banned",
            Self::NotReady => "not_ready",
            Self::Ready => "ready",
            Self::Ringing => "ringing",
            Self::Talking => "talking",
        }
    }
}

/// One row of the table.
#[derive(Debug)]
pub struct Spec {
    /// Without prefix; counters with `_total`.
    pub name: &'static str,
    /// Prometheus type.
    pub kind: Kind,
    /// Label names in the order in which they are printed.
    pub labels: &'static [&'static str],
    /// One sentence with unit and meaning.
    pub help: &'static str,
    /// Report and field that feed it; empty for our own health.
    pub sources: &'static [(&'static str, &'static str)],
}

impl Spec {
    /// As it stands on the page.
    pub fn full_name(&self) -> String {
        if self.name.starts_with("process_") { self.name.to_owned() } else { format!("{PREFIX}{}", self.name) }
    }

    /// Whether it only names an entity.
    pub fn is_info(&self) -> bool {
        self.name.ends_with("_info")
    }

    /// Whether the exporter says it of itself: no report feeds it.
    pub const fn is_own(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether it is true at the moment of the scrape only: what the exporter says of itself and its accounts. What it says
    /// of a report changes with a poll, as the report's figures do.
    pub fn is_live(&self) -> bool {
        self.is_own() && !self.labels.contains(&"report")
    }

    /// The unit that OpenMetrics wants named: the last part of the name, without `_total`.
    pub fn unit(&self) -> Option<&'static str> {
        let stem = self.name.trim_end_matches("_total");
        ["seconds", "ratio", "bytes"].into_iter().find(|unit| stem.ends_with(&format!("_{unit}")))
    }
}

macro_rules! families {
    ($($id:ident: $kind:expr, $name:literal, [$($label:literal),*], $help:literal, [$($report:literal: $field:literal),*];)*) => {
        /// One family. The order is the order of the names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family {
            $(
                #[doc = $help]
                $id,
            )*
        }

        /// Every family, sorted by name.
        pub const ALL: &[Family] = &[$(Family::$id),*];

        impl Family {
            /// The family's row.
            pub const fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$id => &Spec {
                        name: $name,
                        kind: $kind,
                        labels: &[$($label),*],
                        help: $help,
                        sources: &[$(($report, $field)),*],
                    },)*
                }
            }
        }
    };
}

use Kind::{Counter, Gauge, Histogram};

/// Talk time per call, in seconds.
const TALK: Kind = Histogram(&[5.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0]);
/// Time to answer, in seconds.
const ANSWER: Kind = Histogram(&[2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0]);
/// Vendor API latency, in seconds.
const LATENCY: Kind = Histogram(&[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]);

families! {
    AgentAfterCallWork: Counter, "agent_after_call_work_seconds_total", ["vendor", "account", "agent"],
        "After-call work (wrap-up) of the agent, in seconds.",
        ["call_details": "WrapupDuration (v2)", "operator_statistics": "TACW", "call_records": "WrapupDuration", "agent_activity": "acw_time"];
    AgentAnsweredCalls: Counter, "agent_answered_calls_total", ["vendor", "account", "agent"],
        "Incoming calls (Ozonetel: legs) that the agent answered.",
        ["call_details": "Type inbound, Status Answered", "agent_call_statistics": "answernums", "operator_statistics": "AC", "call_records": "Type inbound, Status Answered", "agent_activity": "inbound"];
    AgentAverageHandleTime: Gauge, "agent_average_handle_time_seconds", ["vendor", "account", "agent", "direction", "window"],
        "Average handle time of the agent as the vendor computes it over the window, in seconds.",
        ["average_handling_time": "AHT", "agent_activity": "aht"];
    AgentHandle: Counter, "agent_handle_seconds_total", ["vendor", "account", "agent"],
        "Handle time of answered calls, in seconds: talk, hold and after-call work.",
        ["call_details": "TalkTime + HoldDuration + WrapupDuration of answered legs (v2)", "operator_statistics": "THT", "call_records": "TalkTime + HoldDuration + WrapupDuration of answered legs", "agent_activity": "inbound_time + outbound_time + acw_time"];
    AgentHandledCalls: Counter, "agent_handled_calls_total", ["vendor", "account", "agent"],
        "Calls with talk in either direction, the divisor of handle time.",
        ["call_details": "Status Answered", "operator_statistics": "AC", "call_records": "Status Answered", "agent_activity": "inbound + outbound"];
    AgentHoldMuteEvents: Counter, "agent_hold_mute_events_total", ["vendor", "account", "agent"],
        "Times that the agent used hold or mute, together.",
        ["agent_hold_mute": "count"];
    AgentHoldMute: Counter, "agent_hold_mute_seconds_total", ["vendor", "account", "agent"],
        "Time on hold plus time muted, in seconds.",
        ["agent_hold_mute": "total_time"];
    AgentHold: Counter, "agent_hold_seconds_total", ["vendor", "account", "agent"],
        "Time that the agent kept callers on hold, in seconds.",
        ["call_details": "HoldDuration (v2)", "agent_hold_mute": "hold_time", "call_records": "HoldDuration"];
    AgentInfo: Gauge, "agent_info", ["vendor", "account", "agent", "agent_name", "agent_id"],
        "Always 1; names the agent. agent_id is the vendor's number where it has one beside the key.",
        ["call_details": "AgentName, AgentID", "call_records": "AgentName, AgentID", "agent_summary": "AgentName, AgentIncrID", "agent_activity": "agent_name, agent_id", "directory": "user_display_name (or user_name), user_id"];
    AgentLogin: Counter, "agent_login_seconds_total", ["vendor", "account", "agent"],
        "Time that the agent was signed in, in seconds.",
        ["agent_summary": "TotalLoginDuration", "agent_activity": "login_time"];
    AgentMute: Counter, "agent_mute_seconds_total", ["vendor", "account", "agent"],
        "Time that the agent was muted, in seconds.",
        ["agent_hold_mute": "mute_time"];
    AgentOutbound: Counter, "agent_outbound_calls_total", ["vendor", "account", "agent"],
        "Outbound calls (Ozonetel: legs of any type but inbound) of the agent.",
        ["call_details": "Type other than inbound", "agent_call_statistics": "calloutnums", "call_records": "Type other than inbound", "agent_activity": "outbound"];
    AgentOutboundConnected: Counter, "agent_outbound_connected_calls_total", ["vendor", "account", "agent"],
        "Outbound calls of the agent that were answered.",
        ["call_details": "Type other than inbound, Status Answered", "call_records": "Type other than inbound, Status Answered"];
    AgentRing: Counter, "agent_ring_seconds_total", ["vendor", "account", "agent"],
        "Ringing time of answered calls, in seconds.",
        ["call_details": "TimeToAnswer of answered legs", "operator_statistics": "TDT", "call_records": "TimeToAnswer of answered legs", "agent_activity": "ring_time"];
    AgentSignedIn: Gauge, "agent_signed_in", ["vendor", "account", "agent"],
        "1 while the vendor knows the agent as signed in, 0 while it says that he is not.",
        ["agent_call_statistics": "retcode 0, or 100-006"];
    AgentState: Counter, "agent_state_seconds_total", ["vendor", "account", "agent", "state"],
        "Time that the agent spent in each state, in seconds.",
        ["agent_summary": "TotalIdleTime, TotalBusyTime and so on", "agent_activity": "ready_time, inbound_time + outbound_time, ring_time, acw_time, aux_time", "operator_status": "acd_status.sum"];
    AgentTalk: Counter, "agent_talk_seconds_total", ["vendor", "account", "agent"],
        "Talk time of the agent, in seconds. Huawei counts since sign-in or since midnight, by version; both are added up here.",
        ["call_details": "TalkTime (v1: Duration) of answered legs", "agent_call_statistics": "talktime", "operator_statistics": "TTT", "call_records": "TalkTime of answered legs", "agent_activity": "inbound_time + outbound_time"];
    AgentUnanswered: Counter, "agent_unanswered_calls_total", ["vendor", "account", "agent"],
        "Incoming calls (Ozonetel: legs) that were offered to the agent and not answered.",
        ["call_details": "Type inbound, Status other than Answered", "operator_statistics": "UAC", "call_records": "Type inbound, Status other than Answered"];
    ApiBudgetWait: Counter, "api_budget_wait_seconds_total", ["vendor", "account"],
        "Time that requests waited for the account's rate limit, in seconds.", [];
    ApiQuotaLimit: Gauge, "api_quota_limit", ["vendor", "account"],
        "Requests that the vendor allows a day.",
        ["token_usage": "token_limit"];
    ApiQuotaUsed: Gauge, "api_quota_used", ["vendor", "account"],
        "Requests that the vendor has counted today, whoever sent them.",
        ["token_usage": "all_token_today"];
    ApiRequestDuration: LATENCY, "api_request_duration_seconds", ["vendor", "api"],
        "Time from sending a request to a vendor until its answer was read, in seconds.", [];
    ApiRequests: Counter, "api_requests_total", ["vendor", "account", "api"],
        "Requests sent to the vendor, retries too.", [];
    CampaignAnswered: Counter, "campaign_answered_calls_total", ["vendor", "account", "campaign"],
        "Incoming calls of the campaign of which a leg was answered.",
        ["call_details": "CampaignName, Status, by CallID", "call_records": "CampaignName, Status, by CallID"];
    CampaignAverageHandleTime: Gauge, "campaign_average_handle_time_seconds", ["vendor", "account", "campaign", "direction", "window"],
        "Average handle time of the campaign as the vendor computes it over the window, in seconds.",
        ["average_handling_time": "AHT"];
    CampaignOutbound: Counter, "campaign_outbound_calls_total", ["vendor", "account", "campaign"],
        "Outbound calls of the campaign.",
        ["call_details": "CampaignName, Type of the first leg, by CallID", "call_records": "CampaignName, Type of the first leg, by CallID"];
    CampaignOutboundConnected: Counter, "campaign_outbound_connected_calls_total", ["vendor", "account", "campaign"],
        "Outbound calls of the campaign of which a leg was answered.",
        ["call_details": "CampaignName, Status, by CallID", "call_records": "CampaignName, Status, by CallID"];
    CampaignTalkTime: TALK, "campaign_talk_time_seconds", ["vendor", "account", "campaign"],
        "Talk time of all legs of an answered call, in seconds; observed once, when the call is first seen ended.",
        ["call_details": "TalkTime (v1: Duration)", "call_records": "TalkTime"];
    CampaignTimeToAnswer: ANSWER, "campaign_time_to_answer_seconds", ["vendor", "account", "campaign"],
        "From the start of an answered call until its first answered leg was picked up, in seconds; observed once, when the call is first seen ended.",
        ["call_details": "StartTime, PickupTime (v1: TimeToAnswer)", "call_records": "StartTime, PickupTime"];
    CampaignUnanswered: Counter, "campaign_unanswered_calls_total", ["vendor", "account", "campaign"],
        "Incoming calls of the campaign of which no leg was answered.",
        ["call_details": "CampaignName, Status, by CallID", "call_records": "CampaignName, Status, by CallID"];
    ConfigReloadTime: Gauge, "config_last_reload_success_timestamp_seconds", [],
        "When the configuration was last loaded, in seconds since the epoch.", [];
    ConfigReloadOk: Gauge, "config_last_reload_successful", [],
        "1 if the last attempt to load the configuration succeeded.", [];
    EntityFailures: Counter, "entity_failures_total", ["vendor", "account", "report", "reason"],
        "Agents, campaigns, queues or calls that failed inside a poll that went on.", [];
    BuildInfo: Gauge, "exporter_build_info", ["version", "revision", "rust_version"],
        "Always 1; the labels say what is running.", [];
    ExporterSeries: Gauge, "exporter_series", [],
        "Vendor series on the page.", [];
    GuidsChanged: Gauge, "guids_last_changed_timestamp_seconds", ["vendor", "account"],
        "When the GUID source last gave something new, in seconds since the epoch.", [];
    LastPollDuration: Gauge, "last_poll_duration_seconds", ["vendor", "account", "report"],
        "How long the last poll took, in seconds.", [];
    LastSuccess: Gauge, "last_success_timestamp_seconds", ["vendor", "account", "report"],
        "When a poll last succeeded, in seconds since the epoch.", [];
    LostDays: Counter, "lost_days_total", ["vendor", "account", "report"],
        "Days that could not be read any more because they lay beyond `backfill` after an outage.", [];
    OldestPendingCall: Gauge, "oldest_pending_call_timestamp_seconds", ["vendor", "account"],
        "When the oldest call that still waits for its figures was listed, in seconds since the epoch.", [];
    PendingCalls: Gauge, "pending_calls", ["vendor", "account"],
        "Calls that were listed and still wait for their figures.", [];
    PollFailures: Counter, "poll_failures_total", ["vendor", "account", "report", "reason"],
        "Polls that failed as a whole.", [];
    PollsSkipped: Counter, "polls_skipped_total", ["vendor", "account", "report"],
        "Polls that were due while the previous one had not finished.", [];
    Polls: Counter, "polls_total", ["vendor", "account", "report"],
        "Polls started.", [];
    QueueAbandonWait: Counter, "queue_abandon_wait_seconds_total", ["vendor", "account", "queue"],
        "Time that callers waited who then gave up, in seconds.",
        ["queue_statistics": "TAT"];
    QueueAfterCallWork: Counter, "queue_after_call_work_seconds_total", ["vendor", "account", "queue"],
        "After-call work for calls of the queue, in seconds.",
        ["queue_statistics": "TACW"];
    QueueAnswerWait: Counter, "queue_answer_wait_seconds_total", ["vendor", "account", "queue"],
        "Time that callers waited who were then answered, in seconds.",
        ["queue_statistics": "TST"];
    QueueAnswered: Counter, "queue_answered_calls_total", ["vendor", "account", "queue"],
        "Calls of the queue that were answered.",
        ["queue_statistics": "AC.count", "skill_service": "answer_calls"];
    QueueAverageAbandonTime: Gauge, "queue_average_abandon_time_seconds", ["vendor", "account", "queue", "window"],
        "Average time after which callers gave up, as the vendor computes it over the window, in seconds.",
        ["skill_service": "ata"];
    QueueAverageSpeedOfAnswer: Gauge, "queue_average_speed_of_answer_seconds", ["vendor", "account", "queue", "window"],
        "Average time until calls were answered, as the vendor computes it over the window, in seconds.",
        ["skill_service": "asa"];
    QueueCalls: Counter, "queue_calls_total", ["vendor", "account", "queue"],
        "Calls that came into the queue.",
        ["queue_statistics": "TC", "skill_service": "inbound_calls"];
    QueueHandle: Counter, "queue_handle_seconds_total", ["vendor", "account", "queue"],
        "Handle time of calls of the queue, in seconds.",
        ["queue_statistics": "THT"];
    QueueInfo: Gauge, "queue_info", ["vendor", "account", "queue", "queue_name"],
        "Always 1; names the queue.",
        ["directory": "acd_queue_name", "skill_service": "skill_name"];
    QueueRejected: Counter, "queue_rejected_calls_total", ["vendor", "account", "queue"],
        "Calls that the queue turned away.",
        ["queue_statistics": "RC.count"];
    QueueServiceLevel: Gauge, "queue_service_level_ratio", ["vendor", "account", "queue", "threshold_seconds", "window"],
        "Share of calls answered within the threshold, as the vendor computes it over the window, from 0 to 1.",
        ["queue_statistics": "SL.service_level", "skill_service": "service_level_10seg, 20seg, 30seg"];
    QueueTalk: Counter, "queue_talk_seconds_total", ["vendor", "account", "queue"],
        "Talk time of calls of the queue, in seconds.",
        ["queue_statistics": "TTT"];
    QueueUnanswered: Counter, "queue_unanswered_calls_total", ["vendor", "account", "queue"],
        "Calls of the queue that nobody answered.",
        ["queue_statistics": "UAC.count", "skill_service": "abandon_calls"];
    QueueWait: Counter, "queue_wait_seconds_total", ["vendor", "account", "queue"],
        "Time that callers waited in the queue, in seconds.",
        ["queue_statistics": "TWT"];
    RejectedRecords: Counter, "rejected_records_total", ["vendor", "account", "report"],
        "Rows of an answer that could not be read; the rest of the answer counted.", [];
    Revisions: Counter, "revisions_total", ["vendor", "account", "report"],
        "Figures that had been counted and came back lower; the counters stay.", [];
    Up: Gauge, "up", ["vendor", "account", "report"],
        "1 if the last poll succeeded.", [];
    ProcessCpu: Counter, "process_cpu_seconds_total", [],
        "User and system CPU time of this process, in seconds.", [];
    ProcessMaxFds: Gauge, "process_max_fds", [],
        "File descriptors that this process may open.", [];
    ProcessOpenFds: Gauge, "process_open_fds", [],
        "File descriptors that this process has open.", [];
    ProcessResident: Gauge, "process_resident_memory_bytes", [],
        "Resident memory of this process, in bytes.", [];
    ProcessStart: Gauge, "process_start_time_seconds", [],
        "When this process started, in seconds since the epoch.", [];
    ProcessVirtual: Gauge, "process_virtual_memory_bytes", [],
        "Virtual memory of this process, in bytes.", [];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for family in ALL {
            let spec = family.spec();
            assert_eq!(spec.name.ends_with("_total"), spec.kind == Counter, "{}", spec.name);
            assert!(spec.help.ends_with('.'), "{} help needs its full stop", spec.name);
            assert!(!spec.help.contains(['\\', '"', '\n']), "{} help needs no escaping", spec.name);
            assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", spec.name);
        }
    }

    #[test]
    fn rows_stand_in_the_order_of_their_names() {
        // A histogram or counter sorts by its family name, which is what a reader of the page sees.
        let names: Vec<_> = ALL.iter().map(|family| family.spec().full_name()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
