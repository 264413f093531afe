//! The scenarios, by what they are about.

mod actors;
mod chaos;
mod commits;
mod compacted;
mod connectors;
mod crashes;
mod failover;
mod fidelity;
mod groups;
mod handover;
mod lifecycle;
mod load;
mod mirrored;
mod policies;
mod sharing;
mod stops;
mod takeover;
mod takeover_connect;
mod topics;
mod upheaval;
mod ways_back;

use std::pin::Pin;

use anyhow::Result;

use super::pair::Pair;

/// What a scenario does; not sent between threads.
type Body<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One scenario.
#[derive(Debug)]
pub struct Case {
    /// What it is about.
    pub room: &'static str,
    /// Says what holds.
    pub name: &'static str,
    /// Fails if it does not.
    pub body: for<'a> fn(&'a mut Pair) -> Body<'a>,
}

/// Lists async functions of the modules above as cases of the same name.
macro_rules! cases {
    ($($module:ident :: $name:ident,)*) => {
        /// All scenarios.
        pub const ALL: &[Case] = &[$(Case {
            room: stringify!($module),
            name: stringify!($name),
            body: |pair| Box::pin($module::$name(pair)),
        },)*];
    };
}

cases! {
    fidelity::every_codec_and_shape_arrives_unaltered,
    fidelity::records_of_900_kilobytes_arrive,
    fidelity::aborted_transactions_do_not_arrive,
    fidelity::target_topics_get_partitions_and_configs,
    fidelity::verify_names_the_first_difference,
    fidelity::kafka_dump_log_reads_broker_lites_segments,
    crashes::kill_nine_ten_times_under_load_loses_nothing,
    crashes::source_restart_is_survived,
    crashes::target_restart_is_survived,
    crashes::a_target_that_is_away_bounds_memory,
    groups::consumers_that_move_over_read_every_record_once,
    groups::who_moved_over_is_left_alone_until_told_otherwise,
    groups::groups_of_new_kinds_follow_or_are_told,
    groups::offsets_in_a_transaction_that_is_open_are_waited_for,
    ways_back::consumers_that_come_back_read_every_record_once,
    commits::any_offset_is_exact_or_counted_as_a_bound,
    failover::a_planned_move_and_its_return_lose_and_repeat_nothing,
    failover::an_unplanned_move_loses_nothing_that_was_copied_and_the_rest_comes_later,
    lifecycle::clean_stop_and_start_repeats_nothing,
    lifecycle::either_side_may_be_down_at_start,
    lifecycle::new_topics_and_partitions_are_followed,
    lifecycle::http_tells_live_ready_and_lag,
    chaos::processes_brokers_and_topics_come_and_go,
    upheaval::fresh_records_arrive_once_whatever_dies,
    upheaval::two_that_each_think_they_are_alone_repeat_nothing,
    upheaval::old_records_arrive_once_while_only_processes_die,
    upheaval::old_records_are_neither_lost_nor_reordered_whatever_dies,
    sharing::a_second_process_shares_the_flow,
    sharing::a_killed_process_is_succeeded_or_goes_on_in_place,
    sharing::a_suspended_process_wakes_as_a_member_like_others,
    sharing::a_leader_checks_numbers_within_an_epoch_and_not_between_two,
    sharing::a_target_that_is_away_for_longer_than_a_session,
    sharing::a_fenced_namesake_ends_with_3,
    sharing::a_standby_is_ready_and_takes_over,
    sharing::a_file_edited_while_it_was_killed_is_followed,
    takeover::mirrormaker_is_taken_over_from_and_given_back_to,
    takeover_connect::connectors_are_taken_over_from_and_given_back_to,
    compacted::a_compacted_topic_arrives_while_both_sides_compact,
    mirrored::a_flow_that_starts_at_the_latest_copies_only_what_comes,
    mirrored::groups_far_behind_on_nothing_and_set_back_follow_exactly,
    mirrored::three_processes_take_new_topics_and_a_new_configuration_one_by_one,
    topics::new_topics_and_partitions_arrive_within_seconds,
    topics::deleted_topics_are_told_and_their_neighbours_go_on,
    topics::configs_follow_the_source,
    topics::check_shows_the_plan_and_applies_it,
    topics::a_target_that_takes_few_topics_at_a_time_gets_them_all,
    topics::deletions_and_recreations_follow_by_policy,
    topics::a_topic_excluded_and_included_again_goes_on_where_it_was,
    policies::on_gap_earliest_goes_on_behind_the_gap,
    policies::on_existing_append_writes_behind_what_is_there,
    policies::on_poison_skip_leaves_out_what_is_refused,
    policies::the_command_of_a_stop_continues_behind_a_refused_record,
    policies::a_checkpoint_is_set_back_and_listed,
    policies::a_reset_fills_a_recreated_target_topic,
    stops::a_gap_in_the_source_stops_one_worker,
    stops::a_recreated_source_topic_stops_its_workers,
    stops::a_recreated_target_topic_stops_its_workers,
    stops::a_target_that_is_not_empty_is_not_appended_to,
    stops::a_foreign_checkpoint_is_refused,
}

impl Case {
    /// Whether it is about the bytes that travel: then it matters that the clusters differ.
    pub fn is_about_data(&self) -> bool {
        self.room == "fidelity"
    }

    /// Whether it is about who runs what, whichever client carries the records.
    pub fn is_about_processes(&self) -> bool {
        matches!(self.room, "chaos" | "sharing" | "topics" | "upheaval")
    }

    /// Whether it is about what only a copy without repeats has.
    pub fn needs_exactly_once(&self) -> bool {
        self.room == "commits"
    }

    /// Whether it takes too long between Kafkas for every run.
    pub fn is_long(&self) -> bool {
        self.room == "upheaval"
    }
}

/// How much larger than usual the larger scenarios are (`STRAIT_TEST_SCALE`).
pub fn scale() -> usize {
    std::env::var("STRAIT_TEST_SCALE")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1)
}

/// What random scenarios draw from (`STRAIT_TEST_SEED`).
pub fn seed() -> u64 {
    let seed = std::env::var("STRAIT_TEST_SEED").ok();
    seed.and_then(|text| text.parse().ok()).unwrap_or(7)
}
