//! Every bound of `src/limits.rs` has a test that goes to its edge, and every test that is named here is there.

/// Each bound of `src/limits.rs` with the test that goes to its edge, or with the reason why there is none.
const TESTED: &[(&str, &str)] = &[
    (
        "TLS_HANDSHAKE_STEPS_PER_TURN",
        "tls/handshakes::a_storm_of_handshakes_does_not_delay_a_member",
    ),
    (
        "TLS_HANDSHAKE_US_PER_TURN",
        "tls/handshakes::a_storm_of_handshakes_does_not_delay_a_member",
    ),
    (
        "METRICS_COUNT_PER_TURN",
        "limits::metrics_are_written_one_at_a_time",
    ),
    (
        "TLS_PARTIAL_BYTES_MAX",
        "tls/handshakes::what_is_no_tls_ends_with_an_alert",
    ),
    (
        "TLS_IDLE_RECORD_COUNT_MAX",
        "tls/key_updates::a_flood_of_key_updates_is_cut_off",
    ),
    (
        "TLS_DATA_RECORDS_PER_IDLE_RECORD",
        "tls/key_updates::key_updates_among_data_are_served",
    ),
    (
        "TLS_RECORD_BYTES_MAX",
        "tls/main::big_messages_go_both_ways",
    ),
    (
        "TLS_RECORD_BYTES_SLOW",
        "tls/main::readers_that_stop_are_closed_when_they_hold_too_much",
    ),
    (
        "TLS_EARLY_BYTES_MAX",
        "tls/main::too_many_are_told_so_over_tls",
    ),
    ("RELOAD_CHECK_MS", "tls/pairs::a_changed_pair_is_read_again"),
    ("NAME_BYTES_MAX", "rooms::names_are_any_text"),
    ("ID_BYTES_MAX", "limits::ids_have_64_bytes"),
    (
        "TYPE_BYTES_SHOWN_MAX",
        "errors::an_error_says_what_it_is_about",
    ),
    ("EPOCH_BYTES_MAX", "errors::each_refusal_has_its_code"),
    (
        "SESSION_BYTES_MIN",
        "identity::bad_names_and_secrets_are_refused",
    ),
    ("SESSION_BYTES_MAX", "identity::a_secret_may_be_brought"),
    (
        "TOKEN_BYTES_MAX",
        "authority/signatures::a_token_has_a_greatest_length",
    ),
    (
        "TOKEN_SECRET_BYTES_MIN",
        "authority/keys::secrets_have_a_least_length_and_keys_a_greatest_number",
    ),
    (
        "TOKEN_KEY_COUNT_MAX",
        "authority/keys::secrets_have_a_least_length_and_keys_a_greatest_number",
    ),
    (
        "TOKEN_RSA_BYTES_MIN",
        "authority/keys::bad_keys_are_refused_with_their_file_and_nothing_of_it",
    ),
    (
        "TOKEN_LEEWAY_S_MAX",
        "not refused here: config/tests.rs has its edge",
    ),
    (
        "TOKEN_ROOM_COUNT_MAX",
        "authority/claims::rooms_are_granted_by_pattern",
    ),
    ("TOKEN_WARNING_MS", "tokens/lifetime::a_token_is_refreshed"),
    ("SEQ_END", "errors::each_refusal_has_its_code"),
    ("JSON_DEPTH_MAX", "rooms::content_comes_out_byte_for_byte"),
    (
        "REQUEST_LINE_BYTES_MAX",
        "refusals::each_bad_request_has_its_status",
    ),
    (
        "HEAD_BYTES_MAX",
        "refusals::each_bad_request_has_its_status",
    ),
    (
        "HEADER_COUNT_MAX",
        "refusals::each_bad_request_has_its_status",
    ),
    (
        "BODY_BYTES_MAX",
        "http::a_body_that_nobody_wants_is_skipped",
    ),
    (
        "CONTROL_BYTES_MAX",
        "conformance::each_violation_has_its_close_code",
    ),
    (
        "FRAGMENT_COUNT_MAX",
        "conformance::each_violation_has_its_close_code",
    ),
    (
        "FRAGMENT_BYTES_MEAN_MIN",
        "limits::fragments_grow_with_the_message",
    ),
    (
        "PROXY_HEADER_BYTES_MAX",
        "proxy::a_malformed_header_closes_and_is_counted",
    ),
    (
        "ADMIN_CONNECTION_COUNT_MAX",
        "admin::too_many_connections_are_told",
    ),
    (
        "ADMIN_REQUEST_MS",
        "admin::a_request_that_stops_half_way_is_closed_in_time",
    ),
    (
        "ADMIN_ANSWER_MS",
        "not refused here: reactor/survey.rs has the test",
    ),
    ("ADMIN_ROW_COUNT_DEFAULT", "admin::a_page_is_bounded"),
    ("ADMIN_ROW_COUNT_MAX", "admin::a_page_is_bounded"),
    ("LOOK_COUNT_PER_TURN", "not refused: the share of one turn"),
    (
        "TURNED_AWAY_COUNT_MAX",
        "limits::connections_over_the_limit_are_told",
    ),
    (
        "TOLD_OVER_TLS_COUNT_PER_S",
        "tls/main::too_many_are_told_so_over_tls",
    ),
    (
        "TURNED_AWAY_MS",
        "limits::connections_over_the_limit_are_told",
    ),
    (
        "MEMORY_AGE_MS",
        "not refused: how often memory is looked at",
    ),
    ("RATE_MAX", "config::a_wrong_setting_is_named"),
    (
        "RATE_BUCKET_MS",
        "limits::handshakes_of_an_address_are_bounded",
    ),
    (
        "RESTING_ADDRESS_COUNT_MAX",
        "not refused: an address is forgotten",
    ),
    ("RATE_PAUSE_MS_MAX", "not refused: a pause"),
    ("RATE_SWEEP_MS", "not refused: a pause"),
    ("SHARD_COUNT_MAX", "config::a_wrong_setting_is_named"),
    (
        "DESCRIPTORS_RESERVED",
        "descriptors::the_default_limit_leaves_descriptors_free",
    ),
    (
        "DESCRIPTORS_PER_SHARD",
        "descriptors::the_default_limit_leaves_descriptors_free",
    ),
    (
        "ACCEPT_PAUSE_MS",
        "descriptors::connections_outlive_the_lack_of_descriptors",
    ),
    (
        "DEFLATE_BYTES_MIN",
        "not refused: what is shorter goes as it is",
    ),
    (
        "DEFLATED_BYTES_PER_TURN",
        "deflate::beyond_its_share_of_a_turn_frames_go_plain",
    ),
    (
        "DEFLATED_BYTES_EXTRA",
        "deflate::beyond_its_share_of_a_turn_frames_go_plain",
    ),
    (
        "INFLATED_BYTES_START",
        "not refused: how memory is used again",
    ),
    (
        "INFLATED_BYTES_KEPT",
        "not refused: how memory is used again",
    ),
    ("BURST_MS", "slow_reader::the_others_do_not_notice_it"),
    (
        "STANDSTILL_MS",
        "keepalive::a_standstill_of_the_server_is_not_silence",
    ),
    (
        "BURST_TAIL_COUNT_MAX",
        "slow_reader::it_is_told_what_it_missed",
    ),
    ("PASSING_BYTES_MAX", "memory::signals_have_a_budget"),
    ("REPLY_BYTES_MAX", "memory::answers_to_the_deaf_are_bounded"),
    (
        "GATHERED_REPLY_BYTES_MAX",
        "not refused: more is written by itself",
    ),
    ("RETRY_AFTER_MS", "errors::each_refusal_has_its_code"),
    (
        "RETRY_AFTER_S",
        "limits::connections_over_the_limit_are_told",
    ),
    (
        "ADMIN_RETRY_AFTER_S",
        "admin::too_many_connections_are_told",
    ),
    ("RETURN_MS_MIN", "stopping::everyone_is_told_to_come_back"),
    ("RETURN_MS_END", "stopping::everyone_is_told_to_come_back"),
    ("HISTORY_COUNT_DEFAULT", "history::a_limit_is_clamped"),
    ("HISTORY_COUNT_MAX", "history::a_limit_is_clamped"),
    ("ROOM_SWEEP_MS", "not refused: a pause"),
    (
        "ROOM_SWEEP_PART",
        "not refused: the share of one look, where there are many",
    ),
    (
        "ROOM_SWEEP_COUNT_MIN",
        "limits::a_full_server_gives_up_rooms_that_nobody_is_in",
    ),
    ("ROOM_RULE_COUNT_MAX", "rules::a_wrong_rule_is_named"),
    (
        "SLOW_MODE_COUNT_MAX",
        "not refused: whose wait ends first is let off",
    ),
    ("SLOW_MODE_MS_MAX", "rules::a_wrong_rule_is_named"),
    (
        "SANCTION_COUNT_MAX",
        "not refused in a test: the unit test of sanctions has its edge",
    ),
    (
        "SANCTIONS_PER_ROOM_MAX",
        "moderation/lasting::a_room_has_so_many_bans",
    ),
    (
        "SANCTION_PARTS_PER_MODERATOR",
        "moderation/lasting::a_moderator_by_token_has_so_many_bans",
    ),
    (
        "RECORDED_REFUSALS_PER_S_MAX",
        "moderation/audit::attempts_to_moderate_do_not_fill_the_log",
    ),
    (
        "SANCTION_SECONDS_MAX",
        "moderation/main::what_is_wrong_is_named",
    ),
    (
        "REASON_BYTES_MAX",
        "moderation/main::what_is_wrong_is_named",
    ),
    ("HISTORY_BYTES_MAX", "history::a_page_ends_at_256_kib"),
    ("PRESENCE_MEMBER_COUNT_MAX", "presence::who_is_bounded"),
    (
        "DEDUPE_COUNT_MAX",
        "dedupe::the_last_ten_thousand_are_remembered",
    ),
    ("DEDUPE_MS", "not refused: ids are forgotten"),
    (
        "INBOX_ASK_PARTS",
        "private::an_inbox_that_is_read_takes_more_than_its_bound",
    ),
    (
        "UNCOMMITTED_BYTES_MAX",
        "sim/scenes/disk::a_room_and_a_log_hold_so_much_that_is_not_kept_yet",
    ),
    (
        "UNCOMMITTED_BYTES_PER_CONNECTION_MAX",
        "sim/scenes/disk::who_sends_to_a_disk_that_stands_still_is_held_back_and_then_refused",
    ),
    (
        "UNCOMMITTED_BYTES_UNIT",
        "sim/scenes/disk::who_sends_to_a_disk_that_stands_still_is_held_back_and_then_refused",
    ),
    (
        "PARKED_BYTES_MAX",
        "sim/scenes/opening::what_waits_for_all_logs_together_is_bounded",
    ),
    (
        "PARKED_BYTES_PER_LOG_MAX",
        "sim/scenes/opening::joins_of_a_room_that_is_not_open_yet_are_bounded",
    ),
    (
        "STORE_STALL_MS",
        "sim/scenes/disk::who_sends_to_a_disk_that_stands_still_is_held_back_and_then_refused",
    ),
    ("STORE_RETRY_MS", "not refused: a pause"),
    (
        "CHUNK_BYTES",
        "durable::a_reader_far_behind_gets_everything_in_order",
    ),
    ("CHUNK_COUNT_MAX", "not refused: the share of one reading"),
    (
        "READ_QUEUE_COUNT_MAX",
        "not refused: asked again after a pause",
    ),
    ("STORE_CACHE_BYTES", "not refused: kept by SQLite"),
    (
        "STORE_PLACE_COUNT_MAX",
        "not refused: what is forgotten is looked up",
    ),
    (
        "CHECKPOINT_PAGE_COUNT",
        "not refused: when work is begun, tested beside it",
    ),
    (
        "WAL_PAGE_COUNT",
        "not refused: when work is begun, tested beside it",
    ),
    (
        "NEW_ID_COUNT_MAX",
        "not refused: older ones go to the disk, tested beside it",
    ),
    (
        "FREE_PERCENT_MIN",
        "full_disk::a_full_disk_refuses_and_comes_back",
    ),
    (
        "FREE_BYTES_MIN",
        "not refused in a test: it takes a volume of more than 10 GiB",
    ),
    ("UPKEEP_ROW_COUNT", "not refused: the share of one step"),
    ("UPKEEP_PAUSE_MS", "not refused: a pause"),
    ("IMPORT_AHEAD_MS", "tools::an_import_is_whole_or_not_at_all"),
    ("UPKEEP_MS", "not refused: a pause"),
    ("KEPT_HOLD_MS", "not refused: memory is freed"),
    ("READ_BYTES", "not refused: the share of one turn"),
    (
        "OBJECT_COUNT_PER_TURN",
        "not refused: the share of one turn",
    ),
    (
        "OBJECT_COUNT_PER_PEER_MIN",
        "not refused: the share of one turn",
    ),
    (
        "OBJECT_COUNT_PER_PEER_MAX",
        "not refused: the share of one turn",
    ),
    (
        "INFLATED_BYTES_PER_OBJECT",
        "not refused: the share of one turn",
    ),
    (
        "INFLATED_BYTES_PER_TURN",
        "not refused: the share of one turn",
    ),
    (
        "INFLATING_WEIGHT",
        "attack/main::attacks_cost_no_memory_and_starve_nobody_on_one_shard",
    ),
    (
        "RETRY_COUNT_PER_TURN",
        "sim/scenes/disk::those_who_wait_are_tried_again_a_few_at_a_time",
    ),
    ("TOKEN_COUNT_PER_TURN", "not refused: the share of one turn"),
    ("TOKEN_OBJECT_COUNT", "not refused: the share of one turn"),
    (
        "SEND_COUNT_PER_TURN",
        "large_room::another_room_waits_for_one_slice_at_most",
    ),
    ("LOOK_COUNT_PER_SEND", "not refused: the share of one turn"),
    ("SHARED_BYTES_MAX", "not refused: how memory is used again"),
    (
        "SLICE_COUNT_PER_FLUSH",
        "not refused: the share of one turn",
    ),
    (
        "ACCEPT_COUNT_PER_TURN",
        "not refused: the share of one turn",
    ),
    ("EVENT_COUNT_PER_POLL", "not refused: the share of one turn"),
    ("SEGMENT_BYTES", "not refused: how memory is cut"),
    ("BACKLOG_COUNT", "not refused: kept by the operating system"),
    (
        "NOTSENT_LOWAT_BYTES",
        "not refused: kept by the operating system",
    ),
    (
        "ROOM_BACKLOG_BYTES_MAX",
        "sim/scenes/disk::a_room_and_a_log_hold_so_much_that_is_not_kept_yet",
    ),
    ("CREDIT_BYTES", "not refused: replicas are held back"),
    ("MAIL_BYTES_MAX", "not refused: senders are held back"),
    ("CONNECTION_COUNT_MAX", "config::a_wrong_setting_is_named"),
    ("MESSAGE_BYTES_MAX", "config::a_wrong_setting_is_named"),
    (
        "connection_count_max",
        "limits::connections_over_the_limit_are_told",
    ),
    (
        "connections_per_address_max",
        "limits::connections_of_an_address_are_bounded",
    ),
    (
        "handshakes_per_address_per_s_max",
        "limits::handshakes_of_an_address_are_bounded",
    ),
    (
        "bounds_loopback",
        "limits::this_machine_is_not_bound_unless_asked",
    ),
    ("message_bytes_max", "limits::a_message_may_fill_its_limit"),
    ("room_count_max", "limits::rooms_in_all_are_bounded"),
    (
        "rooms_per_address_max",
        "limits::rooms_of_an_address_are_bounded",
    ),
    (
        "messages_per_connection_per_s_max",
        "rates::messages_over_the_rate_are_refused_and_then_wait",
    ),
    (
        "messages_bound_loopback",
        "rates::what_nobody_has_set_is_for_others_than_this_machine",
    ),
    (
        "bytes_bound_loopback",
        "rates::what_nobody_has_set_is_for_others_than_this_machine",
    ),
    (
        "joins_bound_loopback",
        "rates::what_nobody_has_set_is_for_others_than_this_machine",
    ),
    (
        "bytes_per_connection_per_s_max",
        "rates::bytes_over_the_rate_wait",
    ),
    (
        "joins_per_connection_per_s_max",
        "rates::joins_over_the_rate_are_refused",
    ),
    (
        "rooms_per_connection_max",
        "limits::rooms_of_a_connection_are_bounded",
    ),
    ("presence_events_max", "presence::large_rooms_get_counts"),
    ("name_count_max", "limits::names_in_all_are_bounded"),
    (
        "names_per_address_max",
        "limits::names_of_an_address_are_bounded",
    ),
    ("name_hold_days", "not reachable here: the least is an hour"),
    ("inbox_bytes_max", "memory::an_inbox_holds_what_it_may"),
    (
        "tail_bytes_max",
        "memory::a_tail_is_bounded_wherever_its_members_are",
    ),
    ("log_bytes_max", "memory::all_logs_together_are_bounded"),
    ("memory_bytes_max", "limits::without_memory_nobody_is_taken"),
    (
        "stalled_bytes_max",
        "memory::stalled_readers_hold_what_they_may",
    ),
    ("PING_SILENCE_PERCENT", "keepalive::who_speaks_is_not_asked"),
    (
        "heartbeat_ms",
        "keepalive::silence_for_two_intervals_closes",
    ),
    (
        "handshake_ms",
        "http::a_slow_request_has_an_absolute_deadline",
    ),
    ("http_idle_ms", "http::an_idle_connection_is_closed"),
    (
        "close_ms",
        "websocket::a_close_that_nobody_answers_ends_in_time",
    ),
    ("drain_ms", "stopping::the_deadline_cuts_who_does_not_go"),
    ("presence_debounce_ms", "presence::a_reconnect_is_not_news"),
    (
        "presence_count_ms",
        "presence::a_count_comes_at_most_every_so_often",
    ),
    ("room_hold_ms", "resume::a_room_made_anew_has_another_epoch"),
];

/// The names of all bounds: constants, and fields of `Limits`.
fn bounds() -> Vec<String> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/limits.rs"));
    let source = source.expect("it is there");
    let names = source.lines().filter_map(|line| {
        let constant = line.strip_prefix("pub const ");
        let field = line.strip_prefix("    pub ");
        let (name, _) = constant.or(field)?.split_once(": ")?;
        Some(name.to_owned())
    });
    names.collect()
}

#[test]
fn every_bound_has_its_test() {
    let bounds = bounds();
    assert!(bounds.len() > 50, "{bounds:?}");
    for bound in &bounds {
        let rows = TESTED
            .iter()
            .filter(|(name, _)| *name == bound.as_str())
            .count();
        assert_eq!(rows, 1, "{bound} needs a test, and a row that names it");
    }
    for (bound, test) in TESTED {
        assert!(
            bounds.iter().any(|name| name == bound),
            "there is no bound {bound}"
        );
        if let Some((file, test)) = test.split_once("::") {
            let path = format!("{}/tests/{file}.rs", env!("CARGO_MANIFEST_DIR"));
            let source = std::fs::read_to_string(path).expect("there is such a file");
            assert!(
                source.contains(&format!("fn {test}(")),
                "there is no test {test}"
            );
        }
    }
}
